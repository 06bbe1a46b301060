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
	if after >= upto && after <= b.Position() { // the usual resume of a client that missed nothing
		return nil
	}
	r := replaying{bus: b, after: after, upto: upto, yield: yield}
	if err := r.open(ctx, filter); err != nil {
		return err
	}
	if r.cons != nil {
		defer b.dropConsumer(r.cons.CachedInfo().Name)
	}
	return r.run(ctx)
}

// turn waits for one of the slots. A slot is held while the bus is asked, not while a slow reader takes what was read.
func (b *Bus) turn(ctx context.Context) (done func(), err error) {
	select {
	case b.replays <- struct{}{}:
		return func() { <-b.replays }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// replaying is one replay under way.
type replaying struct {
	bus     *Bus
	cons    jetstream.Consumer // nil when nothing waits
	after   uint64             // the last sequence read
	upto    uint64
	pending uint64 // messages that wait behind it
	number  uint64 // consumer sequence, which has no holes unless a message was lost on the way
	yield   func(Message) bool
}

// open checks the bounds against what is stored and makes the consumer.
func (r *replaying) open(ctx context.Context, filter []string) error {
	b := r.bus
	done, err := b.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	info, err := b.info(ctx)
	if err != nil {
		return err
	}
	if r.after > info.State.LastSeq || r.after+1 < firstOf(info.State) {
		return ErrCursorExpired
	}
	if r.upto = min(r.upto, info.State.LastSeq); r.after >= r.upto {
		return nil
	}
	cons, err := b.js.CreateConsumer(ctx, streamName(b.cfg.Prefix), jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.after + 1,
		FilterSubjects: filter, MemoryStorage: true, Replicas: 1, InactiveThreshold: 30 * time.Second,
	})
	if err != nil {
		return fmt.Errorf("event: make a replay's consumer: %w", b.translate(err))
	}
	r.cons, r.pending = cons, cons.CachedInfo().NumPending
	return nil
}

func (r *replaying) run(ctx context.Context) error {
	for r.pending > 0 && r.after < r.upto {
		batch, err := r.read(ctx)
		if err != nil {
			return err
		}
		for _, m := range batch {
			if m.Seq > r.upto || !r.yield(m) {
				return nil
			}
		}
	}
	return nil
}

// read takes the next messages and makes sure that none before them has expired unread.
func (r *replaying) read(ctx context.Context) ([]Message, error) {
	done, err := r.bus.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	size := min(r.pending, replayBatch)
	batch, err := r.cons.Fetch(int(size), jetstream.FetchMaxWait(requestTimeout))
	if err != nil {
		return nil, fmt.Errorf("event: replay: %w", r.bus.translate(err))
	}
	from, kept := r.after, make([]Message, 0, size)
	for m := range batch.Messages() {
		msg, meta, err := r.bus.fromJetStream(m)
		if err != nil {
			return nil, err
		}
		if r.number++; meta.Sequence.Consumer != r.number {
			return nil, fmt.Errorf("event: replay: %w", errors.Join(ErrUnavailable, errors.New("a message was lost on the way")))
		}
		r.pending, r.after = meta.NumPending, msg.Seq
		kept = append(kept, msg)
	}
	if err := errors.Join(batch.Error(), ctx.Err()); err != nil {
		return nil, fmt.Errorf("event: replay: %w", r.bus.translate(err))
	}
	if len(kept) == 0 { // what waited has expired
		return nil, ErrCursorExpired
	}
	first, err := r.bus.First(ctx)
	if err != nil {
		return nil, err
	}
	if first > from+1 {
		return nil, ErrCursorExpired
	}
	return kept, nil
}
