package dispatch_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/dispatch"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/event"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/realtime"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

const limit = 20 * time.Second

// rig is a dispatcher on a bus of its own.
type rig struct {
	*testkit.Kit
	bus                       *event.Bus
	hub                       *realtime.Hub
	d                         *dispatch.Dispatcher
	db                        *watched
	log                       *buffer
	p                         *authz.Principal
	session                   uuid.UUID
	message, execution, gated uuid.UUID
	approval, document        uuid.UUID
}

// watched is the database as the dispatcher sees it: every query is kept, and it can be away.
type watched struct {
	dialect.Driver
	mu      sync.Mutex
	queries []string
	away    int   // queries that fail before it is back
	err     error // with this
	failed  chan struct{}
}

var errAway error = &pgconn.PgError{Code: "57P03", Message: "the database system is starting up"}

func (w *watched) Query(ctx context.Context, query string, args, v any) error {
	w.mu.Lock()
	if w.away > 0 {
		w.away--
		w.mu.Unlock()
		w.failed <- struct{}{}
		return w.err
	}
	w.queries = append(w.queries, query)
	w.mu.Unlock()
	return w.Driver.Query(ctx, query, args, v)
}

func (w *watched) since() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.queries
	w.queries = nil
	return l
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) { b.mu.Lock(); defer b.mu.Unlock(); return b.b.Write(p) }
func (b *buffer) String() string              { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{Kit: testkit.New(t), log: &buffer{}}
	r.p = r.User(t, "alice", authz.AdminRole)
	require.NoError(t, r.Store.Do(testkit.As(r.p), r.fill))
	log := slog.New(slog.NewTextHandler(r.log, nil))
	var err error
	r.bus, err = event.Open(t.Context(), event.Config{StoreDir: t.TempDir(), Key: bytes.Repeat([]byte{7}, event.KeySize), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.bus.Close()) })
	r.hub = realtime.NewHub(realtime.HubOptions{Log: log})
	t.Cleanup(r.hub.Close)
	r.db = &watched{Driver: entsql.OpenDB(dialect.Postgres, r.Store.DB), failed: make(chan struct{}, 16), err: errAway}
	r.d = &dispatch.Dispatcher{Bus: r.bus, Hub: r.hub, Client: ent.NewClient(ent.Driver(r.db)), Log: log}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	require.NoError(t, r.d.Run(ctx))
	return r
}

func (r *rig) fill(ctx context.Context, tx *uow.Tx) error {
	later := time.Now().Add(time.Hour)
	tool, err := tx.Tool.Create().SetName("t").SetDisplayName("T").SetCategory(enum.ToolCategoryDataAccess).SetSchema(map[string]any{}).
		SetRiskLevel(enum.RiskLevelHigh).SetExecutor(enum.ToolExecutorBuiltin).Save(ctx)
	if err != nil {
		return err
	}
	r.session, r.message, r.execution = uid.New(uid.ChatSession), uid.New(uid.ChatMessage), uid.New(uid.ToolExecution)
	r.gated, r.approval, r.document = uid.New(uid.ToolExecution), uid.New(uid.ToolApproval), uid.New(uid.Document)
	call := func(id uuid.UUID, gated bool) error {
		return tx.ToolExecution.Create().SetID(id).SetUserID(r.p.UserID).SetToolID(tool.ID).SetSessionID(r.session).SetStatus(enum.ToolExecutionStatusPending).
			SetToolVersion(1).SetArgsHash("").SetEffectiveRisk(enum.RiskLevelHigh).SetRequiresApproval(gated).Exec(ctx)
	}
	return errors.Join(
		tx.ChatSession.Create().SetID(r.session).SetUserID(r.p.UserID).Exec(ctx),
		tx.ChatMessage.Create().SetID(r.message).SetUserID(r.p.UserID).SetSessionID(r.session).SetRole(enum.MessageRoleUser).SetContent("hello").Exec(ctx),
		call(r.execution, false), call(r.gated, true),
		tx.ToolApproval.Create().SetID(r.approval).SetUserID(r.p.UserID).SetExecutionID(r.gated).SetExpiresAt(later).SetArgsHash("").SetPolicyVersion("").Exec(ctx),
		tx.Document.Create().SetID(r.document).SetUploadedBy(r.p.UserID).SetTitle("D").SetSourceType(enum.DocumentSourceTypeUpload).SetContentHash("h").
			SetContent("a long text").SetOriginal([]byte("bytes")).Exec(ctx),
	)
}

