// Package turn carries out what package agent decides: it claims an answer by lease, calls the model, starts tools and
// ends the answer. Nothing of a turn lives in memory alone: a turn that waits for a person is a row, and a worker that is
// killed is followed by another as soon as its lease lapses. Two workers never hold one answer: every write names the
// attempt it belongs to. A Runner is safe for concurrent use.
package turn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/agent"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/event"
	"cdsa.dev/cdsa/internal/execution"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/llm"
	"cdsa.dev/cdsa/internal/uow"
)

const (
	// lease is how long a worker may be silent. With the sweep each second, another takes over within 8 s of a kill.
	lease     = 6 * time.Second
	heartbeat = 2 * time.Second
	// orphaned is how long a parked answer whose calls have all ended may lie before the sweeper looks at it.
	orphaned = 10 * time.Second
	// sweepBatch bounds the answers one sweep takes up.
	sweepBatch = 32
	// maxAttempts ends an answer that no worker can end.
	maxAttempts = 6
	// endTimeout bounds the last writes of a turn whose context has ended.
	endTimeout = 10 * time.Second
)

// Executions requests and runs tool calls.
type Executions interface {
	Request(ctx context.Context, in execution.Input) (*ent.ToolExecution, error)
	Run(ctx context.Context, id uuid.UUID) error
	Repeatable(x *ent.ToolExecution) bool
	StopReply(ctx context.Context, tx *uow.Tx, replyID uuid.UUID) error
	ForfeitReply(ctx context.Context, tx *uow.Tx, replyID uuid.UUID) error
}

// Config is what a Runner works with; every field is needed but Limits.
type Config struct {
	Store      *uow.Store
	Client     *ent.Client
	Pool       *pgxpool.Pool
	Bus        *event.Bus
	Relay      *event.Relay
	Models     *llm.Registry
	Executions Executions
	LoadUser   func(ctx context.Context, userID uuid.UUID) (*authz.Principal, error)
	Limits     agent.Limits
	Log        *slog.Logger
}

// Runner carries out turns.
type Runner struct {
	Config
	mu      sync.Mutex
	running map[uuid.UUID]*hold
	swept   chan struct{} // bounds turns taken up by the sweeper
	wg      sync.WaitGroup
}

// hold is an answer that this process writes.
type hold struct {
	cancel context.CancelCauseFunc
	poke   chan struct{}    // has its heartbeat come at once
	user   *authz.Principal // nil until it was loaded
}

// New makes a runner.
func New(c Config) *Runner {
	return &Runner{Config: c, running: map[uuid.UUID]*hold{}, swept: make(chan struct{}, sweepBatch)}
}

var (
	errStopped = errors.New("the user asked to stop")
	errLost    = errors.New("another worker has the answer")
)

// turn is one worker's hold of one answer.
type turn struct {
	*Runner
	reply   *ent.ChatMessage
	session *ent.ChatSession
	user    *authz.Principal
	question
	calls    []agent.Call
	steps    int
	last     llm.FinishReason
	failure  *llm.Error
	shrunk   int
	partial  strings.Builder // text of the step under way, kept when it is cut short
	in, out  int             // tokens
	fitted   agent.Fitted
	canceled bool
}

// question is what the answer answers.
type question struct {
	history     []agent.Message
	documentIDs []string
	strategy    enum.ContextStrategy
	tools       []llm.ToolSpec
}

// Run goes on with an answer until it ends, waits for a person, or ctx ends. It does nothing when another worker holds
// the answer or it has ended. Errors are internal; the answer is then left to the sweeper.
func (r *Runner) Run(ctx context.Context, replyID uuid.UUID) error {
	ctx = authz.With(ctx, authz.Agent)
	reply, fresh, err := r.claim(ctx, replyID)
	if err != nil || reply == nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	h := &hold{cancel: cancel, poke: make(chan struct{}, 1)}
	r.mu.Lock()
	r.running[replyID] = h
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.running, replyID)
		r.mu.Unlock()
	}()
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		r.beat(ctx, h, reply)
	}()
	err = r.work(ctx, h, reply, fresh)
	if cause := context.Cause(ctx); errors.Is(cause, errStopped) && errors.Is(err, context.Canceled) {
		err = fmt.Errorf("%w: %w", cause, err) // before its first step: whoever takes it up next ends it
	}
	cancel(nil)
	<-beating
	if err != nil && !errors.Is(context.Cause(ctx), errLost) {
		r.release(reply)
	}
	if errors.Is(err, errLost) {
		return nil
	}
	return err
}

