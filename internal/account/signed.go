package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/session"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// Signed is what a login, a registration or a refresh gives.
type Signed struct {
	AccessToken  string
	RefreshToken string // shown once
	ExpiresAt    time.Time
	Session      *ent.Session
	User         *ent.User
	// Principal is the new one. The request's own is still the one it came with.
	Principal *authz.Principal
}

// opened is a session as its unit of work left it.
type opened struct {
	session         uuid.UUID // zero: refused
	access, refresh string
	expires         time.Time // of access
}

// person is the part of a user's row that decides about signing in.
type person struct {
	id          uuid.UUID
	username    string
	email       string
	hash        string // empty: no password
	active      bool   // neither deactivated nor erased
	lockedUntil *time.Time
	secondFact  bool
	validAfter  *time.Time
}

const personColumns = `SELECT id, username::text, email::text, hashed_password, is_active AND erased_at IS NULL, locked_until, totp_enabled_at IS NOT NULL, tokens_valid_after FROM users`

func scanPerson(row pgx.Row) (person, error) {
	var p person
	err := row.Scan(&p.id, &p.username, &p.email, &p.hash, &p.active, &p.lockedUntil, &p.secondFact, &p.validAfter)
	return p, err
}

// lock takes the lock that every change of a user's sessions and roles is made under. It does not hinder rows that
// merely refer to the user. pgx.ErrNoRows when there is no such user.
func lock(ctx context.Context, tx *uow.Tx, userID uuid.UUID) (person, error) {
	return scanPerson(tx.PG.QueryRow(ctx, personColumns+` WHERE id = $1 FOR NO KEY UPDATE`, userID))
}

// link is where in a family a new session stands.
type link struct {
	id     uuid.UUID
	family uuid.UUID
	begun  time.Time // when the family was, its sign-in; zero: now
	mfaAt  *time.Time
}

// ends is when a session of a family that began then ends if it was refreshed now: it lives SessionTTL without a
// refresh, and SessionMaxAge in all.
func (s *Service) ends(now, begun time.Time) time.Time {
	idle, absolute := now.Add(s.cfg.SessionTTL), begun.Add(s.cfg.Settings.SessionMaxAge)
	if absolute.Before(idle) {
		return absolute
	}
	return idle
}

// open inserts a session with the given refresh token and signs its access token.
func (s *Service) open(ctx context.Context, tx *uow.Tx, userID uuid.UUID, refresh string, l link) (opened, error) {
	now := s.now()
	created, err := notBefore(ctx, tx, userID, now)
	if err != nil {
		return opened{}, err
	}
	if l.begun.IsZero() {
		l.begun = created
	}
	ends := s.ends(now, l.begun)
	access, jti, expires, err := s.cfg.Tokens.Issue(userID, l.id, now)
	if err != nil {
		return opened{}, err
	}
	if ends.Before(expires) { // the session's end is the token's, whatever the token says
		expires = ends
	}
	hash, err := auth.HashRefreshToken(refresh)
	if err != nil {
		return opened{}, fmt.Errorf("a refresh token of this server: %w", err)
	}
	d := deviceOf(ctx)
	err = tx.Session.Create().SetID(l.id).SetCreatedAt(created).SetUserID(userID).SetFamilyID(l.family).SetSignedInAt(l.begun).SetNillableMfaAt(l.mfaAt).
		SetToken(auth.HashTokenID(jti)).SetRefreshToken(hash).SetExpiresAt(ends).SetLastActivity(now).
		SetNillableIPAddress(optional(d.ip)).SetNillableUserAgent(optional(d.userAgent)).Exec(asSystem(ctx))
	if err != nil {
		return opened{}, fmt.Errorf("open a login session: %w", err)
	}
	return opened{l.id, access, refresh, expires}, nil
}

// notBefore is now, or later when another replica, whose clock is ahead, cut off by a later time what was opened before:
// a session that is opened after that stands.
func notBefore(ctx context.Context, tx *uow.Tx, userID uuid.UUID, now time.Time) (at time.Time, err error) {
	if err = tx.PG.QueryRow(ctx, `SELECT greatest($2, tokens_valid_after) FROM users WHERE id = $1`, userID, now).Scan(&at); err != nil {
		return at, fmt.Errorf("read since when sessions stand: %w", err)
	}
	return at.UTC(), nil
}

