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

// key gives a subject's key, making it the first time.
func (s *subjects) key(ctx context.Context, subject uuid.UUID) (cipher.AEAD, error) {
	s.mu.Lock()
	a := s.open[subject]
	s.mu.Unlock()
	if a != nil {
		return a, nil
	}
	wrapped, err := s.load(ctx, subject)
	if err != nil {
		return nil, err
	}
	return s.unwrap(subject, wrapped)
}

// opened is a subject's key, or why it does not open.
type opened struct {
	key cipher.AEAD
	err error
}

// keys gives the keys of subjects, in one statement at most. It is nil for those without one (erased or
// never made).
func (s *subjects) keys(ctx context.Context, of []uuid.UUID) (map[uuid.UUID]opened, error) {
	out := make(map[uuid.UUID]opened, len(of))
	var missing []uuid.UUID
	s.mu.Lock()
	for _, subject := range of {
		if _, seen := out[subject]; seen {
			continue
		}
		a := s.open[subject]
		if a == nil {
			missing = append(missing, subject)
		}
		out[subject] = opened{key: a}
	}
	s.mu.Unlock()
	if len(missing) == 0 {
		return out, nil
	}
	rows, err := s.pool.Query(ctx, `SELECT subject_id, wrapped FROM subject_keys WHERE subject_id = ANY($1)`, missing)
	if err != nil {
		return nil, err
	}
	var subject uuid.UUID
	var wrapped []byte
	_, err = pgx.ForEachRow(rows, []any{&subject, &wrapped}, func() error {
		a, err := s.unwrap(subject, wrapped)
		out[subject] = opened{a, err}
		return nil
	})
	return out, err
}

func (s *subjects) unwrap(subject uuid.UUID, wrapped []byte) (cipher.AEAD, error) {
	raw, err := s.kek.Open(nil, nil, wrapped, subject[:])
	if err != nil {
		return nil, fmt.Errorf("a subject key does not open under this server's CDSA_AUDIT_KEY (in dev keys/audit.key of the data folder), which must be the one it was made under: %w", err)
	}
	a, err := newGCM(raw)
	if err != nil {
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

// load reads a subject's wrapped key, making it the first time.
func (s *subjects) load(ctx context.Context, subject uuid.UUID) ([]byte, error) {
	const read = `SELECT wrapped FROM subject_keys WHERE subject_id = $1`
	var wrapped []byte
	err := s.pool.QueryRow(ctx, read, subject).Scan(&wrapped)
	if !errors.Is(err, pgx.ErrNoRows) {
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
