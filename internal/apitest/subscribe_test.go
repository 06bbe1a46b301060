//go:build unix

package apitest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"unicode/utf16"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// happened is any event of the four subscriptions, with the ids of the rows it shows.
type happened struct {
	Typename  string `json:"__typename"`
	Cursor    string
	Gap       *string
	Reason    *string
	Kind      string
	Status    string
	MessageID uuid.UUID
	Attempt   int
	Offset    int
	Text      string
	Message   *struct {
		ID      uuid.UUID
		Content string
		Status  string
	}
	Execution *struct{ ID uuid.UUID }
	Approval  *struct {
		ID        uuid.UUID
		Execution *struct{ ID uuid.UUID }
	}
	Document *struct{ ID uuid.UUID }
}

func (h happened) ids() []uuid.UUID {
	var l []uuid.UUID
	if h.Message != nil {
		l = append(l, h.Message.ID)
	}
	if h.MessageID != uuid.Nil {
		l = append(l, h.MessageID)
	}
	if h.Execution != nil {
		l = append(l, h.Execution.ID)
	}
	if h.Approval != nil {
		l = append(l, h.Approval.ID)
		if h.Approval.Execution != nil {
			l = append(l, h.Approval.Execution.ID)
		}
	}
	if h.Document != nil {
		l = append(l, h.Document.ID)
	}
	return l
}

const chatEvents = `subscription($id: ID!, $after: EventCursor) { chatEvents(sessionId: $id, after: $after) { __typename
	... on ChatTokenDelta { cursor messageId attempt offset text }
	... on ChatMessageEvent { cursor kind message { id content status } }
	... on ChatToolEvent { cursor execution { id } approval { id } }
	... on ChatGap { cursor reason } } }`

var feeds = map[string]string{
	"approvalEvents":      `subscription($after: EventCursor) { approvalEvents(after: $after) { cursor gap kind approval { id execution { id } } } }`,
	"toolExecutionEvents": `subscription($after: EventCursor) { toolExecutionEvents(after: $after) { cursor gap status execution { id } } }`,
	"documentEvents":      `subscription($after: EventCursor) { documentEvents(after: $after) { cursor gap status document { id } } }`,
}

// event reads the next event of any of the subscriptions.
func (o *operationOf) event(tb testing.TB) happened {
	tb.Helper()
	var d map[string]happened
	o.data(tb, &d)
	require.Len(tb, d, 1)
	for _, h := range d {
		require.Nil(tb, h.Gap)
		require.Nil(tb, h.Reason)
		require.NotEmpty(tb, h.Cursor)
		return h
	}
	panic("unreachable")
}

// busy does a bit of everything that makes events, and waits until all of it has ended.
func (x *person) busy(tb testing.TB, chat uuid.UUID) {
	tb.Helper()
	n := numbers.Add(1)
	x.ask(tb)
	x.call(tb, "calculator", map[string]any{"expression": fmt.Sprintf("%d*%d", n, n)})
	for _, public := range []bool{false, true} {
		id := x.newDocument(tb, "A document", fmt.Sprintf("What %s knows, %d.", x.name, n), public)
		x.server.indexed(tb, id)
	}
	x.answered(tb, x.say(tb, chat, fmt.Sprintf("/calculator %d+7", n)))
}

func (x *person) answered(tb testing.TB, reply uuid.UUID) {
	tb.Helper()
	eventually(tb, "an answer is complete", func() bool {
		return x.server.text(tb, `SELECT status FROM chat_messages WHERE id = $1`, reply) == "COMPLETED"
	})
}

// row is what decides who may hear of it.
type row struct {
	owner uuid.UUID
	open  bool // a public document, a call that needs an approval
}

// rows are those of some people, by id, with the newest of each person last.
func (s *server) rows(tb testing.TB, query string, owners ...uuid.UUID) (map[uuid.UUID]row, []uuid.UUID) {
	tb.Helper()
	rs, err := s.db.Owner.Query(context.Background(), query, owners)
	require.NoError(tb, err)
	defer rs.Close()
	m, order := map[uuid.UUID]row{}, []uuid.UUID{}
	for rs.Next() {
		var id uuid.UUID
		var r row
		require.NoError(tb, rs.Scan(&id, &r.owner, &r.open))
		m[id], order = r, append(order, id)
	}
	require.NoError(tb, rs.Err())
	return m, order
}

