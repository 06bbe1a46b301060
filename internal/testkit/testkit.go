//go:build unix

// Package testkit builds what tests of services start from: a store on a private database, people who may do
// something, and rights as the server loads them. It is for tests alone and decides nothing.
package testkit

import (
	"context"
	"testing"
	"time"

	entsql "entgo.io/ent/dialect/sql"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/ent"
	_ "cdsa.dev/cdsa/ent/runtime" // the entities' policies
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/pgtest"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// Kit is a database and what writes to it and reads from it, as the server has them.
type Kit struct {
	DB     *pgtest.DB
	Store  *uow.Store
	Client *ent.Client // reads outside a unit of work; bound to the policies
}

// New makes a kit on a private, migrated, unseeded database. It ends with the test.
func New(tb testing.TB) *Kit {
	tb.Helper()
	db := pgtest.New(tb)
	sqlDB := stdlib.OpenDBFromPool(db.Pool)
	tb.Cleanup(func() { require.NoError(tb, sqlDB.Close()) })
	rec, err := audit.New(db.Pool, []byte("0123456789abcdef0123456789abcdef"))
	require.NoError(tb, err)
	jobs, err := river.NewClient(riverpgxv5.New(db.Pool), &river.Config{})
	require.NoError(tb, err)
	return &Kit{
		DB:     db,
		Store:  &uow.Store{DB: sqlDB, Audit: rec, Jobs: jobs},
		Client: ent.NewClient(ent.Driver(entsql.OpenDB("postgres", sqlDB))),
	}
}

// User inserts an active user without a password and gives them the seeded roles of these names. The principal has a
// login session id but no session row.
func (k *Kit) User(tb testing.TB, username string, roles ...string) *authz.Principal {
	tb.Helper()
	id := uid.New(uid.User)
	ctx := authz.With(context.Background(), authz.Seeder)
	err := k.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		return tx.User.Create().SetID(id).SetEmail(username + "@example.org").SetUsername(username).SetHashedPassword("").Exec(ctx)
	})
	require.NoError(tb, err)
	return authz.NewUser(id, username, uid.New(uid.Session), false, time.Now().Add(time.Hour), Permissions(tb, roles...)...)
}

// APIToken gives p as a program that has a living API token of these permissions.
func (k *Kit) APIToken(tb testing.TB, p *authz.Principal, permissions ...string) *authz.Principal {
	tb.Helper()
	id := uid.New(uid.Session)
	err := k.Store.Do(authz.With(context.Background(), authz.Authenticator), func(ctx context.Context, tx *uow.Tx) error {
		return tx.Session.Create().SetID(id).SetUserID(p.UserID).SetFamilyID(id).SetKind(enum.SessionKindApiToken).SetName("program").SetScopes(permissions).
			SetToken(id.String()).SetExpiresAt(time.Now().Add(time.Hour)).Exec(ctx)
	})
	require.NoError(tb, err)
	return p.Within(id, permissions)
}

// APITokenEnds are the ways in which an API token stops to stand, as statements on its session's id.
var APITokenEnds = map[string]string{
	"Revoked":     `UPDATE sessions SET revoked_at = now(), is_active = FALSE WHERE id = $1`,
	"Expired":     `UPDATE sessions SET expires_at = now() WHERE id = $1`,
	"Deleted":     `DELETE FROM sessions WHERE id = $1`,
	"OfAnother":   `UPDATE sessions SET kind = 'INTERACTIVE' WHERE id = $1`,
	"CutOff":      `UPDATE users SET tokens_valid_after = now() + interval '1 second' WHERE id = (SELECT user_id FROM sessions WHERE id = $1)`,
	"OwnerErased": `UPDATE users SET erased_at = now() WHERE id = (SELECT user_id FROM sessions WHERE id = $1)`,
}

// Permissions is what the seeded roles of these names hold.
func Permissions(tb testing.TB, roles ...string) []string {
	tb.Helper()
	var perms []string
	for _, name := range roles {
		found := false
		for _, r := range authz.Roles {
			if r.Name == name {
				perms, found = append(perms, r.Holds...), true
			}
		}
		require.True(tb, found, "no seeded role %s", name)
	}
	return perms
}

// As is a context whose caller is p.
func As(p *authz.Principal) context.Context {
	ctx := authz.With(context.Background(), p)
	if p != nil && p.Superuser { // without a witness a superuser passes nothing
		ctx = authz.WithWitness(ctx, authz.NewWitness(unseen{}))
	}
	return ctx
}

// unseen lets superusers pass outside units of work and writes nothing down.
type unseen struct{}

func (unseen) Bypassed(context.Context, authz.Bypass) error { return nil }
func (unseen) Viewed(context.Context, string) (bool, error) { return true, nil }
func (unseen) Place(context.Context) string                 { return "" }

// Actions lists the actions in the audit log, oldest first.
func (k *Kit) Actions(tb testing.TB) []string {
	tb.Helper()
	rows, err := k.DB.Pool.Query(context.Background(), `SELECT action FROM audit_logs ORDER BY created_at, id`)
	require.NoError(tb, err)
	defer rows.Close()
	var actions []string
	for rows.Next() {
		var a string
		require.NoError(tb, rows.Scan(&a))
		actions = append(actions, a)
	}
	require.NoError(tb, rows.Err())
	return actions
}

// Count runs a query for one number.
func (k *Kit) Count(tb testing.TB, query string, args ...any) int {
	tb.Helper()
	var n int
	require.NoError(tb, k.DB.Pool.QueryRow(context.Background(), query, args...).Scan(&n))
	return n
}

// ID gives the only id a query selects.
func (k *Kit) ID(tb testing.TB, query string, args ...any) uuid.UUID {
	tb.Helper()
	var id uuid.UUID
	require.NoError(tb, k.DB.Pool.QueryRow(context.Background(), query, args...).Scan(&id))
	return id
}
