// Package account is who may use the system: registration, login, login sessions and their refresh, the roles people
// hold, and the principal that all of it comes down to. Passwords and tokens themselves are package auth's.
//
// It refuses to tell whether an account exists: an unknown name, a wrong password, a deactivated and a locked account
// get one answer in one time. No one grants what they do not hold, and the last administrator stays one. Every change
// of a user's sessions or roles is made under a lock on the user's row, so that nothing slips past a revocation; no
// lock is held while a password is hashed.
//
// A login session is a chain of rows, its family: a refresh replaces the newest by a successor. A refresh token works
// once. Presented again it is taken for stolen and the family ends, but for a repeated request of the same device
// within the grace window, which gets the same successor again.
//
// Service is safe for concurrent use. Errors that a client may see are *errs.Error; the others are faults.
package account

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
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
	// SealKey derives a refresh token's successor: at least 32 bytes, secret, the same on every replica.
	SealKey      []byte
	Registration string        // open, invite or closed; anything but open is closed
	SessionTTL   time.Duration // from each refresh on
	// Revoked tells this and every other replica that a session's or a user's rights changed. It may lose what it is
	// told: the principal cache's lifetime is the bound.
	Revoked func(id uuid.UUID)
	Log     *slog.Logger
	Now     func() time.Time // nil: the wall clock
}

// Service keeps accounts and login sessions.
type Service struct {
	cfg          Config
	successorKey []byte
	touches      touches
}

// New makes a service. It fails when something is missing.
func New(c Config) (*Service, error) {
	if c.Store == nil || c.Client == nil || c.Pool == nil || c.Audit == nil || c.Hasher == nil || c.Tokens == nil || c.Revoked == nil || c.Log == nil {
		return nil, errors.New("account: something it works with is missing")
	}
	if len(c.SealKey) < sha256.Size {
		return nil, fmt.Errorf("account: the key of refresh tokens needs %d bytes", sha256.Size)
	}
	if c.SessionTTL <= 0 {
		return nil, errors.New("account: login sessions need a lifetime")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	// A label of its own: the key may serve other purposes as well.
	key, err := hkdf.Key(sha256.New, c.SealKey, nil, "cdsa refresh token successor", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	c.SealKey = nil
	return &Service{cfg: c, successorKey: key, touches: newTouches()}, nil
}

// now has the database's resolution, so that what was written compares equal to what is read.
func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

// asSystem is for reads and writes that come before there is a principal, and for those on one's own session.
func asSystem(ctx context.Context) context.Context { return authz.With(ctx, authz.Authenticator) }

// anonymous drops the caller's principal: who signs in is told by the credentials alone.
func anonymous(ctx context.Context) context.Context { return authz.With(ctx, nil) }

// revoked tells every replica, after commit, that a user's or a session's rights changed.
func (s *Service) revoked(tx *uow.Tx, ids ...uuid.UUID) {
	tx.After(func() {
		for _, id := range ids {
			s.cfg.Revoked(id)
		}
	})
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
	if !errs.Is(err, errs.Forbidden) {
		return err
	}
	e := audit.Entry{
		Action: enum.AuditActionPermissionDenied, Resource: resource, ResourceID: id, Failed: true, Error: string(errs.Forbidden),
		Details: map[string]any{"operation": doing},
	}
	if rerr := s.cfg.Audit.Record(ctx, e); rerr != nil {
		return errors.Join(rerr, err)
	}
	return err
}