// TestSubscriptions_Isolation: two people work at once while four listen. No one hears of a row they may not read, and
// everyone hears of all they may.
func TestSubscriptions_Isolation(t *testing.T) {
	w := shared()
	alice, bob := w.newPerson(t, "alice", "analyst"), w.newPerson(t, "bob", "analyst")
	approver, auditor := w.newPerson(t, "approver", "approver"), w.newPerson(t, "auditor", "auditor")
	chats := map[*person]uuid.UUID{alice: alice.newChat(t), bob: bob.newChat(t)}
	var start struct{ EventCursor string }
	alice.ok(t, `{ eventCursor }`, nil, &start)

	heard := map[string]*operationOf{}
	for _, x := range []*person{alice, bob, approver, auditor} {
		s := x.connect(t)
		for feed, query := range feeds {
			if feed != "documentEvents" || x != approver { // who may not read documents
				heard[x.name+" "+feed] = s.subscribe(t, query, map[string]any{"after": start.EventCursor})
			}
		}
		if id := chats[x]; id != uuid.Nil {
			heard[x.name+" chatEvents"] = s.subscribe(t, chatEvents, map[string]any{"id": id, "after": start.EventCursor})
		}
	}
	var wg sync.WaitGroup
	for x, chat := range chats {
		wg.Go(func() { x.busy(t, chat); x.busy(t, chat) })
	}
	wg.Wait()
	require.False(t, t.Failed())
	for _, x := range []*person{alice, bob, alice} { // one after the other: the newest row of each says that all was heard
		x.busy(t, chats[x])
	}

	for feed, c := range map[string]struct {
		query string
		may   func(x *person, r row) bool
	}{
		"approvalEvents": {`SELECT id, user_id, true FROM tool_approvals WHERE user_id = ANY($1) ORDER BY id`,
			func(x *person, r row) bool { return r.owner == x.id || x == approver || x == auditor }},
		"toolExecutionEvents": {`SELECT id, user_id, requires_approval FROM tool_executions WHERE user_id = ANY($1) ORDER BY id`,
			func(x *person, r row) bool { return r.owner == x.id || x == approver && r.open || x == auditor }},
		"documentEvents": {`SELECT id, uploaded_by, is_public FROM documents WHERE uploaded_by = ANY($1) ORDER BY id`,
			func(x *person, r row) bool { return r.owner == x.id || r.open || x == auditor }},
		"chatEvents": {`SELECT id, user_id, role = 'ASSISTANT' FROM chat_messages WHERE user_id = ANY($1) ORDER BY created_at`,
			func(x *person, r row) bool { return r.owner == x.id }},
	} {
		rows, order := w.rows(t, c.query, alice.id, bob.id)
		calls, _ := w.rows(t, `SELECT id, user_id, requires_approval FROM tool_executions WHERE user_id = ANY($1)`, alice.id, bob.id)
		for _, x := range []*person{alice, bob, approver, auditor} {
			o := heard[x.name+" "+feed]
			if o == nil {
				continue
			}
			t.Run(x.name+" "+feed, func(t *testing.T) {
				missing := map[uuid.UUID]bool{}
				for _, id := range order {
					if c.may(x, rows[id]) {
						missing[id] = true
					}
				}
				for len(missing) > 0 {
					h := o.event(t)
					for _, id := range h.ids() {
						r, known := rows[id]
						if !known { // a call beside an approval or in a conversation
							r, known = calls[id]
							require.True(t, known && (r.owner == x.id || r.open || x == auditor), "%s hears of what is not theirs: %+v", x.name, h)
							continue
						}
						require.True(t, c.may(x, r), "%s hears of what is not theirs: %+v", x.name, h)
						delete(missing, id)
					}
				}
			})
		}
	}
}

