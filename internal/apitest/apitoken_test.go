//go:build unix

package apitest

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/app"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/config"
	"cdsa.dev/cdsa/internal/pgtest"
)

// bearing is x as the program that has the token.
func (x *person) bearing(token string) *person {
	y := *x
	y.token = token
	return &y
}

// TestAPIToken: what a program can do with its token, over each transport, and what its owner sees of it.
func TestAPIToken(t *testing.T) {
	w := shared()
	x := w.newPerson(t, "builder", "analyst")
	token, id := x.newToken(t, time.Hour, "chat:read", "chat:write", "search:execute")
	y := x.bearing(token)

	var d struct {
		Viewer struct {
			ID          uuid.UUID
			Permissions []string
		}
		ViewerCan bool
	}
	y.ok(t, `{ viewer { id permissions } viewerCan(resource: "documents", action: "write") }`, nil, &d)
	require.Equal(t, x.id, d.Viewer.ID)
	require.Equal(t, []string{"chat:read", "chat:write", "search:execute"}, d.Viewer.Permissions)
	require.False(t, d.ViewerCan, "its owner can")
	chat := y.newChat(t)
	require.Equal(t, "FORBIDDEN", y.do(t, operations["Mutation.createDocument"].query, map[string]any{"in": map[string]any{"title": "T", "content": "C", "isPublic": false}}).outcome())

	t.Run("Listed", func(t *testing.T) {
		var d struct {
			Sessions struct {
				TotalCount int
				Edges      []struct {
					Node struct {
						ID         uuid.UUID
						Name, Kind string
						Scopes     []string
						ExpiresAt  time.Time
						IsActive   bool
					}
				}
			}
		}
		x.ok(t, `{ sessions(where: {kind: API_TOKEN}) { totalCount edges { node { id name kind scopes expiresAt isActive } } } }`, nil, &d)
		require.Equal(t, 1, d.Sessions.TotalCount)
		n := d.Sessions.Edges[0].Node
		require.Equal(t, id, n.ID)
		require.Equal(t, "Nightly report", n.Name)
		require.Equal(t, []string{"chat:read", "chat:write", "search:execute"}, n.Scopes)
		require.True(t, n.IsActive)
		require.WithinDuration(t, time.Now().Add(time.Hour), n.ExpiresAt, time.Minute)
	})
	t.Run("ForPeopleOnly", func(t *testing.T) {
		fields := rootFields(t)
		open := []string{"Mutation.logout", "Mutation.revokeSession", "Mutation.withdrawToolApproval"}
		closed := 0
		acts := w.since(t)
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			if !strings.HasPrefix(name, "Mutation.") || fields[name].Directives.ForName("authenticated") == nil || slices.Contains(open, name) {
				continue
			}
			require.Equal(t, "FORBIDDEN", y.do(t, minimal(t, fieldName(name)), nil).outcome(), "%s", name)
			closed++
		}
		require.GreaterOrEqual(t, closed, 9)
		require.Len(t, of(acts(), "PERMISSION_DENIED", x.id), closed, "each denial is recorded")
	})
	t.Run("NotItsOwner", func(t *testing.T) {
		const account = `{ id username fullName permissions email lastLogin isSuperuser oidcSubject hasRole(name: "analyst")
			roles { name } sessions { totalCount edges { node { id ipAddress } } } auditLogs { totalCount } }`
		var d struct {
			Viewer, Node struct {
				ID               uuid.UUID
				Username         string
				Email, LastLogin *string
				IsSuperuser      *bool
				HasRole          bool
				Roles            []struct{ Name string }
				AuditLogs        struct{ TotalCount int }
				Sessions         struct {
					TotalCount int
					Edges      []struct {
						Node struct {
							ID        uuid.UUID
							IPAddress *string
						}
					}
				}
			}
		}
		y.ok(t, `query($id: ID!) { viewer `+account+` node(id: $id) { ... on User `+account+` } }`, map[string]any{"id": x.id}, &d)
		for _, u := range []any{d.Viewer, d.Node} {
			require.Equal(t, d.Viewer, u, "by whichever way")
		}
		require.Equal(t, x.username, d.Viewer.Username, "whose token it is")
		require.Nil(t, d.Viewer.Email)
		require.Nil(t, d.Viewer.LastLogin)
		require.Nil(t, d.Viewer.IsSuperuser)
		require.False(t, d.Viewer.HasRole)
		require.Empty(t, d.Viewer.Roles)
		require.Zero(t, d.Viewer.AuditLogs.TotalCount)
		require.Equal(t, 1, d.Viewer.Sessions.TotalCount)
		require.Equal(t, id, d.Viewer.Sessions.Edges[0].Node.ID, "itself")
		require.Nil(t, d.Viewer.Sessions.Edges[0].Node.IPAddress)

		acts := w.since(t)
		lists := map[string]string{`{ sessions { totalCount } }`: "users:read", `{ viewerActivity { totalCount } }`: "audit:read"}
		for query := range lists {
			require.Equal(t, "FORBIDDEN", y.do(t, query, nil).outcome(), query)
			x.ok(t, query, nil, nil)
		}
		require.Len(t, of(acts(), "PERMISSION_DENIED", x.id), len(lists))
		a := w.newPerson(t, "reader", "auditor")
		for query, permission := range lists {
			token, _ := a.newToken(t, time.Hour, permission)
			a.bearing(token).ok(t, query, nil, nil)
		}
		token, _ := a.newToken(t, time.Hour, "users:read")
		d.Viewer.Email = nil
		a.bearing(token).ok(t, `{ viewer { email } }`, nil, &d)
		require.Equal(t, a.email, *d.Viewer.Email)
	})
	t.Run("OtherSessions", func(t *testing.T) {
		require.Equal(t, "NOT_FOUND", y.do(t, `mutation($id: ID!) { revokeSession(id: $id) { id } }`, map[string]any{"id": x.session}).outcome())
		x.ok(t, `mutation { revokeOtherSessions }`, nil, nil)
		y.ok(t, `{ viewer { id } }`, nil, nil)
	})
	t.Run("Streams", func(t *testing.T) {
		s := y.connect(t)
		o := s.subscribe(t, `subscription($id: ID!) { chatEvents(sessionId: $id) { __typename } }`, map[string]any{"id": chat})
		res := y.openStream(t, `subscription { toolExecutionEvents { status } }`)
		defer func() { require.NoError(t, res.Body.Close()) }()
		require.Equal(t, http.StatusOK, res.StatusCode)

		x.ok(t, `mutation($id: ID!) { revokeSession(id: $id) { id } }`, map[string]any{"id": id}, nil)
		require.Equal(t, 4403, s.closeCode(t))
		require.Empty(t, o.frames)
		_, err := io.ReadAll(res.Body)
		require.NoError(t, err, "the stream ends")
		require.Equal(t, "UNAUTHENTICATED", y.do(t, `{ serverInfo { version } }`, nil).outcome())
	})
	t.Run("EndsInTime", func(t *testing.T) {
		token, _ := x.newToken(t, 1500*time.Millisecond, "chat:read")
		s := x.bearing(token).connect(t)
		s.subscribe(t, `subscription { toolExecutionEvents { status } }`, nil)
		require.Equal(t, 4403, s.closeCode(t))
		require.Equal(t, "UNAUTHENTICATED", x.bearing(token).do(t, `{ viewer { id } }`, nil).outcome())
	})
	t.Run("SignsItselfOut", func(t *testing.T) {
		token, id := x.newToken(t, time.Hour, "chat:read")
		x.bearing(token).ok(t, `mutation { logout }`, nil, nil)
		require.Equal(t, "UNAUTHENTICATED", x.bearing(token).do(t, `{ viewer { id } }`, nil).outcome())
		require.Equal(t, "signed out", w.text(t, `SELECT revoke_reason FROM sessions WHERE id = $1`, id))
		x.ok(t, `{ viewer { id } }`, nil, nil)
	})
	t.Run("LostRole", func(t *testing.T) {
		z := w.newPerson(t, "loser", "analyst", "approver")
		token, _ := z.newToken(t, time.Hour, "approvals:read")
		s := z.bearing(token).connect(t)
		s.subscribe(t, `subscription { approvalEvents { kind } }`, nil)
		for _, role := range []string{"approver", "analyst"} {
			w.root(t).ok(t, `mutation($id: ID!, $role: String!) { unassignRole(userId: $id, role: $role) { id } }`, map[string]any{"id": z.id, "role": role}, nil)
		}
		require.Equal(t, 4403, s.closeCode(t))
		require.Equal(t, "FORBIDDEN", z.bearing(token).do(t, `{ toolApprovals(first: 1) { totalCount } }`, nil).outcome())
	})
}

