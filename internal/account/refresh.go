package account

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// graceWindow is how long a device may repeat a refresh whose answer it did not get. maxSuccessors is how often its
// other tabs may have refreshed meanwhile.
const (
	graceWindow   = 10 * time.Second
	maxSuccessors = 16
)

// Refresh replaces the session of a refresh token by its successor, which has a new refresh token. Anyone who has the
// token may call it. The replaced session's access token works on until it expires. UNAUTHENTICATED for a token that
// is unknown, used, expired or revoked, and for an account that may not sign in; a used one ends its whole family, but
// within the grace window gives its device the newest successor.
func (s *Service) Refresh(ctx context.Context, token string) (Signed, error) {
	ctx = anonymous(ctx)
	hash, err := auth.HashRefreshToken(token)
	if err != nil {
		s.strays.add(ctx, "refresh")
		return Signed{}, err
	}
	var owner uuid.UUID
	err = s.cfg.Pool.QueryRow(ctx, `SELECT user_id FROM sessions WHERE refresh_token = $1 AND kind = 'INTERACTIVE'`, hash).Scan(&owner)
	if errors.Is(err, pgx.ErrNoRows) {
		s.strays.add(ctx, "refresh")
		return Signed{}, badRefresh()
	}
	if err != nil {
		return Signed{}, fmt.Errorf("find a refresh token: %w", err)
	}
	if err := s.prepareAudit(ctx, owner); err != nil {
		return Signed{}, err
	}
	// A refusal is a fact as well: it commits with its audit row, and the session stays zero.
	o, err := uow.Value(ctx, s.cfg.Store, func(ctx context.Context, tx *uow.Tx) (opened, error) {
		u, err := lock(ctx, tx, owner)
		if errors.Is(err, pgx.ErrNoRows) {
			return opened{}, badRefresh()
		}
		if err != nil {
			return opened{}, fmt.Errorf("lock an account: %w", err)
		}
		l, err := scanLogin(tx.PG.QueryRow(ctx, loginColumns+` WHERE refresh_token = $1 FOR UPDATE`, hash))
		if errors.Is(err, pgx.ErrNoRows) { // swept meanwhile
			return opened{}, badRefresh()
		}
		if err != nil {
			return opened{}, fmt.Errorf("lock a login session: %w", err)
		}
		return s.rotate(ctx, tx, u, l, token)
	})
	if err != nil {
		return Signed{}, err
	}
	if o.session == uuid.Nil {
		return Signed{}, badRefresh()
	}
	return s.signed(ctx, o)
}

func badRefresh() error {
	return errs.New(errs.Unauthenticated, "The refresh token is not valid. Sign in again.")
}

// login is a session's row as far as refreshing goes.
type login struct {
	id, userID, family uuid.UUID
	replacedBy         *uuid.UUID
	active             bool
	createdAt          time.Time
	begun              time.Time // the family's first session was
	expiresAt          time.Time
	revokedAt          *time.Time
	mfaAt              *time.Time
	refreshHash        *string
	device             device
}

// A replica of before signed_in_at leaves it to its default, so it is the head of the family that counts where it is later.
const loginColumns = `SELECT id, user_id, family_id, replaced_by, is_active, created_at, expires_at, revoked_at, mfa_at, refresh_token,
	coalesce(ip_address, ''), coalesce(user_agent, ''), least(signed_in_at, (SELECT f.created_at FROM sessions f WHERE f.id = s.family_id)) FROM sessions s`

func scanLogin(row pgx.Row) (login, error) {
	var l login
	err := row.Scan(&l.id, &l.userID, &l.family, &l.replacedBy, &l.active, &l.createdAt, &l.expiresAt, &l.revokedAt, &l.mfaAt, &l.refreshHash,
		&l.device.ip, &l.device.userAgent, &l.begun)
	return l, err
}

// rotate decides about a presented token, under the lock on its user.
func (s *Service) rotate(ctx context.Context, tx *uow.Tx, u person, l login, token string) (opened, error) {
	now := s.now()
	switch {
	case l.revokedAt != nil:
		return s.refuseRefresh(tx, u, l, "revoked")
	case l.replacedBy != nil:
		return s.repeat(ctx, tx, u, l, token)
	case !l.active || !now.Before(l.expiresAt) || !now.Before(s.ends(now, l.begun)):
		return s.refuseRefresh(tx, u, l, "expired")
	case !u.active:
		return s.refuseRefresh(tx, u, l, "inactive")
	case u.validAfter != nil && l.createdAt.Before(*u.validAfter):
		return s.refuseRefresh(tx, u, l, "cut_off")
	}
	next := link{id: uid.New(uid.Session), family: l.family, begun: l.begun, mfaAt: l.mfaAt}
	o, err := s.open(ctx, tx, u.id, s.successor(token, next.id), next)
	if err != nil {
		return opened{}, err
	}
	// No access token of the old session outlives one signed now.
	if _, err := tx.PG.Exec(ctx, `UPDATE sessions SET is_active = FALSE, replaced_by = $2, expires_at = least(expires_at, $3) WHERE id = $1`, l.id, next.id, o.expires); err != nil {
		return opened{}, fmt.Errorf("replace a login session: %w", err)
	}
	tx.Audit(refreshEntry(u, o.session, nil))
	return o, nil
}

