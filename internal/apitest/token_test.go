//go:build unix

package apitest

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/uid"
)

// genuine takes a real token apart, so that forgeries differ from it in one thing only.
func genuine(tb testing.TB, token string) (header, claims map[string]any) {
	tb.Helper()
	parts := strings.Split(token, ".")
	require.Len(tb, parts, 3)
	for i, to := range []*map[string]any{&header, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		require.NoError(tb, err)
		require.NoError(tb, json.Unmarshal(b, to))
	}
	return header, claims
}

func with(m map[string]any, kv ...any) map[string]any {
	m = maps.Clone(m)
	for i := 0; i < len(kv); i += 2 {
		if kv[i+1] == nil {
			delete(m, kv[i].(string))
		} else {
			m[kv[i].(string)] = kv[i+1]
		}
	}
	return m
}

func forge(tb testing.TB, method jwt.SigningMethod, key any, header, claims map[string]any) string {
	tb.Helper()
	t := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	alg := t.Header["alg"]
	t.Header = maps.Clone(header)
	t.Header["alg"] = alg
	s, err := t.SignedString(key)
	require.NoError(tb, err)
	return s
}

// TestForgedTokens: whoever comes with one gets one answer over HTTP, and 4403 over a websocket, and is never taken
// for an anonymous caller.
func TestForgedTokens(t *testing.T) {
	w := shared()
	x := w.person(t, "analyst").login(t)
	h, c := genuine(t, x.token)
	key := ed25519.NewKeyFromSeed(signingKey)
	stranger := ed25519.NewKeyFromSeed(keyOf("stranger")[:32])
	now := time.Now().Unix()
	ed := jwt.SigningMethodEdDSA
	parts := strings.Split(x.token, ".")

	control := *x
	control.token = forge(t, ed, key, h, c)
	control.ok(t, `{ viewer { id } }`, nil, nil) // what is changed below is all that is wrong

	for name, token := range map[string]string{
		"Expired":          forge(t, ed, key, h, with(c, "exp", now-1)),
		"ExpiredLongAgo":   forge(t, ed, key, h, with(c, "exp", 1)),
		"NoExpiry":         forge(t, ed, key, h, with(c, "exp", nil)),
		"NotYet":           forge(t, ed, key, h, with(c, "nbf", now+600)),
		"NoNotBefore":      forge(t, ed, key, h, with(c, "nbf", nil)),
		"OtherIssuer":      forge(t, ed, key, h, with(c, "iss", "someone")),
		"OtherAudience":    forge(t, ed, key, h, with(c, "aud", "someone")),
		"OtherKey":         forge(t, ed, stranger, h, c),
		"OtherKeyID":       forge(t, ed, key, with(h, "kid", "other"), c),
		"KeyIDIsPath":      forge(t, ed, key, with(h, "kid", "../../etc/passwd"), c),
		"NoKeyID":          forge(t, ed, key, with(h, "kid", nil), c),
		"OtherType":        forge(t, ed, key, with(h, "typ", "JWT"), c),
		"AlgNone":          forge(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, h, c),
		"AlgNoneSigned":    base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt","kid":"`+h["kid"].(string)+`"}`)) + "." + parts[1] + "." + parts[2],
		"HS256PublicKey":   forge(t, jwt.SigningMethodHS256, []byte(key.Public().(ed25519.PublicKey)), h, c),
		"HS256Empty":       forge(t, jwt.SigningMethodHS256, []byte{}, h, c),
		"EmbeddedKey":      forge(t, ed, stranger, with(h, "jwk", map[string]any{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(stranger.Public().(ed25519.PublicKey))}), c),
		"Changed":          parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(must(base64.RawURLEncoding.DecodeString(parts[1]))), x.id.String(), w.other.id.String(), 1))) + "." + parts[2],
		"NoSignature":      parts[0] + "." + parts[1] + ".",
		"Cut":              x.token[:len(x.token)-4],
		"OtherSubject":     forge(t, ed, key, h, with(c, "sub", w.other.id.String())), // signed by us and yet wrong: the session is another's
		"OtherSession":     forge(t, ed, key, h, with(c, "sid", w.other.session.String())),
		"SessionOfNoOne":   forge(t, ed, key, h, with(c, "sid", uid.New(uid.Session).String())),
		"SubjectIsSession": forge(t, ed, key, h, with(c, "sub", c["sid"])),
		"SubjectNil":       forge(t, ed, key, h, with(c, "sub", uuid.Nil.String())),
		"SubjectJunk":      forge(t, ed, key, h, with(c, "sub", "admin")),
		"NoSubject":        forge(t, ed, key, h, with(c, "sub", nil)),
		"Word":             "admin",
		"Dots":             "..",
		"Long":             strings.Repeat("a.", 5000),
		"RefreshToken":     x.refresh,
	} {
		t.Run(name, func(t *testing.T) {
			y := *x
			y.token = token
			start := time.Now()
			r := y.do(t, `{ serverInfo { version } }`, nil) // public: a bad token is refused even where none is needed
			require.Equal(t, "UNAUTHENTICATED", r.outcome(), "%s", r)
			require.Equal(t, http.StatusUnauthorized, r.status)
			require.Equal(t, 4403, y.dial(t).closeCode(t))
			require.Less(t, time.Since(start), answerLimit)
		})
	}
	for name, value := range map[string]string{"Scheme": "Basic YWRtaW46YWRtaW4=", "NoScheme": x.token, "Bearer": "Bearer", "Empty": "Bearer ", "Two": "Bearer " + x.token + ", Bearer " + x.token} {
		t.Run("Header"+name, func(t *testing.T) {
			q := raw{body: jsonBody("{ viewer { id } }"), anonymous: true, header: map[string]string{"Authorization": value}}
			require.Equal(t, "UNAUTHENTICATED", q.send(t, x).outcome())
		})
	}
	x.ok(t, `{ viewer { id } }`, nil, nil)
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// TestEndedSessions: what a session is worth once it has ended, over HTTP and over what is open.
func TestEndedSessions(t *testing.T) {
	w := shared()
	for name, end := range map[string]func(t *testing.T, x *person){
		"Logout": func(t *testing.T, x *person) { t.Helper(); x.ok(t, `mutation { logout }`, nil, nil) },
		"Revoked": func(t *testing.T, x *person) {
			t.Helper()
			x.login(t).ok(t, `mutation($id: ID!) { revokeSession(id: $id) { id } }`, map[string]any{"id": x.session}, nil)
		},
		"Others": func(t *testing.T, x *person) {
			t.Helper()
			x.login(t).ok(t, `mutation { revokeOtherSessions }`, nil, nil)
		},
		"RefreshTokenReused": func(t *testing.T, x *person) {
			t.Helper()
			y := x.login(t)
			y.ok(t, `mutation { logout }`, nil, nil)
			require.Equal(t, "UNAUTHENTICATED", y.do(t, operations["Mutation.refreshSession"].query, map[string]any{"t": y.refresh}).outcome())
			x.ok(t, `mutation { logout }`, nil, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := w.newPerson(t, "leaver", "analyst")
			s := x.connect(t)
			o := s.subscribe(t, `subscription { approvalEvents { kind } }`, nil)
			end(t, x)
			require.Equal(t, 4403, s.closeCode(t))
			require.Empty(t, o.frames)
			r := x.do(t, `{ viewer { id } }`, nil)
			require.Equal(t, "UNAUTHENTICATED", r.outcome(), "%s", r)
			require.Equal(t, 4403, x.dial(t).closeCode(t))
			require.Equal(t, "UNAUTHENTICATED", x.do(t, operations["Mutation.refreshSession"].query, map[string]any{"t": x.refresh}).outcome())
		})
	}
}

// TestLostRights: a role taken away is gone at once, for requests and for subscriptions.
func TestLostRights(t *testing.T) {
	w := shared()
	x := w.newPerson(t, "loser", "approver")
	s := x.connect(t)
	s.subscribe(t, `subscription { approvalEvents { kind approval { id } } }`, nil)
	x.ok(t, `{ toolApprovals(first: 1) { totalCount } }`, nil, nil)
	w.root(t).ok(t, `mutation($id: ID!) { unassignRole(userId: $id, role: "approver") { id } }`, map[string]any{"id": x.id}, nil)
	require.Equal(t, "FORBIDDEN", x.do(t, `{ toolApprovals(first: 1) { totalCount } }`, nil).outcome())
	require.Equal(t, 4403, s.closeCode(t), "what was open under the former rights is ended")
}