// TestAPIToken_Assistant: what a program has the assistant do is limited as the program is, though it is done later and
// by another.
func TestAPIToken_Assistant(t *testing.T) {
	w := shared()
	x := w.newPerson(t, "delegator", "analyst")
	x.newDocument(t, "Kingfisher", "The kingfisher dives by the weir at noon.", false)
	for name, c := range map[string]struct {
		permissions []string // nil: the person
		text        string
		done        string // calls that were made in the end
	}{
		"PersonCalculates":  {nil, "/calculator 6*7", "1"},
		"ProgramCalculates": {[]string{"chat:read", "chat:write", "tools:read", "tools:execute"}, "/calculator 6*7", "1"},
		"ProgramMayNot":     {[]string{"chat:read", "chat:write", "tools:read"}, "/calculator 6*7", "0"},
		"PersonSearches":    {nil, "Where does the kingfisher dive?", "1"},
		"ProgramSearches":   {[]string{"chat:read", "chat:write", "tools:read", "tools:execute", "search:execute", "documents:read"}, "Where does the kingfisher dive?", "1"},
		"ProgramMayNotLook": {[]string{"chat:read", "chat:write", "tools:read", "tools:execute"}, "Where does the kingfisher dive?", "0"},
		"ProgramMayNotCall": {[]string{"chat:read", "chat:write", "tools:read", "search:execute"}, "Where does the kingfisher dive?", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			y := x
			if c.permissions != nil {
				token, _ := x.newToken(t, time.Hour, c.permissions...)
				y = x.bearing(token)
			}
			chat := y.newChat(t)
			reply := y.say(t, chat, c.text)
			eventually(t, "the answer is whole", func() bool {
				return slices.Contains([]string{"COMPLETED", "FAILED"}, w.text(t, `SELECT status FROM chat_messages WHERE id = $1`, reply))
			})
			require.Equal(t, c.done, w.text(t, `SELECT count(*)::text FROM tool_executions WHERE reply_id = $1 AND status = 'COMPLETED'`, reply))
		})
	}
	t.Run("CallsItself", func(t *testing.T) {
		for permission, want := range map[string]string{"search:execute": "COMPLETED", "chat:read": "FAILED"} {
			token, _ := x.newToken(t, time.Hour, "tools:read", "tools:execute", "documents:read", permission)
			r := x.bearing(token).do(t, `mutation($in: ExecuteToolInput!) { executeTool(input: $in) { id } }`,
				map[string]any{"in": map[string]any{"tool": "search_documents", "parameters": map[string]any{"query": "Where does the kingfisher dive?"}}})
			var d struct{ ExecuteTool struct{ ID uuid.UUID } }
			require.NoError(t, json.Unmarshal(r.Data, &d), "%s", r)
			eventually(t, "the call is made", func() bool {
				return w.text(t, `SELECT status FROM tool_executions WHERE id = $1`, d.ExecuteTool.ID) == want
			})
		}
	})
}

