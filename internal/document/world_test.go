//go:build unix

package document

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/embed"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// world is a service over the local model on a private database, with people.
type world struct {
	*testkit.Kit
	*Service
	t        *testing.T
	ann, bob *authz.Principal // analysts
	people   map[uuid.UUID]*authz.Principal
}

func newWorld(t *testing.T) *world {
	t.Helper()
	k := testkit.New(t)
	e, err := embed.NewLocal()
	require.NoError(t, err)
	w := &world{Kit: k, t: t, people: map[uuid.UUID]*authz.Principal{}}
	w.Service = &Service{Store: k.Store, Client: k.Client, Pool: k.DB.Pool, Embedder: e, Log: slog.New(slog.DiscardHandler),
		LoadUser: func(_ context.Context, id uuid.UUID) (*authz.Principal, error) { return w.people[id], nil }}
	require.NoError(t, k.Store.Do(testkit.As(authz.Seeder), func(ctx context.Context, tx *uow.Tx) error {
		return tx.EmbeddingModel.Create().SetName("local").SetDisplayName("Local").SetProvider(enum.EmbeddingProviderLocal).
			SetModelID(e.Model()).SetDimension(e.Dimensions()).SetIsDefault(true).Exec(ctx)
	}))
	w.ann, w.bob = w.person("ann", "analyst"), w.person("bob", "analyst")
	return w
}

// with is the world with another embedder.
func (w *world) with(e embed.Embedder) *Service {
	return &Service{Store: w.Service.Store, Client: w.Service.Client, Pool: w.Pool, Embedder: e, Log: w.Log, LoadUser: w.LoadUser}
}

func (w *world) person(name string, roles ...string) *authz.Principal {
	p := w.User(w.t, name, roles...)
	w.people[p.UserID] = p
	return p
}

// exec changes rows behind the service's back.
func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	_, err := w.DB.Owner.Exec(context.Background(), sql, args...)
	require.NoError(w.t, err)
}

func note(title, content string) Input {
	return Input{Title: title, Content: content, SourceType: enum.DocumentSourceTypeApi}
}

// create makes a document of p's and, with index set, processes it.
func (w *world) create(p *authz.Principal, in Input, index bool) *ent.Document {
	w.t.Helper()
	d, err := w.Create(testkit.As(p), in)
	require.NoError(w.t, err)
	if !index {
		return d
	}
	require.NoError(w.t, w.Index(context.Background(), d.ID))
	return w.document(d.ID)
}

func (w *world) document(id uuid.UUID) *ent.Document {
	w.t.Helper()
	return w.Kit.Client.Document.GetX(testkit.As(authz.Indexer), id)
}

// events lists what the outbox has of a document, oldest first.
func (w *world) events(id uuid.UUID) []fact.Document {
	w.t.Helper()
	rows, err := w.Pool.Query(context.Background(), "SELECT payload FROM outbox WHERE subject = $1 ORDER BY id", fact.Documents)
	require.NoError(w.t, err)
	defer rows.Close()
	var out []fact.Document
	for rows.Next() {
		var b []byte
		require.NoError(w.t, rows.Scan(&b))
		var f fact.Document
		require.NoError(w.t, json.Unmarshal(b, &f))
		if f.Document == id {
			out = append(out, f)
		}
	}
	require.NoError(w.t, rows.Err())
	return out
}

func (w *world) statuses(id uuid.UUID) []enum.DocumentStatus {
	w.t.Helper()
	var out []enum.DocumentStatus
	for _, f := range w.events(id) {
		if len(out) == 0 || out[len(out)-1] != f.Status {
			out = append(out, f.Status)
		}
	}
	return out
}

func (w *world) jobs(id uuid.UUID) int {
	w.t.Helper()
	return w.Count(w.t, "SELECT count(*) FROM river_job WHERE kind = 'index' AND args->>'document' = $1", id.String())
}

func (w *world) audits(action enum.AuditAction, id uuid.UUID) int {
	w.t.Helper()
	return w.Count(w.t, "SELECT count(*) FROM audit_logs WHERE action = $1 AND resource_id = $2", string(action), id)
}

// eventually polls until ok, which a worker in another goroutine makes true.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	require.Eventually(w.t, ok, 20*time.Second, 20*time.Millisecond, what)
}

func requireCode(t *testing.T, code errs.Code, err error) {
	t.Helper()
	require.Error(t, err)
	require.True(t, errs.Is(err, code), "%v, want %s", err, code)
}

func gpl(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/usr/share/common-licenses/GPL-3")
	if os.IsNotExist(err) {
		t.Skip("this machine has no copy of the GPL at the usual place")
	}
	require.NoError(t, err)
	return string(b)
}

// long is a text of n paragraphs, each a passage of its own or nearly, no two the same.
func long(n int, words string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s%d.\n\n", strings.Repeat(words+" ", 60), i)
	}
	return b.String()
}

// stalled embeds like another embedder but stops before a call, says so and waits.
type stalled struct {
	embed.Embedder
	at      int // the call that waits, from 1
	calls   int
	reached chan struct{}
	resume  chan struct{}
}

func stall(e embed.Embedder, at int) *stalled {
	return &stalled{Embedder: e, at: at, reached: make(chan struct{}), resume: make(chan struct{})}
}

func (s *stalled) Embed(ctx context.Context, texts []string) ([][]float32, error) {
	if s.calls++; s.calls == s.at {
		close(s.reached)
		select {
		case <-s.resume:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return s.Embedder.Embed(ctx, texts)
}

// failing is an embedder that does not embed.
type failing struct {
	embed.Embedder
	fail func() error
}

func (f failing) Embed(context.Context, []string) ([][]float32, error) { return nil, f.fail() }

var unknown = uid.New(uid.Document)
