package oidc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"cdsa.dev/cdsa/internal/errs"
)

const (
	freshFor   = time.Hour     // how long a discovery document is used without asking again
	usableFor  = 4 * time.Hour // how long it is used while the provider cannot be asked
	maxBackoff = 32            // times RetryAfter
	exchanges  = 16            // sign-ins at one provider at once
)

// Provider is one OpenID Connect provider.
type Provider struct {
	set       Settings
	plainHTTP bool
	timeout   time.Duration
	retry     time.Duration
	now       func() time.Time
	log       *slog.Logger
	client    *http.Client
	slots     chan struct{}
	ctx       context.Context //nolint:containedctx // the set's: it bounds what goes on in the background
	wg        *sync.WaitGroup

	mu       sync.Mutex
	known    *discovered   // nil until the first discovery succeeded
	under    chan struct{} // closed when the attempt under way ends; nil: none is
	failures int           // in a row
	wait     time.Time     // no attempt before
}

func newProvider(ctx context.Context, c Config, settings Settings, wg *sync.WaitGroup) *Provider {
	return &Provider{
		set: settings, plainHTTP: c.PlainHTTP, timeout: c.Timeout, retry: c.RetryAfter, now: c.Now, log: c.Log,
		client: newClient(c.Timeout), slots: make(chan struct{}, exchanges), ctx: ctx, wg: wg,
	}
}

// Name is the provider's in the configuration.
func (p *Provider) Name() string { return p.set.Name }

// SignUp says whether people without an account get one.
func (p *Provider) SignUp() bool { return p.set.SignUp }

// DefaultRoles are the roles of such an account, besides those of its claims; nil leaves it to the caller.
func (p *Provider) DefaultRoles() []string { return slices.Clone(p.set.DefaultRoles) }

