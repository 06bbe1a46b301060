// Package oidc signs people in with OpenID Connect providers: authorization code with PKCE, the code exchanged here.
//
// It says who somebody is at a provider and which roles their claims map to. Accounts are package account's: it makes
// none, links none and stores nothing. It believes a provider only about itself: the discovery document and the ID
// token must carry the configured issuer, signatures are asymmetric, the token is for this client and for the request's
// nonce. It follows no redirect to another host, reads no more than a megabyte and waits for nothing longer than some
// seconds. It never logs a code, a token or a claim.
//
// Providers are discovered in the background: one that is down neither keeps the server from starting nor makes a
// listing wait. What was discovered an hour ago is asked for again before it is used; for three hours more it is used
// when the provider cannot be asked, then not any more. A Set is safe for concurrent use. Errors are *errs.Error (the
// provider does not answer) or *Refused.
package oidc

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config is what a Set works with. Zero durations take their defaults.
type Config struct {
	Providers  []Settings
	PlainHTTP  bool          // endpoints on this machine may be http
	Timeout    time.Duration // of one sign-in or one discovery; 10 s
	RetryAfter time.Duration // after a discovery that failed; doubled for each further one, to 32 times; 1 s
	Log        *slog.Logger
	Now        func() time.Time // judges the expiry of ID tokens and the age of what was discovered; nil: the wall clock
}

// Set is the configured providers. The nil Set has none.
type Set struct {
	list []*Provider
	end  context.CancelFunc
	wg   sync.WaitGroup
}

// New makes a set and begins to discover its providers. It does not wait for them. Close ends what goes on.
func New(c Config) *Set {
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	if c.RetryAfter <= 0 {
		c.RetryAfter = time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	ctx, end := context.WithCancel(context.Background())
	s := &Set{end: end}
	for _, settings := range c.Providers {
		p := newProvider(ctx, c, settings, &s.wg)
		s.list = append(s.list, p)
		p.mu.Lock()
		p.begin()
		p.mu.Unlock()
	}
	return s
}

// Close ends background work and waits for it. Calling it again does nothing.
func (s *Set) Close() {
	if s == nil {
		return
	}
	s.end()
	for _, p := range s.list { // nothing begins after this
		p.mu.Lock()
		p.mu.Unlock() //nolint:staticcheck // SA2001: waits for a beginning under way
	}
	s.wg.Wait()
}

// Find gives the provider of a name.
func (s *Set) Find(name string) (*Provider, bool) {
	if s != nil {
		for _, p := range s.list {
			if p.set.Name == name {
				return p, true
			}
		}
	}
	return nil, false
}

// Manages says whether the settings of a provider name a role, as one of claims or of new accounts.
func (s *Set) Manages(role string) bool {
	return s != nil && slices.ContainsFunc(s.list, func(p *Provider) bool {
		return slices.Contains(p.Managed(), role) || slices.Contains(p.set.DefaultRoles, role)
	})
}

// OwnPath says whether answers of the provider may come to an address with this path: with several providers one that
// ends in a slash and the provider's name. An address that all share would not tell whose answer it is (RFC 9700
// section 4.4).
func (s *Set) OwnPath(p *Provider, path string) bool {
	return len(s.list) == 1 || strings.HasSuffix(path, "/"+p.set.Name)
}

// Listed is a provider one can sign in with now.
type Listed struct {
	Name string
	// AuthorizationURL lacks redirect_uri, state, nonce, code_challenge and code_challenge_method=S256: the client's own.
	AuthorizationURL string
}

// Listed gives the providers that were discovered, in the order of the configuration. It never waits: for the others
// it has a further attempt begun, when it is time for one.
func (s *Set) Listed() []Listed {
	list := []Listed{}
	if s == nil {
		return list
	}
	for _, p := range s.list {
		if k := p.present(); k != nil {
			list = append(list, Listed{p.set.Name, k.authorizationURL})
		}
	}
	return list
}