// sink collects what a subscription is given.
type sink struct{ events chan realtime.Event }

func (s *sink) Deliver(batch []realtime.Event) bool {
	for _, e := range batch {
		s.events <- e
	}
	return true
}
func (*sink) Full() bool                     { return false }
func (*sink) Wait(ctx context.Context) error { return ctx.Err() }
func (s *sink) Gap(reason string, _ uint64)  { s.events <- realtime.Event{Topic: "gap", Value: reason} }
func (s *sink) Complete()                    { s.events <- realtime.Event{Topic: "complete"} }
func (s *sink) Fail(err error)               { s.events <- realtime.Event{Topic: "fail", Value: err} }
func (*sink) Cancel()                        {}

func (r *rig) subscribe(t *testing.T, topics ...string) *sink {
	t.Helper()
	return r.resume(t, r.hub.Position(), topics...)
}

func (r *rig) resume(t *testing.T, after uint64, topics ...string) *sink {
	t.Helper()
	s := &sink{events: make(chan realtime.Event, 1024)}
	sub := r.hub.Join(context.Background(), &realtime.Ticket{Topics: topics, After: after, Replay: r.d.Replay(topics...)}, s)
	t.Cleanup(sub.Leave)
	return s
}

func (s *sink) next(t *testing.T) realtime.Event {
	t.Helper()
	select {
	case e := <-s.events:
		return e
	case <-time.After(limit):
		require.FailNow(t, "no event came")
	}
	panic("unreachable")
}

func (r *rig) publish(t *testing.T, subject string, payload any) uint64 {
	t.Helper()
	data, ok := payload.([]byte)
	if !ok {
		var err error
		data, err = json.Marshal(payload)
		require.NoError(t, err)
	}
	seq, err := r.bus.Publish(t.Context(), subject, "", data)
	require.NoError(t, err)
	return seq
}

func TestDispatcher_Loads(t *testing.T) {
	r := newRig(t)
	chat := fact.ChatSubject(r.session)
	s := r.subscribe(t, chat, fact.Approvals, fact.Tools, fact.Documents)

	seq := r.publish(t, chat, fact.Chat{Kind: fact.Completed, Message: r.message})
	e := s.next(t)
	require.Equal(t, seq, e.Seq)
	require.Equal(t, chat, e.Topic)
	c := e.Value.(dispatch.Chat)
	require.Equal(t, fact.Completed, c.Kind)
	require.Equal(t, "hello", c.Message.Content)
	require.WithinDuration(t, time.Now(), c.At, time.Minute)

	delta := fact.Delta{Message: r.message, Attempt: 2, Offset: 7, Text: "wörd"}
	r.publish(t, chat, fact.Chat{Delta: &delta})
	require.Equal(t, delta, *s.next(t).Value.(dispatch.Chat).Delta)

	r.publish(t, chat, fact.Chat{Execution: r.execution})
	c = s.next(t).Value.(dispatch.Chat)
	require.Equal(t, r.execution, c.Execution.ID)
	require.Nil(t, c.Approval)
	r.publish(t, chat, fact.Chat{Execution: r.gated})
	c = s.next(t).Value.(dispatch.Chat)
	require.Equal(t, r.approval, c.Approval.ID)

	r.publish(t, fact.Approvals, fact.Approval{Kind: fact.Requested, Approval: r.approval, Execution: r.gated, Requester: r.p.UserID})
	a := s.next(t).Value.(dispatch.Approval)
	require.Equal(t, r.approval, a.Approval.ID)
	require.Equal(t, fact.Requested, a.Fact.Kind)
	r.publish(t, fact.Tools, fact.Tool{Status: enum.ToolExecutionStatusRunning, Execution: r.execution, Requester: r.p.UserID})
	require.Equal(t, r.execution, s.next(t).Value.(dispatch.Tool).Execution.ID)

	r.db.since()
	r.publish(t, fact.Documents, fact.Document{Status: enum.DocumentStatusIndexed, Document: r.document, Progress: 1})
	d := s.next(t).Value.(dispatch.Document)
	require.Equal(t, "D", d.Document.Title)
	require.Equal(t, r.p.UserID, d.Document.UploadedBy, "what its readers are judged by is there")
	require.Nil(t, d.Document.Content)
	require.Empty(t, d.Document.Original)
	q := strings.Join(r.db.since(), "\n")
	require.NotContains(t, q, `"content"`, "an event does not pull the text out of the database")
	require.NotContains(t, q, `"original"`)
}