// work is Run with the answer held.
func (r *Runner) work(ctx context.Context, h *hold, reply *ent.ChatMessage, fresh bool) error {
	t, err := r.load(ctx, reply)
	if err != nil {
		var e *errs.Error
		if errors.As(err, &e) { // the user may no longer do this
			return r.give(ctx, reply, e)
		}
		return err
	}
	r.mu.Lock()
	h.user = t.user
	r.mu.Unlock()
	if reply.Attempt > maxAttempts {
		return t.fail(ctx, errs.New(errs.Internal, "The answer could not be completed after several attempts. Ask again; if it happens again, tell an operator."))
	}
	if fresh {
		if err := t.announce(ctx); err != nil {
			return err
		}
	}
	for {
		done, err := t.step(ctx)
		if done || err != nil {
			return err
		}
		user, err := r.judge(ctx, reply) // the next step has the rights of its moment
		switch lost, rights := errs.As(err); {
		case err == nil:
			t.user = user
		case context.Cause(ctx) != nil: // the step sees it
		case rights:
			h.cancel(lost) // the step ends it, undisturbed by the heartbeat that finds the same
		default:
			return err
		}
	}
}

// give ends an answer that cannot be loaded for its user any more; what it has stays.
func (r *Runner) give(ctx context.Context, reply *ent.ChatMessage, e *errs.Error) error {
	calls, err := fromMaps(reply.ToolCalls)
	if err != nil {
		return fmt.Errorf("tool calls of answer %s: %w", reply.ID, err)
	}
	return (&turn{Runner: r, reply: reply, calls: calls, in: reply.InputTokens, out: reply.OutputTokens}).fail(ctx, e)
}

// Stop asks the worker that runs the answer, if it is in this process, to end it. It does not wait.
func (r *Runner) Stop(replyID uuid.UUID) {
	r.mu.Lock()
	h, ok := r.running[replyID]
	r.mu.Unlock()
	if ok {
		h.cancel(errStopped)
	}
}

// Rejudge has the answers that this process writes for these users and API tokens looked at now, instead of at their next
// heartbeat; without any, all of them. Call it when rights have changed. It does not wait.
func (r *Runner) Rejudge(ids ...uuid.UUID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.running {
		if len(ids) > 0 && h.user != nil && !slices.Contains(ids, h.user.UserID) && !slices.Contains(ids, h.user.SessionID) {
			continue
		}
		select {
		case h.poke <- struct{}{}:
		default: // about to look
		}
	}
}

// claim takes the answer if no one holds it. fresh says that an attempt begins: the text starts anew.
func (r *Runner) claim(ctx context.Context, id uuid.UUID) (reply *ent.ChatMessage, fresh bool, err error) {
	position := r.Bus.Position()
	err = r.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		var session uuid.UUID
		// Wait for a worker that is parking the answer now: the statement below must see what it leaves.
		if _, err := tx.PG.Exec(ctx, `SELECT 1 FROM chat_messages WHERE id = $1 FOR UPDATE`, id); err != nil {
			return err
		}
		err := tx.PG.QueryRow(ctx, `
			WITH old AS (
				SELECT id, status = 'PENDING' OR lease_expires_at IS NOT NULL AS fresh FROM chat_messages
				WHERE id = $1 AND role = 'ASSISTANT' AND (status = 'PENDING' OR status = 'STREAMING' AND (lease_expires_at IS NULL OR lease_expires_at < now()))
				FOR UPDATE)
			UPDATE chat_messages m SET status = 'STREAMING', lease_expires_at = now() + $2::interval, updated_at = now(),
				attempt = m.attempt + fresh::int, stream_position = $3
			FROM old WHERE m.id = old.id RETURNING fresh, m.session_id`, id, lease, int64(position)).Scan(&fresh, &session)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if fresh {
			tx.Event(fact.ChatSubject(session), fact.Chat{Kind: fact.Started, Message: id})
		}
		reply, err = tx.ChatMessage.Get(ctx, id)
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("claim answer %s: %w", id, err)
	}
	return reply, fresh, nil
}

