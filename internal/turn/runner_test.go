package turn_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/agent"
	"cdsa.dev/cdsa/internal/approval"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/chat"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/event"
	"cdsa.dev/cdsa/internal/execution"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/llm"
	"cdsa.dev/cdsa/internal/llm/provider"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/tool"
	"cdsa.dev/cdsa/internal/tool/builtin/calculator"
	"cdsa.dev/cdsa/internal/turn"
	"cdsa.dev/cdsa/internal/uow"
)

type fixture struct {
	*testkit.Kit
	bus    *event.Bus
	chats  *chat.Service
	user   *authz.Principal
	runner *turn.Runner
	calls  *execution.Service
	delay  time.Duration // between the model's words
}

// setUp is a conversation's world without a server: real Postgres, a real bus, the offline model.
func setUp(t *testing.T) *fixture { t.Helper(); return setUpSlow(t, 0) }

func setUpSlow(t *testing.T, delay time.Duration) *fixture {
	t.Helper()
	f := &fixture{Kit: testkit.New(t), delay: delay}
	f.user = f.User(t, "ana", "analyst")
	var err error
	f.bus, err = event.Open(t.Context(), event.Config{StoreDir: t.TempDir(), Key: make([]byte, 32)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.bus.Close()) })
	models, err := provider.New(provider.Config{Provider: "offline", OfflineDelay: f.delay})
	require.NoError(t, err)
	calc, err := calculator.New()
	require.NoError(t, err)
	tools, err := tool.NewRegistry(calc)
	require.NoError(t, err)
	executions := &execution.Service{
		Store: f.Store, Client: f.Client, Tools: tools, Runner: tool.NewRunner(tools, slog.New(slog.DiscardHandler)), Schemas: tool.NewSchemaCache(8),
		Approval: approval.DefaultSettings(), Log: slog.New(slog.DiscardHandler),
	}
	f.chats = &chat.Service{Store: f.Store, Client: f.Client, Models: models, Position: f.bus.Position, Tools: executions}
	f.calls = executions
	f.runner = f.newRunner(models, executions)
	return f
}

func (f *fixture) newRunner(models *llm.Registry, executions turn.Executions) *turn.Runner {
	return turn.New(turn.Config{
		Store: f.Store, Client: f.Client, Pool: f.DB.Pool, Bus: f.bus, Relay: event.NewRelay(f.DB.Pool, f.bus, event.RelayConfig{}), Models: models, Executions: executions,
		LoadUser: func(_ context.Context, id uuid.UUID) (*authz.Principal, error) {
			if id != f.user.UserID {
				return nil, errs.New(errs.Forbidden, "Not this user.")
			}
			return f.user, nil
		},
		Limits: agent.Limits{}, Log: slog.New(slog.DiscardHandler),
	})
}

// ask sends a message and gives the begun answer.
func (f *fixture) ask(t *testing.T, text string) *ent.ChatMessage {
	t.Helper()
	return f.askAs(t, f.user, text)
}

func (f *fixture) askAs(t *testing.T, p *authz.Principal, text string) *ent.ChatMessage {
	t.Helper()
	ctx := authz.With(t.Context(), p)
	c, err := f.chats.Create(ctx, chat.Settings{})
	require.NoError(t, err)
	sent, err := f.chats.Send(ctx, chat.Message{SessionID: c.ID, Content: text})
	require.NoError(t, err)
	require.Equal(t, enum.MessageStatusPending, sent.Reply.Status)
	return sent.Reply
}

func (f *fixture) read(t *testing.T, id uuid.UUID) *ent.ChatMessage {
	t.Helper()
	m, err := f.Client.ChatMessage.Get(authz.With(t.Context(), f.user), id)
	require.NoError(t, err)
	return m
}