// TestDispatcher_Deleted: a deletion needs no row, ends a conversation's topic and says who could read the document.
func TestDispatcher_Deleted(t *testing.T) {
	r := newRig(t)
	chat := fact.ChatSubject(r.session)
	s, listens := r.subscribe(t, fact.Documents), r.subscribe(t, chat)
	before := r.hub.Position()
	gone := uid.New(uid.Document)
	r.db.since()
	r.publish(t, chat, fact.Chat{Deleted: true})
	r.publish(t, fact.Documents, fact.Document{Document: gone, Deleted: &fact.Readers{Owner: r.p.UserID}})
	d := s.next(t).Value.(dispatch.Document)
	require.Nil(t, d.Document)
	require.Equal(t, gone, d.Fact.Document)
	require.Equal(t, r.p.UserID, d.Fact.Deleted.Owner)
	require.Equal(t, "complete", listens.next(t).Topic)
	require.Equal(t, "complete", r.resume(t, before, chat).next(t).Topic, "who resumes from before it too")
	require.Empty(t, r.db.since())
}

func TestDispatcher_OncePerEvent(t *testing.T) {
	r := newRig(t)
	var sinks []*sink
	for range 5 {
		sinks = append(sinks, r.subscribe(t, fact.Tools))
	}
	r.db.since()
	r.publish(t, fact.Tools, fact.Tool{Execution: r.execution})
	for _, s := range sinks {
		require.Equal(t, r.execution, s.next(t).Value.(dispatch.Tool).Execution.ID)
	}
	require.Len(t, r.db.since(), 1, "one event is loaded once, whoever listens")

	// What no one listens to costs nothing.
	for range 10 {
		r.publish(t, fact.Documents, fact.Document{Document: r.document})
	}
	r.publish(t, fact.Tools, fact.Tool{Execution: r.execution})
	sinks[0].next(t)
	require.Len(t, r.db.since(), 1)
}

func TestDispatcher_LeavesOut(t *testing.T) {
	r := newRig(t)
	chat := fact.ChatSubject(r.session)
	s := r.subscribe(t, chat, fact.Approvals, fact.Tools, fact.Documents, "elsewhere")
	for _, payload := range []any{
		fact.Chat{Kind: fact.Created, Message: uid.New(uid.ChatMessage)}, // the row is gone
		fact.Chat{Execution: uid.New(uid.ToolExecution)},
		fact.Chat{},
	} {
		r.publish(t, chat, payload)
	}
	r.publish(t, fact.Approvals, fact.Approval{Approval: uid.New(uid.ToolApproval)})
	r.publish(t, fact.Tools, fact.Tool{Execution: uid.New(uid.ToolExecution)})
	r.publish(t, fact.Documents, fact.Document{Document: uid.New(uid.Document)})
	for _, subject := range []string{chat, fact.Approvals, fact.Tools, fact.Documents} { // malformed
		for _, payload := range []string{"", "{", "null garbage", `[1]`, `"secret-text"`, `{"x": 5, "m": 5, "a": 5, "d": 5}`} {
			r.publish(t, subject, []byte(payload))
		}
	}
	r.publish(t, "elsewhere", []byte("{}")) // of no kind this server knows
	want := r.publish(t, fact.Tools, fact.Tool{Execution: r.execution})
	require.Equal(t, want, s.next(t).Seq, "the first that comes is the one that can be shown")
	require.Contains(t, r.log.String(), "cannot be read")
	require.NotContains(t, r.log.String(), "secret-text", "payloads are not logged")
}

