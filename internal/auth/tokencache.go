package auth

import (
	"crypto/sha256"
	"sync"
	"unsafe"
)

// tokenCache remembers genuine tokens and what is known of them, because checking an Ed25519 signature would be a large
// part of a small query's CPU (BenchmarkTokens_Verify), and finding an API token a query of its own. Only genuine tokens
// enter, so no one can push others out with forged ones. It is bounded by two generations: when the young one is full it
// becomes the old one, and what was old is dropped. An entry that is used moves back to the young one. Expiry is the
// reader's to check.
type tokenCache[V any] struct {
	mu         sync.Mutex
	half       int
	young, old map[tokenSum]V
}

// tokenSum is the SHA-256 of a token, so that memory dumps of a cache do not hold it.
type tokenSum [sha256.Size]byte

func newTokenCache[V any](size int) *tokenCache[V] {
	return &tokenCache[V]{half: max(1, size/2), young: map[tokenSum]V{}}
}

func sumOf(token string) tokenSum {
	return sha256.Sum256(unsafe.Slice(unsafe.StringData(token), len(token))) //nolint:gosec // a copy would be the request's largest; it is only read
}

func (c *tokenCache[V]) load(k tokenSum) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.young[k]; ok {
		return v, true
	}
	v, ok := c.old[k]
	if ok {
		c.put(k, v)
	}
	return v, ok
}

func (c *tokenCache[V]) store(k tokenSum, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(k, v)
}

func (c *tokenCache[V]) put(k tokenSum, v V) {
	if len(c.young) >= c.half {
		c.old, c.young = c.young, make(map[tokenSum]V)
	}
	c.young[k] = v
}

func (c *tokenCache[V]) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.young) + len(c.old)
}
