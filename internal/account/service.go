// Package account is who may use the system: registration, login, login sessions and their refresh, the roles people
// hold, and the principal that all of it comes down to. Passwords and tokens themselves are package auth's.
//
// It refuses to tell whether an account exists: an unknown name, a wrong password, a deactivated and a locked account
// get one answer in one time. No one grants what they do not hold or has power over who may do more, and the last
// administrator stays one. Administrators act one after the other, by the rights that the rows give them at that moment.
// Every change of a user's sessions or roles is made under a lock on the user's row, so that nothing slips past a revocation; no
// lock is held while a password is hashed.
//
// A login session is a chain of rows, its family: a refresh replaces the newest by a successor. A refresh token works
// once. Presented again it is taken for stolen and the family ends, but for a repeated request of the same device
// within the grace window, which gets the same successor again, or the newest when other tabs went on. A family lives for SessionTTL after each refresh and
// SessionMaxAge in all, and a user has MaxSessions of them at most.
//
// Service is safe for concurrent use. Errors that a client may see are *errs.Error; the others are faults.
package account

import (
	"cmp"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/mail"
	"cdsa.dev/cdsa/internal/oidc"
	"cdsa.dev/cdsa/internal/uow"
)

// Config is what a Service works with.
type Config struct {
	Store  *uow.Store
	Client *ent.Client
	Pool   *pgxpool.Pool
	Audit  *audit.Recorder
	Hasher *auth.Hasher
	Tokens *auth.Tokens
	// IdentityKey derives successors of refresh tokens and mailed tokens and seals TOTP secrets: at least 32 bytes,
	// secret, the same on every replica.
	IdentityKey  []byte
	Registration string        // open, invite or closed; anything else is closed
	SessionTTL   time.Duration // from each refresh on
	Settings     Settings
	Mail         mail.Sender // nil: no mails are sent, and nobody is told
	OIDC         *oidc.Set   // nil: no provider
	// Revoked tells this and every other replica that a session's, a user's or a role's rights changed. It may lose what
	// it is told: Watch reads it from the database.
	Revoked func(id uuid.UUID)
	Log     *slog.Logger
	Now     func() time.Time // nil: the wall clock
}

// Settings are the numbers and lists of identity. Zero values take the defaults of docs/config.md for development.
type Settings struct {
	SessionMaxAge   time.Duration // of a family, from its sign-in on
	MaxSessions     int           // login sessions a user may have at once
	MFARoles        []string      // roles whose holders can only enrol until they have a second factor
	MFARequired     []string      // acts that nobody does without one: names of docs/config.md
	StepUpAge       time.Duration // how long a second factor is fresh
	LockoutFailures int
	LockoutBase     time.Duration
	LockoutMax      time.Duration
	Registrations   int      // attempts from one network in an hour
	PublicURL       string   // origin of the server, for links in mails
	RedirectOrigins []string // where else OpenID Connect may send people back to
}

func (c *Settings) defaults() {
	c.SessionMaxAge = cmp.Or(c.SessionMaxAge, 90*24*time.Hour)
	c.MaxSessions = cmp.Or(c.MaxSessions, 20)
	c.StepUpAge = cmp.Or(c.StepUpAge, 10*time.Minute)
	c.LockoutFailures = cmp.Or(c.LockoutFailures, 5)
	c.LockoutBase = cmp.Or(c.LockoutBase, time.Second)
	c.LockoutMax = cmp.Or(c.LockoutMax, 15*time.Minute)
	c.Registrations = cmp.Or(c.Registrations, 200)
	c.PublicURL = cmp.Or(c.PublicURL, "http://localhost:8080")
}

// Service keeps accounts and login sessions.
type Service struct {
	cfg          Config
	successorKey []byte
	totpKey      []byte // seals TOTP secrets
	mailKey      []byte // makes mailed tokens
	throttleKey  []byte // hides names and addresses in the table of failed sign-ins
	touches      touches
	strays       strays
	guesses      [guessTurns]chan struct{} // at codes of a second factor
	exchanges    [guessTurns]chan struct{} // of networks at providers
	dummies      dummies

	mailSwept      atomic.Int64 // when sweepMailed last ran, in Unix seconds
	throttlesSwept atomic.Int64 // when sweepThrottles did, in ns
}

