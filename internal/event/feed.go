package event

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	feedBuffer    = 256 // messages fetched ahead, at most MaxPayload bytes each
	feedHeartbeat = 5 * time.Second
	feedExpiry    = 30 * time.Second // a pull request is renewed after this
)

// feed is the one consumer of this process. It is re-made at the position whenever anything is odd: a lost connection, a
// missing heartbeat, a deleted consumer.
type feed struct {
	mu       sync.Mutex
	started  bool
	attached bool
	cancel   context.CancelFunc // of the whole feed
	again    context.CancelFunc // of the present attachment
	ended    chan struct{}

	onMessage func(Message)
	onGap     func(uint64)
}

func (f *feed) init() { f.ended = make(chan struct{}) }

// Feed follows the stream from Position on: it returns when attached and calls onMessage for every message, in order, from
// one goroutine, until ctx ends or Close. Nothing is skipped silently: when messages were lost (expired while this process
// was away, or the stream was replaced), onGap(position) comes first, and every subscriber must read again; messages
// after that position follow. A slow handler slows only this process's feed. One feed a Bus.
func (b *Bus) Feed(ctx context.Context, onMessage func(Message), onGap func(position uint64)) error {
	f := &b.feed
	f.mu.Lock()
	if f.started || b.closed() {
		f.mu.Unlock()
		return errors.New("event: the feed was started before or the bus is closed")
	}
	f.started = true
	ctx, f.cancel = context.WithCancel(ctx)
	f.onMessage, f.onGap = onMessage, onGap
	f.mu.Unlock()

	ready := make(chan error, 1)
	go func() {
		defer close(f.ended)
		defer f.setAttached(false)
		b.follow(ctx, ready)
	}()
	select {
	case err := <-ready:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// follow keeps the feed attached. The first attachment's outcome goes to ready; when it fails the feed goes on trying.
func (b *Bus) follow(ctx context.Context, ready chan<- error) {
	const shortest, longest = 50 * time.Millisecond, 2 * time.Second
	wait := shortest
	for ctx.Err() == nil {
		began := time.Now()
		err := b.session(ctx, func() {
			select {
			case ready <- nil:
			default:
			}
		})
		b.feed.setAttached(false)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > longest {
			wait = shortest
		}
		b.log.WarnContext(ctx, "the event feed re-attaches", "error", err, "position", b.Position())
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, longest)
	}
}

// session attaches once and delivers until something is wrong.
func (b *Bus) session(ctx context.Context, attached func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b.feed.setAgain(cancel)
	if err := b.align(ctx); err != nil {
		return err
	}
	cons, err := b.js.CreateConsumer(ctx, streamName(b.cfg.Prefix), jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: b.Position() + 1,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return fmt.Errorf("event: make the feed's consumer: %w", b.translate(err))
	}
	name := cons.CachedInfo().Name
	defer b.dropConsumer(name)
	it, err := cons.Messages(jetstream.PullMaxMessages(feedBuffer), jetstream.PullExpiry(feedExpiry), jetstream.PullHeartbeat(feedHeartbeat))
	if err != nil {
		return fmt.Errorf("event: follow the stream: %w", b.translate(err))
	}
	defer it.Stop()
	b.feed.setAttached(true)
	attached()
	for {
		m, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("event: follow the stream: %w", b.translate(err))
		}
		msg, _, err := b.fromJetStream(m)
		if err != nil {
			return err
		}
		switch want := b.Position() + 1; {
		case msg.Seq < want: // delivered before the re-attachment
			continue
		case msg.Seq > want:
			b.gap(msg.Seq - 1)
		}
		b.deliver(msg)
	}
}

// align compares the stream with the position and reports what is lost.
func (b *Bus) align(ctx context.Context) error {
	info, err := b.ensure(ctx)
	if err != nil {
		return err
	}
	pos, last := b.Position(), info.State.LastSeq
	switch inc := uint64(info.Created.UnixNano()); {
	case inc != b.Incarnation():
		b.log.WarnContext(ctx, "the event stream was replaced, subscribers will read again")
		b.incarnation.Store(inc)
		b.gap(last)
	case last < pos:
		b.log.WarnContext(ctx, "the event stream lost its newest events, subscribers will read again")
		b.gap(last)
	case firstOf(info.State) > pos+1:
		b.gap(firstOf(info.State) - 1)
	}
	return nil
}

func (b *Bus) gap(position uint64) {
	b.position.Store(position)
	b.feed.onGap(position)
}

// deliver hands one message over. A handler that panics has not told its subscribers: they get a gap instead.
func (b *Bus) deliver(m Message) {
	defer func() {
		if r := recover(); r != nil {
			b.log.Error("the event handler panicked, subscribers will read again", "panic", fmt.Sprint(r), "stack", string(debug.Stack()), "seq", m.Seq)
			b.gap(m.Seq)
		}
	}()
	b.feed.onMessage(m)
	b.position.Store(m.Seq)
}

func (b *Bus) fromJetStream(m jetstream.Msg) (Message, *jetstream.MsgMetadata, error) {
	meta, err := m.Metadata()
	if err != nil {
		return Message{}, nil, fmt.Errorf("event: a message without metadata: %w", err)
	}
	return Message{
		Subject: m.Subject()[len(b.subject("")):], Seq: meta.Sequence.Stream, At: meta.Timestamp.UTC().Truncate(time.Microsecond),
		ID: m.Headers().Get(jetstream.MsgIDHeader), Data: m.Data(),
	}, meta, nil
}

// dropConsumer spares the server a minute of an abandoned consumer; it goes by itself when this fails.
func (b *Bus) dropConsumer(name string) {
	if !b.nc.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := b.js.DeleteConsumer(ctx, streamName(b.cfg.Prefix), name)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		b.log.Debug("event bus: consumer not removed", "error", err)
	}
}

func (f *feed) setAgain(c context.CancelFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.again = c
}

func (f *feed) setAttached(v bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.attached = v
}

func (f *feed) detached() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.started && !f.attached
}

// reattach ends the present attachment; follow makes the next.
func (f *feed) reattach() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.again != nil {
		f.again()
	}
}

func (f *feed) stop() {
	f.mu.Lock()
	started := f.started
	if started {
		f.cancel()
	}
	f.mu.Unlock()
	if started {
		<-f.ended
	}
}