func TestDispatcher_Order(t *testing.T) {
	r := newRig(t)
	chat := fact.ChatSubject(r.session)
	s := r.subscribe(t, chat, fact.Tools)
	var want []uint64
	for i := range 60 {
		switch i % 3 {
		case 0:
			want = append(want, r.publish(t, chat, fact.Chat{Delta: &fact.Delta{Message: r.message, Offset: i, Text: "x"}})) // needs no row: must not overtake
		case 1:
			want = append(want, r.publish(t, chat, fact.Chat{Execution: r.gated}))
		default:
			want = append(want, r.publish(t, fact.Tools, fact.Tool{Execution: r.execution}))
		}
	}
	for _, seq := range want {
		require.Equal(t, seq, s.next(t).Seq)
	}
	// Read back from any point, the same come in the same order.
	for _, i := range []int{0, 1, 29, 58} {
		again := r.resume(t, want[i], chat, fact.Tools)
		for _, seq := range want[i+1:] {
			require.Equal(t, seq, again.next(t).Seq)
		}
	}
}

func TestDispatcher_DatabaseAway(t *testing.T) {
	r := newRig(t)
	s := r.subscribe(t, fact.Tools, fact.Documents)
	r.db.mu.Lock()
	r.db.away = 10 // more than the tries of a row that cannot be read
	r.db.mu.Unlock()
	first := r.publish(t, fact.Tools, fact.Tool{Execution: r.execution})
	second := r.publish(t, fact.Documents, fact.Document{Document: r.document})
	for range 10 {
		<-r.db.failed
	}
	require.Equal(t, first, s.next(t).Seq, "it waits")
	require.Equal(t, second, s.next(t).Seq, "and skips nothing")
	require.Contains(t, r.log.String(), "waits for the database")
}

// TestDispatcher_Unreadable: a row that cannot be read holds up nobody for ever, live or replayed, and is counted.
func TestDispatcher_Unreadable(t *testing.T) {
	for name, fault := range map[string]error{
		"Data":    &pgconn.PgError{Code: "22P02", Message: "invalid input syntax"},
		"Corrupt": &pgconn.PgError{Code: "XX001", Message: "invalid page"},
		"Decoded": errors.New("sql: Scan error on column index 3"),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			s := r.subscribe(t, fact.Tools, fact.Documents)
			fail := func() {
				r.db.mu.Lock()
				r.db.away, r.db.err = 6, fault
				r.db.mu.Unlock()
			}
			fail()
			first := r.publish(t, fact.Tools, fact.Tool{Execution: r.execution})
			second := r.publish(t, fact.Documents, fact.Document{Document: r.document})
			require.Equal(t, second, s.next(t).Seq, "the next one comes")
			require.Contains(t, r.log.String(), "is left out")
			require.Equal(t, 1.0, r.unreadable(t))
			fail()
			again := r.resume(t, first-1, fact.Tools, fact.Documents)
			require.Equal(t, second, again.next(t).Seq, "in a replay too")
			require.Equal(t, 2.0, r.unreadable(t))
		})
	}
}

// unreadable is what the metric says.
func (r *rig) unreadable(t *testing.T) float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(r.d.Collector())
	families, err := reg.Gather()
	require.NoError(t, err)
	require.Len(t, families, 1)
	return families[0].GetMetric()[0].GetCounter().GetValue()
}

func TestDispatcher_Replay(t *testing.T) {
	r := newRig(t)
	first := r.publish(t, fact.Tools, fact.Tool{Execution: r.execution})
	r.publish(t, fact.Tools, []byte("{"))
	r.publish(t, fact.Tools, fact.Tool{Execution: uid.New(uid.ToolExecution)})
	r.publish(t, fact.Documents, fact.Document{Document: r.document})
	last := r.publish(t, fact.Tools, fact.Tool{Execution: r.gated})
	var got []uint64
	for e, err := range r.d.Replay(fact.Tools)(t.Context(), 0, last) {
		require.NoError(t, err)
		got = append(got, e.Seq)
	}
	require.Equal(t, []uint64{first, last}, got, "gone, malformed and other topics' events are left out here too")
	for range r.d.Replay(fact.Tools)(t.Context(), 0, last) {
		break // may be stopped early
	}
	r.db.mu.Lock()
	r.db.away = 1
	r.db.mu.Unlock()
	for _, err := range r.d.Replay(fact.Tools)(t.Context(), 0, last) {
		require.ErrorIs(t, err, errAway, "a replay that cannot load fails, and leaves nothing out in silence")
		break
	}
	for _, err := range r.d.Replay(fact.Tools)(t.Context(), last+100, last+200) {
		require.ErrorIs(t, err, realtime.ErrCursorExpired, "a position that the stream has not reached is of another stream")
		break
	}
}