// beat keeps the lease, and hears of a wish to stop whose signal was lost and of rights that were taken away.
func (r *Runner) beat(ctx context.Context, h *hold, reply *ent.ChatMessage) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	held := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-h.poke:
		}
		var stop bool
		err := r.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
			return tx.PG.QueryRow(ctx, `UPDATE chat_messages SET lease_expires_at = now() + $3::interval
				WHERE id = $1 AND attempt = $2 AND status = 'STREAMING' AND lease_expires_at IS NOT NULL RETURNING cancel_requested`, reply.ID, reply.Attempt, lease).Scan(&stop)
		})
		if err == nil && !stop {
			_, err = r.judge(ctx, reply)
		}
		switch lost, rights := errs.As(err); {
		case ctx.Err() != nil:
			return
		case errors.Is(err, pgx.ErrNoRows):
			h.cancel(errLost)
			return
		case rights:
			h.cancel(lost)
			return
		case err != nil:
			r.Log.WarnContext(ctx, "the lease of an answer was not kept", "reply", reply.ID, "error", err)
			if time.Since(held) > lease {
				h.cancel(errLost)
				return
			}
			continue
		case stop:
			h.cancel(errStopped)
			return
		}
		held = time.Now()
	}
}

// release lets another worker go on at once with an answer this one could not end.
func (r *Runner) release(reply *ent.ChatMessage) {
	ctx, done := context.WithTimeout(authz.With(context.Background(), authz.Agent), endTimeout)
	defer done()
	err := r.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		_, err := tx.PG.Exec(ctx, `UPDATE chat_messages SET lease_expires_at = now() + least(attempt, 5) * interval '1 second' - interval '1 second' WHERE id = $1 AND attempt = $2 AND status = 'STREAMING' AND lease_expires_at IS NOT NULL`, reply.ID, reply.Attempt)
		return err
	})
	if err != nil {
		r.Log.WarnContext(ctx, "an answer was not released; its lease will lapse", "reply", reply.ID, "error", err)
	}
}

// Sweep takes up answers that no one works on: never begun, abandoned by a lost worker, or parked with nothing left to
// wait for. Bounded; the app calls it every second on every replica.
func (r *Runner) Sweep(ctx context.Context) error {
	var ids []uuid.UUID
	rows, err := r.query(ctx, `
		SELECT m.id FROM chat_messages m WHERE m.status IN ('PENDING', 'STREAMING') AND m.role = 'ASSISTANT' AND (m.lease_expires_at < now()
			OR m.lease_expires_at IS NULL AND m.updated_at < now() - $1::interval AND NOT EXISTS (
				SELECT 1 FROM tool_executions x WHERE x.reply_id = m.id AND x.status IN ('AWAITING_APPROVAL', 'PENDING', 'RUNNING')))
		ORDER BY m.lease_expires_at NULLS LAST LIMIT $2`, orphaned, sweepBatch)
	if err != nil {
		return fmt.Errorf("look for abandoned answers: %w", err)
	}
	if ids, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID]); err != nil {
		return fmt.Errorf("look for abandoned answers: %w", err)
	}
	for _, id := range ids {
		select {
		case r.swept <- struct{}{}:
		default:
			return nil // enough under way; the rest is for the next sweep
		}
		r.wg.Go(func() {
			defer func() { <-r.swept }()
			if err := r.Run(ctx, id); err != nil && ctx.Err() == nil && !errors.Is(err, errStopped) { // neither a stop of the server nor of the answer is a fault
				r.Log.ErrorContext(ctx, "an answer could not be gone on with", "reply", id, "error", err)
			}
		})
	}
	return nil
}

// Wait returns when the turns begun by Sweep have ended; their context must have ended before.
func (r *Runner) Wait() { r.wg.Wait() }

func toMaps(calls []agent.Call) ([]map[string]any, error) {
	b, err := json.Marshal(calls)
	if err != nil {
		return nil, err
	}
	var out []map[string]any
	return out, json.Unmarshal(b, &out)
}

func fromMaps(m []map[string]any) ([]agent.Call, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	var out []agent.Call
	return out, json.Unmarshal(b, &out)
}
