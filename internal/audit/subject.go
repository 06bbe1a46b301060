package audit

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// maxCachedSubjects bounds the cache of opened keys; it is emptied when full.
const maxCachedSubjects = 10_000

// subjects opens the per-subject keys. AES-256-GCM throughout; a wrapped key is bound to its subject, a field to its row
// and column, as associated data.
type subjects struct {
	pool *pgxpool.Pool
	kek  cipher.AEAD
	mu   sync.Mutex
	open map[uuid.UUID]cipher.AEAD
}

func newSubjects(pool *pgxpool.Pool, kek []byte) (*subjects, error) {
	a, err := newGCM(kek)
	if err != nil {
		return nil, err
	}
	return &subjects{pool: pool, kek: a, open: map[uuid.UUID]cipher.AEAD{}}, nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(b)
}

// key gives a subject's key, making it the first time when create is set; nil when there is none (erased or never made).
func (s *subjects) key(ctx context.Context, subject uuid.UUID, create bool) (cipher.AEAD, error) {
	s.mu.Lock()
	a := s.open[subject]
	s.mu.Unlock()
	if a != nil {
		return a, nil
	}
	wrapped, err := s.load(ctx, subject, create)
	if err != nil || wrapped == nil {
		return nil, err
	}
	raw, err := s.kek.Open(nil, nil, wrapped, subject[:])
	if err != nil {
		return nil, fmt.Errorf("a subject key does not open under this server's master key: %w", err)
	}
	if a, err = newGCM(raw); err != nil {
		return nil, err
	}
	s.keep(subject, a)
	return a, nil
}

func (s *subjects) keep(subject uuid.UUID, a cipher.AEAD) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) >= maxCachedSubjects {
		clear(s.open)
	}
	s.open[subject] = a
}

const insertSubject = `INSERT INTO subject_keys (subject_id, wrapped) VALUES ($1, $2)`

// fresh makes a key and its wrapped form for a subject that has none.
func (s *subjects) fresh(subject uuid.UUID) (cipher.AEAD, []byte, error) {
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return nil, nil, err
	}
	a, err := newGCM(raw)
	return a, s.kek.Seal(nil, nil, raw, subject[:]), err
}

func (s *subjects) load(ctx context.Context, subject uuid.UUID, create bool) ([]byte, error) {
	const read = `SELECT wrapped FROM subject_keys WHERE subject_id = $1`
	var wrapped []byte
	err := s.pool.QueryRow(ctx, read, subject).Scan(&wrapped)
	if !errors.Is(err, pgx.ErrNoRows) || !create {
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, nil
		}
		return wrapped, err
	}
	_, fresh, err := s.fresh(subject)
	if err != nil {
		return nil, err
	}
	if _, err := s.pool.Exec(ctx, insertSubject+` ON CONFLICT DO NOTHING`, subject, fresh); err != nil {
		return nil, err
	}
	err = s.pool.QueryRow(ctx, read, subject).Scan(&wrapped) // another process may have been first
	return wrapped, err
}

func seal(a cipher.AEAD, row uuid.UUID, column, text string) []byte {
	if text == "" {
		return nil
	}
	return a.Seal(nil, nil, []byte(text), append(row[:], column...))
}

func unseal(a cipher.AEAD, row uuid.UUID, column string, b []byte) (string, error) {
	t, err := a.Open(nil, nil, b, append(row[:], column...))
	return string(t), err
}
