package auth

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	gojwt "github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uid"
)

func parse(tb testing.TB, material []byte) *Keyring {
	tb.Helper()
	k, err := ParseKeyring(material)
	require.NoError(tb, err)
	return k
}

func issue(tb testing.TB, t *Tokens) string {
	tb.Helper()
	token, _, _, err := t.Issue(uid.New(uid.User), uid.New(uid.Session), time.Now())
	require.NoError(tb, err)
	return token
}

func kidOf(tb testing.TB, token string) string {
	tb.Helper()
	tok, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.EdDSA})
	require.NoError(tb, err)
	return tok.Headers[0].KeyID
}

// TestRotate goes through two rotations with two replicas, of which one reads each new keyring late.
func TestRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pass := func(d time.Duration) { <-time.After(d) } // of the bubble's clock
		first, err := GenerateSigningKey()
		require.NoError(t, err)
		cfg := TokenConfig{TTL: time.Hour}
		early, late := newTokens(t, parse(t, first), cfg), newTokens(t, parse(t, first), cfg)
		both := func(token string) {
			t.Helper()
			for _, r := range []*Tokens{early, late} {
				_, err := r.Verify(token)
				require.NoError(t, err)
			}
		}
		old := issue(t, early)
		both(old)

		r, err := Rotate(first, time.Now())
		require.NoError(t, err)
		require.Empty(t, r.Dropped)
		_, err = Rotate(r.Material, time.Now())
		require.ErrorContains(t, err, "rotate again after that")
		require.NoError(t, early.SetKeyring(parse(t, r.Material)))
		token := issue(t, early)
		require.Equal(t, kidOf(t, old), kidOf(t, token), "the new key is only accepted for a minute")
		both(token)
		pass(30 * time.Second)
		require.NoError(t, late.SetKeyring(parse(t, r.Material)))
		pass(30 * time.Second)
		token = issue(t, early)
		require.Equal(t, r.KeyID, kidOf(t, token))
		require.Equal(t, r.KeyID, early.Keyring().SigningKeyID(time.Now()))
		both(token)
		last, _, _, err := late.Issue(uid.New(uid.User), uid.New(uid.Session), r.SignsFrom.Add(-time.Second))
		require.NoError(t, err)
		require.Equal(t, kidOf(t, old), kidOf(t, last))
		pass(58 * time.Minute)
		both(old)
		both(last) // the old key's last token, just before its end
		pass(7 * time.Minute)
		for _, r := range []*Tokens{early, late} {
			_, err := r.Verify(old)
			require.True(t, errs.Is(err, errs.Unauthenticated))
			require.Len(t, r.Keyring().KeyIDs(time.Now()), 1, "a retired key is accepted no more, whether or not the file is written again")
		}

		again, err := Rotate(r.Material, time.Now())
		require.NoError(t, err)
		require.Equal(t, []string{kidOf(t, old)}, again.Dropped)
		require.Equal(t, []string{again.KeyID, r.KeyID}, parse(t, again.Material).KeyIDs(time.Now()))
		pass(2 * time.Minute)
		third, err := Rotate(again.Material, time.Now())
		require.NoError(t, err)
		require.Equal(t, 2, bytes.Count(third.Material, []byte("BEGIN PRIVATE KEY")), "of a key that signs no more only the public half is kept")
		require.Equal(t, 1, bytes.Count(third.Material, []byte("BEGIN PUBLIC KEY")))
	})
}

// TestTokens_SetKeyring: what was verified by a key is refused once the key is gone, though it was remembered.
func TestTokens_SetKeyring(t *testing.T) {
	old, err := GenerateSigningKey()
	require.NoError(t, err)
	tk := newTokens(t, parse(t, old), TokenConfig{})
	token := issue(t, tk)
	for range 2 {
		_, err = tk.Verify(token)
		require.NoError(t, err)
	}
	r, err := Replace(old, time.Now())
	require.NoError(t, err)
	require.Equal(t, []string{kidOf(t, token)}, r.Dropped)
	require.NoError(t, tk.SetKeyring(parse(t, r.Material)))
	_, err = tk.Verify(token)
	require.True(t, errs.Is(err, errs.Unauthenticated))
	fresh := issue(t, tk)
	require.Equal(t, r.KeyID, kidOf(t, fresh))
	require.Error(t, tk.SetKeyring(nil))
	_, err = tk.Verify(fresh)
	require.NoError(t, err, "a keyring that is refused changes nothing")
}

// TestTokens_SwappedKid: a token of one accepted key does not pass for one of another.
func TestTokens_SwappedKid(t *testing.T) {
	second, err := GenerateSigningKey()
	require.NoError(t, err)
	k := keyring(t, second)
	tk := newTokens(t, k, TokenConfig{})
	f := goodForge(k, time.Now())
	_, err = tk.Verify(f.sign(t, gojwt.SigningMethodEdDSA, k.keys[0].private))
	require.NoError(t, err)
	_, err = tk.Verify(f.sign(t, gojwt.SigningMethodEdDSA, k.keys[1].private))
	require.True(t, errs.Is(err, errs.Unauthenticated))
	f.header["kid"] = k.keys[1].id
	_, err = tk.Verify(f.sign(t, gojwt.SigningMethodEdDSA, k.keys[0].private))
	require.True(t, errs.Is(err, errs.Unauthenticated))
	_, err = tk.Verify(f.sign(t, gojwt.SigningMethodEdDSA, k.keys[1].private))
	require.NoError(t, err)
}