// stream is what a subscriber of the conversation would have heard, after the relay has done its work.
func (f *fixture) stream(t *testing.T, m *ent.ChatMessage) (kinds []fact.MessageKind, text map[int]string) {
	t.Helper()
	subject := fact.ChatSubject(m.SessionID)
	_, err := event.NewRelay(f.DB.Pool, f.bus, event.RelayConfig{}).Flush(t.Context(), subject)
	require.NoError(t, err)
	last, err := f.bus.Last(t.Context(), subject)
	require.NoError(t, err)
	text = map[int]string{}
	for msg, err := range f.bus.Replay(t.Context(), []string{subject}, 0, last) {
		require.NoError(t, err)
		var c fact.Chat
		require.NoError(t, json.Unmarshal(msg.Data, &c))
		switch {
		case c.Delta != nil:
			require.Equal(t, m.ID, c.Delta.Message)
			require.Equal(t, agent.UTF16Len(text[c.Delta.Attempt]), c.Delta.Offset, "offsets join the pieces")
			require.Contains(t, kinds, fact.Started, "STARTED precedes the deltas")
			text[c.Delta.Attempt] += c.Delta.Text
		case c.Message == m.ID:
			kinds = append(kinds, c.Kind)
		}
	}
	return kinds, text
}

func (f *fixture) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	tag, err := f.DB.Owner.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
	require.EqualValues(t, 1, tag.RowsAffected())
}

