package auth

import (
	"context"
	"errors"
	"strings"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
)

// Authenticator turns a bearer token into a principal, the same way for HTTP, websocket and SSE.
type Authenticator struct {
	tokens     *Tokens
	principals *PrincipalCache
}

// NewAuthenticator joins the two halves: is the token genuine, and does its session stand.
func NewAuthenticator(t *Tokens, p *PrincipalCache) *Authenticator {
	return &Authenticator{tokens: t, principals: p}
}

// Authenticate gives the principal of a bearer token; nil without an error only for "", which is anonymous.
// UNAUTHENTICATED for a token that is bad, expired or revoked; UPSTREAM_UNAVAILABLE when that cannot be told.
func (a *Authenticator) Authenticate(ctx context.Context, bearer string) (*authz.Principal, error) {
	if bearer == "" {
		return nil, nil //nolint:nilnil // anonymous is a nil principal everywhere, see authz
	}
	c, err := a.tokens.Verify(bearer)
	if err != nil {
		return nil, err
	}
	p, err := a.principals.Principal(ctx, c.SessionID)
	if err != nil {
		return nil, err
	}
	if p.UserID != c.UserID {
		return nil, refused("session of another user")
	}
	q := *p
	if q.ExpiresAt.IsZero() || c.ExpiresAt.Before(q.ExpiresAt) { // whichever ends first, the session or the token
		q.ExpiresAt = c.ExpiresAt
	}
	return &q, nil
}

// ParseBearer takes the token out of an Authorization value, of a header or of a connection_init payload. "" only
// when the value is absent (present is false). Present but not one bearer token is UNAUTHENTICATED: a credential
// that cannot be understood is never anonymous.
func ParseBearer(value string, present bool) (string, error) {
	if !present {
		return "", nil
	}
	scheme, token, ok := strings.Cut(value, " ")
	token = strings.Trim(token, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" || strings.ContainsAny(token, " \t,") {
		return "", errs.Wrap(errors.New("authorization is not one bearer token"), errs.Unauthenticated,
			"The Authorization value must read: Bearer, a space, and the access token.")
	}
	return token, nil
}