// Managed are the names of the roles that this provider gives and takes, sorted.
func (p *Provider) Managed() []string {
	var names []string
	for _, role := range p.set.Roles {
		names = append(names, role)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// asymmetric are the signatures that are taken: with a shared secret, whoever knows it could sign.
var asymmetric = []string{
	gooidc.RS256, gooidc.RS384, gooidc.RS512, gooidc.PS256, gooidc.PS384, gooidc.PS512, gooidc.ES256, gooidc.ES384, gooidc.ES512, gooidc.EdDSA,
}

// discovered is what a provider says of itself.
type discovered struct {
	provider         *gooidc.Provider
	verifier         *gooidc.IDTokenVerifier
	endpoint         oauth2.Endpoint
	authorizationURL string
	hasUserInfo      bool
	saysIssuer       bool      // its answers carry iss
	at               time.Time // when it was asked
}

// within is what was discovered and is not older than age; nil: nothing. The caller holds mu.
func (p *Provider) within(age time.Duration) *discovered {
	if p.known == nil || p.now().Sub(p.known.at) >= age {
		return nil
	}
	return p.known
}

// present gives what is known, however old, nil when nothing is, and begins an attempt when it is time for one.
func (p *Provider) present() *discovered {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.within(freshFor) == nil {
		p.begin()
	}
	return p.known
}

// discovered gives what is fresh or becomes so by the attempt under way: a key that the provider withdrew must not be
// used because nobody signed in for a while. When the provider cannot be asked it gives what is still usable.
// UPSTREAM_UNAVAILABLE.
func (p *Provider) discovered(ctx context.Context) (*discovered, error) {
	p.mu.Lock()
	d := p.within(freshFor)
	if d == nil {
		p.begin()
	}
	under := p.under
	p.mu.Unlock()
	if d != nil {
		return d, nil
	}
	if under != nil {
		select {
		case <-under:
		case <-ctx.Done():
			return nil, p.unavailable(ctx.Err())
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if d = p.within(usableFor); d == nil {
		return nil, p.unavailable(errors.New("it is not discovered, or was too long ago"))
	}
	return d, nil
}

// begin starts an attempt unless one is under way, one failed a moment ago or the set is closed. The caller holds mu.
func (p *Provider) begin() {
	if p.under != nil || p.ctx.Err() != nil || time.Now().Before(p.wait) {
		return
	}
	done := make(chan struct{})
	p.under = done
	p.wg.Go(func() {
		ctx, cancel := context.WithTimeout(p.ctx, p.timeout)
		defer cancel()
		d, err := p.discover(ctx)
		p.mu.Lock()
		defer p.mu.Unlock()
		defer close(done)
		p.under = nil
		if err == nil {
			p.known, p.failures, p.wait = d, 0, time.Time{}
			return
		}
		p.wait = time.Now().Add(p.retry * time.Duration(min(1<<min(p.failures, 10), maxBackoff)))
		p.failures++
		if p.ctx.Err() == nil {
			p.log.WarnContext(ctx, "an OpenID Connect provider cannot be discovered", "provider", p.set.Name, "error", brief(err))
		}
	})
}

// discover reads the discovery document and takes nothing from it that could lead astray.
func (p *Provider) discover(ctx context.Context) (*discovered, error) {
	at := p.now()
	provider, err := gooidc.NewProvider(gooidc.ClientContext(ctx, p.client), p.set.Issuer)
	if err != nil {
		return nil, err
	}
	var more struct {
		Keys       string   `json:"jwks_uri"`
		Methods    []string `json:"token_endpoint_auth_methods_supported"`
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
		SaysIssuer bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207 section 3
	}
	if err := provider.Claims(&more); err != nil {
		return nil, fmt.Errorf("read the discovery document: %w", err)
	}
	d := &discovered{provider: provider, endpoint: provider.Endpoint(), hasUserInfo: provider.UserInfoEndpoint() != "", saysIssuer: more.SaysIssuer, at: at}
	for name, address := range map[string]string{
		"authorization_endpoint": d.endpoint.AuthURL, "token_endpoint": d.endpoint.TokenURL, "jwks_uri": more.Keys, "userinfo_endpoint": provider.UserInfoEndpoint(),
	} {
		if (address != "" || name != "userinfo_endpoint") && !secureURL(address, p.plainHTTP) {
			return nil, fmt.Errorf("%s of the discovery document is missing or not https", name)
		}
	}
	// Trying one and then the other would spend the code.
	d.endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if p.set.ClientSecret == "" || len(more.Methods) > 0 && !slices.Contains(more.Methods, "client_secret_basic") {
		d.endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	offered := slices.DeleteFunc(more.Algorithms, func(a string) bool { return !slices.Contains(asymmetric, a) })
	if len(offered) == 0 {
		return nil, errors.New("the discovery document offers no signature that is accepted")
	}
	remote := gooidc.NewRemoteKeySet(gooidc.ClientContext(context.WithoutCancel(ctx), p.client), more.Keys)
	d.verifier = gooidc.NewVerifier(p.set.Issuer, keys{remote}, &gooidc.Config{ClientID: p.set.ClientID, SupportedSigningAlgs: offered, Now: p.now})
	u, err := url.Parse(d.endpoint.AuthURL)
	if err != nil {
		return nil, errors.New("authorization_endpoint of the discovery document is not a URL")
	}
	q := u.Query()
	q.Set("client_id", p.set.ClientID)
	q.Set("response_type", "code")
	q.Set("scope", strings.Join(p.set.Scopes, " "))
	u.RawQuery, u.Fragment = q.Encode(), ""
	d.authorizationURL = u.String()
	return d, nil
}

// unavailable is what a client is told when the provider does not do its part.
func (p *Provider) unavailable(cause error) error {
	e := errs.Wrap(errors.New(brief(cause)), errs.UpstreamUnavailable, "The provider %s does not answer as it should. Try again in a minute, or sign in another way.", p.set.Name)
	e.Retryable = true
	return e
}

const maxBrief = 300

// brief is an error's text for the log: a provider's own words are cut.
func brief(err error) string {
	s := err.Error()
	if len(s) > maxBrief {
		s = s[:maxBrief] + " …"
	}
	return strings.ToValidUTF8(s, "?")
}
