//go:build unix

package apitest

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// TestDeleted_Chat: whoever listens to a conversation that is deleted hears its end, on a websocket and an event stream, and
// so does nobody afterwards.
func TestDeleted_Chat(t *testing.T) {
	w := shared()
	x := w.newPerson(t, "deleter", "analyst")
	chat, other := x.newChat(t), x.newChat(t)
	socket := x.connect(t)
	reply, before := x.asks(t, chat, "/calculator 6*7")
	vars := map[string]any{"id": chat, "after": before}
	listens := socket.subscribe(t, chatEvents, vars)
	elsewhere := socket.subscribe(t, chatEvents, map[string]any{"id": other, "after": before})
	heard := listens.answer(t, reply)
	stream := x.stream(t, fmt.Sprintf(`subscription { chatEvents(sessionId: %q) { __typename } }`, chat))

	x.ok(t, `mutation($id: ID!) { deleteChatSession(id: $id) }`, map[string]any{"id": chat}, nil)
	require.Equal(t, "complete", listens.outcome(t))
	<-stream.ended
	require.Contains(t, stream.text, "event: complete")
	vars["after"] = heard[0].Cursor
	require.Equal(t, "NOT_FOUND", socket.subscribe(t, chatEvents, vars).outcome(t), "who comes back")

	reply, _ = x.asks(t, other, "/calculator 6*7")
	elsewhere.answer(t, reply)
}

// TestDeleted_Document: who could see a document hears that it was deleted, and nobody else.
func TestDeleted_Document(t *testing.T) {
	w := shared()
	owner, reader, auditor := w.newPerson(t, "owner", "analyst"), w.newPerson(t, "reader", "analyst"), w.newPerson(t, "auditor", "auditor")
	private, public := owner.newDocument(t, "Private", "An otter of mine.", false), owner.newDocument(t, "Public", "An otter of everyone's.", true)
	w.indexed(t, private)
	w.indexed(t, public)
	var start struct{ EventCursor string }
	owner.ok(t, `{ eventCursor }`, nil, &start)
	feed := `subscription($id: ID, $after: EventCursor) { documentEvents(documentId: $id, after: $after) { gap status progress document { id } documentId deleted } }`
	type deletion struct {
		Gap, Status *string
		Progress    *float64
		Document    *struct{ ID uuid.UUID }
		DocumentID  uuid.UUID
		Deleted     bool
	}
	listen := func(x *person, id any) *operationOf {
		return x.connect(t).subscribe(t, feed, map[string]any{"id": id, "after": start.EventCursor})
	}
	one := listen(owner, private)
	require.Equal(t, "NOT_FOUND", listen(reader, private).outcome(t))
	all := map[*person]*operationOf{owner: listen(owner, nil), reader: listen(reader, nil), auditor: listen(auditor, nil)}
	first := owner.newDocument(t, "Mark", "Another otter.", true)
	next := func(o *operationOf) (d deletion) {
		for !d.Deleted {
			var e struct{ DocumentEvents deletion }
			o.data(t, &e)
			d = e.DocumentEvents
		}
		return d
	}
	// The marked document's events say that each listens; one's own subscription may not have begun, so it is not waited for.
	for _, o := range all {
		for {
			var e struct{ DocumentEvents deletion }
			o.data(t, &e)
			if e.DocumentEvents.DocumentID == first {
				require.NotNil(t, e.DocumentEvents.Document)
				require.False(t, e.DocumentEvents.Deleted)
				break
			}
		}
	}
	for _, id := range []uuid.UUID{private, public} {
		owner.ok(t, `mutation($id: ID!) { deleteDocument(id: $id) }`, map[string]any{"id": id}, nil)
	}
	for x, want := range map[*person][]uuid.UUID{owner: {private, public}, auditor: {private, public}, reader: {public}} {
		for _, id := range want {
			d := next(all[x])
			for d.DocumentID != private && d.DocumentID != public { // another test's
				d = next(all[x])
			}
			require.Equal(t, deletion{DocumentID: id, Deleted: true}, d, x.name)
		}
	}
	require.Equal(t, private, next(one).DocumentID)
}

// TestDocuments_Tagged: the same filter holds for every list of documents, and opens nothing.
func TestDocuments_Tagged(t *testing.T) {
	w := shared()
	x, other := w.newPerson(t, "tagger", "analyst"), w.newPerson(t, "other", "analyst")
	var d struct{ CreateDocument struct{ ID uuid.UUID } }
	for _, tags := range [][]string{{"tagged.a", "tagged.b"}, {"tagged.a"}, nil} {
		x.ok(t, `mutation($in: CreateDocumentInput!) { createDocument(input: $in) { id } }`,
			map[string]any{"in": map[string]any{"title": "Tagged", "content": fmt.Sprint("An otter with ", tags), "tags": tags}}, &d)
	}
	count := func(y *person, tags ...string) (n [3]int) {
		var d struct {
			Documents, None struct{ TotalCount int }
			Viewer          struct{ Documents struct{ TotalCount int } }
		}
		y.ok(t, `query($t: [String!]) { documents(where: {tagsContain: $t, title: "Tagged"}) { totalCount } none: documents(where: {not: {tagsContain: $t}, title: "Tagged"}) { totalCount }
			viewer { documents(where: {or: [{tagsContain: $t}]}) { totalCount } } }`, map[string]any{"t": tags}, &d)
		return [3]int{d.Documents.TotalCount, d.None.TotalCount, d.Viewer.Documents.TotalCount}
	}
	require.Equal(t, [3]int{2, 1, 2}, count(x, "tagged.a"))
	require.Equal(t, [3]int{1, 2, 1}, count(x, "tagged.a", "tagged.b"))
	require.Equal(t, [3]int{3, 0, 3}, count(x, []string{}...), "every document has all of no tags")
	require.Equal(t, [3]int{}, count(other, "tagged.a"))
	require.Equal(t, "BAD_USER_INPUT", x.do(t, `query($t: [String!]) { documents(where: {tagsContain: $t}) { totalCount } }`, map[string]any{"t": make([]string, 51)}).outcome())
}
