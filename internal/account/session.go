package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// endFamily revokes what can still be used of a family and tells the replicas. It returns how many sessions were in
// use: one, or none when the family had ended.
func (s *Service) endFamily(ctx context.Context, tx *uow.Tx, family uuid.UUID, reason string) (int, error) {
	return s.end(ctx, tx, reason, `family_id = $1`, family)
}

// end revokes the sessions that meet the condition on $1 and could still be used: not the thousands that a long family
// leaves behind. Callers hold the lock on their user.
func (s *Service) end(ctx context.Context, tx *uow.Tx, reason, condition string, args ...any) (int, error) {
	now := s.now()
	n := len(args)
	// is_active in RETURNING is the new value; the joined row has the old one.
	rows, err := tx.PG.Query(ctx, fmt.Sprintf(`UPDATE sessions s SET is_active = FALSE, revoked_at = $%[2]d, revoke_reason = $%[3]d
		FROM (SELECT id, is_active, expires_at FROM sessions WHERE %[1]s AND revoked_at IS NULL AND (is_active OR expires_at > $%[2]d) ORDER BY id FOR UPDATE) old
		WHERE s.id = old.id RETURNING s.id, old.is_active, old.expires_at`, condition, n+1, n+2), append(args, now, reason)...)
	if err != nil {
		return 0, fmt.Errorf("revoke login sessions: %w", err)
	}
	var live []uuid.UUID
	count := 0
	var (
		id        uuid.UUID
		active    bool
		expiresAt time.Time
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &active, &expiresAt}, func() error {
		if now.Before(expiresAt) {
			live = append(live, id)
			if active {
				count++
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("revoke login sessions: %w", err)
	}
	return count, s.revoked(ctx, tx, live...)
}

// current gives the caller's own session. UNAUTHENTICATED without a principal, FAILED_PRECONDITION for one that did
// not sign in.
func current(ctx context.Context) (*authz.Principal, error) {
	p, err := authz.Signed(ctx)
	if err != nil {
		return nil, err
	}
	if p.SessionID == uuid.Nil {
		return nil, errs.New(errs.FailedPrecondition, "You are not signed in with a login session, so there is none to end.")
	}
	return p, nil
}

// Logout ends the caller's session and everything it was refreshed from; of a caller with an API token, the token.
// UNAUTHENTICATED.
func (s *Service) Logout(ctx context.Context) error {
	p, err := current(ctx)
	if err != nil {
		return err
	}
	return s.cfg.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		family, err := lockFamily(ctx, tx, p.UserID, p.SessionID)
		if err != nil {
			return err
		}
		if _, err := s.endFamily(ctx, tx, family, "signed out"); err != nil {
			return err
		}
		tx.Audit(audit.Entry{Action: enum.AuditActionLogout, Resource: "Session", ResourceID: p.SessionID})
		return nil
	})
}

// RevokeSession ends a session and everything it was refreshed from or into, or an API token. One's own; another's with
// users:write and everything that its user may do. Without users:write an API token ends only itself, and without
// users:read it sees no other.
// A session that has ended already stays as it is. NOT_FOUND for one the caller may not see; FORBIDDEN for one they
// may not end; both are audited as PERMISSION_DENIED; BAD_USER_INPUT.
func (s *Service) RevokeSession(ctx context.Context, id uuid.UUID) (*ent.Session, error) {
	p, err := authz.Signed(ctx)
	if err != nil {
		return nil, err
	}
	if err := uid.Check(id, uid.Session, "id"); err != nil {
		return nil, err
	}
	row, err := s.session(ctx, id)
	if errs.Is(err, errs.NotFound) { // a probe, whether there is one or not
		return nil, s.denied(ctx, "revokeSession", "Session", id, err)
	}
	if err != nil {
		return nil, err
	}
	if own(p, row.UserID) && (!p.APIToken || id == p.SessionID) {
		err = s.cfg.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error { return s.revokeSession(ctx, tx, row.UserID, id, true) })
	} else {
		err = s.revokeOther(ctx, row)
	}
	if err != nil {
		return nil, err
	}
	return s.session(ctx, id)
}

