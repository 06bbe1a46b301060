package read

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// column is a column of T's table: its name, the format in which pgx asks for its values (text and JSON as text, where
// it costs nothing, all else binary), and how a value gets into a T.
type column[T any] struct {
	name   string
	format int16
	decode func(x *T, v []byte) error // v is nil for NULL; it may be kept only as a copy
	write  func(a *answer, x *T)      // as JSON; nil when that takes more than the column
}

// set is columns of one table by their places in it; the id is always column 0.
type set uint64

const idOnly set = 1

// table is what can be read of T's table: at most 64 columns, and which of them a GraphQL field is made of, including
// what the field's directive judges.
type table[T any] struct {
	columns []column[T]
	fields  map[string]set
	direct  map[string]func(a *answer, x *T) // fields that are just a column, under no directive
}

// newTable pairs columns with fields. fields is "field: column column, field: column": without columns the field needs
// no more than the id. A field of one column of the same name is that column, and is written directly.
func newTable[T any](fields string, columns ...column[T]) table[T] {
	place := map[string]set{}
	for i, c := range columns {
		place[c.name] = 1 << i
	}
	t := table[T]{columns: columns, fields: map[string]set{"__typename": idOnly}, direct: map[string]func(*answer, *T){}}
	for f := range strings.SplitSeq(fields, ",") {
		name, of, _ := strings.Cut(strings.TrimSpace(f), ":")
		cols := idOnly
		for c := range strings.FieldsSeq(of) {
			if place[c] == 0 {
				panic("read: no column " + c)
			}
			cols |= place[c]
		}
		t.fields[name] = cols
		if of = strings.TrimSpace(of); camel(of) == name {
			t.direct[name] = columns[bits.TrailingZeros64(uint64(place[of]))].write
		}
	}
	t.direct["id"] = columns[0].write
	return t
}

// camel is a column's name in GraphQL.
func camel(column string) string {
	words := strings.Split(column, "_")
	for i := 1; i < len(words); i++ {
		words[i] = strings.ToUpper(words[i][:1]) + words[i][1:]
	}
	return strings.Join(words, "")
}

// of is the set of named columns.
func (t table[T]) of(names ...string) (s set) {
	for _, n := range names {
		for i, c := range t.columns {
			if c.name == n {
				s |= 1 << i
			}
		}
	}
	return s
}

