// Package entmeter has ent count what it reads: see package meter.
package entmeter

import (
	"context"
	"database/sql"
	"slices"

	"entgo.io/ent"
	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"

	entities "cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/document"
	"cdsa.dev/cdsa/internal/meter"
)

// Driver is d, whose queries stop as soon as they have read more than the meter of their context allows.
func Driver(d dialect.Driver) dialect.Driver { return driver{d} }

type driver struct{ dialect.Driver }

// Query reads the texts of documents for one answer one after the other. They alone can be megabytes, so a few at once
// would be far over the limit before the first is counted.
func (d driver) Query(ctx context.Context, query string, args, v any) error {
	m := meter.From(ctx)
	out, ok := v.(*entsql.Rows)
	if m == nil || !ok {
		return d.Driver.Query(ctx, query, args, v)
	}
	release := func() {}
	if large(ctx) {
		release = m.Alone()
	}
	ctx, cancel := context.WithCancel(ctx)
	end := func() { cancel(); release() }
	if m.Full() {
		end()
		return m.Read(0)
	}
	if err := d.Driver.Query(ctx, query, args, v); err != nil {
		end()
		return err
	}
	out.ColumnScanner = &counted{ColumnScanner: out.ColumnScanner, meter: m, end: end}
	return nil
}

// large says whether ent is reading texts of documents.
func large(ctx context.Context) bool {
	q := ent.QueryFromContext(ctx)
	return q != nil && q.Type == entities.TypeDocument && (len(q.Fields) == 0 || slices.Contains(q.Fields, document.FieldContent))
}

type counted struct {
	entsql.ColumnScanner
	meter *meter.Meter
	end   func()
	ended bool
	err   error
}

// Next stops behind the row that was too much. The connection goes with it: its rest would have to be received first.
func (r *counted) Next() bool {
	if r.err == nil && r.meter.Full() {
		r.err = r.meter.Read(0)
		r.finish()
	}
	return r.err == nil && r.ColumnScanner.Next()
}

func (r *counted) Scan(dest ...any) error {
	if err := r.ColumnScanner.Scan(dest...); err != nil {
		return err
	}
	n := 0
	for _, d := range dest {
		switch d := d.(type) {
		case *sql.NullString:
			n += len(d.String)
		case *[]byte:
			n += len(*d)
		}
	}
	if r.err == nil {
		r.err = r.meter.Read(n)
	}
	return r.err
}

func (r *counted) Err() error {
	if r.err != nil {
		return r.err
	}
	return r.ColumnScanner.Err()
}

func (r *counted) Close() error {
	defer r.finish()
	if r.err != nil {
		r.finish()
	}
	return r.ColumnScanner.Close()
}

func (r *counted) finish() {
	if !r.ended {
		r.ended = true
		r.end()
	}
}
