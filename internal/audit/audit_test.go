package audit_test

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/auditlog"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
)

// key is the master key of testkit, whose store shares the database.
var key = []byte("0123456789abcdef0123456789abcdef")

// auditor reads every row.
var auditor = authz.NewUser(uid.New(uid.User), "auditor", uid.New(uid.Session), false, time.Time{}, "audit:read")

type rig struct {
	*testkit.Kit
	rec   *audit.Recorder
	alice *authz.Principal
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{Kit: testkit.New(t)}
	r.rec = r.recorder(t, key)
	r.alice = r.User(t, "alice", authz.DefaultRole)
	return r
}

// recorder is one of another process: it has no key in memory.
func (r *rig) recorder(t *testing.T, key []byte) *audit.Recorder {
	t.Helper()
	rec, err := audit.New(r.DB.Pool, key)
	require.NoError(t, err)
	return rec
}

// record writes an entry as p from a known place and reads its row back.
func (r *rig) record(t *testing.T, p *authz.Principal, e audit.Entry) *ent.AuditLog {
	t.Helper()
	ctx := authz.WithRequest(context.Background(), authz.Request{ID: "req-1", IP: "198.51.100.7", UserAgent: "curl/8"})
	if p != nil {
		ctx = authz.With(ctx, p)
	}
	require.NoError(t, r.rec.Record(ctx, e))
	l, err := r.Client.AuditLog.Query().Order(auditlog.ByCreatedAt()).All(testkit.As(auditor))
	require.NoError(t, err)
	return l[len(l)-1]
}

func text(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

func TestRecorder_Record(t *testing.T) {
	r := newRig(t)
	resource, execution := uid.New(uid.Document), uuid.UUID{}
	l := r.record(t, r.alice, audit.Entry{
		Action: enum.AuditActionDocumentDeleted, Resource: "Document", ResourceID: resource, ExecutionID: execution,
		Details: map[string]any{"generation": 3}, Changes: map[string]any{"title": []any{"a", "b"}}, Sensitive: true,
	})
	require.Equal(t, enum.AuditActionDocumentDeleted, l.Action)
	require.Equal(t, r.alice.UserID, *l.UserID)
	require.Equal(t, r.alice.SessionID, *l.SessionID, "the login session stands where the action names none")
	require.Equal(t, "Document", l.ResourceType)
	require.Equal(t, resource, *l.ResourceID)
	require.Nil(t, l.ToolExecutionID)
	require.Equal(t, map[string]any{"generation": 3.0}, l.Details)
	require.Equal(t, map[string]any{"title": []any{"a", "b"}}, l.Changes)
	require.True(t, l.Success)
	require.True(t, l.SensitiveData)
	require.Equal(t, "req-1", l.RequestID)
	require.Equal(t, enum.ActorKindUser, l.ActorKind)
	require.Equal(t, audit.RetentionDays(l.Action), l.RetentionDays)
	require.WithinDuration(t, time.Now(), l.CreatedAt, time.Minute)
	tag, ok := uid.Of(l.ID)
	require.True(t, ok)
	require.Equal(t, uid.AuditLog, tag)

	failed := r.record(t, r.alice.AsAgent(), audit.Entry{Action: enum.AuditActionPermissionDenied, Failed: true, Error: "FORBIDDEN"})
	require.False(t, failed.Success)
	require.Equal(t, "FORBIDDEN", *failed.ErrorMessage)
	require.Equal(t, enum.ActorKindAgent, failed.ActorKind, "what the assistant does for someone is told apart")
	require.Equal(t, r.alice.UserID, *failed.UserID)

	machine := r.record(t, authz.Sweeper, audit.Entry{Action: enum.AuditActionApprovalExpired})
	require.Nil(t, machine.UserID)
	require.Equal(t, enum.ActorKindSystem, machine.ActorKind)

	login := r.record(t, nil, audit.Entry{Action: enum.AuditActionLoginFailed, Failed: true, ActorID: r.alice.UserID, ActorName: "alice"})
	require.Equal(t, r.alice.UserID, *login.UserID, "who signs in acts, though no one is signed in yet")
}

func TestRecorder_Record_CallerGone(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(testkit.As(r.alice))
	cancel()
	require.NoError(t, r.rec.Record(ctx, audit.Entry{Action: enum.AuditActionLogout}))
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM audit_logs`))
}

func TestRecorder_Open(t *testing.T) {
	r := newRig(t)
	l := r.record(t, r.alice, audit.Entry{Action: enum.AuditActionLogout})
	opened := func(rec *audit.Recorder) string {
		p, err := rec.Open(context.Background(), l)
		require.NoError(t, err)
		return strings.Join([]string{text(p.Username), text(p.IPAddress), text(p.UserAgent)}, " ")
	}

	t.Run("OK", func(t *testing.T) {
		require.Equal(t, "alice 198.51.100.7 curl/8", opened(r.rec))
		require.Equal(t, "alice 198.51.100.7 curl/8", opened(r.recorder(t, key)), "another process with the same master key")
	})

	t.Run("NothingPersonalIsStoredInTheClear", func(t *testing.T) {
		var row string
		require.NoError(t, r.DB.Pool.QueryRow(context.Background(), `SELECT to_jsonb(a)::text || encode(username, 'escape') || encode(ip_address, 'escape') || encode(user_agent, 'escape') FROM audit_logs a`).Scan(&row))
		for _, personal := range []string{"alice", "198.51.100.7", "curl", netip.MustParseAddr("198.51.100.7").String()} {
			require.NotContains(t, row, personal)
		}
		var wrapped []byte
		require.NoError(t, r.DB.Pool.QueryRow(context.Background(), `SELECT wrapped FROM subject_keys WHERE subject_id = $1`, r.alice.UserID).Scan(&wrapped))
		require.NotContains(t, string(wrapped), string(key))
	})

	t.Run("OtherMasterKey", func(t *testing.T) {
		rec := r.recorder(t, bytes.Repeat([]byte{4}, 32))
		_, err := rec.Open(context.Background(), l)
		require.ErrorContains(t, err, "CDSA_AUDIT_KEY")
		err = rec.Record(testkit.As(r.alice), audit.Entry{Action: enum.AuditActionLogout})
		require.ErrorContains(t, err, "CDSA_AUDIT_KEY", "a server with the wrong key must not write rows that no one can open")
		require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM audit_logs`))
	})

	t.Run("Swapped", func(t *testing.T) {
		other := r.record(t, r.alice, audit.Entry{Action: enum.AuditActionLogout})
		for name, swap := range map[string]func(x *ent.AuditLog){
			"BetweenRows":     func(x *ent.AuditLog) { x.Username = other.Username },
			"BetweenColumns":  func(x *ent.AuditLog) { x.Username = x.UserAgent },
			"BetweenSubjects": func(x *ent.AuditLog) { x.UserID = nil },
			"Cut":             func(x *ent.AuditLog) { x.Username = x.Username[:5] },
			"Changed":         func(x *ent.AuditLog) { x.Username = append([]byte{x.Username[0] ^ 1}, x.Username[1:]...) },
		} {
			x := *l
			swap(&x)
			rec := r.recorder(t, key)
			if name == "BetweenSubjects" {
				require.NoError(t, rec.Record(context.Background(), audit.Entry{Action: enum.AuditActionLoginFailed})) // the nil subject has a key
			}
			p, err := rec.Open(context.Background(), &x)
			require.Error(t, err, name)
			require.Nil(t, p.Username, name)
			require.NotContains(t, err.Error(), "alice")
		}
	})

	t.Run("WrappedKeyOfAnother", func(t *testing.T) {
		bob := r.User(t, "bob")
		require.NoError(t, r.rec.Record(testkit.As(bob), audit.Entry{Action: enum.AuditActionLogout}))
		_, err := r.DB.Owner.Exec(context.Background(), `UPDATE subject_keys SET wrapped = (SELECT wrapped FROM subject_keys WHERE subject_id = $1) WHERE subject_id = $2`, r.alice.UserID, bob.UserID)
		require.NoError(t, err)
		err = r.recorder(t, key).Record(testkit.As(bob), audit.Entry{Action: enum.AuditActionLogout})
		require.Error(t, err, "a key is bound to its subject")
	})

	t.Run("Erased", func(t *testing.T) {
		before := rowText(t, r, l.ID)
		_, err := r.DB.Owner.Exec(context.Background(), `DELETE FROM subject_keys WHERE subject_id = $1`, r.alice.UserID)
		require.NoError(t, err)
		require.Equal(t, "null null null", opened(r.recorder(t, key)))
		require.Equal(t, before, rowText(t, r, l.ID), "erasing touches no row")
	})
}

