package event

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// OutboxDDL makes the table; the migration copies it. The server's role needs SELECT, INSERT, UPDATE and DELETE on it.
//
//go:embed outbox.sql
var OutboxDDL string

const insertOutbox = `INSERT INTO outbox (subject, payload) VALUES ($1, $2) RETURNING id`

// Execer is what Append needs of a pgx transaction, connection or pool.
type Execer interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Append writes an event into the outbox within the caller's transaction and returns the row's id. payload is encoded as
// JSON unless it is []byte or json.RawMessage; it must hold ids, not contents. Call Relay.Wake or Relay.Flush after commit.
func Append(ctx context.Context, q Execer, subject string, payload any) (int64, error) {
	data, err := encode(subject, payload)
	if err != nil {
		return 0, err
	}
	var id int64
	if err := q.QueryRow(ctx, insertOutbox, subject, data).Scan(&id); err != nil {
		return 0, fmt.Errorf("event: append to outbox: %w", err)
	}
	return id, nil
}

// Queue is Append for a batch that writes several things in one round trip.
func Queue(b *pgx.Batch, subject string, payload any) error {
	data, err := encode(subject, payload)
	if err != nil {
		return err
	}
	b.Queue(insertOutbox, subject, data)
	return nil
}

func encode(subject string, payload any) ([]byte, error) {
	if err := checkSubject(subject, false); err != nil {
		return nil, err
	}
	var data []byte
	switch p := payload.(type) {
	case []byte:
		data = p
	case json.RawMessage:
		data = p
	default:
		var err error
		if data, err = json.Marshal(payload); err != nil {
			return nil, fmt.Errorf("event: encode payload: %w", err)
		}
	}
	if data == nil {
		data = []byte{} // the column is not null
	}
	return data, checkData(data)
}

// row is one unsent row of the outbox.
type row struct {
	id      int64
	subject string
	payload []byte
	created time.Time
	old     bool // perhaps published before the duplicate window: look before publishing
}

// messageID is the same for every publication of a row. The creation time, in the microseconds Postgres stores, tells rows
// of a re-created or restored table from earlier rows of the same id.
func (r row) messageID() string {
	return "o" + strconv.FormatInt(r.id, 36) + "-" + strconv.FormatInt(r.created.UnixMicro(), 36)
}

// querier is what reading and marking need; a pool and a connection have it.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

const selectUnsent = `SELECT id, subject, payload, created_at, created_at < now() - $1::interval FROM outbox
	WHERE sent_at IS NULL AND ($2::text IS NULL OR subject = $2) ORDER BY id LIMIT $3`

// unsent reads at most limit unsent rows in id order, of one subject unless it is nil.
func unsent(ctx context.Context, q querier, subject *string, oldAfter time.Duration, limit int) ([]row, error) {
	rs, err := q.Query(ctx, selectUnsent, oldAfter, subject, limit)
	if err != nil {
		return nil, fmt.Errorf("event: read outbox: %w", err)
	}
	rows, err := pgx.CollectRows(rs, func(r pgx.CollectableRow) (row, error) {
		var x row
		err := r.Scan(&x.id, &x.subject, &x.payload, &x.created, &x.old)
		return x, err
	})
	if err != nil {
		return nil, fmt.Errorf("event: read outbox: %w", err)
	}
	return rows, nil
}

// mark records that rows were acknowledged by the bus.
func mark(ctx context.Context, q querier, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	rs, err := q.Query(ctx, `UPDATE outbox SET sent_at = clock_timestamp() WHERE id = ANY($1) AND sent_at IS NULL`, ids)
	if err == nil {
		rs.Close()
		err = rs.Err()
	}
	if err != nil {
		return fmt.Errorf("event: mark outbox rows sent: %w", err)
	}
	return nil
}

// The inner LIMIT bounds what is read, not only what is deleted.
const deleteSent = `DELETE FROM outbox WHERE id IN (
	SELECT id FROM (SELECT id, sent_at FROM outbox ORDER BY id LIMIT $2) head WHERE sent_at < now() - $1::interval)`
