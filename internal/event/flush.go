package event

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// busError marks a failure of the bus: Postgres is well, so the leader keeps its place for a while.
type busError struct{ err error }

func (e *busError) Error() string { return e.err.Error() }
func (e *busError) Unwrap() error { return e.err }

// Flush publishes what is unsent of one subject, in id order, and returns the sequence of the subject's newest event:
// whatever is published afterwards has a higher one. The process that has just committed calls it where latency counts
// and before the deltas of a STARTED. A race with the relay is harmless: both use the same message ids in the same order.
// On an error the relay publishes later what remains. Errors: ErrUnavailable.
func (r *Relay) Flush(ctx context.Context, subject string) (uint64, error) {
	var last uint64
	for {
		rows, err := r.read(ctx, r.pool, &subject)
		if err != nil {
			return 0, err
		}
		acked := make([]int64, 0, len(rows))
		seq, pubErr := r.publishRows(ctx, rows, func(id int64) { acked = append(acked, id) })
		last = max(last, seq)
		if err := mark(ctx, r.pool, acked); err != nil { // they are published; the relay finds them again and marks them
			r.failures.Add(1)
			r.log.WarnContext(ctx, "flushed events stay unmarked", "error", err)
			if pubErr == nil && len(rows) == r.cfg.Batch {
				return 0, err
			}
		}
		if pubErr != nil {
			return 0, pubErr
		}
		if len(rows) < r.cfg.Batch {
			break
		}
	}
	if last == 0 {
		return r.bus.Last(ctx, subject)
	}
	return last, nil
}

// publishRows publishes one after the other, each acknowledged before the next, so that no later row of a subject is ever
// stored before an earlier one. It calls acked for each and stops at the first failure.
func (r *Relay) publishRows(ctx context.Context, rows []row, acked func(id int64)) (last uint64, err error) {
	stored, err := r.storedBefore(ctx, rows)
	if err != nil {
		r.failures.Add(1)
		return 0, &busError{err}
	}
	for _, x := range rows {
		if seq, ok := stored[x.messageID()]; ok {
			r.duplicates.Add(1)
			last = max(last, seq)
			acked(x.id)
			continue
		}
		ack, err := r.bus.publish(ctx, x.subject, x.messageID(), x.payload)
		if err != nil {
			r.failures.Add(1)
			return last, &busError{fmt.Errorf("event: outbox row %d: %w", x.id, err)}
		}
		if ack.Duplicate {
			r.duplicates.Add(1)
		} else {
			r.published.Add(1)
		}
		last = max(last, ack.Sequence)
		acked(x.id)
	}
	return last, nil
}

// storedBefore finds rows that may have been published so long ago that the duplicate window has forgotten them, by a process
// that died before it marked them: it reads their subjects back. Only rows of a certain age are looked for.
func (r *Relay) storedBefore(ctx context.Context, rows []row) (map[string]uint64, error) {
	want := map[string]bool{}
	var subjects []string
	for _, x := range rows {
		if x.old {
			want[x.messageID()] = true
			subjects = append(subjects, x.subject)
		}
	}
	if len(want) == 0 {
		return nil, nil
	}
	slices.Sort(subjects)
	subjects = slices.Compact(subjects)
	for {
		first, err := r.bus.First(ctx)
		if err != nil {
			return nil, err
		}
		found := map[string]uint64{}
		err = r.bus.replay(ctx, subjects, first-1, ^uint64(0), func(m Message) bool {
			if want[m.ID] {
				found[m.ID] = m.Seq
			}
			return len(found) < len(want)
		})
		if !errors.Is(err, ErrCursorExpired) { // the oldest expired between the two questions: ask again
			return found, err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
}