func rowText(t *testing.T, r *rig, id uuid.UUID) string {
	t.Helper()
	var s string
	require.NoError(t, r.DB.Pool.QueryRow(context.Background(), `SELECT a.*::text FROM audit_logs a WHERE id = $1`, id).Scan(&s))
	return s
}

func TestNew_Key(t *testing.T) {
	for _, n := range []int{0, 1, 15, 31, 33, 64} {
		_, err := audit.New(nil, make([]byte, n))
		require.Error(t, err, "%d bytes", n)
	}
}

func TestRetentionDays(t *testing.T) {
	const year = 365
	for action, want := range map[enum.AuditAction]int{
		enum.AuditActionApprovalGranted: 7 * year, enum.AuditActionSecretRead: 7 * year, enum.AuditActionEncryptionKeyRotated: 7 * year,
		enum.AuditActionToolExecutionRequested: 7 * year, enum.AuditActionBreakGlassUsed: 7 * year, enum.AuditActionAuditLogViewed: 7 * year,
		enum.AuditActionLegalHoldPlaced: 7 * year, enum.AuditActionDataSubjectErased: 7 * year,
		enum.AuditActionUserCreated: 2 * year, enum.AuditActionRoleAssigned: 2 * year, enum.AuditActionPermissionDenied: 2 * year,
		enum.AuditActionSuperuserBypassUsed: 2 * year, enum.AuditActionMfaEnrolled: 2 * year, enum.AuditActionPasswordChanged: 2 * year,
		enum.AuditActionAccountLocked: 2 * year, enum.AuditActionChatAccessedByOther: 2 * year,
		enum.AuditActionLoginSucceeded: year, enum.AuditActionChatMessageSent: year, enum.AuditActionDocumentUploaded: year, enum.AuditActionDocumentSearched: year,
	} {
		require.Equal(t, want, audit.RetentionDays(action), "%s", action)
	}
}

// TestRecorder_FirstKeyRace: many processes meet a new subject at once, and all their rows open under the one key.
func TestRecorder_FirstKeyRace(t *testing.T) {
	r := newRig(t)
	const n = 8
	done := make(chan error, n)
	for range n {
		rec := r.recorder(t, key)
		go func() { done <- rec.Record(testkit.As(r.alice), audit.Entry{Action: enum.AuditActionLogout}) }()
	}
	for range n {
		require.NoError(t, <-done)
	}
	rows, err := r.Client.AuditLog.Query().All(testkit.As(auditor))
	require.NoError(t, err)
	require.Len(t, rows, n)
	rec := r.recorder(t, key)
	for _, l := range rows {
		p, err := rec.Open(context.Background(), l)
		require.NoError(t, err)
		require.Equal(t, "alice", text(p.Username))
	}
}
