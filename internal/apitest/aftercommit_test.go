//go:build unix

package apitest

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// TestEdgesAfterCommit follows edges of rows that a unit of work made, which ended before the answer is written.
func TestEdgesAfterCommit(t *testing.T) {
	w := shared()
	x := w.person(t, "analyst")
	type row struct {
		ID      uuid.UUID
		Status  string
		Session struct{ ID uuid.UUID }
		User    struct{ ID uuid.UUID }
	}
	chat := x.newChat(t)
	send := func() (message, reply row) {
		var d struct {
			SendMessage struct{ Message, Reply row }
		}
		x.ok(t, `mutation($id: ID!) { sendMessage(input: {sessionId: $id, content: "Where do the herons nest in the reeds?", idempotencyKey: "k"}) {
			message { id status session { id } user { id } } reply { id status session { id } user { id } } } }`, map[string]any{"id": chat}, &d)
		for _, r := range []row{d.SendMessage.Message, d.SendMessage.Reply} {
			require.Equal(t, chat, r.Session.ID)
			require.Equal(t, x.id, r.User.ID)
		}
		return d.SendMessage.Message, d.SendMessage.Reply
	}
	message, reply := send()
	again, sameReply := send()
	require.Equal(t, message.ID, again.ID)
	require.Equal(t, reply.ID, sameReply.ID)
	var d struct{ CancelGeneration *row }
	x.ok(t, `mutation($id: ID!) { cancelGeneration(sessionId: $id) { id status session { id } user { id } } }`, map[string]any{"id": chat}, &d)
	if d.CancelGeneration != nil { // the answer may have been written by now
		require.Equal(t, chat, d.CancelGeneration.Session.ID)
	}
}
