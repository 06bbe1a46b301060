//go:build unix

package apitest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/pgtest"
	"cdsa.dev/cdsa/internal/testkit/process"
	"cdsa.dev/cdsa/internal/uid"
)

// revocationBound is what is promised of every replica, transport and change of rights, with the bus and without it.
const revocationBound = 2 * time.Second

// sse is a client of an event stream.
type sse struct {
	ended chan struct{} // closed when the stream is; text and at are set then
	text  string
	at    time.Time
}

// stream opens an event stream and returns once the server has answered.
func (x *person) stream(tb testing.TB, query string) *sse {
	tb.Helper()
	res := x.openStream(tb, query)
	require.Equal(tb, http.StatusOK, res.StatusCode)
	s := &sse{ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		text, _ := io.ReadAll(res.Body) // a cut connection is an end like any other
		s.text, s.at = string(text), time.Now()
		_ = res.Body.Close()
	}()
	return s
}

// probe is what somebody has open at a replica while their rights change.
type probe struct {
	at     *person
	socket *socket
	closed chan time.Time
	stream *sse
}

const (
	watched    = `subscription { approvalEvents { kind } }`
	privileged = `{ toolApprovals(first: 1) { totalCount } }`
)

func (x *person) probe(tb testing.TB) *probe {
	tb.Helper()
	x.ok(tb, privileged, nil, nil) // the replica remembers the session from now on
	p := &probe{at: x, socket: x.connect(tb), closed: make(chan time.Time, 1), stream: x.stream(tb, watched)}
	p.socket.subscribe(tb, watched, nil)
	go func() {
		<-p.socket.closed
		p.closed <- time.Now()
	}()
	return p
}

// times are how long each transport took, at the slowest replica.
type times struct{ http, socket, stream time.Duration }

// measure makes a change and waits until it has come everywhere: outcome is what the privileged query then gives.
func measure(tb testing.TB, probes []*probe, outcome string, change func()) (t times) {
	tb.Helper()
	for _, p := range probes {
		p.at.ok(tb, privileged, nil, nil) // the replica has just read what it must forget
	}
	start := time.Now()
	change()
	for waiting := probes; len(waiting) > 0; {
		require.Less(tb, time.Since(start), waitLimit, "a replica goes on as before")
		var still []*probe
		for _, p := range waiting {
			switch got := p.at.do(tb, privileged, nil).outcome(); got {
			case outcome:
				t.http = max(t.http, time.Since(start))
			case "OK":
				still = append(still, p)
			default:
				require.FailNow(tb, "another outcome", got)
			}
		}
		waiting = still
	}
	for _, p := range probes {
		require.Equal(tb, 4403, p.socket.closeCode(tb))
		t.socket = max(t.socket, (<-p.closed).Sub(start))
		select {
		case <-p.stream.ended:
		case <-time.After(waitLimit):
			require.FailNow(tb, "the event stream stays open")
		}
		require.Contains(tb, p.stream.text, "UNAUTHENTICATED")
		t.stream = max(t.stream, p.stream.at.Sub(start))
	}
	return t
}

// commit makes a change in the database as the server would, with the revocation in the same transaction.
func (s *server) commit(tb testing.TB, subject uuid.UUID, statement string, args ...any) {
	tb.Helper()
	ctx := context.Background()
	tx, err := s.db.Owner.Begin(ctx)
	require.NoError(tb, err)
	defer func() { _ = tx.Rollback(ctx) }() // after Commit it does nothing
	_, err = tx.Exec(ctx, statement, args...)
	require.NoError(tb, err)
	_, err = tx.Exec(ctx, `INSERT INTO revocations (subject) VALUES ($1)`, subject)
	require.NoError(tb, err)
	require.NoError(tb, tx.Commit(ctx))
}

