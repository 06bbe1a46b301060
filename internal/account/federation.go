package account

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uow"
)

// settle makes, links and equips the account in the unit of work that opens its session: roles are locked first, then
// the user, as everywhere. errMoved when what was found does not hold any more.
func (s *Service) settle(ctx context.Context, tx *uow.Tx, f federation) (person, error) {
	if f.made != nil {
		return s.makeFederated(ctx, tx, f)
	}
	if f.roles {
		if _, err := tx.PG.Exec(ctx, `SELECT FROM roles WHERE name = ANY($1) ORDER BY id FOR NO KEY UPDATE`, f.by.Managed()); err != nil {
			return person{}, fmt.Errorf("lock roles: %w", err)
		}
	}
	u, err := lock(ctx, tx, f.who.id)
	if err != nil {
		return person{}, fmt.Errorf("lock an account: %w", err)
	}
	if !u.active {
		return u, nil // enter refuses it; nothing was written
	}
	var own, free bool
	err = tx.PG.QueryRow(ctx, `SELECT oidc_issuer IS NOT DISTINCT FROM $2 AND oidc_subject IS NOT DISTINCT FROM $3, oidc_issuer IS NULL AND is_verified AND totp_enabled_at IS NULL AND email = $4 FROM users WHERE id = $1`,
		u.id, f.id.Issuer, f.id.Subject, f.email).Scan(&own, &free)
	if err != nil {
		return person{}, fmt.Errorf("read an account's link: %w", err)
	}
	if f.link && !free || !f.link && !own {
		return person{}, errMoved
	}
	if f.link {
		if u, err = s.linkTo(ctx, tx, u, f); err != nil {
			return person{}, err
		}
	}
	return u, s.matchRoles(ctx, tx, u, f)
}

// linkTo gives the account to the identity alone. Whoever registered it may be somebody else, who had the owner of the
// address press a mailed link: the password, what was begun of a second factor, every session and every API token end.
func (s *Service) linkTo(ctx context.Context, tx *uow.Tx, u person, f federation) (person, error) {
	ended, err := s.setPassword(ctx, tx, u.id, "", "linked to a provider")
	if err != nil {
		return u, err
	}
	if err := dropFactor(ctx, tx, u.id); err != nil {
		return u, err
	}
	if _, err := tx.PG.Exec(ctx, `UPDATE users SET oidc_issuer = $2, oidc_subject = $3 WHERE id = $1`, u.id, f.id.Issuer, f.id.Subject); err != nil {
		return u, fmt.Errorf("link an account: %w", err)
	}
	tx.Audit(audit.Entry{
		Action: enum.AuditActionOidcLinked, Resource: "User", ResourceID: u.id, ActorID: u.id, ActorName: u.username,
		Details: map[string]any{"provider": f.by.Name(), "ended": ended, "password": u.hash != ""},
	})
	u.hash = ""
	return u, nil
}

// makeFederated makes an account without a password. Its address was verified by the provider.
func (s *Service) makeFederated(ctx context.Context, tx *uow.Tx, f federation) (person, error) {
	n := f.made
	names := f.by.DefaultRoles()
	if names == nil {
		names = []string{authz.DefaultRole}
	}
	names = append(names, f.id.Roles...)
	var there []string
	if err := tx.PG.QueryRow(ctx, `SELECT coalesce(array_agg(name), '{}') FROM roles WHERE name = ANY($1)`, names).Scan(&there); err != nil {
		return person{}, fmt.Errorf("read roles: %w", err)
	}
	roles, err := rolesByName(ctx, tx, there, "input.provider")
	if err != nil {
		return person{}, err
	}
	if missing := len(slices.Compact(slices.Sorted(slices.Values(names)))) - len(roles); missing > 0 {
		s.cfg.Log.WarnContext(ctx, "CDSA_OIDC_PROVIDERS names roles that there are not", "provider", f.by.Name(), "missing", missing)
	}
	if err := n.create(asSystem(ctx), tx, roles); err != nil {
		return person{}, err
	}
	if _, err := tx.PG.Exec(ctx, `UPDATE users SET is_verified = TRUE, oidc_issuer = $2, oidc_subject = $3 WHERE id = $1`, n.id, f.id.Issuer, f.id.Subject); err != nil {
		return person{}, fmt.Errorf("link a new account: %w", err)
	}
	e := audit.Entry{Action: enum.AuditActionUserCreated, Resource: "User", ResourceID: n.id, ActorID: n.id, ActorName: n.username, Details: map[string]any{"by": f.by.Name()}}
	tx.Audit(e)
	for _, r := range roles {
		tx.Audit(roleEntry(enum.AuditActionRoleAssigned, f.who, r, f))
	}
	return f.who, nil
}