// repeat answers a token that was used already: with the newest of its successors when it looks like the same request
// again or a tab that comes late, otherwise by ending the family.
func (s *Service) repeat(ctx context.Context, tx *uow.Tx, u person, l login, token string) (opened, error) {
	now := s.now()
	next, refresh, err := s.newest(ctx, tx, l, token, now)
	if err != nil {
		return opened{}, err
	}
	same := next.active && next.revokedAt == nil && u.active && now.Before(next.expiresAt) && (u.validAfter == nil || !next.createdAt.Before(*u.validAfter))
	if !same {
		return s.reused(ctx, tx, u, l)
	}
	access, jti, expires, err := s.cfg.Tokens.Issue(u.id, next.id, now)
	if err != nil {
		return opened{}, err
	}
	if _, err := tx.PG.Exec(ctx, `UPDATE sessions SET token = $2 WHERE id = $1`, next.id, auth.HashTokenID(jti)); err != nil {
		return opened{}, fmt.Errorf("note an access token: %w", err)
	}
	tx.Audit(refreshEntry(u, next.id, map[string]any{"repeated": true}))
	if next.expiresAt.Before(expires) {
		expires = next.expiresAt
	}
	return opened{next.id, access, refresh, expires}, nil
}

// newest follows the successors of a token from its session to the one that was not used yet, and gives that one's token.
// The zero login when the first was made longer ago than the grace window, when one was made for another device or is
// not derived from the token, and after more steps than tabs take.
func (s *Service) newest(ctx context.Context, tx *uow.Tx, l login, token string, now time.Time) (next login, refresh string, err error) {
	next = l
	for steps := 0; next.replacedBy != nil; steps++ {
		refresh = s.successor(token, *next.replacedBy)
		hash, err := auth.HashRefreshToken(refresh)
		if err != nil {
			return login{}, "", fmt.Errorf("a refresh token of this server: %w", err)
		}
		next, err = scanLogin(tx.PG.QueryRow(ctx, loginColumns+` WHERE id = $1`, *next.replacedBy))
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return login{}, "", fmt.Errorf("read a login session's successor: %w", err)
		}
		if next.refreshHash == nil || !auth.SameHash(*next.refreshHash, hash) || !deviceOf(ctx).same(next.device) ||
			now.Sub(next.createdAt) >= graceWindow || steps == maxSuccessors {
			return login{}, "", nil
		}
		token = refresh
	}
	return next, refresh, nil
}

// reused ends the family of a token that was used before: one of the two who hold it is a thief. Of a family that has
// ended it is one more token that is refused.
func (s *Service) reused(ctx context.Context, tx *uow.Tx, u person, l login) (opened, error) {
	ended, err := s.endFamily(ctx, tx, l.family, "refresh token reused")
	if err != nil {
		return opened{}, err
	}
	if ended == 0 {
		return s.refuseRefresh(tx, u, l, "ended")
	}
	tx.Audit(audit.Entry{
		Action: enum.AuditActionTokenReuseDetected, Resource: "Session", ResourceID: l.id, SessionID: l.id, ActorID: u.id, ActorName: u.username,
		Failed: true, Error: string(errs.Unauthenticated), Details: map[string]any{"ended": ended},
	})
	tx.After(func() {
		s.cfg.Log.WarnContext(ctx, "a refresh token was used twice: its login session is ended", "session_id", l.id, "user_id", u.id)
	})
	return opened{}, nil
}

func (s *Service) refuseRefresh(tx *uow.Tx, u person, l login, why string) (opened, error) {
	e := refreshEntry(u, l.id, map[string]any{"reason": why})
	e.Failed, e.Error = true, string(errs.Unauthenticated)
	tx.Audit(e)
	return opened{}, nil
}

func refreshEntry(u person, sessionID uuid.UUID, details map[string]any) audit.Entry {
	return audit.Entry{
		Action: enum.AuditActionTokenRefreshed, Resource: "Session", ResourceID: sessionID, SessionID: sessionID,
		ActorID: u.id, ActorName: u.username, Details: details,
	}
}

// successor derives the refresh token that follows token. Only someone with both the token and the server's key can:
// nothing readable is stored, and a thief of the token alone does not have its successors.
func (s *Service) successor(token string, id uuid.UUID) string {
	m := hmac.New(sha256.New, s.successorKey)
	m.Write(id[:])
	m.Write([]byte(token))
	return auth.RefreshPrefix + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// same says whether two requests within the grace window look like one device's, the same address
// family and the same client software. Not the same network: behind carriers' gateways and relays two tabs of one
// browser may have different addresses, and their user must not be signed out. A thief who is that quick gains little:
// they and the user then hold one successor, and the first of them to use it exposes the other.
func (d device) same(o device) bool {
	return d.userAgent == o.userAgent && addressFamily(d.ip) == addressFamily(o.ip)
}

// addressFamily is 4 or 6, and 0 for what is no address.
func addressFamily(ip string) int {
	a, err := netip.ParseAddr(ip)
	switch {
	case err != nil:
		return 0
	case a.Unmap().Is4():
		return 4
	}
	return 6
}