// copyOfRole makes a role that allows what another does.
func (s *server) copyOfRole(tb testing.TB, of string) (id uuid.UUID, name string) {
	tb.Helper()
	ctx := context.Background()
	id = uid.New(uid.Role)
	name = fmt.Sprint("copy-", numbers.Add(1))
	_, err := s.db.Owner.Exec(ctx, `INSERT INTO roles SELECT (jsonb_populate_record(r, jsonb_build_object('id', $1::uuid, 'name', $2::text, 'is_system', false))).* FROM roles r WHERE name = $3`, id, name, of)
	require.NoError(tb, err)
	_, err = s.db.Owner.Exec(ctx, `INSERT INTO role_permissions (role_id, permission_id) SELECT $1, permission_id FROM role_permissions rp JOIN roles r ON r.id = rp.role_id WHERE r.name = $2`, id, of)
	require.NoError(tb, err)
	return id, name
}

// TestRevocationBound: whatever changes, it takes effect on every replica within the bound, with the bus, without, and
// when it is back. The bus is a process of its own, killed as by a crash.
func TestRevocationBound(t *testing.T) {
	db := pgtest.New(t)
	bus := process.StartNATS(t)
	one := startReplica(t, db, "NATS_URL="+bus.URL, "CDSA_WORKERS=false")
	two := startReplica(t, db, "NATS_URL="+bus.URL, "CDSA_WORKERS=false")

	// Everything is open before the bus goes, since nothing can be followed without it.
	type change struct {
		name    string
		outcome string // of the privileged query afterwards
		probes  []*probe
		make    func(t *testing.T)
	}
	prepare := func(t *testing.T) []change {
		t.Helper()
		opened := func(x *person) []*probe { return []*probe{x.on(one).probe(t), x.on(two).probe(t)} }
		ended, gone, demoted := one.newPerson(t, "ended", "approver"), one.newPerson(t, "gone", "approver"), one.newPerson(t, "demoted", "approver")
		role, name := one.copyOfRole(t, "approver")
		member := one.newPerson(t, "member", name)
		root := one.root(t)
		return []change{
			{"session revoked", "UNAUTHENTICATED", opened(ended), func(t *testing.T) {
				t.Helper()
				root.ok(t, `mutation($id: ID!) { revokeSession(id: $id) { id } }`, map[string]any{"id": ended.session}, nil)
			}},
			{"user deactivated", "UNAUTHENTICATED", opened(gone), func(t *testing.T) {
				t.Helper()
				one.commit(t, gone.id, `UPDATE users SET is_active = FALSE WHERE id = $1`, gone.id)
			}},
			{"role removed", "FORBIDDEN", opened(demoted), func(t *testing.T) {
				t.Helper()
				root.ok(t, `mutation($id: ID!) { unassignRole(userId: $id, role: "approver") { id } }`, map[string]any{"id": demoted.id}, nil)
			}},
			{"role changed", "FORBIDDEN", opened(member), func(t *testing.T) {
				t.Helper()
				one.commit(t, role, `DELETE FROM role_permissions rp USING permissions p WHERE p.id = rp.permission_id AND rp.role_id = $1 AND p.name LIKE 'approvals:%'`, role)
			}},
		}
	}
	measureAll := func(t *testing.T, state string, bystander *socket, changes []change) {
		t.Helper()
		for _, c := range changes {
			took := measure(t, c.probes, c.outcome, func() { c.make(t) })
			line := fmt.Sprintf("revocation bound, bus %s, %s: HTTP %v, websocket %v, SSE %v", state, c.name,
				took.http.Round(time.Millisecond), took.socket.Round(time.Millisecond), took.stream.Round(time.Millisecond))
			t.Log(line)
			fmt.Println(line)
			require.LessOrEqual(t, max(took.http, took.socket, took.stream), revocationBound, line)
		}
		select {
		case <-bystander.closed:
			require.FailNow(t, "someone whose rights did not change was cut off", "code %d", bystander.code)
		default:
		}
	}

	up, down := prepare(t), prepare(t)
	canary := one.newPerson(t, "canary", "analyst").on(two).connect(t)
	t.Run("BusUp", func(t *testing.T) { measureAll(t, "up", canary, up) })
	returning := one.newPerson(t, "returning", "approver")
	last := one.newPerson(t, "last", "approver")
	lastProbe := last.on(two).probe(t)
	author := one.newPerson(t, "author", "analyst")
	write := func(t *testing.T) uuid.UUID {
		t.Helper()
		var d struct{ CreateDocument struct{ ID uuid.UUID } }
		author.ok(t, operations["Mutation.createDocument"].query, map[string]any{"in": map[string]any{"title": "Heron", "content": "The heron " + uuid.NewString() + " waits."}}, &d)
		return d.CreateDocument.ID
	}
	var seen struct{ EventCursor string }
	author.on(two).ok(t, `{ eventCursor }`, nil, &seen)
	bus.Kill()
	t.Run("BusDown", func(t *testing.T) { measureAll(t, "down", canary, down) })

	// Who comes back with their new rights before the slower replica has read of the change is not cut off again.
	t.Run("BackAtOnce", func(t *testing.T) {
		one.root(t).ok(t, `mutation($id: ID!) { unassignRole(userId: $id, role: "approver") { id } }`, map[string]any{"id": returning.id}, nil)
		s := returning.on(two).connect(t)
		// A later change that the same replica has read: what it read before is applied.
		measure(t, []*probe{lastProbe}, "UNAUTHENTICATED", func() {
			one.commit(t, last.session, `UPDATE sessions SET is_active = FALSE, revoked_at = now() WHERE id = $1`, last.session)
		})
		eventually(t, "the connection answers", func() bool {
			return s.subscribe(t, `{ viewer { id } }`, nil).outcome(t) == "OK"
		})
	})

	// Nobody starts anything anew: both replicas find the bus again, and what happened without it comes in its place.
	t.Run("BusBack", func(t *testing.T) {
		require.Equal(t, http.StatusServiceUnavailable, two.ready(t))
		without := write(t)
		bus.Start(t)
		for _, s := range []*server{one, two} {
			eventually(t, "the replica is ready", func() bool { return s.ready(t) == http.StatusOK })
		}
		events := author.on(two).connect(t).subscribe(t, feeds["documentEvents"], map[string]any{"after": seen.EventCursor})
		require.Equal(t, without, events.event(t).Document.ID)
		require.Equal(t, write(t), events.event(t).Document.ID)
		measureAll(t, "back", canary, prepare(t))
	})
}