// New makes a service. It fails when something is missing.
func New(c Config) (*Service, error) {
	if c.Store == nil || c.Client == nil || c.Pool == nil || c.Audit == nil || c.Hasher == nil || c.Tokens == nil || c.Revoked == nil || c.Log == nil {
		return nil, errors.New("account: something it works with is missing")
	}
	if len(c.IdentityKey) < sha256.Size {
		return nil, fmt.Errorf("account: the identity key needs %d bytes", sha256.Size)
	}
	if c.SessionTTL <= 0 {
		return nil, errors.New("account: login sessions need a lifetime")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Settings.defaults()
	s := &Service{touches: newTouches(), strays: newStrays()}
	for i := range s.guesses {
		s.guesses[i] = make(chan struct{}, 1)
		s.exchanges[i] = make(chan struct{}, networkExchanges)
	}
	for label, key := range map[string]*[]byte{ // one key each: none can be taken for another
		"cdsa refresh token successor": &s.successorKey, "cdsa totp secret": &s.totpKey, "cdsa mailed token": &s.mailKey, "cdsa throttle": &s.throttleKey,
	} {
		var err error
		if *key, err = hkdf.Key(sha256.New, c.IdentityKey, nil, label, sha256.Size); err != nil {
			return nil, fmt.Errorf("account: %w", err)
		}
	}
	c.IdentityKey = nil
	s.cfg = c
	return s, nil
}

// now has the database's resolution, so that what was written compares equal to what is read.
func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

// asSystem is for reads and writes that come before there is a principal, and for those on one's own session.
func asSystem(ctx context.Context) context.Context { return authz.With(ctx, authz.Authenticator) }

// anonymous drops the caller's principal, and that of a sign-in earlier in the operation: who signs in is told by the
// credentials alone.
func anonymous(ctx context.Context) context.Context { return authz.Anonymous(ctx) }

// revoked writes down that the rights of users, login sessions or roles changed, and tells every replica after commit.
// The row is what counts: a replica that hears nothing reads it within half a second (Watch).
func (s *Service) revoked(ctx context.Context, tx *uow.Tx, ids ...uuid.UUID) error {
	if len(ids) == 0 {
		return nil
	}
	if _, err := tx.PG.Exec(ctx, `INSERT INTO revocations (subject) SELECT unnest($1::uuid[])`, ids); err != nil {
		return fmt.Errorf("note a revocation: %w", err)
	}
	tx.After(func() {
		for _, id := range ids {
			s.cfg.Revoked(id)
		}
	})
	return nil
}

// prepareAudit has the key of a subject's audit rows ready before a unit of work begins, which does so itself only for
// a principal: whoever holds the lock on the user must not wait for a second connection, since those who wait for the
// lock may hold all the others.
func (s *Service) prepareAudit(ctx context.Context, subject uuid.UUID) error {
	_, err := s.cfg.Audit.Prepare(ctx, audit.Entry{ActorID: subject})
	return err
}

// refused audits a denial outside its rolled-back unit of work; any other error passes through.
func (s *Service) refused(ctx context.Context, doing, resource string, id uuid.UUID, err error) error {
	refusal, ok := errs.As(err)
	if !ok {
		return err
	}
	switch refusal.Code {
	case errs.Forbidden, errs.MFARequired, errs.StepUpRequired:
	case errs.FailedPrecondition:
		if refusal.State != "SELF" && refusal.State != "LAST_ADMIN" { // whoever tries to leave nobody in charge
			return err
		}
	default:
		return err
	}
	return s.denied(ctx, doing, resource, id, err)
}

// denied audits a denial, by its code.
func (s *Service) denied(ctx context.Context, doing, resource string, id uuid.UUID, err error) error {
	refusal, ok := errs.As(err)
	if !ok {
		return err
	}
	e := audit.Entry{
		Action: enum.AuditActionPermissionDenied, Resource: resource, ResourceID: id, Failed: true, Error: string(refusal.Code),
		Details: map[string]any{"operation": doing},
	}
	if rerr := s.cfg.Audit.Record(ctx, e); rerr != nil {
		return errors.Join(rerr, err)
	}
	return err
}
