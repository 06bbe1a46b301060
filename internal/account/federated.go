package account

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/oidc"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// ExchangeInput is what a client got from a provider's authorization endpoint.
type ExchangeInput struct {
	Provider, Code, Verifier, RedirectURI, Nonce string
	Issuer                                       *string // iss, where the answer had it
}

// Why a sign-in with a provider was refused here, as the audit log has it; package oidc has the other reasons.
const (
	whyNoAccount  = "no_account"
	whyUnverified = "unverified_email"   // at the provider, or of the account
	whyGuarded    = "second_factor_here" // the account has a second factor, which a link by address would go around
	whyLinked     = "linked_elsewhere"   // the account belongs to another identity
)

// exchangeTries bounds how often a sign-in begins again because an account changed under it.
const exchangeTries = 4

var errMoved = errors.New("the account changed while it was judged")

// ExchangeOIDCCode opens a session for whoever signed in at a provider: for the account of that identity, for the one
// it can be linked to (docs/adr/0007), which loses what else opened it, or for a new one where the provider may make accounts. Roles that the provider
// manages are made to match its claims. Anyone may call it. A local second factor is not asked for here; stepUp gives
// it. UNAUTHENTICATED for a grant that is not good and for a person without an account; RATE_LIMITED for a network that
// failed too often; BAD_USER_INPUT; UPSTREAM_UNAVAILABLE when the provider does not answer. Audited as LOGIN_SUCCEEDED
// or LOGIN_FAILED, and as USER_CREATED, OIDC_LINKED, ROLE_ASSIGNED and ROLE_UNASSIGNED where that happens.
func (s *Service) ExchangeOIDCCode(ctx context.Context, in ExchangeInput) (Signed, error) {
	ctx = anonymous(ctx)
	provider, err := s.checkExchange(in)
	if err != nil {
		return Signed{}, err
	}
	id, err := s.redeemed(ctx, provider, oidc.Grant{Code: in.Code, Verifier: in.Verifier, RedirectURI: in.RedirectURI, Nonce: in.Nonce, Issuer: in.Issuer})
	if err != nil {
		return Signed{}, err
	}
	for range exchangeTries {
		var f federation
		if f, err = s.federation(ctx, provider, id); err != nil {
			return Signed{}, err
		}
		var o opened
		if f.why == "" {
			o, f.why, err = s.enter(ctx, entry{
				who: f.who, details: map[string]any{"method": "oidc", "provider": provider.Name()},
				first: func(ctx context.Context, tx *uow.Tx) (person, error) { return s.settle(ctx, tx, f) },
				made:  f.made != nil,
			})
		}
		switch {
		case errors.Is(err, errMoved) || uow.IsDuplicate(err):
			continue
		case err != nil:
			return Signed{}, err
		case f.why != "":
			return Signed{}, s.federationFailed(ctx, provider, f.who, f.why,
				errs.New(errs.Unauthenticated, "No account here can be used with this sign-in. Ask an administrator for one."))
		}
		s.touches.login(f.who.id, s.now())
		return s.signed(ctx, o)
	}
	return Signed{}, errs.Wrap(err, errs.Conflict, "The account is being changed at this moment. Begin the sign-in again.")
}

// networkExchanges is how many codes from one network are redeemed at once on this replica, which leaves the rest of a
// provider's turns to others.
const networkExchanges = 4

// redeemed has a provider judge a grant, unless the caller's network is paused: a code that is no good counts as a failed
// sign-in of the network, and codes that are sent at once wait for those before them to be counted.
func (s *Service) redeemed(ctx context.Context, provider *oidc.Provider, g oidc.Grant) (oidc.Identity, error) {
	if err := s.admitted(ctx, atProvider, person{}); err != nil {
		return oidc.Identity{}, err
	}
	turn := s.exchanges[s.countersOf(ctx, atProvider, uuid.Nil).keys[byNetwork][0]]
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return oidc.Identity{}, ctx.Err()
	}
	if err := s.admitted(ctx, atProvider, person{}); err != nil { // a pause may have begun in the meantime
		return oidc.Identity{}, err
	}
	id, err := provider.Exchange(context.WithoutCancel(ctx), g) // leaving early does not hide the attempt; it takes seconds at most
	var refused *oidc.Refused
	if errors.As(err, &refused) {
		s.cfg.Log.InfoContext(ctx, "a sign-in with an OpenID Connect provider was refused", "provider", provider.Name(), "error", refused)
		err = s.federationFailed(ctx, provider, person{}, refused.Reason,
			errs.Wrap(refused, errs.Unauthenticated, "The provider's answer is not valid, or was used already. Begin the sign-in again."))
	}
	return id, err
}