func TestRunner_Completes(t *testing.T) {
	f := setUp(t)
	reply := f.ask(t, "What do my documents say?")
	var wg sync.WaitGroup
	for range 6 { // as many workers as there are deliveries of the job: one has the answer
		wg.Go(func() {
			if err := f.runner.Run(t.Context(), reply.ID); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	m := f.read(t, reply.ID)
	require.Equal(t, enum.MessageStatusCompleted, m.Status)
	require.Equal(t, 1, m.Attempt)
	require.NotEmpty(t, m.Content)
	require.Nil(t, m.LeaseExpiresAt)
	kinds, text := f.stream(t, m)
	require.Equal(t, []fact.MessageKind{fact.Created, fact.Started, fact.Completed}, kinds)
	require.Equal(t, map[int]string{1: m.Content}, text)
}

func TestRunner_TakesOverFromALostWorker(t *testing.T) {
	f := setUp(t)
	reply := f.ask(t, "What do my documents say?")
	f.exec(t, `UPDATE chat_messages SET status = 'STREAMING', attempt = 1, lease_expires_at = now() + interval '1 minute' WHERE id = $1`, reply.ID)
	require.NoError(t, f.runner.Run(t.Context(), reply.ID))
	require.Equal(t, enum.MessageStatusStreaming, f.read(t, reply.ID).Status, "a held answer is left alone")

	f.exec(t, `UPDATE chat_messages SET lease_expires_at = now() - interval '1 second' WHERE id = $1`, reply.ID)
	require.NoError(t, f.runner.Sweep(t.Context()))
	f.runner.Wait()
	m := f.read(t, reply.ID)
	require.Equal(t, enum.MessageStatusCompleted, m.Status)
	require.Equal(t, 2, m.Attempt)
	_, text := f.stream(t, m)
	require.Equal(t, map[int]string{2: m.Content}, text)
}

func TestRunner_HonoursAWishToStopThatNoSignalBrought(t *testing.T) {
	f := setUp(t)
	reply := f.ask(t, "What do my documents say?")
	f.exec(t, `UPDATE chat_messages SET cancel_requested = true WHERE id = $1`, reply.ID)
	require.NoError(t, f.runner.Run(t.Context(), reply.ID))
	m := f.read(t, reply.ID)
	require.Equal(t, enum.MessageStatusCancelled, m.Status)
	require.Empty(t, m.Content, "the model was not called")
	kinds, _ := f.stream(t, m)
	require.Equal(t, []fact.MessageKind{fact.Created, fact.Started, fact.Cancelled}, kinds)
}

func TestRunner_CancelsWhatNoWorkerHolds(t *testing.T) {
	f := setUp(t)
	reply := f.ask(t, "What do my documents say?")
	m, err := f.chats.Cancel(authz.With(t.Context(), f.user), reply.SessionID)
	require.NoError(t, err)
	require.Equal(t, enum.MessageStatusCancelled, m.Status)
	require.NoError(t, f.runner.Run(t.Context(), reply.ID))
	require.Equal(t, enum.MessageStatusCancelled, f.read(t, reply.ID).Status, "an ended answer stays ended")
	again, err := f.chats.Cancel(authz.With(t.Context(), f.user), reply.SessionID)
	require.NoError(t, err)
	require.Nil(t, again)
}

func TestRunner_GivesUpWhatCannotBeEnded(t *testing.T) {
	f := setUp(t)
	reply := f.ask(t, "What do my documents say?")
	f.exec(t, `UPDATE chat_messages SET status = 'STREAMING', attempt = 6, lease_expires_at = now() - interval '1 second' WHERE id = $1`, reply.ID)
	require.NoError(t, f.runner.Run(t.Context(), reply.ID))
	m := f.read(t, reply.ID)
	require.Equal(t, enum.MessageStatusFailed, m.Status)
	require.Equal(t, string(errs.Internal), *m.ErrorCode)
}

// tool writes down a calculator of some risk, which this process can run.
func (f *fixture) tool(t *testing.T, risk enum.RiskLevel) {
	t.Helper()
	b, err := calculator.New()
	require.NoError(t, err)
	require.NoError(t, f.Store.Do(authz.With(t.Context(), authz.Seeder), func(ctx context.Context, tx *uow.Tx) error {
		return tx.Tool.Create().SetName(b.Name).SetDisplayName(b.DisplayName).SetCategory(b.Category).SetSchema(b.Schema).SetRiskLevel(risk).
			SetExecutor(enum.ToolExecutorBuiltin).SetHints(b.Hints.Map()).SetTimeoutSeconds(5).Exec(ctx)
	}))
}

// call asks for a call in the answer's name, as its worker does.
func (f *fixture) call(t *testing.T, reply *ent.ChatMessage) *ent.ToolExecution {
	t.Helper()
	x, err := f.calls.Request(authz.With(t.Context(), f.user.AsAgent()), execution.Input{Tool: "calculator", Parameters: map[string]any{"expression": "6*7"},
		SessionID: &reply.SessionID, ReplyID: &reply.ID, CallID: "c1"})
	require.NoError(t, err)
	return x
}

func (f *fixture) callStatus(t *testing.T, id uuid.UUID) (status, reason string) {
	t.Helper()
	require.NoError(t, f.DB.Pool.QueryRow(t.Context(), `SELECT status, COALESCE(reason_code, '') FROM tool_executions WHERE id = $1`, id).Scan(&status, &reason))
	return status, reason
}

// An answer and its open calls end together: no moment between the two could let a call be approved and run.
func TestRunner_EndsWithItsCalls(t *testing.T) {
	f := setUp(t)
	f.tool(t, enum.RiskLevelHigh)
	t.Run("Failed", func(t *testing.T) {
		reply := f.ask(t, "What do my documents say?")
		x := f.call(t, reply)
		f.exec(t, `UPDATE chat_messages SET status = 'STREAMING', attempt = 6, lease_expires_at = now() - interval '1 second' WHERE id = $1`, reply.ID)
		require.NoError(t, f.runner.Run(t.Context(), reply.ID))
		require.Equal(t, enum.MessageStatusFailed, f.read(t, reply.ID).Status)
		status, reason := f.callStatus(t, x.ID)
		require.Equal(t, "CANCELLED AUTHORIZATION_LOST", status+" "+reason)
	})
	t.Run("Cancelled", func(t *testing.T) {
		reply := f.ask(t, "What do my documents say?")
		x := f.call(t, reply)
		f.chats.Tools = crash{} // the server dies before the calls were cancelled
		_, err := f.chats.Cancel(authz.With(t.Context(), f.user), reply.SessionID)
		require.ErrorIs(t, err, errCrash)
		require.Equal(t, enum.MessageStatusPending, f.read(t, reply.ID).Status, "nothing of it happened")
		require.ErrorIs(t, f.chats.Delete(authz.With(t.Context(), f.user), reply.SessionID), errCrash)
		f.chats.Tools = f.calls
		_, err = f.chats.Cancel(authz.With(t.Context(), f.user), reply.SessionID)
		require.NoError(t, err)
		require.Equal(t, enum.MessageStatusCancelled, f.read(t, reply.ID).Status)
		status, reason := f.callStatus(t, x.ID)
		require.Equal(t, "CANCELLED BY_REQUESTER", status+" "+reason)
	})
}

// killed runs calls as a worker that is killed with the first of them in hand.
type killed struct {
	*execution.Service
	f    *fixture
	t    *testing.T
	left int
}

func (k *killed) Run(ctx context.Context, id uuid.UUID) error {
	if k.left--; k.left >= 0 {
		k.f.exec(k.t, `UPDATE tool_executions SET status = 'RUNNING', started_at = now(), lease_expires_at = now() - interval '1 millisecond' WHERE id = $1`, id)
		return nil
	}
	return k.Service.Run(ctx, id)
}

// What reads alone is asked for once more when its worker was lost, as a call of its own; anything else stays lost.
func TestRunner_RepeatsALostCall(t *testing.T) {
	for name, c := range map[string]struct {
		kills    int
		spoil    string
		statuses []string
	}{
		"Once":            {1, "", []string{"FAILED", "COMPLETED"}},
		"Twice":           {2, "", []string{"FAILED", "FAILED"}},
		"NotIdempotent":   {1, `UPDATE tools SET hints = hints || '{"idempotent": false}'`, []string{"FAILED"}},
		"ReachesOut":      {1, `UPDATE tools SET hints = hints || '{"openWorld": true}'`, []string{"FAILED"}},
		"ChangedMeantime": {1, `UPDATE tools SET version = version + 1`, []string{"FAILED"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := setUp(t)
			f.tool(t, enum.RiskLevelLow)
			f.exec(t, `UPDATE users SET is_superuser = true WHERE id = $1`, f.user.UserID) // rights that a claim finds
			models, err := provider.New(provider.Config{Provider: "offline"})
			require.NoError(t, err)
			runner := f.newRunner(models, &killed{f.calls, f, t, c.kills})
			reply := f.ask(t, "Calculate 6*7")
			require.NoError(t, runner.Run(t.Context(), reply.ID))
			require.Equal(t, enum.MessageStatusStreaming, f.read(t, reply.ID).Status, "it waits for the lost call")
			if c.spoil != "" {
				f.exec(t, c.spoil)
			}
			for range c.kills {
				require.NoError(t, f.calls.Sweep(t.Context()))
				require.NoError(t, runner.Run(t.Context(), reply.ID))
			}
			m := f.read(t, reply.ID)
			require.Equal(t, enum.MessageStatusCompleted, m.Status)
			rows, err := f.DB.Pool.Query(t.Context(), `SELECT status FROM tool_executions ORDER BY id`)
			require.NoError(t, err)
			statuses, err := pgx.CollectRows(rows, pgx.RowTo[string])
			require.NoError(t, err)
			require.Equal(t, c.statuses, statuses)
			require.Equal(t, len(statuses)-1, f.Count(t, `SELECT count(*) FROM tool_executions x JOIN tool_executions o ON o.id = x.retry_of AND o.error_code = 'WORKER_LOST' AND o.reply_id = x.reply_id`))
			if statuses[len(statuses)-1] == "COMPLETED" {
				require.Contains(t, m.Content, "6*7 = 42")
			} else {
				require.Contains(t, m.Content, "may have taken effect")
			}
		})
	}
}

var errCrash = errors.New("crash")

type crash struct{}

func (crash) CancelReply(context.Context, *uow.Tx, uuid.UUID) error   { return errCrash }
func (crash) CancelSession(context.Context, *uow.Tx, uuid.UUID) error { return errCrash }

func TestRunner_EndsForAUserWhoMayNot(t *testing.T) {
	f := setUp(t)
	reply := f.ask(t, "What do my documents say?")
	f.user = authz.NewUser(f.user.UserID, "ana", uuid.Nil, false, time.Time{}) // every role taken away
	require.NoError(t, f.runner.Run(t.Context(), reply.ID))
	m, err := f.Client.ChatMessage.Get(authz.With(t.Context(), authz.Agent), reply.ID)
	require.NoError(t, err)
	require.Equal(t, enum.MessageStatusFailed, m.Status)
	require.Equal(t, string(errs.Forbidden), *m.ErrorCode)
}

// What an API token began is not taken up any more once the token has ended.
func TestRunner_APITokenEnded(t *testing.T) {
	for name, end := range testkit.APITokenEnds {
		t.Run(name, func(t *testing.T) {
			f := setUp(t)
			program := f.APIToken(t, f.user, "chat:read", "chat:write")
			reply := f.askAs(t, program, "What do my documents say?")
			f.exec(t, end, program.SessionID)
			require.NoError(t, f.runner.Run(t.Context(), reply.ID))
			f.forfeited(t, reply.ID)
		})
	}
}

func (f *fixture) forfeited(t *testing.T, id uuid.UUID) *ent.ChatMessage {
	t.Helper()
	m, err := f.Client.ChatMessage.Get(authz.With(t.Context(), authz.Agent), id)
	require.NoError(t, err)
	require.Equal(t, enum.MessageStatusFailed, m.Status)
	require.Equal(t, string(errs.Unauthenticated), *m.ErrorCode)
	require.Nil(t, m.LeaseExpiresAt)
	return m
}

// An answer stops while the model streams it when the token that asked for it ends, or its user's rights do: at once where
// that is told, and within two heartbeats where it is not.
func TestRunner_StopsWhileStreaming(t *testing.T) {
	for name, c := range map[string]struct {
		told  bool
		token bool
	}{"TokenTold": {true, true}, "TokenUntold": {false, true}, "UserTold": {true, false}} {
		t.Run(name, func(t *testing.T) {
			f := setUpSlow(t, time.Second) // words enough for many times what is waited for
			p := f.user
			if c.token {
				p = f.APIToken(t, f.user, "chat:read", "chat:write")
			}
			var gone atomic.Bool
			f.runner.LoadUser = func(context.Context, uuid.UUID) (*authz.Principal, error) {
				if gone.Load() {
					return nil, errs.New(errs.Unauthenticated, "This user may not use the system any more.")
				}
				return f.user, nil
			}
			reply := f.askAs(t, p, "What is there to say of all that is known of otters, herons, kingfishers and the canal at dawn?")
			last, err := f.bus.Last(t.Context(), fact.ChatSubject(reply.SessionID))
			require.NoError(t, err)
			done := make(chan error, 1)
			go func() { done <- f.runner.Run(t.Context(), reply.ID) }()
			require.Eventually(t, func() bool { // the first word is out
				now, err := f.bus.Last(t.Context(), fact.ChatSubject(reply.SessionID))
				return err == nil && now > last+3 // two CREATED and STARTED
			}, 20*time.Second, 5*time.Millisecond)
			f.runner.Rejudge() // it may still be written
			began := time.Now()
			if c.token {
				f.exec(t, testkit.APITokenEnds["Revoked"], p.SessionID)
			} else {
				gone.Store(true)
			}
			if c.told {
				f.runner.Rejudge(uuid.New(), p.UserID)
			}
			select {
			case err := <-done:
				require.NoError(t, err)
			case <-time.After(20 * time.Second):
				t.Fatal("the answer goes on")
			}
			if c.told {
				require.Less(t, time.Since(began), 2*time.Second)
			}
			m := f.forfeited(t, reply.ID)
			require.NotEmpty(t, m.Content, "what was shown stays")
			kinds, _ := f.stream(t, m)
			require.Equal(t, fact.Failed, kinds[len(kinds)-1])
		})
	}
}

// talker streams many short pieces.
type talker struct{ pieces int }

func (talker) Name() string     { return "offline" }
func (talker) Provider() string { return "talker" }

func (m talker) Stream(context.Context, llm.Request) iter.Seq2[llm.Chunk, error] {
	return func(yield func(llm.Chunk, error) bool) {
		text := strings.Repeat("word ", 20)
		for range m.pieces {
			if !yield(llm.Chunk{Text: text}, nil) {
				return
			}
		}
		yield(llm.Chunk{Finish: &llm.Finish{Reason: llm.FinishStop}}, nil)
	}
}

// What an answer costs grows with its length, not with the square of it: 400 KB of text in pieces of 100 bytes would take
// 800 MB if each piece copied what came before.
func TestRunner_LongAnswer(t *testing.T) {
	f := setUp(t)
	const pieces = 4000
	models, err := llm.NewRegistry(llm.Entry{Model: talker{pieces}, Info: llm.Info{ContextWindow: 8000, SensitivityCeiling: enum.SensitivityRestricted, IsDefault: true}})
	require.NoError(t, err)
	runner := f.newRunner(models, f.calls)
	reply := f.ask(t, "Talk.")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	require.NoError(t, runner.Run(t.Context(), reply.ID))
	runtime.ReadMemStats(&after)
	require.Len(t, f.read(t, reply.ID).Content, pieces*100)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(400<<20))
}
