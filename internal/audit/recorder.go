package audit

import (
	"context"
	"crypto/cipher"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/batch"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/uid"
)

// Recorder writes entries and opens their personal fields. It is safe for concurrent use.
type Recorder struct {
	pool     *pgxpool.Pool
	subjects *subjects
}

// New makes a recorder; kek is the 32-byte key that wraps the subjects' keys.
func New(pool *pgxpool.Pool, kek []byte) (*Recorder, error) {
	s, err := newSubjects(pool, kek)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	return &Recorder{pool: pool, subjects: s}, nil
}

const insert = `INSERT INTO audit_logs (id, created_at, user_id, username, action, resource_type, resource_id, ip_address, user_agent,
	session_id, details, changes, success, error_message, tool_execution_id, sensitive_data, retention_days, request_id, actor_kind)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)`

// Row is an entry made ready: everything is decided but the writing.
type Row struct{ args []any }

// Subject is the key of somebody who is being made: it is stored with them or not at all.
type Subject struct {
	id      uuid.UUID
	key     cipher.AEAD
	wrapped []byte
}

// NewSubject makes the key of a new subject. Queue stores it; Keep follows the commit.
func (r *Recorder) NewSubject(id uuid.UUID) (Subject, error) {
	key, wrapped, err := r.subjects.fresh(id)
	if err != nil {
		return Subject{}, fmt.Errorf("audit: %w", err)
	}
	return Subject{id, key, wrapped}, nil
}

// Queue adds the key to a batch of the transaction that makes the subject.
func (s Subject) Queue(b *pgx.Batch) { b.Queue(insertSubject, s.id, s.wrapped) }

// Keep remembers the key of a subject that is committed.
func (r *Recorder) Keep(s Subject) { r.subjects.keep(s.id, s.key) }

// Prepare makes an entry ready for writing as the context's principal. It may read or make the subject's key, so it is
// called before the transaction that writes the row is short of time, never after commit. The keys of made are stored by
// that transaction itself.
func (r *Recorder) Prepare(ctx context.Context, e Entry, made ...Subject) (Row, error) {
	p, req := authz.From(ctx), authz.RequestFrom(ctx)
	actor, name, kind, session := e.ActorID, e.ActorName, enum.ActorKindUser, e.SessionID
	if p != nil {
		kind = p.Kind
		if actor == uuid.Nil {
			actor = p.UserID
		}
		if name == "" {
			name = p.Username
		}
		if session == uuid.Nil {
			session = p.SessionID
		}
	}
	var (
		key cipher.AEAD
		err error
	)
	if i := slices.IndexFunc(made, func(s Subject) bool { return s.id == actor }); i >= 0 {
		key = made[i].key
	} else if key, err = r.subjects.key(ctx, actor); err != nil { // anonymous and system entries share the key of the nil subject
		return Row{}, fmt.Errorf("audit: %w", err)
	}
	details, err := jsonb(e.Details)
	if err != nil {
		return Row{}, err
	}
	changes, err := jsonb(e.Changes)
	if err != nil {
		return Row{}, err
	}
	id := uid.New(uid.AuditLog)
	return Row{[]any{
		id, time.Now().UTC(), optional(actor), seal(key, id, "username", name), string(e.Action), e.Resource, optional(e.ResourceID),
		seal(key, id, "ip_address", req.IP), seal(key, id, "user_agent", req.UserAgent), optional(session), details, changes,
		!e.Failed, text(e.Error), optional(e.ExecutionID), e.Sensitive, RetentionDays(e.Action), req.ID, string(kind),
	}}, nil
}

// Warm has the key of the context's principal ready, so that Prepare needs no second connection while a unit of work
// holds one: enough of them waiting for each other would hold all there are.
func (r *Recorder) Warm(ctx context.Context) error {
	var actor uuid.UUID
	if p := authz.From(ctx); p != nil {
		actor = p.UserID
	}
	if _, err := r.subjects.key(ctx, actor); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// Queue adds the row to a batch of the transaction it belongs to.
func (row Row) Queue(b *pgx.Batch) { b.Queue(insert, row.args...) }

// Record writes an entry in a transaction of its own: for denials and failures, whose own transaction is rolled back.
func (r *Recorder) Record(ctx context.Context, e Entry) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // the caller may be gone; the record stays
	defer cancel()
	row, err := r.Prepare(ctx, e)
	if err != nil {
		return err
	}
	if _, err := r.pool.Exec(ctx, insert, row.args...); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// Personal is an audit row's personal fields, opened; nil where there was none or it was erased.
type Personal struct{ Username, IPAddress, UserAgent *string }

// Open reads a row's personal fields. The caller must have been allowed to see the row. The keys of rows that were read
// together are read together.
func (r *Recorder) Open(ctx context.Context, l *ent.AuditLog) (Personal, error) {
	var out Personal
	keys, err := batch.Load(ctx, "subject keys", l, func(ctx context.Context, rows []*ent.AuditLog) (map[uuid.UUID]opened, error) {
		subjects := make([]uuid.UUID, len(rows))
		for i, row := range rows {
			subjects[i] = subjectOf(row)
		}
		return r.subjects.keys(ctx, subjects)
	})
	if err != nil {
		return out, err
	}
	key, err := keys[subjectOf(l)].key, keys[subjectOf(l)].err
	if err != nil || key == nil {
		return out, err
	}
	for _, f := range []struct {
		column string
		sealed []byte
		to     **string
	}{{"username", l.Username, &out.Username}, {"ip_address", l.IPAddress, &out.IPAddress}, {"user_agent", l.UserAgent, &out.UserAgent}} {
		if len(f.sealed) == 0 {
			continue
		}
		s, err := unseal(key, l.ID, f.column, f.sealed)
		if err != nil {
			return out, fmt.Errorf("audit row %s: %s does not open: %w", l.ID, f.column, err)
		}
		*f.to = &s
	}
	return out, nil
}

func subjectOf(l *ent.AuditLog) (subject uuid.UUID) {
	if l.UserID != nil {
		subject = *l.UserID
	}
	return subject
}

func optional(id uuid.UUID) any {
	if id == uuid.Nil {
		return nil
	}
	return id
}

func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func jsonb(m map[string]any) (any, error) {
	if len(m) == 0 {
		return nil, nil
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("audit: details: %w", err)
	}
	return b, nil
}
