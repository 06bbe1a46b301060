package ratelimit

import (
	"encoding/binary"
	"sync"
	"time"
)

type kind byte

// Kinds of callers.
const (
	kindUser kind = iota
	kindToken
	kindNetwork
	kindCount
)

// key is a caller: a user, an API token's session or a keyed hash of a network.
type key struct {
	kind kind
	id   [16]byte
}

// bucket is a budget as of a moment. It is a value: a charge copies it in and out of its map.
type bucket struct {
	level   float64       // points; below zero by what others told
	at      time.Duration // since the limiter began
	untold  float64       // points the other replicas do not know of
	notedAt time.Duration
	refused int32
	noted   bool
	queued  bool // in the shard's list of what is to be told
}

const (
	shardCount = 64
	// Anonymous callers have a table of their own: no number of networks displaces somebody who has signed in.
	tableSigned    = 0
	tableAnonymous = 1
	tableCount     = 2
)

// shard is a part of the buckets: two generations, of which the older is emptied when the younger is full.
type shard struct {
	mu         sync.Mutex
	half       int
	young, old map[key]bucket
	tell       []key
	_          [64]byte // its own cache line
}

func (l *Limiter) shard(k key) *shard {
	table := tableSigned
	if k.kind == kindNetwork {
		table = tableAnonymous
	}
	// An id's last bytes are random, or a hash's.
	h := binary.LittleEndian.Uint64(k.id[8:]) * 0x9E3779B97F4A7C15 // 2^64 divided by the golden ratio
	return &l.tables[table][h>>58]
}

func (s *shard) load(k key) (bucket, bool) {
	if b, ok := s.young[k]; ok {
		return b, true
	}
	b, ok := s.old[k]
	return b, ok
}

func (s *shard) store(k key, b bucket) {
	if s.young == nil {
		s.young, s.old = map[key]bucket{}, map[key]bucket{}
	}
	if len(s.young) >= s.half {
		if _, ok := s.young[k]; !ok {
			s.young, s.old = s.old, s.young
			clear(s.young)
		}
	}
	s.young[k] = b
}
