package auth

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uid"
)

func keyring(tb testing.TB, extra ...[]byte) *Keyring {
	tb.Helper()
	material, err := GenerateSigningKey()
	require.NoError(tb, err)
	for _, e := range extra {
		material = append(material, e...)
	}
	k, err := ParseKeyring(material)
	require.NoError(tb, err)
	return k
}

func newTokens(tb testing.TB, k *Keyring, c TokenConfig) *Tokens {
	tb.Helper()
	tk, err := NewTokens(k, c)
	require.NoError(tb, err)
	return tk
}

func TestTokens_IssueVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tk := newTokens(t, keyring(t), TokenConfig{})
		user, session := uid.New(uid.User), uid.New(uid.Session)
		token, jti, exp, err := tk.Issue(user, session, time.Now())
		require.NoError(t, err)
		require.Equal(t, 15*time.Minute, time.Until(exp))
		require.Less(t, len(token), 700)
		for range 2 { // verified, then from the cache
			c, err := tk.Verify(token)
			require.NoError(t, err)
			require.Equal(t, Claims{UserID: user, SessionID: session, ID: jti, IssuedAt: time.Now().UTC(), ExpiresAt: exp}, c)
		}
		<-time.After(15*time.Minute - time.Nanosecond) // of the bubble's clock
		_, err = tk.Verify(token)
		require.NoError(t, err)
		<-time.After(time.Nanosecond)
		_, err = tk.Verify(token)
		require.True(t, errs.Is(err, errs.Unauthenticated), "the cache must not outlive the token")
		_, err = newTokens(t, tk.Keyring(), TokenConfig{}).Verify(token)
		require.True(t, errs.Is(err, errs.Unauthenticated), "no leeway at the end")
	})
}

func TestTokens_Issue_WrongIDs(t *testing.T) {
	tk := newTokens(t, keyring(t), TokenConfig{})
	for _, ids := range [][2]uuid.UUID{{uuid.Nil, uid.New(uid.Session)}, {uid.New(uid.User), uuid.Nil}, {uid.New(uid.Session), uid.New(uid.User)}} {
		_, _, _, err := tk.Issue(ids[0], ids[1], time.Now())
		require.Error(t, err)
	}
}

// forge signs any header and claims with any method; good is what Issue would write.
type forge struct {
	header map[string]any
	claims map[string]any
}

