// Package realtime fans events out to subscribers. The bus's one consumer in the process publishes to a Hub; a
// subscription joins it with a Ticket that the resolver filled after it judged the subscriber, and a Sink of the
// transport that executes and sends. The package knows neither the bus nor GraphQL (package transport does).
//
// Delivery. Events of one subscription arrive in the order of publication, one call at a time, at most once. A
// subscription that resumes joins first, then replays what is stored, then lets through only what is newer than the
// last event replayed: no gap, no duplicate. What cannot be kept is said: a subscriber whose peer does not read, or
// whose cursor is older than what is stored, gets one gap and its end, never a silent hole. A topic's last event completes
// its subscriptions, live and replaying ones. Nothing is durable here.
//
// Bounds. Every queue has a size: Publish waits when a shard is behind (the bus keeps the rest), a resuming
// subscription that misses too much replays again instead of keeping it, and a subscriber behind its peer is ended.
// Execution happens on the shard's worker, so that a waiting subscription costs no goroutine; one that holds its
// worker longer than HubOptions.Stall is ended.
//
// It refuses to decide who may see what: Accept is the resolver's. It never logs an event's value.
package realtime