// ready is the status that the replica answers to whoever balances load.
func (s *server) ready(tb testing.TB) int {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, s.url+"/readyz", nil)
	require.NoError(tb, err)
	res, err := httpClient.Do(req)
	require.NoError(tb, err)
	require.NoError(tb, res.Body.Close())
	return res.StatusCode
}

// TestRevocationOfARepeatedChange: a change that changes nothing for somebody cuts nobody off.
func TestRevocationOfARepeatedChange(t *testing.T) {
	s := shared().server
	x, y := s.newPerson(t, "steady", "approver"), s.newPerson(t, "leaving", "approver")
	stays, goes := x.connect(t), y.connect(t)
	_, name := s.copyOfRole(t, "approver")
	s.root(t).ok(t, `mutation($id: ID!, $role: String!) { assignRole(userId: $id, role: $role) { id } }`, map[string]any{"id": x.id, "role": name}, nil)
	s.root(t).ok(t, `mutation($id: ID!) { unassignRole(userId: $id, role: "approver") { id } }`, map[string]any{"id": y.id}, nil)
	require.Equal(t, 4403, goes.closeCode(t), "checked after x, in order")
	require.Equal(t, "OK", stays.subscribe(t, privileged, nil).outcome(t))
	require.False(t, strings.Contains(s.log.String(), "they are ended"), "what they may do was read")
}
