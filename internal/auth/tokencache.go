package auth

import (
	"crypto/sha256"
	"sync"
)

// tokenCache remembers verified tokens, because checking an Ed25519 signature would be a large part of a small
// query's CPU (BenchmarkTokens_Verify). Only genuine tokens enter, so no one can push others out with forged ones.
// It is bounded by two generations: when the young one is full it becomes the old one, and what was old is dropped.
// An entry that is used moves back to the young one. Expiry is the reader's to check.
type tokenCache struct {
	mu         sync.Mutex
	half       int
	young, old map[[sha256.Size]byte]Claims
}

func newTokenCache(size int) *tokenCache {
	return &tokenCache{half: max(1, size/2), young: map[[sha256.Size]byte]Claims{}}
}

// cacheKey keeps the token itself out of memory dumps of the cache.
func cacheKey(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }

func (c *tokenCache) load(k [sha256.Size]byte) (Claims, bool) {
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

func (c *tokenCache) store(k [sha256.Size]byte, v Claims) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(k, v)
}

func (c *tokenCache) put(k [sha256.Size]byte, v Claims) {
	if len(c.young) >= c.half {
		c.old, c.young = c.young, make(map[[sha256.Size]byte]Claims)
	}
	c.young[k] = v
}

func (c *tokenCache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.young) + len(c.old)
}
