package event

import (
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cdsa.dev/cdsa/internal/pglocal"
	"cdsa.dev/cdsa/internal/pgtest"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv("EVENT_TEST_CHILD"); mode != "" {
		child(mode)
		return
	}
	os.Exit(m.Run())
}

// outbox is a database with an empty outbox, of which the server's role has what the package says it needs, no more.
type outbox struct {
	*pgxpool.Pool               // as the server
	owner         *pgxpool.Pool // as the migrations
	url           string
}

func newPool(t *testing.T) outbox {
	t.Helper()
	db := pgtest.NewBare(t)
	o := outbox{Pool: db.Pool, owner: db.Owner, url: db.URL}
	o.create(t)
	return o
}

func (o outbox) create(t *testing.T) {
	t.Helper()
	app := pgx.Identifier{pglocal.App}.Sanitize()
	if _, err := o.owner.Exec(t.Context(), OutboxDDL+"; REVOKE ALL ON outbox FROM "+app+"; GRANT SELECT, INSERT, UPDATE, DELETE ON outbox TO "+app); err != nil {
		t.Fatal(err)
	}
}

func (o outbox) recreate(t *testing.T) {
	t.Helper()
	if _, err := o.owner.Exec(t.Context(), "DROP TABLE outbox"); err != nil {
		t.Fatal(err)
	}
	o.create(t)
}