// TestRevocation_UnderWay: an answer that is being written stops within the bound when the API token that asked for it is
// revoked, and when its user is deactivated, here or on another replica.
func TestRevocation_UnderWay(t *testing.T) {
	db, bus := pgtest.New(t), startNATS(t)
	one := startReplica(t, db, "NATS_URL="+bus, "CDSA_LLM_OFFLINE_DELAY=2s")
	two := startReplica(t, db, "NATS_URL="+bus, "CDSA_WORKERS=false")
	for name, c := range map[string]struct {
		token bool
		end   func(t *testing.T, x *person, id uuid.UUID)
	}{
		"Token": {true, func(t *testing.T, x *person, id uuid.UUID) {
			t.Helper()
			x.on(two).ok(t, `mutation($id: ID!) { revokeSession(id: $id) { id } }`, map[string]any{"id": id}, nil)
		}},
		"User": {false, func(t *testing.T, x *person, _ uuid.UUID) {
			t.Helper()
			two.root(t).ok(t, operations["Mutation.setUserActive"].query, map[string]any{"id": x.id}, nil)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			x := one.newPerson(t, "asker", "analyst")
			y, id := x, uuid.Nil
			if c.token {
				var token string
				token, id = x.newToken(t, time.Hour, "chat:read", "chat:write")
				y = x.bearing(token)
			}
			reply := y.say(t, y.newChat(t), "What is there to say of all that is known of otters, herons, kingfishers and the canal at dawn?")
			status := func() string { return one.text(t, `SELECT status FROM chat_messages WHERE id = $1`, reply) }
			eventually(t, "it is being written", func() bool { return status() == "STREAMING" })
			began := time.Now()
			c.end(t, x, id)
			eventually(t, "it stops", func() bool { return status() == "FAILED" })
			require.Less(t, time.Since(began), revocationBound)
			require.Equal(t, "UNAUTHENTICATED", one.text(t, `SELECT error_code FROM chat_messages WHERE id = $1`, reply))
		})
	}
}

