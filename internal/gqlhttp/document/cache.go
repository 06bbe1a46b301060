package document

import (
	"container/list"
	"context"
	"sync"

	"cdsa.dev/cdsa/internal/authz"
)

// lru is bounded by entries and by the bytes of its keys and values together.
type lru[V any] struct {
	mu         sync.Mutex
	entries    map[string]*list.Element
	order      list.List // front is newest
	bytes      int
	maxEntries int
	maxBytes   int
	maxWeight  int // of one entry; a heavier one is not kept
}

type lruEntry[V any] struct {
	key    string
	value  V
	weight int
}

func newLRU[V any](maxEntries, maxBytes, maxWeight int) *lru[V] {
	return &lru[V]{entries: map[string]*list.Element{}, maxEntries: maxEntries, maxBytes: maxBytes, maxWeight: maxWeight}
}

func (c *lru[V]) get(key string) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[key]; ok {
		c.order.MoveToFront(e)
		return e.Value.(*lruEntry[V]).value, true
	}
	var none V
	return none, false
}

func (c *lru[V]) add(key string, value V, weight int) {
	if weight > c.maxWeight {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[key]; ok {
		c.remove(e)
	}
	c.entries[key] = c.order.PushFront(&lruEntry[V]{key, value, weight})
	c.bytes += weight
	for len(c.entries) > c.maxEntries || c.bytes > c.maxBytes {
		c.remove(c.order.Back())
	}
}

func (c *lru[V]) remove(e *list.Element) {
	old := c.order.Remove(e).(*lruEntry[V])
	delete(c.entries, old.key)
	c.bytes -= old.weight
}

// regions keeps what anonymous callers sent apart and small, so that they cannot push out what others use.
type regions[V any] struct {
	signed, anonymous *lru[V]
}

// A parsed document takes some fifty times its text, a third more with its selections (package selection), so the texts of
// all documents stay below 1 MiB for signed-in callers and 128 KiB for the others. Persisted queries are text only.
const (
	documentBytes  = 1 << 20
	persistedBytes = 8 << 20
)

func newRegions[V any](maxEntries, maxBytes int) regions[V] {
	return regions[V]{
		signed:    newLRU[V](maxEntries, maxBytes, maxBytes/16),
		anonymous: newLRU[V](maxEntries/8, maxBytes/8, maxBytes/64),
	}
}

func (r regions[V]) get(key string) (V, bool) {
	if v, ok := r.signed.get(key); ok {
		return v, true
	}
	return r.anonymous.get(key)
}

func (r regions[V]) add(ctx context.Context, key string, value V, weight int) {
	if authz.From(ctx) != nil {
		r.signed.add(key, value, weight)
		return
	}
	r.anonymous.add(key, value, weight)
}