// openFirst begins a new family; mfaAt is when a second factor was given. When the user has as many as they may, the
// ones used longest ago end. Callers hold the lock on the user, or make the user in this unit of work.
func (s *Service) openFirst(ctx context.Context, tx *uow.Tx, userID uuid.UUID, mfaAt *time.Time) (opened, error) {
	refresh, _, err := auth.NewRefreshToken()
	if err != nil {
		return opened{}, err
	}
	if err := s.makeRoom(ctx, tx, userID); err != nil {
		return opened{}, err
	}
	id := uid.New(uid.Session)
	return s.open(ctx, tx, userID, refresh, link{id: id, family: id, mfaAt: mfaAt})
}

// makeRoom ends a user's least recently used families until there is room for one more. API tokens take none.
func (s *Service) makeRoom(ctx context.Context, tx *uow.Tx, userID uuid.UUID) error {
	rows, err := tx.PG.Query(ctx, `SELECT id, family_id, coalesce(last_activity, created_at) FROM sessions
		WHERE user_id = $1 AND is_active AND kind = 'INTERACTIVE' AND revoked_at IS NULL AND expires_at > $2`, userID, s.now())
	if err != nil {
		return fmt.Errorf("count login sessions: %w", err)
	}
	type use struct {
		id, family uuid.UUID
		at         time.Time
	}
	uses, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (u use, err error) {
		err = row.Scan(&u.id, &u.family, &u.at)
		if at := s.touches.used(u.id); at.After(u.at) { // not written down yet
			u.at = at
		}
		return u, err
	})
	if err != nil {
		return fmt.Errorf("count login sessions: %w", err)
	}
	surplus := min(len(uses)+1-s.cfg.Settings.MaxSessions, len(uses))
	if surplus <= 0 {
		return nil
	}
	slices.SortFunc(uses, func(a, b use) int { return a.at.Compare(b.at) })
	families := make([]uuid.UUID, surplus)
	for i := range families {
		families[i] = uses[i].family
	}
	var username string
	if err := tx.PG.QueryRow(ctx, `SELECT username::text FROM users WHERE id = $1`, userID).Scan(&username); err != nil {
		return fmt.Errorf("read a user: %w", err)
	}
	ended, err := s.end(ctx, tx, tooMany, `family_id = ANY($1)`, families)
	if err != nil {
		return err
	}
	tx.Audit(audit.Entry{
		Action: enum.AuditActionSessionRevoked, Resource: "User", ResourceID: userID, ActorID: userID, ActorName: username,
		Details: map[string]any{"ended": ended, "own": true, "reason": tooMany},
	})
	return nil
}

// tooMany is why makeRoom ended a session.
const tooMany = "too many sessions"

// signed reads back what was committed, through the root client, so that edges can be followed.
func (s *Service) signed(ctx context.Context, o opened) (Signed, error) {
	row, err := s.cfg.Client.Session.Query().Where(session.ID(o.session)).WithUser().Only(asSystem(ctx))
	if err != nil {
		return Signed{}, fmt.Errorf("read a new login session: %w", err)
	}
	if row.Edges.User == nil {
		return Signed{}, errors.New("a new login session without its user")
	}
	p, err := s.LoadPrincipal(ctx, o.session)
	if err != nil {
		return Signed{}, err
	}
	withExpiry := *p
	withExpiry.ExpiresAt = o.expires
	return Signed{AccessToken: o.access, RefreshToken: o.refresh, ExpiresAt: o.expires, Session: row, User: row.Edges.User, Principal: &withExpiry}, nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// maxUserAgent bounds what is kept of a client's own words, in bytes.
const maxUserAgent = 512

// device is what is known of where a request comes from.
type device struct{ ip, userAgent string }

func deviceOf(ctx context.Context) device {
	r := authz.RequestFrom(ctx)
	ua := r.UserAgent
	if len(ua) > maxUserAgent {
		ua = ua[:maxUserAgent]
	}
	return device{r.IP, strings.ReplaceAll(strings.ToValidUTF8(ua, ""), "\x00", "")}
}
