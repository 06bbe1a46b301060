package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// Bounds of API tokens.
const (
	maxAPITokens    = 50  // living ones of a user
	maxAPITokenName = 100 // code points
	maxAPITokenLife = 366 * 24 * time.Hour
)

// CreateAPITokenInput is what a token for programs is to be.
type CreateAPITokenInput struct {
	Name        string
	Permissions []string
	ExpiresAt   time.Time
	Password    string
}

// CreateAPIToken makes a token for programs and gives it, once. It may do what both its permissions and the roles of its
// owner allow at the moment of use; it ends with its time, by revokeSession, and with everything else of its owner when
// the password changes or the account is deactivated. The caller must have signed in and gives their password again.
// FORBIDDEN for an API token and for a permission that no role of the caller allows, superuser or not; BAD_USER_INPUT;
// RESOURCE_EXHAUSTED with 50 living tokens; UNAUTHENTICATED when the session ended meanwhile. Audited as
// API_TOKEN_CREATED with what it may do and until when; its name may be personal and is left out.
func (s *Service) CreateAPIToken(ctx context.Context, in CreateAPITokenInput) (string, *ent.Session, error) {
	p, err := s.inPerson(ctx, "createApiToken")
	if err != nil {
		return "", nil, err
	}
	if err := s.checkAPIToken(&in); err != nil {
		return "", nil, err
	}
	if err := s.reauthenticate(ctx, "input.password", in.Password); err != nil {
		return "", nil, err
	}
	token, hash, err := auth.NewAPIToken()
	if err != nil {
		return "", nil, err
	}
	id := uid.New(uid.Session)
	err = s.cfg.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		return s.insertAPIToken(ctx, tx, p, in, id, hash)
	})
	if err != nil {
		return "", nil, s.refused(ctx, "createApiToken", "Session", uuid.Nil, err)
	}
	row, err := s.session(ctx, id)
	if err != nil {
		return "", nil, err
	}
	return token, row, nil
}

// checkAPIToken holds the input to its bounds and puts it in its stored form.
func (s *Service) checkAPIToken(in *CreateAPITokenInput) (err error) {
	if in.Name, err = auth.NormalizeFullName("input.name", in.Name); err != nil {
		return err
	}
	if n := utf8.RuneCountInString(in.Name); n == 0 || n > maxAPITokenName {
		return errs.Input("input.name", "The name needs 1 to %d characters.", maxAPITokenName)
	}
	if len(in.Permissions) == 0 {
		return errs.Input("input.permissions", "Name at least one permission.")
	}
	if len(in.Permissions) > len(authz.Permissions) {
		return errs.Input("input.permissions", "There are not so many permissions. Name each once.")
	}
	for _, name := range in.Permissions {
		if !authz.Known(name) {
			return errs.Input("input.permissions", "There is no permission of that name. The query permissions lists them.")
		}
	}
	in.Permissions = slices.Compact(slices.Sorted(slices.Values(in.Permissions)))
	now := s.now()
	in.ExpiresAt = in.ExpiresAt.UTC().Truncate(time.Microsecond)
	if !in.ExpiresAt.After(now) {
		return errs.Input("input.expiresAt", "The token must expire in the future.")
	}
	if in.ExpiresAt.After(now.Add(maxAPITokenLife)) {
		return errs.Input("input.expiresAt", "The token must expire within %d days.", maxAPITokenLife/(24*time.Hour))
	}
	return nil
}

// insertAPIToken judges by the rows under the lock: whoever's session ended or whose password changed since the request
// came does not get a token that outlives that.
func (s *Service) insertAPIToken(ctx context.Context, tx *uow.Tx, p *authz.Principal, in CreateAPITokenInput, id uuid.UUID, hash string) error {
	if _, err := lock(ctx, tx, p.UserID); err != nil {
		return fmt.Errorf("lock an account: %w", err)
	}
	now := s.now()
	present, err := scanPrincipal(tx.PG.QueryRow(ctx, loadPrincipal, p.SessionID, s.cfg.Settings.MFARoles, now))
	if errors.Is(err, pgx.ErrNoRows) {
		return ended()
	}
	if err != nil {
		return fmt.Errorf("read the caller: %w", err)
	}
	if err := present.Pending(); err != nil {
		return err
	}
	for _, name := range in.Permissions {
		if !present.Holds(name) {
			return errs.New(errs.Forbidden, "A token cannot have the permission %s: none of your roles allows it.", name)
		}
	}
	var living int
	err = tx.PG.QueryRow(ctx, `SELECT count(*) FROM sessions WHERE user_id = $1 AND kind = 'API_TOKEN' AND is_active AND revoked_at IS NULL AND expires_at > $2`, p.UserID, now).Scan(&living)
	if err != nil {
		return fmt.Errorf("count API tokens: %w", err)
	}
	if living >= maxAPITokens {
		return errs.New(errs.ResourceExhausted, "You have %d API tokens. Revoke one that is not needed with revokeSession.", living)
	}
	created, err := notBefore(ctx, tx, p.UserID, now)
	if err != nil {
		return err
	}
	d := deviceOf(ctx)
	err = tx.Session.Create().SetID(id).SetCreatedAt(created).SetUserID(p.UserID).SetFamilyID(id).SetSignedInAt(created).SetKind(enum.SessionKindApiToken).SetName(in.Name).SetScopes(in.Permissions).
		SetToken(hash).SetExpiresAt(in.ExpiresAt).SetNillableIPAddress(optional(d.ip)).SetNillableUserAgent(optional(d.userAgent)).Exec(asSystem(ctx))
	if err != nil {
		return fmt.Errorf("make an API token: %w", err)
	}
	tx.Audit(audit.Entry{
		Action: enum.AuditActionApiTokenCreated, Resource: "Session", ResourceID: id,
		Details: map[string]any{"scopes": in.Permissions, "expiresAt": in.ExpiresAt.Format(time.RFC3339)},
	})
	return nil
}

// FindAPIToken gives the session of a living API token by its stored hash: it is an auth.FindTokenFunc. Whether it may be
// used is LoadPrincipal's to tell. UNAUTHENTICATED when there is none.
func (s *Service) FindAPIToken(ctx context.Context, hash string) (id uuid.UUID, err error) {
	err = s.cfg.Pool.QueryRow(ctx, `SELECT id FROM sessions WHERE token = $1 AND kind = 'API_TOKEN' AND is_active AND revoked_at IS NULL AND expires_at > $2`, hash, s.now()).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, errs.New(errs.Unauthenticated, "There is no such API token.")
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("find an API token: %w", err)
	}
	return id, nil
}
