package event

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	maxReplays  = 16  // at once; with replayBatch they bound the memory of a crowd that reconnects
	replayBatch = 128 // messages, at most MaxPayload bytes each
)

// Replay yields the stored messages of the subjects (wildcards allowed, no two may overlap) with after < Seq <= upto, in
// order. When something after the position may be lost, or the position lies beyond the end of the stream, the last
// thing yielded is ErrCursorExpired. A crowd waits its turn, until ctx ends. Any error ends the sequence.
func (b *Bus) Replay(ctx context.Context, subjects []string, after, upto uint64) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		if err := b.replay(ctx, subjects, after, upto, func(m Message) bool { return yield(m, nil) }); err != nil {
			yield(Message{}, err)
		}
	}
}

// replay ends without an error when yield does not want more.
func (b *Bus) replay(ctx context.Context, subjects []string, after, upto uint64, yield func(Message) bool) error {
	filter := make([]string, len(subjects))
	for i, s := range subjects {
		if err := checkSubject(s, true); err != nil {
			return err
		}
		filter[i] = b.subject(s)
	}
	slices.Sort(filter)
	filter = slices.Compact(filter)
	if len(filter) == 0 {
		return errors.New("event: replay of no subject")
	}
	select {
	case b.replays <- struct{}{}:
		defer func() { <-b.replays }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	info, err := b.info(ctx)
	if err != nil {
		return err
	}
	if after > info.State.LastSeq || after+1 < firstOf(info.State) {
		return ErrCursorExpired
	}
	if upto = min(upto, info.State.LastSeq); after >= upto {
		return nil
	}
	cons, err := b.js.CreateConsumer(ctx, streamName(b.cfg.Prefix), jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
		FilterSubjects: filter, MemoryStorage: true, Replicas: 1, InactiveThreshold: 30 * time.Second,
	})
	if err != nil {
		return fmt.Errorf("event: make a replay's consumer: %w", b.translate(err))
	}
	made := cons.CachedInfo()
	defer b.dropConsumer(made.Name)
	r := replaying{bus: b, cons: cons, after: after, upto: upto, yield: yield, pending: made.NumPending}
	return r.run(ctx)
}

// replaying is one replay under way.
type replaying struct {
	bus     *Bus
	cons    jetstream.Consumer
	after   uint64 // the last sequence passed on
	upto    uint64
	pending uint64 // messages that wait behind it
	number  uint64 // consumer sequence, which has no holes unless a message was lost on the way
	yield   func(Message) bool
}

func (r *replaying) run(ctx context.Context) error {
	for r.pending > 0 && r.after < r.upto {
		batch, err := r.cons.Fetch(int(min(r.pending, replayBatch)), jetstream.FetchMaxWait(requestTimeout))
		if err != nil {
			return fmt.Errorf("event: replay: %w", r.bus.translate(err))
		}
		from, kept := r.after, make([]Message, 0, min(r.pending, replayBatch))
		for m := range batch.Messages() {
			msg, pending, err := r.bus.fromJetStream(m)
			if err != nil {
				return err
			}
			meta, err := m.Metadata()
			if err != nil {
				return fmt.Errorf("event: replay: %w", err)
			}
			if r.number++; meta.Sequence.Consumer != r.number {
				return fmt.Errorf("event: replay: %w", errors.Join(ErrUnavailable, errors.New("a message was lost on the way")))
			}
			r.pending, r.after = pending, msg.Seq
			kept = append(kept, msg)
		}
		if err := errors.Join(batch.Error(), ctx.Err()); err != nil {
			return fmt.Errorf("event: replay: %w", r.bus.translate(err))
		}
		if len(kept) == 0 { // what waited has expired
			return ErrCursorExpired
		}
		if first, err := r.bus.First(ctx); err != nil {
			return err
		} else if first > from+1 { // something may have expired before it was read
			return ErrCursorExpired
		}
		for _, m := range kept {
			if m.Seq > r.upto {
				return nil
			}
			if !r.yield(m) {
				return nil
			}
		}
	}
	return nil
}
