// Package idp is a small OpenID Connect provider for tests: it does what it should, and whatever else a test tells it.
// Nobody logs in at it: a test asks for a code in a person's name.
package idp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// What the provider's only client has to say.
const (
	ClientID     = "cdsa"
	ClientSecret = "a secret of the client"
	keyID        = "k1"
)

// Person is who a code stands for: claims of the ID token, sub among them.
type Person map[string]any

// Request is what of an authorization request the code is bound to.
type Request struct{ RedirectURI, Verifier, Nonce string }

// Provider is a running provider. The functions bend what it does; nil ones leave it as it should be. Set them through
// Bend.
type Provider struct {
	URL    string
	server *httptest.Server
	key    *ecdsa.PrivateKey

	mu       sync.Mutex
	codes    map[string]grant
	tokens   map[string]Person
	bends    Bends
	requests map[string]int
}

// Bends is what a provider does otherwise.
type Bends struct {
	Discovery func(document map[string]any)                 // changes the discovery document
	Claims    func(claims map[string]any)                   // changes the claims of ID tokens
	Sign      func(claims []byte) string                    // makes the ID token
	UserInfo  func(claims map[string]any)                   // changes what userinfo answers
	Serve     func(http.ResponseWriter, *http.Request) bool // true: answered
}

type grant struct {
	person  Person
	request Request
}

// New starts a provider on loopback. Close ends it.
func New() *Provider {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // no randomness: no test can go on
	}
	p := &Provider{key: key, codes: map[string]grant{}, tokens: map[string]Person{}, requests: map[string]int{}}
	p.server = httptest.NewServer(p)
	p.URL = p.server.URL
	return p
}

// Close ends the provider.
func (p *Provider) Close() { p.server.Close() }

// Bend replaces what the provider does otherwise.
func (p *Provider) Bend(b Bends) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bends = b
}

// Requests says how often a path was asked for.
func (p *Provider) Requests(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests[path]
}

// Code has a person sign in: the code is good once, for the request.
func (p *Provider) Code(person Person, r Request) string {
	code := rand.Text()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.codes[code] = grant{person, r}
	return code
}

// Sign signs claims as the provider does.
func (p *Provider) Sign(claims []byte) string {
	return SignWith(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.key, KeyID: keyID}}, claims)
}

// SignWith signs claims with any key.
func SignWith(key jose.SigningKey, claims []byte) string {
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		panic(err) // a key of a test that cannot sign
	}
	jws, err := signer.Sign(claims)
	if err != nil {
		panic(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return token
}

// PublicKey is what verifies the tokens, as JSON: bytes that an attacker would use as a shared secret.
func (p *Provider) PublicKey() []byte {
	b, err := jose.JSONWebKey{Key: p.key.Public(), KeyID: keyID}.MarshalJSON()
	if err != nil {
		panic(err)
	}
	return b
}

// Challenge is the S256 challenge of a verifier.
func Challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.requests[r.URL.Path]++
	b := p.bends
	p.mu.Unlock()
	if b.Serve != nil && b.Serve(w, r) {
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		document := map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize?tenant=a", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"userinfo_endpoint": p.URL + "/userinfo", "id_token_signing_alg_values_supported": []string{"ES256", "HS256", "none"},
		}
		if b.Discovery != nil {
			b.Discovery(document)
		}
		answer(w, http.StatusOK, document)
	case "/keys":
		answer(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), KeyID: keyID, Algorithm: "ES256", Use: "sig"}}})
	case "/token":
		p.token(w, r, b)
	case "/userinfo":
		p.userInfo(w, r, b)
	default:
		http.NotFound(w, r)
	}
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request, b Bends) {
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	if id != ClientID || secret != "" && secret != "a+secret+of+the+client" && secret != ClientSecret {
		answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	p.mu.Lock()
	g, ok := p.codes[r.PostFormValue("code")]
	delete(p.codes, r.PostFormValue("code")) // good once, also for who gets it wrong
	p.mu.Unlock()
	if !ok || r.PostFormValue("grant_type") != "authorization_code" || r.PostFormValue("redirect_uri") != g.request.RedirectURI || r.PostFormValue("code_verifier") != g.request.Verifier {
		answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_description": "the code " + r.PostFormValue("code") + " is not good"})
		return
	}
	now := time.Now()
	claims := map[string]any{"iss": p.URL, "aud": ClientID, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	if g.request.Nonce != "" {
		claims["nonce"] = g.request.Nonce
	}
	maps.Copy(claims, g.person)
	if b.Claims != nil {
		b.Claims(claims)
	}
	text, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	sign := p.Sign
	if b.Sign != nil {
		sign = b.Sign
	}
	access := rand.Text()
	p.mu.Lock()
	p.tokens[access] = g.person
	p.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 60, "id_token": sign(text)})
}

func (p *Provider) userInfo(w http.ResponseWriter, r *http.Request, b Bends) {
	const prefix = "Bearer "
	header := r.Header.Get("Authorization")
	p.mu.Lock()
	person, ok := p.tokens[header[min(len(header), len(prefix)):]]
	p.mu.Unlock()
	if !ok {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	claims := maps.Clone(map[string]any(person))
	if b.UserInfo != nil {
		b.UserInfo(claims)
	}
	answer(w, http.StatusOK, claims)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a caller that went away is what some tests are about
}
