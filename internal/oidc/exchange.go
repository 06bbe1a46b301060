package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Grant is what a client brings back from the provider's authorization endpoint. Issuer is the answer's iss, nil when it
// had none.
type Grant struct {
	Code, Verifier, RedirectURI, Nonce string
	Issuer                             *string
}

// Refused says that a grant or its ID token is not good. Its reason is for the audit log.
type Refused struct {
	Reason string // of the constants below
	cause  error
}

// Why a grant is refused.
const (
	ReasonIssuer  = "issuer"   // the answer is another provider's, or does not say whose although this one does
	ReasonCode    = "code"     // unknown, used, outlived, of another client, redirect address or verifier
	ReasonIDToken = "id_token" // not for this client, not from this issuer, expired, not signed as it must be
	ReasonNonce   = "nonce"
	ReasonSubject = "subject" // userinfo is of somebody else
)

func (r *Refused) Error() string {
	if r.cause == nil {
		return "refused: " + r.Reason
	}
	return "refused: " + r.Reason + ": " + brief(r.cause)
}

// Unwrap gives the cause.
func (r *Refused) Unwrap() error { return r.cause }

// Exchange redeems a code, once, and tells who signed in. *Refused when the provider or the ID token says no;
// UPSTREAM_UNAVAILABLE when the provider does not answer, or does not know this server's client: that is logged.
func (p *Provider) Exchange(ctx context.Context, g Grant) (Identity, error) {
	if g.Issuer != nil && *g.Issuer != p.set.Issuer { // RFC 9207 section 2.4; here, before this provider could learn the code
		return Identity{}, &Refused{Reason: ReasonIssuer}
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return Identity{}, p.unavailable(ctx.Err())
	}
	d, err := p.discovered(ctx)
	if err != nil {
		return Identity{}, err
	}
	if g.Issuer == nil && d.saysIssuer {
		return Identity{}, &Refused{Reason: ReasonIssuer}
	}
	ctx = gooidc.ClientContext(ctx, p.client)
	config := oauth2.Config{ClientID: p.set.ClientID, ClientSecret: p.set.ClientSecret, Endpoint: d.endpoint, RedirectURL: g.RedirectURI}
	token, err := config.Exchange(ctx, g.Code, oauth2.VerifierOption(g.Verifier))
	if err != nil {
		return Identity{}, p.tokenError(ctx, err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok || raw == "" {
		return Identity{}, &Refused{Reason: ReasonIDToken, cause: errors.New("there is none")}
	}
	id, err := p.verify(ctx, d, raw, token.AccessToken, g.Nonce)
	if err != nil {
		return Identity{}, err
	}
	return p.identity(ctx, d, id, token)
}

// Errors of the token endpoint: RFC 6749 section 5.2.
var (
	callersFault   = []string{"invalid_request", "invalid_grant"}
	operatorsFault = []string{"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}
)

// tokenError tells the caller's fault from the operator's and the provider's. An error that the RFC does not have is
// the caller's when the status says so: some providers have names of their own for a code that is no good. The
// provider's description is not kept: nobody knows what it quotes.
func (p *Provider) tokenError(ctx context.Context, err error) error {
	var answer *oauth2.RetrieveError
	if !errors.As(err, &answer) || answer.Response == nil {
		return p.unavailable(err)
	}
	status := answer.Response.StatusCode
	plain := fmt.Errorf("the token endpoint answered %d", status)
	caller, operator := slices.Contains(callersFault, answer.ErrorCode), slices.Contains(operatorsFault, answer.ErrorCode)
	if caller || operator {
		plain = fmt.Errorf("%w: %s", plain, answer.ErrorCode)
	}
	if caller || status == http.StatusBadRequest && !operator {
		return &Refused{Reason: ReasonCode, cause: plain}
	}
	if status < http.StatusInternalServerError && status != http.StatusTooManyRequests {
		p.log.ErrorContext(ctx, "an OpenID Connect provider does not take this server's client: see CDSA_OIDC_PROVIDERS", "provider", p.set.Name, "error", plain)
	}
	return p.unavailable(plain)
}

// verify judges an ID token: OpenID Connect Core 1.0 section 3.1.3.7. go-oidc looks at signature, algorithm, issuer,
// audience and times.
func (p *Provider) verify(ctx context.Context, d *discovered, raw, accessToken, nonce string) (*gooidc.IDToken, error) {
	bad := func(cause error) error { return &Refused{Reason: ReasonIDToken, cause: cause} }
	var missing bool
	id, err := d.verifier.Verify(context.WithValue(ctx, missingKey{}, &missing), raw)
	switch {
	case missing:
		return nil, p.unavailable(errors.New("its keys cannot be had"))
	case err != nil:
		return nil, bad(errors.New("it does not verify")) // the cause quotes claims
	}
	var more struct {
		Party *string `json:"azp"`
	}
	if err := id.Claims(&more); err != nil {
		return nil, bad(errors.New("azp is not a text"))
	}
	switch {
	case id.Subject == "" || len(id.Subject) > 255 || !textForm.MatchString(id.Subject):
		return nil, bad(errors.New("it has no subject that is one"))
	case len(id.Audience) > 1 && more.Party == nil, more.Party != nil && *more.Party != p.set.ClientID:
		return nil, bad(errors.New("it was given to another client"))
	case id.AccessTokenHash != "" && id.VerifyAccessToken(accessToken) != nil:
		return nil, bad(errors.New("it belongs to another access token"))
	case id.Nonce != nonce:
		return nil, &Refused{Reason: ReasonNonce}
	}
	return id, nil
}

// keys tells keys that cannot be had from a signature that is wrong: go-oidc makes one text of both.
type keys struct{ remote *gooidc.RemoteKeySet }

type missingKey struct{}

func (k keys) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := k.remote.VerifySignature(ctx, jwt)
	if missing, ok := ctx.Value(missingKey{}).(*bool); ok && err != nil && errors.Unwrap(err) != nil {
		*missing = true // fetching is what it wraps
	}
	return payload, err
}