// TestTokens_KeyEnds: an end that was written for a key ends its tokens too, remembered or not.
func TestTokens_KeyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keyring(t)
		tk := newTokens(t, k, TokenConfig{})
		token := issue(t, tk)
		ending := k.keys[0]
		ending.private, ending.notAfter = nil, time.Now().Add(time.Minute)
		b, err := ending.encode()
		require.NoError(t, err)
		require.NoError(t, tk.SetKeyring(keyring(t, b)))
		c, err := tk.Verify(token)
		require.NoError(t, err)
		require.True(t, c.ExpiresAt.Equal(ending.notAfter))
		<-time.After(time.Minute)
		_, err = tk.Verify(token)
		require.True(t, errs.Is(err, errs.Unauthenticated))
	})
}

func TestKeyring_Signer(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	key := func(notBefore, notAfter time.Duration) ringKey {
		k := keyring(t).keys[0]
		if notBefore != 0 {
			k.notBefore = now.Add(notBefore)
		}
		if notAfter != 0 {
			k.notAfter = now.Add(notAfter)
		}
		return k
	}
	for name, c := range map[string]struct {
		keys []ringKey
		want int // -1: none
	}{
		"TheFirst":          {[]ringKey{key(0, 0), key(0, 0)}, 0},
		"TheNewest":         {[]ringKey{key(0, 0), key(-time.Hour, 0), key(-time.Minute, 0)}, 2},
		"NotTheComing":      {[]ringKey{key(time.Minute, 0), key(-time.Hour, 0)}, 1},
		"BegunNow":          {[]ringKey{key(0, 0), key(time.Nanosecond-time.Nanosecond, 0), key(-1, 0)}, 2},
		"NotTheEnded":       {[]ringKey{key(0, 0), key(-time.Hour, -time.Minute)}, 0},
		"ClockBehind":       {[]ringKey{key(2*time.Minute, 0), key(time.Minute, 0)}, 1},
		"AllEnded":          {[]ringKey{key(0, -time.Second)}, -1},
		"EndsAtTheLastTick": {[]ringKey{key(0, time.Second)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var material []byte
			for _, k := range c.keys {
				b, err := k.encode()
				require.NoError(t, err)
				material = append(material, b...)
			}
			want := ""
			if c.want >= 0 {
				want = c.keys[c.want].id
			}
			require.Equal(t, want, parse(t, material).SigningKeyID(now))
			if want == "" {
				_, err := NewTokens(parse(t, material), TokenConfig{})
				require.Error(t, err)
				_, err = Rotate(material, now)
				require.Error(t, err)
			}
		})
	}
}

// TestRotate_Seed: a bare seed becomes a keyring whose old key is the seed's.
func TestRotate_Seed(t *testing.T) {
	seed := bytes.Repeat([]byte{7, 9}, 16)
	r, err := Rotate([]byte(base64.StdEncoding.EncodeToString(seed)), time.Now())
	require.NoError(t, err)
	pub, _ := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	k := parse(t, r.Material)
	require.Equal(t, []string{r.KeyID, KeyID(pub)}, k.KeyIDs(time.Now()))
	require.Equal(t, KeyID(pub), k.SigningKeyID(time.Now()))
	for _, bad := range [][]byte{nil, []byte("hunter2"), r.Material[:len(r.Material)-10]} {
		_, err := Rotate(bad, time.Now())
		require.Error(t, err)
		_, err = Replace(bad, time.Now())
		require.Error(t, err)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

// TestServeJWKS reads the set with another library and verifies a token by it.
func TestServeJWKS(t *testing.T) {
	first, err := GenerateSigningKey()
	require.NoError(t, err)
	r, err := Rotate(first, time.Now())
	require.NoError(t, err)
	tk := newTokens(t, parse(t, r.Material), TokenConfig{})
	w := httptest.NewRecorder()
	tk.ServeJWKS(w, httptest.NewRequest(http.MethodGet, "/.well-known/jwks.json", nil))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "application/jwk-set+json", w.Header().Get("Content-Type"))
	require.Equal(t, "public, max-age=30", w.Header().Get("Cache-Control"))
	var set jose.JSONWebKeySet
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &set))
	require.Len(t, set.Keys, 2)
	for _, k := range set.Keys {
		require.True(t, k.Valid())
		require.True(t, k.IsPublic())
		require.Equal(t, "sig", k.Use)
		require.Equal(t, "EdDSA", k.Algorithm)
		sum, err := k.Thumbprint(crypto.SHA256)
		require.NoError(t, err)
		require.Equal(t, k.KeyID, base64.RawURLEncoding.EncodeToString(sum))
	}
	tok, err := jwt.ParseSigned(issue(t, tk), []jose.SignatureAlgorithm{jose.EdDSA})
	require.NoError(t, err)
	var claims jwt.Claims
	require.NoError(t, tok.Claims(set, &claims))
	require.NoError(t, claims.Validate(jwt.Expected{Issuer: "cdsa", AnyAudience: []string{"cdsa-api"}, Time: time.Now()}))
	require.NotContains(t, w.Body.String(), `"d"`, "the private half stays")

	w = httptest.NewRecorder()
	tk.ServeJWKS(w, httptest.NewRequest(http.MethodPost, "/.well-known/jwks.json", nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
}
