// Package event carries what happened from the transaction that made it true to every replica's subscribers.
//
// A durable fact is a row of the outbox, written by Append in the business transaction. The Relay publishes rows to the
// Bus after commit, at least once and, inside the bus's duplicate window, exactly once. Token deltas go to the bus
// directly (PublishAsync) and are gone when the bus loses them. The Bus is one JetStream stream: its sequence orders
// everything, Cursors seals it for clients, Replay reads it back, Feed follows it. Signals are core NATS messages without
// storage: hints, never facts.
//
// The package refuses to look into payloads and subjects, to publish before commit, to skip a message silently (a hole is
// reported as a gap) and to block without a deadline. It never logs payloads. The record is Postgres; the stream is a window
// of some hours on it, encrypted at rest when embedded.
//
// All types are safe for concurrent use. Errors are internal errors, except those of Cursors.Open.
package event

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Errors to branch on.
var (
	// ErrCursorExpired: what followed the position may no longer be stored. The caller sends a GAP.
	ErrCursorExpired = errors.New("event: what followed this position is no longer stored")
	// ErrUnavailable: the bus cannot be reached now; the outbox still has every durable fact.
	ErrUnavailable = errors.New("event: the bus is not reachable")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("event: the bus is closed")
)

// MaxPayload is the largest payload of a message in bytes: ids and token deltas, never documents.
const MaxPayload = 64 << 10

const maxSubject = 200 // bytes; well under NATS's control line of 4096

// Message is one stored event.
type Message struct {
	Subject string    // as given to Publish
	Seq     uint64    // position in the stream, rising over all subjects
	At      time.Time // when the bus stored it, UTC, to the microsecond
	ID      string    // the publisher's message id, empty for deltas
	Data    []byte    // owned by the receiver
}

// checkSubject accepts tokens of letters, digits, '_' and '-' joined by dots; with wild, '*' tokens and a last '>' too.
func checkSubject(s string, wild bool) error {
	if s == "" || len(s) > maxSubject {
		return fmt.Errorf("event: a subject has 1 to %d bytes, this one %d", maxSubject, len(s))
	}
	tokens := strings.Split(s, ".")
	for i, tok := range tokens {
		if wild && (tok == "*" || tok == ">" && i == len(tokens)-1) {
			continue
		}
		if tok == "" || strings.ContainsFunc(tok, notSubjectRune) {
			return fmt.Errorf("event: token %d of the subject is empty or has a character other than letters, digits, _ and -", i+1)
		}
	}
	return nil
}

func notSubjectRune(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
		return false
	}
	return true
}

func checkData(data []byte) error {
	if len(data) > MaxPayload {
		return fmt.Errorf("event: a payload has at most %d bytes, this one %d", MaxPayload, len(data))
	}
	return nil
}
