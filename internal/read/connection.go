package read

import "cdsa.dev/cdsa/ent"

// listing is a page of rows in the order they are shown.
type listing[T any] struct {
	n      int
	info   func() ent.PageInfo
	node   func(i int) *T
	cursor func(i int) ent.Cursor
}

// connection is what is selected of a connection of T.
type connection[T any] []part[listing[T]]

// newConnection compiles the selection on a connection; false for totalCount and whatever node does not cover.
func newConnection[T any](l *ahead, f collectedField, typ string, node func(collectedField) (object[T], bool)) (connection[T], bool) {
	o, ok := newObject(l, f, []string{typ + "Connection"}, nil, func(sub collectedField) (func(*answer, *listing[T]), bool) {
		switch sub.Name {
		case "edges":
			return newEdges(l, sub, typ, node)
		case "pageInfo":
			info, ok := newObject(l, sub, []string{"PageInfo"}, pageInfo, nil)
			return func(a *answer, p *listing[T]) {
				i := p.info()
				info.write(a, &i)
			}, ok
		}
		return nil, false
	})
	return connection[T](o), ok
}

func (c connection[T]) write(a *answer, p listing[T]) { object[listing[T]](c).write(a, &p) }

// edge is one row of a listing.
type edge[T any] struct {
	of *listing[T]
	i  int
}

func newEdges[T any](l *ahead, f collectedField, typ string, node func(collectedField) (object[T], bool)) (func(*answer, *listing[T]), bool) {
	cursor := map[string]func(*answer, *edge[T]){"cursor": func(a *answer, e *edge[T]) { e.of.cursor(e.i).MarshalGQL(a) }}
	o, ok := newObject(l, f, []string{typ + "Edge"}, cursor, func(sub collectedField) (func(*answer, *edge[T]), bool) {
		if sub.Name != "node" {
			return nil, false
		}
		n, ok := node(sub)
		return func(a *answer, e *edge[T]) { n.write(a, e.of.node(e.i)) }, ok
	})
	return func(a *answer, p *listing[T]) {
		a.b = append(a.b, '[')
		for i := range p.n {
			if i > 0 {
				a.b = append(a.b, ',')
			}
			o.write(a, &edge[T]{p, i})
		}
		a.b = append(a.b, ']')
	}, ok
}

var pageInfo = map[string]func(*answer, *ent.PageInfo){
	"hasNextPage":     func(a *answer, p *ent.PageInfo) { a.boolean(p.HasNextPage) },
	"hasPreviousPage": func(a *answer, p *ent.PageInfo) { a.boolean(p.HasPreviousPage) },
	"startCursor":     func(a *answer, p *ent.PageInfo) { orNull(a, p.StartCursor, func(c ent.Cursor) { c.MarshalGQL(a) }) },
	"endCursor":       func(a *answer, p *ent.PageInfo) { orNull(a, p.EndCursor, func(c ent.Cursor) { c.MarshalGQL(a) }) },
}
