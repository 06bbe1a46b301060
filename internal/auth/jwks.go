package auth

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// jwksMaxAge is shorter than the time from a key's appearance to its first token.
const jwksMaxAge = "public, max-age=30"

// jwk is a public key, RFC 8037 section 2.
type jwk struct {
	KeyType   string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	KeyID     string `json:"kid"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
}

// JWKS is the JWK set (RFC 7517 section 5) of the keys that are accepted at a time, those that will sign included.
func (k *Keyring) JWKS(now time.Time) ([]byte, error) {
	set := struct {
		Keys []jwk `json:"keys"`
	}{[]jwk{}}
	for i := range k.keys {
		if c := &k.keys[i]; !c.over(now) {
			set.Keys = append(set.Keys, jwk{"OKP", "Ed25519", base64.RawURLEncoding.EncodeToString(c.public), c.id, "sig", "EdDSA"})
		}
	}
	b, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("write the JWK set: %w", err)
	}
	return b, nil
}

// ServeJWKS answers GET and HEAD with the public keys of access tokens. Anyone may read them.
func (t *Tokens) ServeJWKS(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "Use GET.", http.StatusMethodNotAllowed)
		return
	}
	b, err := t.state.Load().keys.JWKS(time.Now())
	if err != nil {
		http.Error(w, "The keys cannot be shown at this moment.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/jwk-set+json")
	h.Set("Cache-Control", jwksMaxAge)
	_, _ = w.Write(b) // the peer may have left
}
