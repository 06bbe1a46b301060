package event

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

func streamName(prefix string) string { return strings.ToUpper(prefix) + "_EVENTS" }

func streamConfig(c Config) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: streamName(c.Prefix), Subjects: []string{c.Prefix + ".event.>"}, Description: "CDSA events",
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxAge: c.MaxAge, MaxBytes: c.MaxBytes, MaxMsgSize: MaxPayload + 4096, Duplicates: c.Duplicates, Replicas: c.Replicas,
		DenyDelete: true, DenyPurge: true, // a hole in the sequence then always means loss, and the feed reports it
	}
}

// ensure makes the stream if there is none, or brings its settings up to date. Any number of processes may do it at once.
func (b *Bus) ensure(ctx context.Context) (*jetstream.StreamInfo, error) {
	b.ensuring.Lock()
	defer b.ensuring.Unlock()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := b.js.CreateOrUpdateStream(ctx, streamConfig(b.cfg))
	if err != nil {
		return nil, fmt.Errorf("event: make the event stream: %w", b.translate(err))
	}
	return s.CachedInfo(), nil
}

// info asks the bus for the stream's present state.
func (b *Bus) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := b.js.Stream(ctx, streamName(b.cfg.Prefix))
	if err != nil {
		return nil, fmt.Errorf("event: ask for the stream's state: %w", b.translate(err))
	}
	return s.CachedInfo(), nil
}

// First is the oldest sequence still stored, or the next one to be given when none is.
func (b *Bus) First(ctx context.Context) (uint64, error) {
	info, err := b.info(ctx)
	if err != nil {
		return 0, err
	}
	return firstOf(info.State), nil
}

func firstOf(s jetstream.StreamState) uint64 {
	if s.Msgs == 0 {
		return s.LastSeq + 1
	}
	return s.FirstSeq
}

// Last is the newest sequence of a subject, 0 when none is stored.
func (b *Bus) Last(ctx context.Context, subject string) (uint64, error) {
	if err := checkSubject(subject, false); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := b.js.Stream(ctx, streamName(b.cfg.Prefix))
	if err != nil {
		return 0, fmt.Errorf("event: ask for the stream's state: %w", b.translate(err))
	}
	m, err := s.GetLastMsgForSubject(ctx, b.subject(subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("event: ask for the last event: %w", b.translate(err))
	}
	return m.Sequence, nil
}
