package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/testkit/process"
)

const clientSecret = "the provider's and ours"

// TestOIDC signs in with a provider process in a browser. The server starts first: it does not wait for a provider. A
// second provider, which the client plays, forwards people to the first one to get at their code.
func TestOIDC(t *testing.T) {
	chromium := browser(t)
	issuer, attacker := "http://"+freeAddr(t), "http://"+freeAddr(t)
	providers, err := json.Marshal([]map[string]any{{
		"name": "corp", "issuer": issuer, "clientId": "cdsa", "clientSecret": clientSecret, "scopes": []string{"openid", "email", "profile", "groups"},
		"rolesClaim": "groups", "roles": map[string]string{"audit": "auditor"}, "signUp": true,
	}, {"name": "mixup", "issuer": attacker, "clientId": "cdsa", "signUp": true}})
	require.NoError(t, err)
	s := startServer(t, "CDSA_OIDC_PROVIDERS="+string(providers))
	startProvider(t, issuer, s.url+"/oidc/corp")
	with := s.settings()
	with.Chromium, with.Provider, with.Attacker = chromium, issuer, attacker
	runClient(t, "oidc.mjs", 2*time.Minute, with, nil)
	log, err := os.ReadFile(s.logFile)
	require.NoError(t, err)
	require.NotContains(t, string(log), clientSecret)
}

// startProvider runs an OpenID Connect provider that knows this server and one person.
func startProvider(t *testing.T, issuer, redirectURI string) {
	t.Helper()
	with, err := json.Marshal(map[string]any{
		"issuer": issuer,
		"client": map[string]any{"client_id": "cdsa", "client_secret": clientSecret, "redirect_uris": []string{redirectURI}},
		"people": map[string]any{"grace": map[string]any{
			"email": "grace@example.org", "email_verified": true, "name": "Grace Hopper", "preferred_username": "Grace Hopper", "groups": []string{"audit", "navy"},
		}},
	})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "provider.log")
	log, err := os.Create(path)
	require.NoError(t, err)
	defer log.Close()
	cmd := exec.Command("node", "provider.mjs")
	cmd.Dir, cmd.Stdout, cmd.Stderr = "clients", log, log
	cmd.Env = append(os.Environ(), "PROVIDER_SETTINGS="+string(with))
	require.NoError(t, process.Start(cmd))
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended; its exit code is of no interest
		_ = cmd.Wait()
		if b, err := os.ReadFile(path); t.Failed() && err == nil {
			t.Logf("the provider's log:\n%s", b)
		}
	})
}