// minimal writes a mutation with something of the right type for each argument.
func minimal(tb testing.TB, field string) string {
	tb.Helper()
	f := schema(tb).Mutation.Fields.ForName(field)
	require.NotNil(tb, f)
	s := schema(tb)
	var value func(typ string) string
	value = func(typ string) string {
		def := s.Types[strings.TrimSuffix(typ, "!")]
		switch {
		case strings.HasPrefix(typ, "["):
			return "[]"
		case def != nil && len(def.EnumValues) > 0:
			return def.EnumValues[0].Name
		case def != nil && def.IsInputType() && len(def.Fields) > 0:
			var members []string
			for _, m := range def.Fields {
				if m.Type.NonNull {
					members = append(members, m.Name+": "+value(m.Type.String()))
				}
			}
			return "{" + strings.Join(members, ", ") + "}"
		}
		switch strings.TrimSuffix(typ, "!") {
		case "Boolean":
			return "true"
		case "Int", "Float":
			return "1"
		case "ID":
			return `"` + uuid.NewString() + `"`
		case "Time":
			return `"2030-01-01T00:00:00Z"`
		}
		return `"x"`
	}
	var args []string
	for _, a := range f.Arguments {
		args = append(args, a.Name+": "+value(a.Type.String()))
	}
	q := field
	if len(args) > 0 {
		q += "(" + strings.Join(args, ", ") + ")"
	}
	if def := s.Types[f.Type.Name()]; def != nil && len(def.Fields) > 0 {
		q += " { __typename }"
	}
	return "mutation { " + q + " }"
}

// jwks are the kids that a replica shows, read with another library.
func (s *server) jwks(tb testing.TB) []string {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, s.url+"/.well-known/jwks.json", nil)
	require.NoError(tb, err)
	res, err := httpClient.Do(req)
	require.NoError(tb, err)
	defer func() { require.NoError(tb, res.Body.Close()) }()
	require.Equal(tb, http.StatusOK, res.StatusCode)
	require.Equal(tb, "application/jwk-set+json", res.Header.Get("Content-Type"))
	require.Contains(tb, res.Header.Get("Cache-Control"), "max-age=30")
	var set jose.JSONWebKeySet
	require.NoError(tb, json.NewDecoder(res.Body).Decode(&set))
	var kids []string
	for _, k := range set.Keys {
		require.True(tb, k.Valid() && k.IsPublic())
		kids = append(kids, k.KeyID)
	}
	return kids
}

func kid(tb testing.TB, token string) string {
	tb.Helper()
	h, _ := genuine(tb, token)
	return h["kid"].(string)
}

