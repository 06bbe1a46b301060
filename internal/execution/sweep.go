package execution

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/toolcache"
	"cdsa.dev/cdsa/ent/toolexecution"
	"cdsa.dev/cdsa/internal/approval"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/job"
	"cdsa.dev/cdsa/internal/uow"
)

// batch bounds what one sweep takes of a kind.
const batch = 100

// noLiveJob is true of a call x that no job in the queue will run. A job that has been at work for seconds while its call
// is still PENDING belongs to a process that died: claiming is the first thing a worker does.
const noLiveJob = `NOT EXISTS (SELECT 1 FROM river_job j WHERE j.kind = 'run_tool' AND j.args @> jsonb_build_object('execution', x.id::text)
	AND (j.state IN ('available', 'pending', 'retryable', 'scheduled')
		OR j.state = 'running' AND j.attempted_at > clock_timestamp() - interval '5 seconds'))`

// The sweeps. Each finds rows by an index of its own and skips what someone else holds. Times are the database's.
const (
	expiredRequests = `SELECT x.id FROM tool_approvals a JOIN tool_executions x ON x.id = a.execution_id
		WHERE a.responded_at IS NULL AND a.withdrawn_at IS NULL AND a.expires_at <= clock_timestamp() AND x.status = 'AWAITING_APPROVAL'
		ORDER BY a.expires_at LIMIT $1 FOR UPDATE OF x SKIP LOCKED`
	lapsedGrants = `SELECT x.id FROM tool_executions x JOIN tool_approvals a ON a.execution_id = x.id
		WHERE x.status = 'PENDING' AND a.use_by <= clock_timestamp() ORDER BY x.created_at LIMIT $1 FOR UPDATE OF x SKIP LOCKED`
	queuedTooLong = `SELECT x.id FROM tool_executions x
		WHERE x.status = 'PENDING' AND x.updated_at <= clock_timestamp() - $2::bigint * interval '1 millisecond'
		ORDER BY x.created_at LIMIT $1 FOR UPDATE OF x SKIP LOCKED`
	lostWorkers = `SELECT x.id FROM tool_executions x WHERE x.status = 'RUNNING' AND x.lease_expires_at <= clock_timestamp()
		ORDER BY x.lease_expires_at LIMIT $1 FOR UPDATE OF x SKIP LOCKED`
	// What was left over when its answer ended.
	endedAnswers = `SELECT x.id FROM tool_executions x JOIN chat_messages m ON m.id = x.reply_id
		WHERE x.status IN ('AWAITING_APPROVAL', 'PENDING') AND m.status NOT IN ('PENDING', 'STREAMING')
		ORDER BY x.created_at LIMIT $1 FOR UPDATE OF x SKIP LOCKED`
	// No more of one tool than can start now, oldest first.
	withoutJob = `SELECT x.id FROM tool_executions x WHERE x.status = 'PENDING' AND x.id IN (
			SELECT q.id FROM (SELECT x.id, x.tool_id, row_number() OVER (PARTITION BY x.tool_id ORDER BY x.created_at) AS place
				FROM tool_executions x WHERE x.status = 'PENDING' AND x.updated_at <= clock_timestamp() - interval '1 second' AND ` + noLiveJob + `) q
			JOIN tools t ON t.id = q.tool_id
			WHERE q.place <= t.max_concurrent_executions - (SELECT count(*) FROM tool_executions r WHERE r.tool_id = q.tool_id AND r.status = 'RUNNING'))
		ORDER BY x.created_at LIMIT $1 FOR UPDATE OF x SKIP LOCKED`
)

// Sweep ends what ran out of time, ends what lost its worker, and enqueues what lost its job. The server calls it every
// second on every replica; it takes a bounded batch and skips rows that others hold. A lost run ends as
// WORKER_LOST whatever its tool: the state machine has no way back from RUNNING, and a repetition is a call of its own. Audited and published like every step.
func (s *Service) Sweep(ctx context.Context) error {
	cancelled := func(reason enum.ToolReasonCode) step {
		return func(ctx context.Context, tx *uow.Tx, x *ent.ToolExecution) error {
			return approval.End(ctx, tx, x, reason)
		}
	}
	return errors.Join(
		s.sweep(ctx, "expired requests", cancelled(enum.ToolReasonCodeApprovalExpired), expiredRequests),
		s.sweep(ctx, "lapsed grants", cancelled(enum.ToolReasonCodeGrantLapsed), lapsedGrants),
		s.sweep(ctx, "calls queued too long", cancelled(enum.ToolReasonCodeQueueTimeout), queuedTooLong, s.queueTimeout().Milliseconds()),
		s.sweep(ctx, "calls of ended answers", abandon, endedAnswers),
		s.sweep(ctx, "lost workers", lose, lostWorkers),
		s.sweep(ctx, "calls without a job", again, withoutJob),
		s.noteHits(ctx),
		s.purge(ctx),
	)
}

// step is what is done to a swept call, which is locked.
type step func(ctx context.Context, tx *uow.Tx, x *ent.ToolExecution) error

func (s *Service) sweep(ctx context.Context, what string, do step, query string, args ...any) error {
	err := s.Store.Do(authz.With(ctx, authz.Sweeper), func(ctx context.Context, tx *uow.Tx) error {
		ids, err := collect(ctx, tx, query, append([]any{batch}, args...)...)
		if err != nil || len(ids) == 0 {
			return err
		}
		rows, err := tx.ToolExecution.Query().Where(toolexecution.IDIn(ids...)).All(ctx)
		if err != nil {
			return err
		}
		for _, x := range rows {
			if err := do(ctx, tx, x); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("sweep %s: %w", what, err)
	}
	return nil
}

func abandon(ctx context.Context, tx *uow.Tx, x *ent.ToolExecution) error {
	reason, err := approval.AnswerEnded(ctx, tx.PG, x)
	if err != nil || reason == "" {
		return err
	}
	return approval.End(ctx, tx, x, reason)
}

func lose(ctx context.Context, tx *uow.Tx, x *ent.ToolExecution) error {
	c := approval.Change{To: enum.ToolExecutionStatusFailed, Code: enum.ToolErrorCodeWorkerLost, Error: sentenceLost}
	if err := approval.Advance(ctx, tx, x, c); err != nil {
		return err
	}
	return callNext(ctx, tx, x)
}

func again(_ context.Context, tx *uow.Tx, x *ent.ToolExecution) error {
	tx.Job(job.RunTool{Execution: x.ID}, nil)
	return nil
}

// purge removes kept results that may not be reused any more.
func (s *Service) purge(ctx context.Context) error {
	err := s.Store.Do(authz.With(ctx, authz.Sweeper), func(ctx context.Context, tx *uow.Tx) error {
		ids, err := collect(ctx, tx, `SELECT id FROM tool_caches WHERE expires_at <= clock_timestamp() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED`, batch)
		if err != nil || len(ids) == 0 {
			return err
		}
		_, err = tx.ToolCache.Delete().Where(toolcache.IDIn(ids...)).Exec(machine(ctx))
		return err
	})
	if err != nil {
		return fmt.Errorf("sweep kept results: %w", err)
	}
	return nil
}

// collect runs a query for ids.
func collect(ctx context.Context, tx *uow.Tx, query string, args ...any) ([]uuid.UUID, error) {
	rows, err := tx.PG.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}