// list writes the set's columns, each with the alias in front, and adds their formats.
func (t table[T]) list(b *strings.Builder, alias string, s set, formats []int16) []int16 {
	for i, c := range t.columns {
		if s&(1<<i) == 0 {
			continue
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(alias)
		b.WriteByte('.')
		b.WriteString(c.name)
		formats = append(formats, c.format)
	}
	return formats
}

// chosen is the decoders of a set, in the order list writes it.
func (t table[T]) chosen(s set) (cols []column[T]) {
	for i, c := range t.columns {
		if s&(1<<i) != 0 {
			cols = append(cols, c)
		}
	}
	return cols
}

// fill decodes one value for each column into x.
func fill[T any](x *T, cols []column[T], values [][]byte) error {
	for i := range cols {
		if err := cols[i].decode(x, values[i]); err != nil {
			return fmt.Errorf("column %s: %w", cols[i].name, err)
		}
	}
	return nil
}

func malformed(what string, v []byte) error { return fmt.Errorf("%d bytes are no %s", len(v), what) }

func id[T any](name string, at func(*T) *uuid.UUID) column[T] {
	return column[T]{name, pgx.BinaryFormatCode, func(x *T, v []byte) error {
		if len(v) != 16 {
			return malformed("uuid", v)
		}
		copy(at(x)[:], v)
		return nil
	}, func(a *answer, x *T) { a.id(*at(x)) }}
}

func idOrNull[T any](name string, at func(*T) **uuid.UUID) column[T] {
	return column[T]{name, pgx.BinaryFormatCode, func(x *T, v []byte) error {
		if v == nil {
			return nil
		}
		if len(v) != 16 {
			return malformed("uuid", v)
		}
		u := uuid.UUID(v)
		*at(x) = &u
		return nil
	}, func(a *answer, x *T) { orNull(a, *at(x), a.id) }}
}

func text[T any](name string, at func(*T) *string) column[T] {
	return column[T]{name, pgx.TextFormatCode, func(x *T, v []byte) error {
		*at(x) = string(v)
		return nil
	}, func(a *answer, x *T) { a.text(*at(x)) }}
}

func textOrNull[T any, S ~string](name string, at func(*T) **S) column[T] {
	return column[T]{name, pgx.TextFormatCode, func(x *T, v []byte) error {
		if v != nil {
			s := S(v)
			*at(x) = &s
		}
		return nil
	}, func(a *answer, x *T) { orNull(a, *at(x), func(s S) { a.text(string(s)) }) }}
}

// enum decodes without a copy of its own: the constants are there already.
func enum[T any, S interface {
	~string
	Values() []string
}](name string, at func(*T) *S) column[T] {
	known := map[string]S{}
	for _, v := range S("").Values() {
		known[v] = S(v)
	}
	return column[T]{name, pgx.TextFormatCode, func(x *T, v []byte) error {
		s, ok := known[string(v)]
		if !ok {
			s = S(v)
		}
		*at(x) = s
		return nil
	}, func(a *answer, x *T) { a.text(string(*at(x))) }}
}

func boolean[T any](name string, at func(*T) *bool) column[T] {
	return column[T]{name, pgx.BinaryFormatCode, func(x *T, v []byte) error {
		if len(v) != 1 {
			return malformed("boolean", v)
		}
		*at(x) = v[0] == 1
		return nil
	}, func(a *answer, x *T) { a.boolean(*at(x)) }}
}

func integer[T any](name string, at func(*T) *int) column[T] {
	return column[T]{name, pgx.BinaryFormatCode, func(x *T, v []byte) error {
		if len(v) != 8 {
			return malformed("bigint", v)
		}
		*at(x) = int(binary.BigEndian.Uint64(v))
		return nil
	}, func(a *answer, x *T) { a.integer(*at(x)) }}
}

func integerOrNull[T any](name string, at func(*T) **int) column[T] {
	return column[T]{name, pgx.BinaryFormatCode, func(x *T, v []byte) error {
		if v == nil {
			return nil
		}
		if len(v) != 8 {
			return malformed("bigint", v)
		}
		n := int(binary.BigEndian.Uint64(v))
		*at(x) = &n
		return nil
	}, func(a *answer, x *T) { orNull(a, *at(x), a.integer) }}
}

func float[T any](name string, at func(*T) *float64) column[T] {
	return column[T]{name, pgx.BinaryFormatCode, func(x *T, v []byte) error {
		if len(v) != 8 {
			return malformed("double precision", v)
		}
		*at(x) = math.Float64frombits(binary.BigEndian.Uint64(v))
		return nil
	}, func(a *answer, x *T) { a.float(*at(x)) }}
}

// pgEpoch is 2000-01-01 UTC, from which PostgreSQL counts microseconds.
const pgEpoch = 946_684_800 * 1_000_000

func instant(v []byte) (time.Time, error) {
	if len(v) != 8 {
		return time.Time{}, malformed("timestamptz", v)
	}
	us := int64(binary.BigEndian.Uint64(v))
	if us == math.MaxInt64 || us == math.MinInt64 {
		return time.Time{}, fmt.Errorf("infinity is no time here")
	}
	return time.UnixMicro(us + pgEpoch).UTC(), nil
}

func moment[T any](name string, at func(*T) *time.Time) column[T] {
	return column[T]{name, pgx.BinaryFormatCode, func(x *T, v []byte) (err error) {
		*at(x), err = instant(v)
		return err
	}, func(a *answer, x *T) { a.moment(*at(x)) }}
}

func momentOrNull[T any](name string, at func(*T) **time.Time) column[T] {
	return column[T]{name, pgx.BinaryFormatCode, func(x *T, v []byte) error {
		if v == nil {
			return nil
		}
		t, err := instant(v)
		*at(x) = &t
		return err
	}, func(a *answer, x *T) { orNull(a, *at(x), a.moment) }}
}

func octets[T any](name string, at func(*T) *[]byte) column[T] {
	return column[T]{name, pgx.BinaryFormatCode, func(x *T, v []byte) error {
		if v != nil {
			*at(x) = append([]byte{}, v...)
		}
		return nil
	}, nil}
}

// mapOrNull reads a jsonb object, which pgx asks for as text.
func mapOrNull[T any](name string, at func(*T) *map[string]any) column[T] {
	c := jsonOf(name, at)
	c.write = func(a *answer, x *T) {
		if m := *at(x); m != nil {
			a.object(m)
			return
		}
		a.null()
	}
	return c
}

// jsonOf reads any other jsonb.
func jsonOf[T, V any](name string, at func(*T) *V) column[T] {
	return column[T]{name, pgx.TextFormatCode, func(x *T, v []byte) error {
		if v == nil {
			return nil
		}
		return json.Unmarshal(v, at(x))
	}, nil}
}