func goodForge(k *Keyring, now time.Time) forge {
	return forge{
		header: map[string]any{"alg": "EdDSA", "typ": accessTokenType, "kid": k.SigningKeyID(now)},
		claims: map[string]any{
			"iss": "cdsa", "aud": "cdsa-api", "sub": uid.New(uid.User).String(), "sid": uid.New(uid.Session).String(), "jti": "x",
			"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		},
	}
}

func (f forge) sign(tb testing.TB, method jwt.SigningMethod, key any) string {
	tb.Helper()
	h, err := json.Marshal(f.header)
	require.NoError(tb, err)
	c, err := json.Marshal(f.claims)
	require.NoError(tb, err)
	text := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
	sig, err := method.Sign(text, key)
	require.NoError(tb, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func TestTokens_Verify_Refuses(t *testing.T) {
	k := keyring(t)
	tk := newTokens(t, k, TokenConfig{})
	now := time.Now()
	_, foreign, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	good := goodForge(k, now)
	genuine := good.sign(t, jwt.SigningMethodEdDSA, k.keys[0].private)
	_, err = tk.Verify(genuine)
	require.NoError(t, err, "the forge is good before it is bent")

	bent := func(edit func(f forge)) string {
		f := forge{maps.Clone(good.header), maps.Clone(good.claims)}
		edit(f)
		return f.sign(t, jwt.SigningMethodEdDSA, k.keys[0].private)
	}
	claim := func(name string, v any) string {
		return bent(func(f forge) {
			if f.claims[name] = v; v == nil {
				delete(f.claims, name)
			}
		})
	}
	header := func(name string, v any) string {
		return bent(func(f forge) {
			if f.header[name] = v; v == nil {
				delete(f.header, name)
			}
		})
	}
	alg := func(name string, m jwt.SigningMethod, key any) string {
		f := forge{maps.Clone(good.header), good.claims}
		f.header["alg"] = name
		return f.sign(t, m, key)
	}
	pub := k.keys[0].public
	der, err := x509.MarshalPKIXPublicKey(pub)
	require.NoError(t, err)
	parts := strings.Split(genuine, ".")
	refresh, _, err := NewRefreshToken()
	require.NoError(t, err)

	for name, token := range map[string]string{
		"Empty": "", "Garbage": "a.b.c", "TwoParts": parts[0] + "." + parts[1], "FourParts": genuine + ".x", "Huge": strings.Repeat("a.", 1<<20),
		"AlgNone":              alg("none", jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType),
		"AlgNoneUpper":         alg("NONE", jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType),
		"NoSignature":          parts[0] + "." + parts[1] + ".",
		"HSWithPublicKey":      alg("HS256", jwt.SigningMethodHS256, []byte(pub)),
		"HSWithPublicKeyPEM":   alg("HS256", jwt.SigningMethodHS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"RS256":                alg("RS256", jwt.SigningMethodRS256, rsaKey),
		"AlgNamesEdDSAButIsHS": alg("EdDSA", jwt.SigningMethodHS256, []byte(pub)),
		"ForeignKeyOurKid":     good.sign(t, jwt.SigningMethodEdDSA, foreign),
		"UnknownKid":           header("kid", KeyID(foreign.Public().(ed25519.PublicKey))),
		"NoKid":                header("kid", nil), "KidIsNumber": header("kid", 7), "KidIsPath": header("kid", "../../keys/signing.pem"),
		"NoTyp": header("typ", nil), "OtherTyp": header("typ", "JWT"),
		"OtherIssuer": claim("iss", "evil"), "NoIssuer": claim("iss", nil), "OtherAudience": claim("aud", "other"), "NoAudience": claim("aud", nil),
		"ExpiredByASecond": claim("exp", now.Add(-time.Second).Unix()), "NoExpiry": claim("exp", nil), "ExpiryIsText": claim("exp", "never"), "HugeExpiry": claim("exp", "1e400"),
		"NotYetValid": claim("nbf", now.Add(time.Minute).Unix()), "NoNotBefore": claim("nbf", nil), "NoIssuedAt": claim("iat", nil), "NoID": claim("jti", nil),
		"SubjectIsNoUser": claim("sub", uid.New(uid.Session).String()), "SubjectIsName": claim("sub", "admin"), "NoSubject": claim("sub", nil),
		"SessionIsNoSession": claim("sid", uid.New(uid.User).String()), "NoSession": claim("sid", nil),
		"ChangedClaims":   parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"x"}`)) + "." + parts[2],
		"PaddedBase64":    genuine + "=",
		"TrailingSpace":   genuine + " ",
		"RefreshToken":    refresh,
		"CutShort":        genuine[:len(genuine)-4],
		"NulByte":         genuine + "\x00",
		"LooseLastBits":   looseBits(genuine),
		"LineInSignature": genuine[:len(genuine)-4] + "\r\n" + genuine[len(genuine)-4:], "LineBehind": genuine + "\n",
		"LivesTooLong":   claim("exp", now.Add(2*time.Hour).Unix()),
		"EndsAtItsStart": claim("iat", now.Add(time.Minute).Unix()),
		"UnknownClaim":   claim("admin", true),
		"Critical":       header("crit", []string{"exp"}), "UnencodedPayload": header("b64", false), "KeyByURL": header("jku", "http://127.0.0.1:1/keys"), "KeyByX5U": header("x5u", "http://127.0.0.1:1/key"),
		"KeyInside": header("jwk", map[string]string{"kty": "OKP"}), "Compressed": header("zip", "DEF"),
		"StandardBase64": strings.NewReplacer("-", "+", "_", "/").Replace(genuine) + "==",
	} {
		t.Run(name, func(t *testing.T) {
			before := tk.state.Load().cache.len()
			_, err := tk.Verify(token)
			require.True(t, errs.Is(err, errs.Unauthenticated), "%v", err)
			require.Equal(t, before, tk.state.Load().cache.len(), "a refused token is not remembered")
			if len(token) > 20 {
				e, _ := errs.As(err)
				require.NotContains(t, e.Message+e.Unwrap().Error(), token[:20])
			}
		})
	}
}

// TestTokens_Verify_OneReading are tokens signed with our own key that two readers could read in two ways.
func TestTokens_Verify_OneReading(t *testing.T) {
	k := keyring(t)
	tk := newTokens(t, k, TokenConfig{})
	good := goodForge(k, time.Now())
	h, err := json.Marshal(good.header)
	require.NoError(t, err)
	c, err := json.Marshal(good.claims)
	require.NoError(t, err)
	sign := func(header, claims string) string {
		text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
		return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(k.keys[0].private, []byte(text)))
	}
	_, err = tk.Verify(sign(string(h), string(c)))
	require.NoError(t, err, "the control")
	more := func(object []byte, members string) string {
		return strings.TrimSuffix(string(object), "}") + "," + members + "}"
	}
	other := uid.New(uid.User).String()
	for name, token := range map[string]string{
		"SubjectTwice": sign(string(h), more(c, `"sub":"`+other+`"`)), "SubjectInCapitals": sign(string(h), more(c, `"SUB":"`+other+`"`)),
		"SubjectEscaped": sign(string(h), more(c, `"s\u0075b":"`+other+`"`)), "AlgTwice": sign(more(h, `"alg":"none"`), string(c)),
		"KidTwice": sign(more(h, `"kid":"x"`), string(c)), "TrailingObject": sign(string(h), string(c)+string(c)), "TrailingBrace": sign(string(h), string(c)+"}"),
		"TrailingInHeader": sign(string(h)+" null", string(c)), "List": sign(string(h), "["+string(c)+"]"), "Null": sign(string(h), "null"),
		"Text": sign(string(h), `"x"`), "Unclosed": sign(string(h), strings.TrimSuffix(string(c), "}")), "Nothing": sign(string(h), ""),
	} {
		_, err := tk.Verify(token)
		require.True(t, errs.Is(err, errs.Unauthenticated), name)
	}
}

// looseBits sets the unused low bits of the signature's last character, which a lenient decoder ignores.
func looseBits(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[last|1])
}

func TestTokens_ClockSkew(t *testing.T) {
	k := keyring(t)
	ahead, here := newTokens(t, k, TokenConfig{}), newTokens(t, k, TokenConfig{})
	token, _, _, err := ahead.Issue(uid.New(uid.User), uid.New(uid.Session), time.Now().Add(4*time.Second))
	require.NoError(t, err)
	_, err = here.Verify(token)
	require.NoError(t, err, "a replica whose clock is 4 s ahead")
	token, _, _, err = ahead.Issue(uid.New(uid.User), uid.New(uid.Session), time.Now().Add(10*time.Second))
	require.NoError(t, err)
	_, err = here.Verify(token)
	require.True(t, errs.Is(err, errs.Unauthenticated))
	for _, c := range []TokenConfig{{Leeway: 6 * time.Second}, {Leeway: -1}, {TTL: time.Millisecond}} {
		_, err := NewTokens(k, c)
		require.Error(t, err)
	}
}

func TestParseKeyring(t *testing.T) {
	one, err := GenerateSigningKey()
	require.NoError(t, err)
	seed := base64.StdEncoding.EncodeToString(make([]byte, 31)) // one short
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(rsaKey)
	require.NoError(t, err)
	pubDER, err := x509.MarshalPKIXPublicKey(keyring(t).keys[0].public)
	require.NoError(t, err)
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pubDER})
	for name, material := range map[string][]byte{
		"Empty": nil, "Text": []byte("hunter2-hunter2"), "ShortSeed": []byte(seed), "RSA": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		"Broken": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}), "PublicOnly": public, "Twice": append(append([]byte{}, one...), one...),
		"OtherBlock": append(append([]byte{}, one...), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})...),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseKeyring(material)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
	k, err := ParseKeyring([]byte(base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))))
	require.NoError(t, err)
	require.Len(t, k.SigningKeyID(time.Now()), 43)
	_, err = ParseKeyring(append(append([]byte{}, one...), public...))
	require.NoError(t, err)
}

// The example of RFC 8037 appendix A.3.
func TestKeyID(t *testing.T) {
	x, err := base64.RawURLEncoding.DecodeString("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
	require.NoError(t, err)
	require.Equal(t, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", KeyID(x))
}

func TestTokenCache_Bounded(t *testing.T) {
	c := newTokenCache[Claims](10)
	hot := sumOf("hot")
	c.store(hot, Claims{ID: "hot"})
	for i := range 1000 {
		c.store(sumOf(uuid.NewString()), Claims{})
		_, ok := c.load(hot)
		require.True(t, ok, "what is used stays (%d)", i)
		require.LessOrEqual(t, c.len(), 11)
	}
}

func TestRefreshToken(t *testing.T) {
	token, hash, err := NewRefreshToken()
	require.NoError(t, err)
	require.Regexp(t, `^cdsa_rt_[A-Za-z0-9_-]{43}$`, token)
	got, err := HashRefreshToken(token)
	require.NoError(t, err)
	require.True(t, SameHash(hash, got))
	other, otherHash, err := NewRefreshToken()
	require.NoError(t, err)
	require.NotEqual(t, token, other)
	require.False(t, SameHash(hash, otherHash))
	require.NotContains(t, hash, strings.TrimPrefix(token, RefreshPrefix))
	for _, bad := range []string{"", "cdsa_rt_", token[:50], token + "A", " " + token, strings.ToUpper(token), looseBits(token), "cdsa_rt_" + strings.Repeat("!", 43), strings.Repeat("A", 10<<20)} {
		_, err := HashRefreshToken(bad)
		require.True(t, errs.Is(err, errs.Unauthenticated), "%.60q", bad)
	}
}

func BenchmarkTokens_Verify(b *testing.B) {
	tk := newTokens(b, keyring(b), TokenConfig{})
	token, _, _, err := tk.Issue(uid.New(uid.User), uid.New(uid.Session), time.Now())
	require.NoError(b, err)
	b.Run("Signature", func(b *testing.B) {
		st := tk.state.Load()
		for b.Loop() {
			if _, err := tk.verify(st, token, time.Now()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Cached", func(b *testing.B) {
		for b.Loop() {
			if _, err := tk.Verify(token); err != nil {
				b.Fatal(err)
			}
		}
	})
}