// TestKeyRotation: two replicas that read one file go from key to key, and nobody is logged out until the old keys are
// taken away.
func TestKeyRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "signing.pem")
	write := func(b []byte) {
		t.Helper()
		require.NoError(t, os.WriteFile(path+".new", b, 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	oldKey, err := auth.GenerateSigningKey()
	require.NoError(t, err)
	write(oldKey)
	db, bus := pgtest.New(t), startNATS(t)
	one := startReplica(t, db, "NATS_URL="+bus, "CDSA_SIGNING_KEY_FILE="+path)
	two := startReplica(t, db, "NATS_URL="+bus, "CDSA_SIGNING_KEY_FILE="+path, "CDSA_WORKERS=false")
	replicas := []*server{one, two}
	alice := one.newPerson(t, "alice", "analyst")
	old := kid(t, alice.token)
	require.Equal(t, []string{old}, one.jwks(t))
	lives := func(x *person) {
		t.Helper()
		for _, s := range replicas {
			x.on(s).ok(t, `{ viewer { id } }`, nil, nil)
		}
	}

	// As Rotate writes it, but with less time before the new key signs.
	newKey, err := auth.GenerateSigningKey()
	require.NoError(t, err)
	block, _ := pem.Decode(newKey)
	begins := time.Now().Add(4 * time.Second)
	block.Headers = map[string]string{"Not-Before": begins.UTC().Format(time.RFC3339)}
	write(append(pem.EncodeToMemory(block), oldKey...))
	for _, s := range replicas {
		eventually(t, "both keys are shown", func() bool { return len(s.jwks(t)) == 2 })
	}
	lives(alice)
	var fresh *person
	eventually(t, "the new key signs", func() bool {
		fresh = alice.on(two).login(t)
		lives(fresh) // at no moment does a replica meet a token it cannot verify
		return kid(t, fresh.token) != old
	})
	require.False(t, time.Now().Before(begins.Truncate(time.Second)))
	lives(alice)
	rotated := func() string {
		return one.text(t, `SELECT count(*)::text FROM audit_logs WHERE action = 'SIGNING_KEY_ROTATED' AND success AND details->>'kid' = $1`, kid(t, fresh.token))
	}
	eventually(t, "the rotation is recorded", func() bool { return rotated() != "0" })

	write([]byte("-----BEGIN PRIVATE KEY-----\nhalf a"))
	for _, s := range replicas {
		eventually(t, "the damage is noticed", func() bool { return strings.Contains(s.log.String(), "changed to what cannot be used") })
	}
	lives(alice)
	require.NotContains(t, one.log.String(), "half a")
	write(append(newKey, oldKey...))

	s := alice.on(two).connect(t)
	s.subscribe(t, `subscription { toolExecutionEvents { status } }`, nil)
	cfg, err := config.Load([]string{"CDSA_SIGNING_KEY_FILE=" + path})
	require.NoError(t, err)
	r, err := app.RotateSigningKey(cfg, true)
	require.NoError(t, err)
	require.Len(t, r.Dropped, 2)
	require.Equal(t, 4403, s.closeCode(t), "what was opened with a key that is gone does not go on")
	for _, s := range replicas {
		eventually(t, "the old keys are gone", func() bool { return slices.Equal(s.jwks(t), []string{r.KeyID}) })
		for _, x := range []*person{alice, fresh} {
			require.Equal(t, "UNAUTHENTICATED", x.on(s).do(t, `{ viewer { id } }`, nil).outcome(), "remembered or not")
		}
	}
	var d struct{ RefreshSession struct{ AccessToken string } }
	alice.bearing("").ok(t, operations["Mutation.refreshSession"].query, map[string]any{"t": alice.refresh}, &d)
	require.Equal(t, r.KeyID, kid(t, d.RefreshSession.AccessToken))
	keepOut(d.RefreshSession.AccessToken)
	lives(alice.bearing(d.RefreshSession.AccessToken))
	require.Equal(t, "1", rotated(), "once for a key, however many replicas sign with it")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}
