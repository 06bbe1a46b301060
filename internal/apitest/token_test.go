//go:build unix

package apitest

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/auth"
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

	early := control // of a replica whose clock is 4 s ahead
	early.token = forge(t, ed, key, h, with(c, "iat", now+4, "nbf", now-1))
	early.ok(t, `{ viewer { id } }`, nil, nil)

	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a key was fetched from where the token says") }))
	defer elsewhere.Close()
	deleted := w.newPerson(t, "deleted", "analyst")
	w.sql(t, `DELETE FROM sessions WHERE id = $1`, deleted.session)
	apiToken, _ := x.newToken(t, time.Hour, "chat:read")
	revoked, revokedID := x.newToken(t, time.Hour, "chat:read")
	x.ok(t, `mutation($id: ID!) { revokeSession(id: $id) { id } }`, map[string]any{"id": revokedID}, nil)
	expired, expiredID := x.newToken(t, time.Hour, "chat:read")
	w.sql(t, `UPDATE sessions SET expires_at = now() WHERE id = $1`, expiredID)
	leaver := w.newPerson(t, "leaver", "analyst")
	leavers, _ := leaver.newToken(t, time.Hour, "chat:read")
	w.sql(t, `UPDATE users SET is_active = FALSE WHERE id = $1`, leaver.id)

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
		"MailedToken":      "cdsa_mail_" + base64.RawURLEncoding.EncodeToString(keyOf("mail")),
		"BeyondTheSkew":    forge(t, ed, key, h, with(c, "nbf", now+10)),
		"LivesTooLong":     forge(t, ed, key, h, with(c, "exp", now+10*365*86400)),
		"UnknownClaim":     forge(t, ed, key, h, with(c, "admin", true)),
		"Critical":         forge(t, ed, key, with(h, "crit", []string{"exp"}), c),
		"Unencoded":        forge(t, ed, key, with(h, "b64", false, "crit", []string{"b64"}), c),
		"KeyAtURL":         forge(t, ed, stranger, with(h, "jku", elsewhere.URL), c),
		"KeyAtX5U":         forge(t, ed, stranger, with(h, "x5u", elsewhere.URL), c),
		"KeyAtURLSigned":   forge(t, ed, key, with(h, "jku", elsewhere.URL), c),
		"KeyInChain":       forge(t, ed, stranger, with(h, "x5c", []string{"AAAA"}), c),
		"SubjectTwice":     spelled(key, h, c, `"sub":"`+w.other.id.String()+`"`),
		"SubjectCapitals":  spelled(key, h, c, `"SUB":"`+w.other.id.String()+`"`),
		"Trailing":         spelled(key, h, c, "", `{}`),
		"SessionDeleted":   deleted.token,
		"APITokenTypo":     apiToken[:len(apiToken)-1] + other(apiToken[len(apiToken)-1]),
		"APITokenUnknown":  must2(auth.NewAPIToken()),
		"APITokenCut":      apiToken[:30],
		"APITokenPrefix":   auth.APITokenPrefix,
		"APITokenUpper":    strings.ToUpper(apiToken),
		"APITokenRevoked":  revoked,
		"APITokenExpired":  expired,
		"APITokenOfLeaver": leavers,
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
	t.Run("SeveralHeaders", func(t *testing.T) {
		for _, second := range []string{"Bearer " + x.token, "", "Basic eA=="} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/graphql", jsonBody("{ serverInfo { version } }"))
			require.NoError(t, err)
			req.Header["Authorization"] = []string{"Bearer " + x.token, second}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Accept", "application/graphql-response+json")
			require.Equal(t, "UNAUTHENTICATED", send(t, req).outcome())
		}
	})
	t.Run("Megabyte", func(t *testing.T) {
		for _, huge := range []string{strings.Repeat("a", 1<<20), parts[0] + "." + parts[1] + "." + strings.Repeat("A", 1<<20), auth.APITokenPrefix + strings.Repeat("A", 1<<20)} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/graphql", jsonBody("{ serverInfo { version } }"))
			require.NoError(t, err)
			req.Header.Set("Authorization", "Bearer "+huge)
			req.Header.Set("Content-Type", "application/json")
			if res, err := httpClient.Do(req); err == nil { // or the server hangs up while it is still being written
				require.NoError(t, res.Body.Close())
				require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, res.StatusCode, "before it is a request at all")
			}
			y := *x
			y.token = huge[:1<<15] // as much as someone unknown may send
			require.Equal(t, 4403, y.dial(t).closeCode(t))
			s := y.open(t)
			_ = s.ws.WriteJSON(map[string]any{"type": "connection_init", "payload": map[string]any{"Authorization": "Bearer " + huge}}) // may be cut off while it sends
			require.Equal(t, websocket.CloseMessageTooBig, s.closeCode(t), "without being read")
		}
	})
	x.ok(t, `{ viewer { id } }`, nil, nil)
}

// spelled signs claims in which something stands that a JSON encoder does not write.
func spelled(key ed25519.PrivateKey, header, claims map[string]any, member string, behind ...string) string {
	c := string(must(json.Marshal(claims)))
	if member != "" {
		c = strings.TrimSuffix(c, "}") + "," + member + "}"
	}
	text := base64.RawURLEncoding.EncodeToString(must(json.Marshal(header))) + "." + base64.RawURLEncoding.EncodeToString([]byte(c+strings.Join(behind, "")))
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
}

func other(c byte) string {
	if c == '0' {
		return "1"
	}
	return "0"
}

func must2(s, _ string, err error) string {
	if err != nil {
		panic(err)
	}
	return s
}

// sql changes what the API does not, as the database's owner.
func (s *server) sql(tb testing.TB, statement string, args ...any) {
	tb.Helper()
	tag, err := s.db.Owner.Exec(tb.Context(), statement, args...)
	require.NoError(tb, err)
	require.Positive(tb, tag.RowsAffected())
}

// newToken makes an API token of x and gives it with its session's id.
func (x *person) newToken(tb testing.TB, life time.Duration, permissions ...string) (string, uuid.UUID) {
	tb.Helper()
	var d struct {
		CreateAPIToken struct {
			Token   string
			Session struct{ ID uuid.UUID }
		} `json:"createApiToken"`
	}
	x.ok(tb, operations["Mutation.createApiToken"].query, map[string]any{"in": tokenInput(x, life, permissions...)}, &d)
	keepOut(d.CreateAPIToken.Token)
	return d.CreateAPIToken.Token, d.CreateAPIToken.Session.ID
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
