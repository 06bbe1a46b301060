//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"
)

const (
	sessionQuery = `query($id: ID!) { node(id: $id) { ... on ChatSession { id title model createdAt lastMessageAt isActive sensitivity } } }`

	sessionsQuery = `query($first: Int!, $last: Int!) { chatSessions(first: $first, orderBy: {field: CREATED_AT, direction: DESC}) { edges { node { id title model createdAt
		messages(last: $last, orderBy: {field: CREATED_AT, direction: ASC}) { edges { node { id role content createdAt toolExecution { id status tool { id name } } } } } } } } }`

	auditQuery = `query($first: Int!, $action: AuditAction!) { auditLogs(first: $first, orderBy: {field: CREATED_AT, direction: DESC}, where: {action: $action}) {
		edges { node { id createdAt username action resourceType resourceId success } } pageInfo { hasNextPage endCursor } } }`

	sendMutation = `mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id role content createdAt } reply { id status } } }`
)

// Page sizes of the workloads.
const (
	sessionsAsked, messagesAsked = 20, 10
	auditAsked                   = 50
	sessionsRead                 = 500 // different conversations that are read by id
)

func body(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only maps of texts and numbers come here
	}
	return b
}

func graphQL(token, query string, variables map[string]any) call {
	return call{path: "/graphql", token: token, body: body(map[string]any{"query": query, "variables": variables})}
}

// reads makes a workload of pairs of calls whose answers must be the same on both sides, and stay the same.
func (r *rig) reads(ctx context.Context, w workload, variants int, floor, server func(i int) call) (workload, error) {
	var calls [2][]call
	var buf bytes.Buffer
	for i := range variants {
		pair := [2]call{floor(i), server(i)}
		want, err := post(ctx, r.floor.url, pair[floorSide], &buf)
		if err != nil {
			return w, fmt.Errorf("%s: %w", w.name, err)
		}
		want = bytes.Clone(want)
		got, err := post(ctx, r.server.url, pair[serverSide], &buf)
		if err == nil {
			err = exactly(want)(got)
		}
		if err != nil {
			return w, fmt.Errorf("%s: floor and server differ: %w", w.name, err)
		}
		for side := range calls {
			pair[side].right = exactly(want)
			calls[side] = append(calls[side], pair[side])
		}
	}
	for side := range calls {
		w.next[side] = func(_, i int) call { return calls[side][i%variants] }
	}
	w.slice, w.pairs, w.most = sliceTime, slicePairs, 1<<20
	return w, nil
}

func (r *rig) sessionByID(ctx context.Context, w *world, tokens []string) (workload, error) {
	return r.reads(ctx, workload{name: "session by id", what: "one conversation, seven columns", mark: 0.60}, sessionsRead,
		func(i int) call {
			return call{path: "/session", token: tokens[i%people], body: body(map[string]any{"id": w.sessions[i%people][i]})}
		},
		func(i int) call {
			return graphQL(tokens[i%people], sessionQuery, map[string]any{"id": w.sessions[i%people][i]})
		})
}

func (r *rig) sessionsWithMessages(ctx context.Context, tokens []string) (workload, error) {
	return r.reads(ctx, workload{name: "sessions", what: "20 conversations × last 10 messages × toolExecution{status tool{name}}", mark: 0.25}, people,
		func(i int) call {
			return call{path: "/sessions", token: tokens[i], body: body(map[string]any{"first": sessionsAsked, "last": messagesAsked})}
		},
		func(i int) call {
			return graphQL(tokens[i], sessionsQuery, map[string]any{"first": sessionsAsked, "last": messagesAsked})
		})
}

func (r *rig) audit(ctx context.Context, tokens []string) (workload, error) {
	return r.reads(ctx, workload{name: "audit log", what: "50 rows of one action without totalCount, names decrypted, the reading itself audited", mark: 0.60}, len(actions),
		func(i int) call {
			return call{path: "/audit", token: tokens[people], body: body(map[string]any{"first": auditAsked, "action": actions[i]})}
		},
		func(i int) call {
			return graphQL(tokens[people], auditQuery, map[string]any{"first": auditAsked, "action": actions[i]})
		})
}