// answer follows an answer to its end.
func (o *operationOf) answer(tb testing.TB, reply uuid.UUID) []happened {
	tb.Helper()
	var l []happened
	for {
		h := o.event(tb)
		l = append(l, h)
		if h.Message != nil && h.Message.ID == reply && slices.Contains([]string{"COMPLETED", "FAILED", "CANCELLED"}, h.Kind) {
			return l
		}
	}
}

// ask sends a message that is answered at some length, and gives the answer's id and the position before it.
func (x *person) asks(tb testing.TB, chat uuid.UUID, text string) (reply uuid.UUID, before string) {
	tb.Helper()
	var d struct {
		SendMessage struct {
			Reply       struct{ ID uuid.UUID }
			EventCursor string
		}
	}
	x.ok(tb, `mutation($in: SendMessageInput!) { sendMessage(input: $in) { reply { id } eventCursor } }`, map[string]any{"in": map[string]any{"sessionId": chat, "content": text}}, &d)
	return d.SendMessage.Reply.ID, d.SendMessage.EventCursor
}

// plain is an event without what changes after it: the state of the row it names.
func plain(h happened) happened {
	if h.Message != nil {
		m := *h.Message
		m.Content, m.Status = "", ""
		h.Message = &m
	}
	return h
}

const question = "Where does the public otter swim, and when?"

// TestSubscriptions_Resume: whoever loses the connection at any point of an answer and comes back with the last cursor
// misses nothing and hears nothing twice, while the answer is being written and afterwards.
func TestSubscriptions_Resume(t *testing.T) {
	w := shared()
	x := w.newPerson(t, "rider", "analyst")
	chat := x.newChat(t)
	steady := x.connect(t)
	reply, before := x.asks(t, chat, question)
	whole := steady.subscribe(t, chatEvents, map[string]any{"id": chat, "after": before})

	// Live: a new connection after every single event.
	var broken []happened
	for last := before; ; {
		s := x.connect(t)
		h := s.subscribe(t, chatEvents, map[string]any{"id": chat, "after": last}).event(t)
		s.close()
		broken, last = append(broken, h), h.Cursor
		if h.Message != nil && h.Message.ID == reply && h.Kind == "COMPLETED" {
			break
		}
	}
	want := whole.answer(t, reply)
	require.Greater(t, len(want), 10, "the answer is too short to say anything")
	require.Len(t, broken, len(want))
	var text string
	for i := range want {
		require.Equal(t, plain(want[i]), plain(broken[i]), "event %d", i)
		if want[i].Typename == "ChatTokenDelta" {
			require.Equal(t, len(utf16.Encode([]rune(text))), want[i].Offset, "a piece is missing or there twice")
			text += want[i].Text
		}
	}
	require.Equal(t, w.text(t, `SELECT content FROM chat_messages WHERE id = $1`, reply), text, "the pieces are the answer")

	// Afterwards: from every point to the end.
	s := x.connect(t)
	for i := range want {
		o := s.subscribe(t, chatEvents, map[string]any{"id": chat, "after": want[i].Cursor})
		if i == len(want)-1 {
			reply, _ = x.asks(t, chat, "Hello.") // nothing is left: the next that comes is new
			next := o.answer(t, reply)
			require.Equal(t, "CREATED", next[0].Kind)
			break
		}
		rest := o.answer(t, reply)
		require.Len(t, rest, len(want)-i-1, "after event %d", i)
		for j := range rest {
			require.Equal(t, plain(want[i+1+j]), plain(rest[j]))
		}
	}
	// A second window opened now and one opened while an answer is written see the same answer.
	reply, _ = x.asks(t, chat, question)
	var d struct{ Node struct{ EventCursor string } }
	x.ok(t, `query($id: ID!) { node(id: $id) { ... on ChatSession { eventCursor } } }`, map[string]any{"id": chat}, &d)
	second := s.subscribe(t, chatEvents, map[string]any{"id": chat, "after": d.Node.EventCursor}).answer(t, reply)
	text = ""
	for _, h := range second {
		if h.Typename == "ChatTokenDelta" {
			text += h.Text
		}
	}
	require.Equal(t, w.text(t, `SELECT content FROM chat_messages WHERE id = $1`, reply), text)
}