var (
	verifierForm = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`) // RFC 7636 section 4.1
	grantForm    = regexp.MustCompile(`^[\x20-\x7e]*$`)            // RFC 6749 appendix A.11
)

// Bounds of what comes with a code, in bytes.
const (
	maxCode     = 8192
	maxRedirect = 2048
	maxNonce    = 512
)

func (s *Service) checkExchange(in ExchangeInput) (*oidc.Provider, error) {
	provider, ok := s.cfg.OIDC.Find(in.Provider)
	switch {
	case !ok:
		return nil, errs.Input("input.provider", "There is no such provider. serverInfo lists them.")
	case in.Code == "" || len(in.Code) > maxCode || !grantForm.MatchString(in.Code):
		return nil, errs.Input("input.code", "This is not a code that a provider gives.")
	case !verifierForm.MatchString(in.Verifier):
		return nil, errs.Input("input.codeVerifier", "The verifier needs 43 to 128 letters, digits, dots, underscores, tildes and hyphens (RFC 7636).")
	case len(in.Nonce) > maxNonce || !grantForm.MatchString(in.Nonce):
		return nil, errs.Input("input.nonce", "The nonce is longer than %d characters or holds what is not printable ASCII.", maxNonce)
	}
	address, ok := s.redirects(in.RedirectURI)
	switch {
	case !ok:
		return nil, errs.Input("input.redirectUri", "This address is not on this server's origin nor on one that it allows.")
	case !s.cfg.OIDC.OwnPath(provider, address.EscapedPath()):
		return nil, errs.Input("input.redirectUri", "There are several providers, so the address's path must end with a slash and the name of this one.")
	}
	return provider, nil
}

// redirects says whether an address is on an allowed origin, in the form that a browser sends.
func (s *Service) redirects(address string) (*url.URL, bool) {
	u, err := url.Parse(address)
	if err != nil || len(address) > maxRedirect || u.Host == "" || u.User != nil || u.Opaque != "" || strings.ContainsAny(address, "#\\") {
		return nil, false
	}
	origin := u.Scheme + "://" + u.Host
	if !strings.HasPrefix(address, origin) {
		return nil, false
	}
	return u, origin == s.cfg.Settings.PublicURL || slices.Contains(s.cfg.Settings.RedirectOrigins, origin)
}

// federation is what an identity comes down to here, before anything is locked.
type federation struct {
	by    *oidc.Provider
	id    oidc.Identity
	email string    // the identity's verified address, normalised; empty: it has none
	who   person    // whose session it will be; of an account that is to be made, the id and the name alone
	link  bool      // who is found by the address
	made  *newcomer // the account to make
	roles bool      // whether roles look as if they were to be changed
	why   string    // refused
}

// federation finds the account of an identity. What it finds is judged again under the locks.
func (s *Service) federation(ctx context.Context, by *oidc.Provider, id oidc.Identity) (federation, error) {
	f := federation{by: by, id: id}
	if id.EmailVerified {
		if address, err := auth.NormalizeEmail("email", id.Email); err == nil {
			f.email = address
		}
	}
	var err error
	f.who, err = scanPerson(s.cfg.Pool.QueryRow(ctx, personColumns+` WHERE oidc_issuer = $1 AND oidc_subject = $2`, id.Issuer, id.Subject))
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return s.unlinked(ctx, f)
	case err != nil:
		return f, fmt.Errorf("find a linked account: %w", err)
	case !f.who.active:
		f.why = whyInactive
		return f, nil
	}
	return s.foresee(ctx, f)
}

// unlinked is about an identity that no account belongs to.
func (s *Service) unlinked(ctx context.Context, f federation) (federation, error) {
	f.who = person{}
	if f.email == "" {
		f.why = whyUnverified
		return f, nil
	}
	var (
		id                    uuid.UUID
		verified, linked, own bool
	)
	err := s.cfg.Pool.QueryRow(ctx, `SELECT id, is_verified, oidc_issuer IS NOT NULL, oidc_issuer IS NOT DISTINCT FROM $2 AND oidc_subject IS NOT DISTINCT FROM $3 FROM users WHERE email = $1`,
		f.email, f.id.Issuer, f.id.Subject).Scan(&id, &verified, &linked, &own)
	if errors.Is(err, pgx.ErrNoRows) {
		return s.stranger(ctx, f)
	}
	if err != nil {
		return f, fmt.Errorf("find an account by its address: %w", err)
	}
	if f.who, err = scanPerson(s.cfg.Pool.QueryRow(ctx, personColumns+` WHERE id = $1`, id)); err != nil {
		return f, fmt.Errorf("find an account: %w", err)
	}
	switch {
	case !f.who.active:
		f.why = whyInactive
	case !verified: // whoever registered it never showed that the address is theirs
		f.why = whyUnverified
	case own: // made or linked since it was looked for
		return s.foresee(ctx, f)
	case linked:
		f.why = whyLinked
	case f.who.secondFact: // the provider's word alone would go around it
		f.why = whyGuarded
	}
	if f.why != "" {
		return f, nil
	}
	f.link = true
	return s.foresee(ctx, f)
}

// stranger is about an identity whose address no account has.
func (s *Service) stranger(ctx context.Context, f federation) (federation, error) {
	if !f.by.SignUp() {
		f.why = whyNoAccount
		return f, nil
	}
	name, err := s.freeUsername(ctx, f.id.Username, f.email)
	if err != nil {
		return f, err
	}
	fullName, err := auth.NormalizeFullName("name", f.id.Name)
	if err != nil {
		fullName = "" // a name is no reason to refuse somebody
	}
	f.made = &newcomer{id: uid.New(uid.User), email: f.email, username: name, fullName: fullName}
	f.who, f.roles = person{id: f.made.id, username: name, active: true}, true
	return f, nil
}

// foresee looks whether roles are to be changed: only then are they locked.
func (s *Service) foresee(ctx context.Context, f federation) (federation, error) {
	managed := f.by.Managed()
	if len(managed) == 0 {
		return f, nil
	}
	rows, err := s.cfg.Pool.Query(ctx, managedRoles, f.who.id, managed)
	if err != nil {
		return f, fmt.Errorf("read a user's roles: %w", err)
	}
	given, taken, err := differences(rows, f.id.Roles)
	f.roles = len(given)+len(taken) > 0
	return f, err
}

// managedRoles are the roles of the names $2 that there are, and whether the user $1 holds them.
const managedRoles = `SELECT r.id, r.name, EXISTS (SELECT FROM user_roles ur WHERE ur.role_id = r.id AND ur.user_id = $1) FROM roles r WHERE r.name = ANY($2) ORDER BY r.id`

// differences reads managedRoles: what is to be given and what is to be taken, so that the user holds those of want.
func differences(rows pgx.Rows, want []string) (given, taken []heldRole, err error) {
	var (
		r   heldRole
		has bool
	)
	_, err = pgx.ForEachRow(rows, []any{&r.id, &r.name, &has}, func() error {
		switch wanted := slices.Contains(want, r.name); {
		case wanted && !has:
			given = append(given, r)
		case !wanted && has:
			taken = append(taken, r)
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("read a user's roles: %w", err)
	}
	return given, taken, err
}

// federationFailed counts a refusal at the network, writes it down and gives the answer. It counts at no account: whoever
// has the identity must not pause the password.
func (s *Service) federationFailed(ctx context.Context, by *oidc.Provider, who person, why string, answer *errs.Error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout) // leaving early does not hide the attempt
	defer cancel()
	if err := s.prepareAudit(ctx, who.id); err != nil {
		return err
	}
	err := s.cfg.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		tx.Audit(audit.Entry{
			Action: enum.AuditActionLoginFailed, Resource: "User", ResourceID: who.id, ActorID: who.id, ActorName: who.username,
			Failed: true, Error: string(answer.Code), Details: map[string]any{"reason": why, "method": "oidc", "provider": by.Name()},
		})
		return s.failed(ctx, tx, atProvider, person{})
	})
	if err != nil {
		return err
	}
	return answer
}
