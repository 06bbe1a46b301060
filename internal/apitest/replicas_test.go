//go:build unix

package apitest

import (
	"sync"
	"testing"

	"github.com/google/uuid"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/pgtest"
)

// startNATS starts a bus of its own for several replicas.
func startNATS(tb testing.TB) string {
	tb.Helper()
	srv, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, JetStream: true, StoreDir: tb.TempDir(), NoLog: true, NoSigs: true})
	require.NoError(tb, err)
	srv.Start()
	tb.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	require.True(tb, srv.ReadyForConnections(waitLimit))
	return srv.ClientURL()
}

// on is the same person at another replica.
func (x *person) on(s *server) *person {
	y := *x
	y.server = s
	return &y
}

// TestReplicas: two servers, one database and one bus are one API.
func TestReplicas(t *testing.T) {
	db, bus := pgtest.New(t), startNATS(t)
	one := startReplica(t, db, "NATS_URL="+bus)
	two := startReplica(t, db, "NATS_URL="+bus, "CDSA_WORKERS=false") // it answers, and works on nothing
	alice := one.newPerson(t, "alice", "analyst")

	t.Run("LoginWorksEverywhere", func(t *testing.T) {
		alice.on(two).ok(t, `{ viewer { id } }`, nil, nil)
		bob := two.newPerson(t, "bob", "analyst")
		bob.on(one).ok(t, `{ viewer { id } }`, nil, nil)
	})

	t.Run("EventsCrossOver", func(t *testing.T) {
		chat := alice.newChat(t)
		here, there := alice.connect(t), alice.on(two).connect(t)
		for _, sender := range []*person{alice, alice.on(two)} { // whoever takes the message, one's workers answer
			reply, before := sender.asks(t, chat, "/calculator 6*7")
			vars := map[string]any{"id": chat, "after": before}
			a, b := here.subscribe(t, chatEvents, vars), there.subscribe(t, chatEvents, vars)
			first, second := a.answer(t, reply), b.answer(t, reply)
			require.Len(t, second, len(first))
			for i := range first {
				require.Equal(t, plain(first[i]), plain(second[i]), "one order and one set of cursors for all replicas")
			}
			// A client that moves from one to the other goes on where it was.
			rest := there.subscribe(t, chatEvents, map[string]any{"id": chat, "after": first[1].Cursor}).answer(t, reply)
			require.Equal(t, plain(first[2]), plain(rest[0]))
		}
	})

	t.Run("DeletionCrossesOver", func(t *testing.T) {
		chat := alice.newChat(t)
		reply, before := alice.asks(t, chat, "/calculator 6*7")
		there := alice.on(two).connect(t).subscribe(t, chatEvents, map[string]any{"id": chat, "after": before})
		there.answer(t, reply)
		alice.ok(t, `mutation($id: ID!) { deleteChatSession(id: $id) }`, map[string]any{"id": chat}, nil)
		require.Equal(t, "complete", there.outcome(t))
	})

	t.Run("CancelCrossesOver", func(t *testing.T) {
		chat := alice.newChat(t)
		reply := alice.on(two).say(t, chat, "What is there to say of all that is known of otters, herons, kingfishers and the canal at dawn?")
		alice.on(two).ok(t, operations["Mutation.cancelGeneration"].query, map[string]any{"id": chat}, nil)
		eventually(t, "the answer ends", func() bool {
			return one.text(t, `SELECT status FROM chat_messages WHERE id = $1`, reply) != "STREAMING"
		})
	})

	t.Run("LogoutCrossesOver", func(t *testing.T) {
		x := alice.login(t)
		s := x.on(two).connect(t)
		s.subscribe(t, `subscription { toolExecutionEvents { status } }`, nil)
		x.ok(t, `mutation { logout }`, nil, nil)
		require.Equal(t, 4403, s.closeCode(t))
		require.Equal(t, "UNAUTHENTICATED", x.on(two).do(t, `{ viewer { id } }`, nil).outcome())
		alice.on(two).ok(t, `{ viewer { id } }`, nil, nil)
	})

	t.Run("LostRoleCrossesOver", func(t *testing.T) {
		x := one.newPerson(t, "approver", "approver")
		s := x.on(two).connect(t)
		s.subscribe(t, `subscription { approvalEvents { kind } }`, nil)
		one.root(t).ok(t, `mutation($id: ID!) { unassignRole(userId: $id, role: "approver") { id } }`, map[string]any{"id": x.id}, nil)
		require.Equal(t, 4403, s.closeCode(t))
		eventually(t, "the other replica knows", func() bool {
			return x.on(two).do(t, `{ toolApprovals(first: 1) { totalCount } }`, nil).outcome() == "FORBIDDEN"
		})
	})

	t.Run("RefreshTokenIsGoodOnce", func(t *testing.T) {
		x := alice.login(t)
		const n = 6
		outcomes := make([]string, n)
		var wg sync.WaitGroup
		for i := range n {
			at := []*server{one, two}[i%2]
			wg.Go(func() {
				outcomes[i] = x.on(at).do(t, operations["Mutation.refreshSession"].query, map[string]any{"t": x.refresh}).outcome()
			})
		}
		wg.Wait()
		sessions := one.text(t, `SELECT count(*)::text FROM sessions WHERE family_id = (SELECT family_id FROM sessions WHERE id = $1) AND is_active`, x.session)
		require.Contains(t, []string{"0", "1"}, sessions, "one refresh token opened more than one session: %v", outcomes)
	})

	t.Run("OneDecisionOfTwo", func(t *testing.T) {
		approval, _, hash := alice.ask(t)
		x := one.newPerson(t, "approver", "approver")
		vars := map[string]any{"in": map[string]any{"approvalId": approval, "argsHash": hash}}
		outcomes := make([]string, 2)
		var wg sync.WaitGroup
		for i, at := range []*server{one, two} {
			wg.Go(func() {
				outcomes[i] = x.on(at).do(t, operations["Mutation.approveToolExecution"].query, vars).outcome()
			})
		}
		wg.Wait()
		require.Contains(t, outcomes, "OK")
		require.Equal(t, "1", one.text(t, `SELECT jsonb_array_length(decisions)::text FROM tool_approvals WHERE id = $1`, approval))
		require.Equal(t, "1", one.text(t, `SELECT count(*)::text FROM audit_logs WHERE action = 'APPROVAL_GRANTED' AND resource_id = $1`, approval))
	})

	t.Run("OneGoesTheOtherStays", func(t *testing.T) {
		s := alice.connect(t)
		require.NoError(t, one.stop())
		require.Equal(t, 1001, s.closeCode(t), "clients are told to come back")
		alice.on(two).ok(t, `{ viewer { id } }`, nil, nil)
		chat := alice.on(two).newChat(t)
		require.NotEqual(t, uuid.Nil, chat)
	})
}
