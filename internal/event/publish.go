package event

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Publish stores an event and returns its sequence. With a msgID, a second publication inside the duplicate window
// stores nothing and returns the first one's sequence. It never waits longer than 3 s. Errors: ErrUnavailable, ErrClosed.
func (b *Bus) Publish(ctx context.Context, subject, msgID string, data []byte) (uint64, error) {
	ack, err := b.publish(ctx, subject, msgID, data)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

func (b *Bus) publish(ctx context.Context, subject, msgID string, data []byte) (*jetstream.PubAck, error) {
	if err := errors.Join(checkSubject(subject, false), checkData(data)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ack, err := b.send(ctx, subject, msgID, data)
	if errors.Is(err, jetstream.ErrNoStreamResponse) { // the server lost the stream; the feed will notice and report a gap
		if _, err = b.ensure(ctx); err == nil {
			b.feed.reattach()
			ack, err = b.send(ctx, subject, msgID, data)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("event: publish: %w", b.translate(err))
	}
	return ack, nil
}

func (b *Bus) send(ctx context.Context, subject, msgID string, data []byte) (*jetstream.PubAck, error) {
	return b.js.PublishMsg(ctx, b.message(subject, msgID, data), jetstream.WithRetryAttempts(1), jetstream.WithRetryWait(100*time.Millisecond))
}

func (b *Bus) message(subject, msgID string, data []byte) *nats.Msg {
	m := &nats.Msg{Subject: b.subject(subject), Data: data}
	if msgID != "" {
		m.Header = nats.Header{jetstream.MsgIDHeader: {msgID}}
	}
	return m
}

// Future is an acknowledgement on its way.
type Future struct {
	bus *Bus
	ack jetstream.PubAckFuture
}

// Wait gives the sequence once the bus has stored the message. Errors: ErrUnavailable when the connection broke (the message
// may or may not be stored), the context's.
func (f Future) Wait(ctx context.Context) (uint64, error) {
	select {
	case ack := <-f.ack.Ok():
		return ack.Sequence, nil
	case err := <-f.ack.Err():
		return 0, fmt.Errorf("event: publish: %w", f.bus.translate(err))
	case <-ctx.Done():
		return 0, fmt.Errorf("event: publish: %w", context.Cause(ctx))
	}
}

// PublishAsync sends a message, such as a token delta, without waiting for its acknowledgement: Wait of the future is called
// once. Messages of one process keep their order, with those of Publish too. At most 4096 are under way: then it waits up to
// one second for room and fails. Nothing is retried. Errors: ErrUnavailable, ErrClosed.
func (b *Bus) PublishAsync(subject, msgID string, data []byte) (Future, error) {
	if err := errors.Join(checkSubject(subject, false), checkData(data)); err != nil {
		return Future{}, err
	}
	ack, err := b.js.PublishMsgAsync(b.message(subject, msgID, data), jetstream.WithRetryAttempts(0), jetstream.WithStallWait(stallTimeout))
	if err != nil {
		return Future{}, fmt.Errorf("event: publish: %w", b.translate(err))
	}
	return Future{bus: b, ack: ack}, nil
}

// Signal sends a hint to every process that listens, this one too; nothing is stored, and who is away misses it.
// Errors: ErrUnavailable, ErrClosed.
func (b *Bus) Signal(subject string, data []byte) error {
	if err := errors.Join(checkSubject(subject, false), checkData(data)); err != nil {
		return err
	}
	if err := b.nc.Publish(b.signalSubject(subject), data); err != nil {
		return fmt.Errorf("event: signal: %w", b.translate(err))
	}
	return nil
}

// OnSignal calls fn for every signal on the subject (wildcards allowed), one at a time, until stop. It listens when it
// returns, and again after a reconnection. fn owns the data and must not wait.
func (b *Bus) OnSignal(subject string, fn func(data []byte)) (stop func(), err error) {
	if err := checkSubject(subject, true); err != nil {
		return nil, err
	}
	sub, err := b.nc.Subscribe(b.signalSubject(subject), func(m *nats.Msg) { fn(m.Data) })
	if err != nil {
		return nil, fmt.Errorf("event: listen for signals: %w", b.translate(err))
	}
	unsubscribe := func() {
		if err := sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, nats.ErrBadSubscription) {
			b.log.Warn("event bus: unsubscribe", "error", err)
		}
	}
	if err := b.nc.FlushTimeout(requestTimeout); err != nil {
		unsubscribe()
		return nil, fmt.Errorf("event: listen for signals: %w", b.translate(err))
	}
	return unsubscribe, nil
}

// translate gives the errors callers branch on.
func (b *Bus) translate(err error) error {
	switch {
	case err == nil:
		return nil
	case b.closed():
		return errors.Join(ErrClosed, err)
	case !b.nc.IsConnected(), errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrReconnectBufExceeded),
		errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse),
		errors.Is(err, jetstream.ErrAsyncPublishTimeout), errors.Is(err, nats.ErrTimeout):
		return errors.Join(ErrUnavailable, err)
	}
	return err
}