// send writes to each of a person's conversations once in a slice: an answer is due in each until the slice ends.
func (r *rig) send(w *world, tokens []string) workload {
	content := sentence
	right := func(answer []byte) error {
		for _, part := range []string{`{"data":{"sendMessage":{"message":{"id":"`, `"role":"USER","content":"` + content + `"`, `"reply":{"id":"`, `"status":"PENDING"}}}}`} {
			if !bytes.Contains(answer, []byte(part)) {
				return fmt.Errorf("the answer %.300s lacks %s", answer, part)
			}
		}
		return nil
	}
	at := func(i int) (string, any) { return tokens[i%people], w.sessions[i%people][i/people] }
	before := writes{}
	wl := workload{name: "message", what: "message, answer, conversation, audit row, 2 events and job in one transaction", mark: 0.70,
		slice: sliceTime, pairs: slicePairs, most: people * sessionsEach}
	wl.next[floorSide] = func(_, i int) call {
		token, session := at(i)
		return call{path: "/send", token: token, body: body(map[string]any{"sessionId": session, "content": content}), right: right}
	}
	wl.next[serverSide] = func(_, i int) call {
		token, session := at(i)
		c := graphQL(token, sendMutation, map[string]any{"input": map[string]any{"sessionId": session, "content": content}})
		c.right = right
		return c
	}
	wl.after = func(ctx context.Context, calls int) error {
		now, err := r.written(ctx)
		if err != nil {
			return err
		}
		if before != (writes{}) {
			want := writes{before.messages + 2*calls, before.audit + calls, before.events + 2*calls, before.jobs + calls, now.unsent}
			if r.relay != nil {
				want.unsent = before.unsent + 2*calls
			}
			if now != want {
				return fmt.Errorf("%d calls left %+v, not %+v", calls, now, want)
			}
		}
		before = now
		_, err = r.db.Exec(ctx, `UPDATE chat_messages SET status = 'CANCELLED', lease_expires_at = NULL WHERE status = 'PENDING'`)
		return err
	}
	return wl
}

// sendRelayed is send with the relay at work. There is no mark for it: the server is charged for publishing at once,
// event by event, the floor's events are picked up twice a second.
func (r *rig) sendRelayed(w *world, tokens []string) workload {
	wl := r.send(w, tokens)
	wl.name, wl.what, wl.pairs, wl.relayed = "message, relayed", "the same until its events are on the bus", slicePairs/2, true
	wl.mark = 0
	return wl
}

// writes counts the rows that sending leaves.
type writes struct{ messages, audit, events, jobs, unsent int }

func (r *rig) written(ctx context.Context) (w writes, err error) {
	err = r.db.QueryRow(ctx, `SELECT (SELECT count(*) FROM chat_messages), (SELECT count(*) FROM audit_logs), (SELECT count(*) FROM outbox), (SELECT count(*) FROM river_job),
		(SELECT count(*) FROM outbox WHERE sent_at IS NULL)`).
		Scan(&w.messages, &w.audit, &w.events, &w.jobs, &w.unsent)
	return w, err
}

// signIn gives everybody's access token, the auditor's last.
func (r *rig) signIn(ctx context.Context) ([]string, error) {
	var tokens []string
	var buf bytes.Buffer
	for i := range people + 1 {
		c := graphQL("", `mutation($input: LoginInput!) { login(input: $input) { accessToken } }`, map[string]any{"input": map[string]any{"login": name(i), "password": password}})
		answer, err := post(ctx, r.server.url, c, &buf)
		if err != nil {
			return nil, fmt.Errorf("sign in: %w", err)
		}
		var got struct {
			Data struct{ Login struct{ AccessToken string } }
		}
		if err := json.Unmarshal(answer, &got); err != nil || got.Data.Login.AccessToken == "" {
			return nil, fmt.Errorf("sign in: %.300s", answer)
		}
		tokens = append(tokens, got.Data.Login.AccessToken)
	}
	return tokens, nil
}

// Lengths of slices: two a pair.
const (
	sliceTime  = 500 * time.Millisecond
	slicePairs = 24
)
