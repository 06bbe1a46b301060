package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/batch"
	"cdsa.dev/cdsa/internal/errs"
)

// permissionsOf is a subquery: what the roles of the user u allow, sorted.
const permissionsOf = `ARRAY(SELECT DISTINCT p.name FROM user_roles ur JOIN role_permissions rp ON rp.role_id = ur.role_id
	JOIN permissions p ON p.id = rp.permission_id WHERE ur.user_id = u.id ORDER BY p.name)`

// A role of the names in $2 demands a second factor of the user u: one who has none must enrol, and in a session s that
// was opened without it one must step up. An API token, which can give none, was made by a session with rights.
const (
	demandsFactor = `EXISTS (SELECT FROM user_roles ur JOIN roles r ON r.id = ur.role_id WHERE ur.user_id = u.id AND r.name = ANY($2))`
	mustEnrol     = `u.totp_enabled_at IS NULL AND ` + demandsFactor
	mustStepUp    = `u.totp_enabled_at IS NOT NULL AND s.mfa_at IS NULL AND s.kind = 'INTERACTIVE' AND ` + demandsFactor
)

// A session that a refresh replaced stands until its access tokens have expired, which its expires_at was cut to.
const (
	loadPrincipal = principals + `s.id = $1` + stands
	standing      = principals + `s.id = ANY($1)` + stands
	principals    = `SELECT s.id, u.id, u.username::text, u.is_superuser, s.expires_at, s.kind = 'API_TOKEN', s.scopes, ` + mustEnrol + `, ` + mustStepUp + `, ` + permissionsOf + `
	FROM sessions s JOIN users u ON u.id = s.user_id WHERE `
	stands = ` AND s.revoked_at IS NULL AND (s.is_active OR s.replaced_by IS NOT NULL) AND s.expires_at > $3
	  AND u.is_active AND u.erased_at IS NULL AND (u.tokens_valid_after IS NULL OR s.created_at >= u.tokens_valid_after)`
)

// scanPrincipal reads a row of principals.
func scanPrincipal(row pgx.Row) (*authz.Principal, error) {
	var (
		session, user   uuid.UUID
		username        string
		superuser       bool
		enrol, stepUp   bool
		apiToken        bool
		expires         time.Time
		scopes, permits []string
	)
	if err := row.Scan(&session, &user, &username, &superuser, &expires, &apiToken, &scopes, &enrol, &stepUp, &permits); err != nil {
		return nil, err
	}
	p := principal(user, username, session, superuser && !stepUp, expires, enrol || stepUp, permits)
	p.MustEnrol, p.MustStepUp = enrol, stepUp
	if apiToken {
		p = p.Within(session, scopes)
	}
	return p, nil
}

// LoadPrincipal reads who a login session belongs to and what their roles allow, in one statement: it is an
// auth.LoadFunc. ExpiresAt is the session's. Of an API token it gives those of the token's permissions that the owner's
// roles allow now, and never a superuser. Who must enrol a second factor first, or give it in this session, gets no rights.
// UNAUTHENTICATED when the session or its user does not stand.
func (s *Service) LoadPrincipal(ctx context.Context, sessionID uuid.UUID) (*authz.Principal, error) {
	now := s.now()
	p, err := scanPrincipal(s.cfg.Pool.QueryRow(ctx, loadPrincipal, sessionID, s.cfg.Settings.MFARoles, now))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ended()
	}
	if err != nil {
		return nil, fmt.Errorf("load a principal: %w", err)
	}
	s.touches.session(sessionID, now)
	return p, nil
}

// LoadUserPrincipal reads what an active user's roles allow, for work that goes on in the background on their behalf. It
// has no session, no expiry and no superuser bypass: nobody is there to ask for it. While they must enrol a second factor
// it has no rights either. UNAUTHENTICATED when the user is gone, deactivated or erased.
func (s *Service) LoadUserPrincipal(ctx context.Context, userID uuid.UUID) (*authz.Principal, error) {
	all, err := s.rights(ctx, userID)
	if err != nil {
		return nil, err
	}
	r := all[userID]
	if !r.active {
		return nil, errs.New(errs.Unauthenticated, "This user may not use the system any more.")
	}
	return principal(userID, r.username, uuid.Nil, false, time.Time{}, r.enrol, r.permits), nil
}

// principal is a user with their rights; with none when they must enrol a second factor first.
func principal(userID uuid.UUID, username string, sessionID uuid.UUID, superuser bool, expires time.Time, enrol bool, permits []string) *authz.Principal {
	if enrol {
		superuser, permits = false, nil
	}
	p := authz.NewUser(userID, username, sessionID, superuser, expires, known(permits)...)
	p.MustEnrol = enrol
	return p
}

