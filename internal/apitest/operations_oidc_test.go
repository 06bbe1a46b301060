//go:build unix

package apitest

import (
	"encoding/json"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/testkit/idp"
	"cdsa.dev/cdsa/internal/uid"
)

// provider is the OpenID Connect provider of every server here.
var provider = sync.OnceValue(idp.New)

const (
	redirectURI  = "http://127.0.0.1:8080/"
	codeVerifier = "a-verifier-of-at-least-forty-three-characters"
)

// oidcEnv makes a server know the provider, which may make accounts.
func oidcEnv(tb testing.TB) string {
	tb.Helper()
	b, err := json.Marshal([]map[string]any{{
		"name": "corp", "issuer": provider().URL, "clientId": idp.ClientID, "clientSecret": idp.ClientSecret, "signUp": true,
		"rolesClaim": "groups", "roles": map[string]string{"audit": "auditor"},
	}})
	require.NoError(tb, err)
	keepOut(idp.ClientSecret, codeVerifier)
	return "CDSA_OIDC_PROVIDERS=" + string(b)
}

func exchange(tb testing.TB, claims idp.Person) map[string]any {
	tb.Helper()
	code := provider().Code(claims, idp.Request{RedirectURI: redirectURI, Verifier: codeVerifier, Nonce: "n"})
	keepOut(code)
	return map[string]any{"in": map[string]any{"provider": "corp", "code": code, "codeVerifier": codeVerifier, "redirectUri": redirectURI, "nonce": "n"}}
}

func init() {
	maps.Copy(operations, map[string]operation{
		"Mutation.exchangeOidcCode": {query: `mutation($in: ExchangeOidcCodeInput!) { exchangeOidcCode(input: $in) ` + userFields + ` }`, vars: func(tb testing.TB, _ *world, _ *person) map[string]any {
			n := uid.New(uid.User).String()
			return exchange(tb, idp.Person{"sub": n, "email": n + "@example.org", "email_verified": true})
		}},
	})
}

// TestOIDC is the flow as a client sees it: from serverInfo to the rights of who signed in.
func TestOIDC(t *testing.T) {
	w := shared()
	stranger := &person{server: w.server}
	var info struct {
		ServerInfo struct {
			OidcProviders []struct{ Name, AuthorizationURL string }
		}
	}
	eventually(t, "the provider is discovered", func() bool {
		stranger.ok(t, `{ serverInfo { oidcProviders { name authorizationUrl } } }`, nil, &info)
		return len(info.ServerInfo.OidcProviders) == 1
	})
	require.Equal(t, "corp", info.ServerInfo.OidcProviders[0].Name)
	require.True(t, strings.HasPrefix(info.ServerInfo.OidcProviders[0].AuthorizationURL, provider().URL+"/authorize?client_id=cdsa&response_type=code&scope=openid+email+profile"))

	n := uid.New(uid.User).String()
	vars := exchange(t, idp.Person{"sub": n, "email": n + "@example.org", "email_verified": true, "groups": []string{"audit"}})
	query := `mutation($in: ExchangeOidcCodeInput!) { exchangeOidcCode(input: $in) { accessToken user { permissions roles { name } } } }`
	var d struct {
		ExchangeOidcCode struct {
			AccessToken string
			User        struct {
				Permissions []string
				Roles       []struct{ Name string }
			}
		}
	}
	stranger.ok(t, query, vars, &d)
	require.Contains(t, d.ExchangeOidcCode.User.Permissions, "audit:read")
	signed := &person{server: w.server, token: d.ExchangeOidcCode.AccessToken}
	signed.ok(t, `{ auditLogs(first: 1) { totalCount } }`, nil, nil)

	acts := w.since(t)
	require.Equal(t, "UNAUTHENTICATED", stranger.do(t, query, vars).outcome(), "a code is good once")
	require.Len(t, of(acts(), "LOGIN_FAILED", [16]byte{}), 1)
}
