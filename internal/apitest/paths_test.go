//go:build unix

package apitest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// TestTwoPaths asks the hot reads twice: as they are read by hand-written SQL, and with a totalCount, a filter or
// another name for the field, which leaves them to ent and its policies. Everyone gets the same rows both ways.
func TestTwoPaths(t *testing.T) {
	w := shared()
	hers := w.newPerson(t, "reader", "analyst")
	chat := hers.newChat(t)
	for _, text := range []string{"/calculator 6*7", "Where does the public otter swim?", "Hello."} {
		hers.answered(t, hers.say(t, chat, text))
	}
	for _, x := range []*person{w.person(t, "analyst"), w.person(t, "auditor")} {
		x.do(t, `mutation { createChatSession(input: {title: "Mine"}) { id } }`, nil)
	}
	const (
		messages = `messages(first: 10) { edges { cursor node { id role status content tokens createdAt toolExecution { id status parameters result tool { id name riskLevel } } } } pageInfo { hasNextPage endCursor } }`
		session  = `id title createdAt updatedAt isActive model systemPrompt sensitivity lastMessageAt `
		log      = `edges { cursor node { id action resourceType resourceId createdAt success username ipAddress details } } pageInfo { hasNextPage endCursor }`
	)
	for name, c := range map[string]struct{ fast, slow string }{
		"ChatSessions":         {`{ chatSessions(first: 20) { edges { cursor node { ` + session + messages + ` } } pageInfo { hasNextPage } } }`, `{ chatSessions(first: 20, where: {createdAtGT: "2000-01-01T00:00:00Z"}) { totalCount edges { cursor node { ` + session + strings.Replace(messages, "{", "{ totalCount ", 1) + ` } } pageInfo { hasNextPage } } }`},
		"ChatSessionsBackward": {`{ chatSessions(last: 3) { edges { cursor node { ` + session + ` } } pageInfo { hasPreviousPage } } }`, `{ chatSessions(last: 3) { totalCount edges { cursor node { ` + session + ` } } pageInfo { hasPreviousPage } } }`},
		"ChatSessionsOrdered":  {`{ chatSessions(first: 5, orderBy: {field: UPDATED_AT, direction: DESC}) { edges { node { id } } } }`, `{ chatSessions(first: 5, orderBy: {field: UPDATED_AT, direction: DESC}) { totalCount edges { node { id } } } }`},
		"OneChatSession":       {`query($id: ID!) { node(id: $id) { ... on ChatSession { ` + session + messages + ` } } }`, `query($id: ID!) { node(id: $id) { ... on ChatSession { ` + session + strings.Replace(messages, "{", "{ totalCount ", 1) + ` } } }`},
		"AuditLogs":            {`{ auditLogs(last: 30) { ` + log + ` } }`, `{ auditLogs(last: 30) { totalCount ` + log + ` } }`},
		"AuditLogsFiltered":    {`{ auditLogs(first: 30, where: {action: USER_CREATED}) { ` + log + ` } }`, `{ auditLogs(first: 30, where: {and: [{action: USER_CREATED}]}) { totalCount ` + log + ` } }`},
		"ViewerActivity":       {`{ viewerActivity(first: 30) { ` + log + ` } }`, `{ viewerActivity(first: 30) { totalCount ` + log + ` } }`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, x := range append(w.people[1:], hers, w.other) {
				for _, id := range []uuid.UUID{chat, w.chat} {
					vars := map[string]any{}
					if strings.Contains(c.fast, "$id") {
						vars["id"] = id
					}
					fast, slow := x.do(t, c.fast, vars), x.do(t, c.slow, vars)
					require.Equal(t, slow.outcome(), fast.outcome(), "%s\n%s\n%s", x.name, fast, slow)
					if strings.HasPrefix(name, "AuditLogs") { // reading the log adds to it
						continue
					}
					require.JSONEq(t, string(without(t, slow.Data, "totalCount")), string(without(t, fast.Data, "totalCount")), x.name)
				}
			}
		})
	}
	t.Run("NothingOfOthers", func(t *testing.T) {
		for _, x := range w.people[1:] {
			r := x.do(t, `{ chatSessions(first: 100) { edges { node { id userId systemPrompt messages(first: 10) { edges { node { id content } } } } } } }`, nil)
			var d struct {
				ChatSessions struct {
					Edges []struct {
						Node struct {
							UserID       uuid.UUID
							SystemPrompt *string
							Messages     struct {
								Edges []struct{ Node struct{ ID uuid.UUID } }
							}
						}
					}
				}
			}
			if r.outcome() == "FORBIDDEN" {
				continue
			}
			require.NoError(t, json.Unmarshal(r.Data, &d))
			for _, e := range d.ChatSessions.Edges {
				if e.Node.UserID != x.id {
					require.True(t, x.can("audit:read"), "%s lists another's conversation", x.name)
					require.Nil(t, e.Node.SystemPrompt, "%s reads another's instructions", x.name)
					require.Empty(t, e.Node.Messages.Edges, "%s reads another's messages", x.name)
				}
			}
		}
	})
}

// without takes a key out wherever it stands.
func without(tb testing.TB, b []byte, key string) []byte {
	tb.Helper()
	var v any
	require.NoError(tb, json.Unmarshal(b, &v))
	var strip func(v any)
	strip = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			delete(v, key)
			for _, x := range v {
				strip(x)
			}
		case []any:
			for _, x := range v {
				strip(x)
			}
		}
	}
	strip(v)
	out, err := json.Marshal(v)
	require.NoError(tb, err)
	return out
}