// SignedPrincipal is who a user would be once signed in, for judging what they may see; nil for one who is deactivated
// or erased and can no longer sign in. NOT_FOUND when there is no such user. Whether the caller may ask is the caller's
// to check.
func (s *Service) SignedPrincipal(ctx context.Context, userID uuid.UUID) (*authz.Principal, error) {
	all, err := s.rights(ctx, userID)
	if err != nil {
		return nil, err
	}
	r := all[userID]
	if r.active {
		return principal(userID, r.username, uuid.Nil, r.superuser, time.Time{}, r.enrol, r.permits), nil
	}
	var there bool
	if err := s.cfg.Pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM users WHERE id = $1)`, userID).Scan(&there); err != nil {
		return nil, fmt.Errorf("look for a user: %w", err)
	}
	if !there {
		return nil, errs.Missing("user")
	}
	return nil, nil //nolint:nilnil // documented: there, and without rights
}

// PermissionsOf lists what a user's roles allow, sorted; of others only with users:read, else it is empty. The
// caller's own come from the principal. A deactivated user may do nothing. Only u.ID is used, as by the two below; users
// who were read together are asked about together.
func (s *Service) PermissionsOf(ctx context.Context, u *ent.User) ([]string, error) {
	p := authz.From(ctx)
	if own(p, u.ID) {
		return p.Permissions(), nil
	}
	if ok, err := authz.May(ctx, "User", "users:read"); err != nil || !ok {
		return []string{}, err
	}
	r, err := s.rightsOf(ctx, u)
	if r.permits == nil {
		r.permits = []string{}
	}
	return r.permits, err
}

// UserHasPermission says whether a user may do something, by a role or as superuser; false for a user whose
// permissions the caller may not see.
func (s *Service) UserHasPermission(ctx context.Context, u *ent.User, resource, action string) (bool, error) {
	p, name := authz.From(ctx), resource+":"+action
	if !authz.Known(name) {
		return false, nil
	}
	if own(p, u.ID) {
		return p.Can(name), nil
	}
	if ok, err := authz.May(ctx, "User", "users:read"); err != nil || !ok {
		return false, err
	}
	r, err := s.rightsOf(ctx, u)
	return r.superuser || slices.Contains(r.permits, name), err
}

// UserHasRole says whether a user holds a role; false for a user whose roles the caller may not see, as an API token its
// owner's.
func (s *Service) UserHasRole(ctx context.Context, u *ent.User, name string) (bool, error) {
	if p := authz.From(ctx); !own(p, u.ID) || p.APIToken {
		if ok, err := authz.May(ctx, "User", "users:read"); err != nil || !ok {
			return false, err
		}
	}
	if noRoleName(name) {
		return false, nil
	}
	roles, err := batch.Load(ctx, "roles", u, s.roleNames)
	return slices.Contains(roles[u.ID], name), err
}

// roleNames reads the names of the roles that users have.
func (s *Service) roleNames(ctx context.Context, users []*ent.User) (map[uuid.UUID][]string, error) {
	rows, err := s.cfg.Pool.Query(ctx, `SELECT ur.user_id, r.name FROM user_roles ur JOIN roles r ON r.id = ur.role_id WHERE ur.user_id = ANY($1)`, idsOf(users))
	if err != nil {
		return nil, fmt.Errorf("read users' roles: %w", err)
	}
	names := make(map[uuid.UUID][]string, len(users))
	var user uuid.UUID
	var name string
	if _, err := pgx.ForEachRow(rows, []any{&user, &name}, func() error {
		names[user] = append(names[user], name)
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read users' roles: %w", err)
	}
	return names, nil
}

func idsOf(users []*ent.User) []uuid.UUID {
	ids := make([]uuid.UUID, len(users))
	for i, u := range users {
		ids[i] = u.ID
	}
	return ids
}

func own(p *authz.Principal, userID uuid.UUID) bool {
	return p != nil && userID != uuid.Nil && p.UserID == userID
}

// rights is what a user may do; nothing for one who is not active or must enrol a second factor first.
type rights struct {
	username                 string
	active, superuser, enrol bool
	permits                  []string
}

// rightsOf is the rights of u, read for all users who were read with u.
func (s *Service) rightsOf(ctx context.Context, u *ent.User) (rights, error) {
	all, err := batch.Load(ctx, "rights", u, func(ctx context.Context, users []*ent.User) (map[uuid.UUID]rights, error) {
		return s.rights(ctx, idsOf(users)...)
	})
	return all[u.ID], err
}

// rights reads what users may do, in one statement. Who is not active is not in the map.
func (s *Service) rights(ctx context.Context, userIDs ...uuid.UUID) (map[uuid.UUID]rights, error) {
	rows, err := s.cfg.Pool.Query(ctx, `SELECT u.id, u.username::text, u.is_superuser, `+mustEnrol+`, `+permissionsOf+`
		FROM users u WHERE u.id = ANY($1) AND u.is_active AND u.erased_at IS NULL`, userIDs, s.cfg.Settings.MFARoles)
	if err != nil {
		return nil, fmt.Errorf("read users' permissions: %w", err)
	}
	all := make(map[uuid.UUID]rights, len(userIDs))
	var id uuid.UUID
	var permits []string
	r := rights{active: true}
	if _, err := pgx.ForEachRow(rows, []any{&id, &r.username, &r.superuser, &r.enrol, &permits}, func() error {
		v := r
		if v.enrol {
			v.superuser = false
		} else {
			v.permits = known(permits)
		}
		all[id] = v
		permits = nil // the next row's are their own
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read users' permissions: %w", err)
	}
	return all, nil
}

// known drops names that are no permission of this server: those of background work are no role's to hold.
func known(names []string) []string {
	return slices.DeleteFunc(names, func(n string) bool { return !authz.Known(n) })
}