// revokeOther ends a session of another; for an API token also another one of its owner's.
func (s *Service) revokeOther(ctx context.Context, row *ent.Session) error {
	return s.administer(ctx, deed{"revokeSession", "users", "write", "Session", row.ID}, func(ctx context.Context, tx *uow.Tx, p *authz.Principal) error {
		u, err := lockProfile(ctx, tx, row.UserID)
		if err != nil {
			return err
		}
		if !p.Holds("users:write") { // no directive records it: anyone may call the field
			tx.Audit(audit.Entry{Action: enum.AuditActionSuperuserBypassUsed, Resource: "Session", ResourceID: row.ID, Details: map[string]any{"permission": "users:write", "operation": "revokeSession"}})
		}
		if err := outranks(tx, p, u, "revokeSession"); err != nil {
			return err
		}
		return s.revokeSession(ctx, tx, row.UserID, row.ID, own(p, row.UserID))
	})
}

func (s *Service) revokeSession(ctx context.Context, tx *uow.Tx, userID, id uuid.UUID, own bool) error {
	family, err := lockFamily(ctx, tx, userID, id)
	if err != nil {
		return err
	}
	var over bool
	if err := tx.PG.QueryRow(ctx, `SELECT revoked_at IS NOT NULL FROM sessions WHERE id = $1`, id).Scan(&over); err != nil {
		return fmt.Errorf("read a login session: %w", err)
	}
	if over {
		return nil
	}
	ended, err := s.endFamily(ctx, tx, family, "revoked")
	if err != nil {
		return err
	}
	tx.Audit(audit.Entry{Action: enum.AuditActionSessionRevoked, Resource: "Session", ResourceID: id, Details: map[string]any{"ended": ended, "own": own}})
	return nil
}

// RevokeOthers ends every session of the caller that was signed in to, but the present one, and says how many were still
// in use. API tokens stay: they are programs' and are ended one by one, or all with the password. UNAUTHENTICATED;
// FORBIDDEN for an API token.
func (s *Service) RevokeOthers(ctx context.Context) (int, error) {
	p, err := s.inPerson(ctx, "revokeOtherSessions")
	if err != nil {
		return 0, err
	}
	return uow.Value(ctx, s.cfg.Store, func(ctx context.Context, tx *uow.Tx) (int, error) {
		family, err := lockFamily(ctx, tx, p.UserID, p.SessionID)
		if err != nil {
			return 0, err
		}
		ended, err := s.end(ctx, tx, "revoked from another session", `user_id = $1 AND family_id <> $2 AND kind = 'INTERACTIVE'`, p.UserID, family)
		if err != nil {
			return 0, err
		}
		tx.Audit(audit.Entry{Action: enum.AuditActionSessionRevoked, Resource: "User", ResourceID: p.UserID, Details: map[string]any{"ended": ended, "own": true}})
		return ended, nil
	})
}

// lockFamily locks the user and gives the family of one of their sessions. NOT_FOUND.
func lockFamily(ctx context.Context, tx *uow.Tx, userID, sessionID uuid.UUID) (family uuid.UUID, err error) {
	if _, err = lock(ctx, tx, userID); err == nil {
		err = tx.PG.QueryRow(ctx, `SELECT family_id FROM sessions WHERE id = $1 AND user_id = $2`, sessionID, userID).Scan(&family)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return family, errs.Missing("session")
	}
	if err != nil {
		return family, fmt.Errorf("lock a login session: %w", err)
	}
	return family, nil
}

// session reads a session as the caller, through the root client.
func (s *Service) session(ctx context.Context, id uuid.UUID) (*ent.Session, error) {
	row, err := s.cfg.Client.Session.Get(ctx, id)
	if ent.IsNotFound(err) {
		return nil, errs.Missing("session")
	}
	return row, err
}
