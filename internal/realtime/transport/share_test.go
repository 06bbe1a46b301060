package transport

import (
	"context"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/realtime"
)

func TestSharing_Join(t *testing.T) {
	user, session := uuid.New(), uuid.New()
	principal := func(user, session uuid.UUID, super bool, perms ...string) *authz.Principal {
		return authz.NewUser(user, "ana", session, super, time.Time{}, perms...)
	}
	op := func(query string, vars map[string]any) *graphql.OperationContext {
		return &graphql.OperationContext{RawQuery: query, Variables: vars}
	}
	var s sharing
	base := s.join(principal(user, session, false, "a", "b"), op("q", map[string]any{"x": 1}))
	require.NotNil(t, base)
	require.Same(t, base, s.join(principal(user, session, false, "b", "a"), op("q", map[string]any{"x": 1})))
	for name, c := range map[string]*class{
		"OtherUser":    s.join(principal(uuid.New(), session, false, "a", "b"), op("q", map[string]any{"x": 1})),
		"OtherSession": s.join(principal(user, uuid.New(), false, "a", "b"), op("q", map[string]any{"x": 1})),
		"OtherRights":  s.join(principal(user, session, false, "a"), op("q", map[string]any{"x": 1})),
		"Superuser":    s.join(principal(user, session, true, "a", "b"), op("q", map[string]any{"x": 1})),
		"OtherVars":    s.join(principal(user, session, false, "a", "b"), op("q", map[string]any{"x": 2})),
		"OtherQuery":   s.join(principal(user, session, false, "a", "b"), op("p", map[string]any{"x": 1})),
	} {
		require.NotNil(t, c, name)
		require.NotSame(t, base, c, name)
		s.leave(c)
	}
	require.Nil(t, s.join(nil, op("q", nil)), "strangers share nothing")
	require.Nil(t, s.join(authz.Dispatcher, op("q", nil)))
	s.leave(base)
	s.leave(base)
	require.Empty(t, s.classes, "nothing is kept for no one")
}

func TestClass_ExecutesOnceForAnEvent(t *testing.T) {
	runs := 0
	answer := &graphql.Response{Data: []byte(`{"a":1}`)}
	subscriber := func(takes bool) *execution {
		return &execution{ticket: &realtime.Ticket{Push: func(realtime.Event) bool { return takes }}, next: func(context.Context) *graphql.Response { runs++; return answer }}
	}
	c := &class{}
	c.users.Store(2)
	first, _ := c.step(subscriber(true), realtime.Event{Topic: "t", Seq: 7})
	answer.Data[5] = '2' // the executor uses its buffer again
	second, over := c.step(subscriber(true), realtime.Event{Topic: "t", Seq: 7})
	require.False(t, over)
	require.Equal(t, 1, runs)
	require.Same(t, first, second)
	require.JSONEq(t, `{"a":1}`, string(second.Data))

	runs = 0
	for range 3 { // each subscription has its turn with all events of a burst
		for seq := uint64(100); seq < 120; seq++ {
			r, _ := c.step(subscriber(true), realtime.Event{Topic: "t", Seq: seq})
			require.NotNil(t, r)
		}
	}
	require.Equal(t, 20, runs)
	runs = 1

	next, _ := c.step(subscriber(true), realtime.Event{Topic: "t", Seq: 8})
	require.JSONEq(t, `{"a":2}`, string(next.Data))
	require.Equal(t, 2, runs)

	none, over := c.step(subscriber(false), realtime.Event{Topic: "t", Seq: 9})
	require.Nil(t, none)
	require.False(t, over)
	after, _ := c.step(subscriber(true), realtime.Event{Topic: "t", Seq: 9})
	require.NotNil(t, after, "one that has ended does not silence the others")

	answer = &graphql.Response{Data: []byte(`null`), Errors: gqlerror.List{gqlerror.Errorf("no")}}
	runs = 0
	for range 2 {
		r, _ := c.step(subscriber(true), realtime.Event{Topic: "t", Seq: 10})
		require.Len(t, r.Errors, 1)
	}
	require.Equal(t, 2, runs, "errors are each subscriber's own")

	alone := &class{}
	alone.users.Store(1)
	answer = &graphql.Response{Data: []byte(`{}`)}
	_, _ = alone.step(subscriber(true), realtime.Event{Topic: "t", Seq: 11})
	require.Nil(t, alone.kept, "nothing is kept for one")
}
