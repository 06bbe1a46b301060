package ratelimit

import (
	"encoding/binary"
	"math"

	"github.com/google/uuid"
)

// A message is a version, the sender's id and entries of kind, id and points: see Tell and Heard.
const (
	version     = 1
	headSize    = 1 + 16
	entrySize   = 1 + 16 + 4
	maxEntries  = 2000 // a message stays below the bus's 64 KiB; what is left over comes with the next
	maxPointsIn = math.MaxInt32
)

// owe adds what was spent here to what the others are to be told.
func (l *Limiter) owe(s *shard, k key, b *bucket, points float64) {
	if l.cfg.Tell == nil {
		return
	}
	b.untold += points
	if !b.queued && b.untold > l.least && len(s.tell) < 2*s.half {
		s.tell = append(s.tell, k)
		b.queued = true
	}
}

// Tell sends the other replicas what callers spent here, if any spent enough to tell. Call it twice a second.
func (l *Limiter) Tell() {
	if l.cfg.Tell == nil {
		return
	}
	l.telling.Lock()
	defer l.telling.Unlock()
	var m []byte
	room := maxEntries
	for i := range tableCount * shardCount { // beginning elsewhere each time, so that nobody waits for ever
		at := (l.from + i) % (tableCount * shardCount)
		if room == 0 {
			l.from = at
			break
		}
		m, room = l.tables[at/shardCount][at%shardCount].report(m, l.self, room)
	}
	if len(m) > 0 {
		l.cfg.Tell(m)
	}
}

// report appends entries of what is to be told, as many as there is room for.
func (s *shard) report(m []byte, self uuid.UUID, room int) ([]byte, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(room, len(s.tell))
	for _, k := range s.tell[:n] {
		b, ok := s.load(k)
		if !ok {
			continue // forgotten meanwhile
		}
		points := math.Floor(b.untold)
		b.untold -= points
		b.queued = false
		s.store(k, b)
		if m == nil {
			m = append(append(m, version), self[:]...)
		}
		m = append(append(m, byte(k.kind)), k.id[:]...)
		m = binary.BigEndian.AppendUint32(m, uint32(min(points, maxPointsIn)))
	}
	s.tell = s.tell[:copy(s.tell, s.tell[n:])]
	return m, room - n
}

// Heard debits what another replica told. A message of this one, or one that cannot be read, changes nothing.
func (l *Limiter) Heard(m []byte) {
	if len(m) < headSize || m[0] != version || (len(m)-headSize)%entrySize != 0 || len(m) > headSize+maxEntries*entrySize || uuid.UUID(m[1:headSize]) == l.self {
		return
	}
	at := l.cfg.Now().Sub(l.began)
	for m = m[headSize:]; len(m) > 0; m = m[entrySize:] {
		k := key{kind(m[0]), [16]byte(m[1:17])}
		if k.kind >= kindCount {
			continue
		}
		points := float64(binary.BigEndian.Uint32(m[17:entrySize]))
		s := l.shard(k)
		s.mu.Lock()
		b := l.current(s, k, at)
		b.level = max(-l.capacity, b.level-points)
		s.store(k, b)
		s.mu.Unlock()
	}
}
