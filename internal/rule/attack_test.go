package rule_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/chatmessage"
	"cdsa.dev/cdsa/ent/chatsession"
	entdocument "cdsa.dev/cdsa/ent/document"
	"cdsa.dev/cdsa/ent/user"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// TestAttacks tries what a careless service might let through.
func TestAttacks(t *testing.T) {
	w := newWorld(t)
	alice := who{"alice", authz.NewUser(w.alice, "alice", uid.New(uid.Session), false, later(), testkit.Permissions(t, authz.AdminRole)...)}
	root := who{"root", authz.NewUser(w.carol, "root", uid.New(uid.Session), true, later(), testkit.Permissions(t, authz.AdminRole)...)}

	t.Run("WriteOutsideUnitOfWork", func(t *testing.T) {
		for _, entity := range w.entities {
			for _, x := range []who{alice, root, {"seeder", authz.Seeder}} {
				err := drafts[entity](w.kit.Client, uid.New(tag(entity)), x.mine(w), w.of[w.bob]).Exec(x.ctx())
				require.ErrorContains(t, err, "outside a unit of work", "%s creates %s", x.name, entity)
			}
		}
		err := w.kit.Client.ChatSession.UpdateOneID(w.ids["ChatSession"]["alice"]).SetTitle("x").Exec(alice.ctx())
		require.ErrorContains(t, err, "outside a unit of work")
		_, err = w.kit.Client.ChatSession.Delete().Exec(alice.ctx())
		require.ErrorContains(t, err, "outside a unit of work")
	})

	t.Run("OwnerChangedInTheMutation", func(t *testing.T) {
		// The owner is immutable where ent can say so; a chunk's can be set, but only on one's own rows.
		err := w.attempt(t, alice, func(ctx context.Context, c *ent.Client) error {
			return c.DocumentChunk.UpdateOneID(w.ids["DocumentChunk"]["bob-public"]).SetOwnerID(w.alice).Exec(ctx)
		})
		require.True(t, ent.IsNotFound(err), "%v", err)
	})

	t.Run("BulkCreateWithOneForeignRow", func(t *testing.T) {
		err := w.attempt(t, alice, func(ctx context.Context, c *ent.Client) error {
			return c.ChatSession.CreateBulk(c.ChatSession.Create().SetUserID(w.alice), c.ChatSession.Create().SetUserID(w.bob)).Exec(ctx)
		})
		require.True(t, errs.Is(err, errs.Forbidden), "%v", err)
	})

	t.Run("PredicatesAsOracle", func(t *testing.T) {
		ctx := alice.ctx()
		// A filter on hidden rows tells nothing beyond what is visible: the list itself is narrowed first.
		n, err := w.kit.Client.ChatMessage.Query().Where(chatmessage.UserID(w.bob)).Count(ctx)
		require.NoError(t, err)
		require.Zero(t, n)
		ok, err := w.kit.Client.ChatMessage.Query().Where(chatmessage.Or(chatmessage.UserID(w.bob), chatmessage.UserID(w.alice))).Exist(ctx)
		require.NoError(t, err)
		require.True(t, ok)
		ids, err := w.kit.Client.ChatMessage.Query().Where(chatmessage.Or(chatmessage.UserID(w.bob), chatmessage.UserID(w.alice))).IDs(ctx)
		require.NoError(t, err)
		require.Equal(t, w.ids["ChatMessage"]["alice"], ids[0])
		require.Len(t, ids, 1)
		// Nor does a walk from a user to conversations to messages.
		n, err = w.kit.Client.User.Query().Where(user.ID(w.bob)).QueryChatSessions().QueryMessages().Count(ctx)
		require.NoError(t, err)
		require.Zero(t, n)
		n, err = w.kit.Client.ChatSession.Query().Where(chatsession.UserID(w.bob)).QueryMessages().Count(ctx)
		require.NoError(t, err)
		require.Zero(t, n)
	})

	t.Run("SelectOfHiddenColumns", func(t *testing.T) {
		var rows []struct{ Content *string }
		carol := who{"carol", authz.NewUser(w.carol, "carol", uid.New(uid.Session), false, later())}
		err := w.kit.Client.Document.Query().Where(entdocument.ID(w.ids["Document"]["bob"])).Select(entdocument.FieldContent).Scan(carol.ctx(), &rows)
		require.NoError(t, err)
		require.Empty(t, rows)
	})

	t.Run("DatabaseRefusesWhatPoliciesForgot", func(t *testing.T) {
		for _, table := range []string{"audit_logs", "secret_access_logs", "system_metrics"} {
			for _, stmt := range []string{"DELETE FROM " + table, "UPDATE " + table + " SET created_at = now()", "TRUNCATE " + table + " CASCADE"} {
				err := w.kit.Store.Do(root.ctx(), func(ctx context.Context, tx *uow.Tx) error {
					_, err := tx.PG.Exec(ctx, stmt)
					return err
				})
				var pg *pgconn.PgError
				require.ErrorAs(t, err, &pg, stmt)
				require.Equal(t, "42501", pg.Code, stmt) // insufficient privilege
			}
		}
		for _, table := range []string{"audit_logs", "secret_access_logs"} { // and the owner's triggers, for those with more rights
			for _, stmt := range []string{"DELETE FROM " + table, "UPDATE " + table + " SET created_at = now()", "TRUNCATE " + table} {
				_, err := w.kit.DB.Owner.Exec(context.Background(), stmt)
				require.ErrorContains(t, err, "are never changed", stmt)
			}
		}
	})

	t.Run("NoPrincipal", func(t *testing.T) {
		err := w.kit.Store.Do(context.Background(), func(ctx context.Context, tx *uow.Tx) error {
			return tx.ChatSession.Create().SetUserID(w.alice).Exec(ctx)
		})
		require.True(t, errs.Is(err, errs.Unauthenticated), "%v", err)
	})
}