// matchRoles gives and takes roles that the provider manages, so that they match its claims. The last active
// administrator stays one: that is recorded as a failure and hinders no sign-in.
func (s *Service) matchRoles(ctx context.Context, tx *uow.Tx, u person, f federation) error {
	rows, err := tx.PG.Query(ctx, managedRoles, u.id, f.by.Managed())
	if err != nil {
		return fmt.Errorf("read a user's roles: %w", err)
	}
	given, taken, err := differences(rows, f.id.Roles)
	if err != nil || len(given)+len(taken) == 0 {
		return err
	}
	if !f.roles {
		return errMoved // they are not locked
	}
	for _, r := range given {
		if _, err := tx.PG.Exec(ctx, `INSERT INTO user_roles (user_id, role_id) VALUES ($1, $2) ON CONFLICT DO NOTHING`, u.id, r.id); err != nil {
			return fmt.Errorf("assign a role: %w", err)
		}
		tx.Audit(roleEntry(enum.AuditActionRoleAssigned, u, r, f))
	}
	for _, r := range taken {
		entry := roleEntry(enum.AuditActionRoleUnassigned, u, r, f)
		if r.name == authz.AdminRole {
			err := anotherAdmin(ctx, tx, r.id, u.id)
			if errs.Is(err, errs.FailedPrecondition) {
				entry.Failed, entry.Error = true, string(errs.FailedPrecondition)
				tx.Audit(entry)
				continue
			}
			if err != nil {
				return err
			}
		}
		if _, err := tx.PG.Exec(ctx, `DELETE FROM user_roles WHERE user_id = $1 AND role_id = $2`, u.id, r.id); err != nil {
			return fmt.Errorf("unassign a role: %w", err)
		}
		tx.Audit(entry)
	}
	return s.revoked(ctx, tx, u.id)
}

func roleEntry(action enum.AuditAction, u person, r heldRole, f federation) audit.Entry {
	return audit.Entry{
		Action: action, Resource: "User", ResourceID: u.id, ActorID: u.id, ActorName: u.username,
		Details: map[string]any{"role": r.name, "by": f.by.Name()},
	}
}

// maxBase leaves room in a username for what makes it unique.
const maxBase = 48

// freeUsername derives a username that nobody has from what a provider suggests, or from the address.
func (s *Service) freeUsername(ctx context.Context, suggested, address string) (string, error) {
	base := usernameFrom(suggested)
	if base == "" {
		base = usernameFrom(address)
	}
	if base == "" {
		base = "user"
	}
	candidates := []string{base}
	for n := 2; n < 10; n++ {
		candidates = append(candidates, base+"-"+strconv.Itoa(n))
	}
	candidates = append(candidates, base+"-"+strings.ToLower(rand.Text()[:8]))
	var name string
	err := s.cfg.Pool.QueryRow(ctx, `SELECT c.name FROM unnest($1::text[]) WITH ORDINALITY c(name, n)
		WHERE NOT EXISTS (SELECT FROM users u WHERE u.username = c.name::citext) ORDER BY c.n LIMIT 1`, candidates).Scan(&name)
	if err != nil {
		return "", fmt.Errorf("find a free username: %w", err)
	}
	return name, nil
}

// usernameFrom takes what stands before an @, without its accents, and joins the letters and digits of what is left.
// Other scripts go: their look-alikes would let one person pass for another. Empty when too little is left.
func usernameFrom(s string) string {
	s, _, _ = strings.Cut(s, "@")
	var b strings.Builder
	for _, c := range norm.NFD.String(strings.ToLower(s)) {
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			b.WriteRune(c)
		case c < 0x80 && b.Len() > 0 && !strings.HasSuffix(b.String(), "."):
			b.WriteByte('.')
		}
		if b.Len() == maxBase {
			break
		}
	}
	name, err := auth.NormalizeUsername("username", strings.Trim(b.String(), "."))
	if err != nil {
		return ""
	}
	return name
}
