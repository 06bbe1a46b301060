package auth

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
)

// FindTokenFunc gives the login session of an API token by the token's stored hash, or UNAUTHENTICATED when no living
// token has it. Any other error is a fault and refuses the call too.
type FindTokenFunc func(ctx context.Context, hash string) (uuid.UUID, error)

const (
	knownAPITokens = 10_000
	// findAtOnce bounds the queries for API tokens that are not known: whoever makes up tokens with right check sums
	// must not take every connection to the database.
	findAtOnce  = 4
	findTimeout = 5 * time.Second
)

// Authenticator turns a bearer token into a principal, the same way for HTTP, websocket and SSE. It takes access tokens,
// and API tokens once AcceptAPITokens was called.
type Authenticator struct {
	tokens     *Tokens
	principals *PrincipalCache

	find    FindTokenFunc
	known   *tokenCache[uuid.UUID]
	finding chan struct{}
}

// NewAuthenticator joins the two halves: is the token genuine, and does its session stand.
func NewAuthenticator(t *Tokens, p *PrincipalCache) *Authenticator {
	return &Authenticator{tokens: t, principals: p}
}

// AcceptAPITokens has a take API tokens as well. Call it before a is used.
func (a *Authenticator) AcceptAPITokens(find FindTokenFunc) *Authenticator {
	a.find, a.known, a.finding = find, newTokenCache[uuid.UUID](knownAPITokens), make(chan struct{}, findAtOnce)
	return a
}

// Authenticate gives the principal of a bearer token; nil without an error only for "", which is anonymous.
// UNAUTHENTICATED for a token that is bad, expired or revoked; UPSTREAM_UNAVAILABLE when that cannot be told.
func (a *Authenticator) Authenticate(ctx context.Context, bearer string) (*authz.Principal, error) {
	if bearer == "" {
		return nil, nil //nolint:nilnil // anonymous is a nil principal everywhere, see authz
	}
	if isAPIToken(bearer) {
		return a.apiToken(ctx, bearer)
	}
	c, err := a.tokens.Verify(bearer)
	if err != nil {
		return nil, err
	}
	p, err := a.principals.Principal(ctx, c.SessionID)
	if err != nil {
		return nil, err
	}
	if p.UserID != c.UserID || p.APIToken {
		return nil, refused("session of another user or kind")
	}
	q := *p
	if q.ExpiresAt.IsZero() || c.ExpiresAt.Before(q.ExpiresAt) { // whichever ends first, the session or the token
		q.ExpiresAt = c.ExpiresAt
	}
	return &q, nil
}

func (a *Authenticator) apiToken(ctx context.Context, token string) (*authz.Principal, error) {
	if a.find == nil {
		return nil, refusedAPIToken("none are accepted")
	}
	sum, err := sumOfAPIToken(token)
	if err != nil {
		return nil, err
	}
	session, ok := a.known.load(sum)
	if !ok {
		if session, err = a.lookUp(ctx, sum); err != nil {
			return nil, err
		}
		a.known.store(sum, session) // for good: which session a token is of never changes, whether that stands is asked below
	}
	p, err := a.principals.Principal(ctx, session)
	if errs.Is(err, errs.Unauthenticated) {
		return nil, refusedAPIToken("its session does not stand")
	}
	if err != nil {
		return nil, err
	}
	if !p.APIToken {
		return nil, refusedAPIToken("session of another kind")
	}
	return p, nil
}

func (a *Authenticator) lookUp(ctx context.Context, sum tokenSum) (uuid.UUID, error) {
	ctx, cancel := context.WithTimeout(authz.With(ctx, authz.Authenticator), findTimeout)
	defer cancel()
	select {
	case a.finding <- struct{}{}:
		defer func() { <-a.finding }()
	case <-ctx.Done():
		return uuid.Nil, untold(ctx.Err())
	}
	id, err := a.find(ctx, sum.text())
	switch {
	case errs.Is(err, errs.Unauthenticated):
		return uuid.Nil, refusedAPIToken("unknown")
	case err == nil && id == uuid.Nil:
		return uuid.Nil, untold(errors.New("the look-up of an API token gave no session"))
	case err != nil:
		return uuid.Nil, untold(err)
	}
	return id, nil
}

// untold is the answer when it cannot be told whose a token is.
func untold(cause error) error {
	e := errs.Wrap(cause, errs.UpstreamUnavailable, "Your token cannot be checked at this moment. Try again shortly.")
	e.Retryable = true
	return e
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
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" || !tokenText(token) {
		return "", errs.Wrap(errors.New("authorization is not one bearer token"), errs.Unauthenticated,
			"The Authorization value must read: Bearer, a space, and the access or API token.")
	}
	return token, nil
}

// tokenText says whether s is printable ASCII without spaces and commas.
func tokenText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == ',' || c > '~' {
			return false
		}
	}
	return true
}
