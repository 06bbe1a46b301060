package testgraph

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"cdsa.dev/cdsa/internal/errs"
)

// Root resolves the test schema. Seen, when set, hears of each run of a mutation.
type Root struct {
	Seen func(what string)
}

// entNodeNotFound is shaped like entgql.ErrNodeNotFound, the client's id in its text.
func entNodeNotFound() error {
	err := gqlerror.Errorf("Could not resolve to a node with the global id of 'secret'")
	errcode.Set(err, "NOT_FOUND")
	return err
}

// PGError looks like a database driver's error, client's value included.
type PGError struct{}

func (PGError) Error() string    { return `ERROR: duplicate key "secret@example.com" (SQLSTATE 23505)` }
func (PGError) SQLState() string { return "23505" }

func (r *Root) Query() QueryResolver               { return query{r} }
func (r *Root) Mutation() MutationResolver         { return mutation{r} }
func (r *Root) Subscription() SubscriptionResolver { return subscription{} }
func (r *Root) User() UserResolver                 { return user{} }

type (
	query        struct{ *Root }
	mutation     struct{ *Root }
	subscription struct{}
	user         struct{}
)

func page(first, last *int) *UserConnection {
	show := func(n *int) string {
		if n == nil {
			return "-"
		}
		return fmt.Sprint(*n)
	}
	return &UserConnection{
		Edges:    []*UserEdge{{Node: &User{ID: "1", Name: "Ada"}, Cursor: "ok"}},
		PageInfo: &PageInfo{}, TotalCount: 1, Page: "first " + show(first) + " last " + show(last),
	}
}

func (query) Viewer(context.Context) (*User, error) { return &User{ID: "1", Name: "Ada <&> Åse"}, nil }
func (query) User(_ context.Context, id uuid.UUID) (*User, error) {
	return &User{ID: id.String(), Name: "Ada"}, nil
}
func (query) Users(_ context.Context, first, last *int, _, _ *string) (*UserConnection, error) {
	return page(first, last), nil
}
func (query) Nodes(_ context.Context, ids []string) ([]*User, error) {
	return make([]*User, len(ids)), nil
}
func (query) Search(context.Context, SearchInput) ([]*User, error) { return nil, nil }
func (query) Dear(context.Context) (int, error)                    { return 1, nil }
func (query) Echo(_ context.Context, colour *Colour, number *int, text *string, data map[string]any) (string, error) {
	return fmt.Sprint(colour != nil, number != nil, text != nil, len(data)), nil
}

func (query) Fail(ctx context.Context, kind string) (*string, error) {
	switch kind {
	case "input":
		return nil, errs.Input("name", "The name is too long.")
	case "state":
		return nil, errs.InState(errs.IllegalTransition, "DONE", "It is done already.")
	case "wrapped":
		return nil, fmt.Errorf("outer: %w", errs.Wrap(PGError{}, errs.Conflict, "The name is taken."))
	case "pg":
		return nil, fmt.Errorf("insert user: %w", PGError{})
	case "panic":
		panic("token=hunter2")
	case "deadline":
		return nil, fmt.Errorf("query: %w", context.DeadlineExceeded)
	case "cancel":
		return nil, context.Canceled
	case "node":
		return nil, entNodeNotFound()
	}
	return nil, errors.New("plain secret " + kind)
}

func (query) Failing(_ context.Context, count int) ([]*User, error) {
	users := make([]*User, count)
	for i := range users {
		users[i] = &User{ID: fmt.Sprint(i)}
	}
	return users, nil
}

func (m mutation) Touch(context.Context, *string) (bool, error) {
	if m.Seen != nil {
		m.Seen("touch")
	}
	return true, nil
}

func (m mutation) Upload(_ context.Context, file graphql.Upload, more []*graphql.Upload) ([]string, error) {
	var out []string
	for _, f := range append([]*graphql.Upload{&file}, more...) {
		b, err := io.ReadAll(f.File)
		if err != nil {
			return nil, err
		}
		if len(b) > 64 {
			b = fmt.Appendf(nil, "%d bytes", len(b))
		}
		out = append(out, fmt.Sprintf("%s %d %s", f.Filename, f.Size, strings.TrimSpace(string(b))))
	}
	if m.Seen != nil {
		m.Seen("upload")
	}
	return out, nil
}

func (subscription) Ticks(context.Context) (<-chan int, error) {
	return nil, errors.New("not served here")
}

func (user) Broken(context.Context, *User) (*string, error) { return nil, errors.New("broken") }
func (user) Friend(context.Context, *User) (*User, error) {
	return &User{ID: "2", Name: "Bo"}, nil
}
func (user) Friends(_ context.Context, _ *User, first, last *int, _, _ *string) (*UserConnection, error) {
	return page(first, last), nil
}
