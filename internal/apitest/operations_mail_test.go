//go:build unix

package apitest

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/uid"
)

// mailedTo makes a row of a mailed token for someone new, and the token, as the server does with the key that tests know.
func (w *world) mailedTo(tb testing.TB, kind, prefix string) string {
	tb.Helper()
	x := w.newPerson(tb, "mailed", "analyst")
	id := uuid.New()
	_, err := w.db.Owner.Exec(context.Background(), `INSERT INTO mailed_tokens (id, kind, user_id, email, created_at, expires_at) VALUES ($1, $2, $3, $4, now(), now() + interval '1 minute')`, id, kind, x.id, x.email)
	require.NoError(tb, err)
	key, err := hkdf.Key(sha256.New, identityKey, nil, "cdsa mailed token", sha256.Size)
	require.NoError(tb, err)
	m := hmac.New(sha256.New, key)
	m.Write([]byte(kind))
	m.Write(id[:])
	token := prefix + base64.RawURLEncoding.EncodeToString(append(id[:], m.Sum(nil)...))
	keepOut(token)
	return token
}

// invite has someone new invited by the first administrator.
func (s *server) invite(tb testing.TB, roles ...string) (id uuid.UUID, email, token string) {
	tb.Helper()
	email = uid.New(uid.User).String() + "@example.org"
	in := map[string]any{"email": email}
	if roles != nil {
		in["roles"] = roles
	}
	var d struct {
		InviteUser struct {
			Token      string
			Invitation struct{ ID uuid.UUID }
		}
	}
	s.root(tb).ok(tb, `mutation($in: InviteUserInput!) { inviteUser(input: $in) { token invitation { id } } }`, map[string]any{"in": in}, &d)
	keepOut(email, d.InviteUser.Token)
	return d.InviteUser.Invitation.ID, email, d.InviteUser.Token
}

// nextPassword is what a person's password is changed to; always the same, so that a call which does nothing leaves no
// trace.
func nextPassword(x *person) string {
	next := fmt.Sprintf("the otter moved to pier %x", sha256.Sum256([]byte(x.password)))
	keepOut(next)
	return next
}

func init() {
	maps.Copy(operations, map[string]operation{
		"Mutation.changePassword": {
			query: `mutation($in: ChangePasswordInput!) { changePassword(input: $in) ` + userFields + ` }`,
			vars: func(_ testing.TB, _ *world, x *person) map[string]any {
				return map[string]any{"in": map[string]any{"currentPassword": x.password, "newPassword": nextPassword(x)}}
			},
			then: func(tb testing.TB, x *person) {
				if x.token == "" {
					return
				}
				x.password = nextPassword(x)
				*x = *x.login(tb)
			},
		},
		"Mutation.requestPasswordReset": {query: `mutation($email: String!) { requestPasswordReset(email: $email) }`, vars: func(_ testing.TB, w *world, _ *person) map[string]any {
			return map[string]any{"email": w.other.email}
		}},
		"Mutation.resetPassword": {query: `mutation($in: ResetPasswordInput!) { resetPassword(input: $in) }`, vars: func(tb testing.TB, w *world, _ *person) map[string]any {
			return map[string]any{"in": map[string]any{"token": w.mailedTo(tb, "RESET", "cdsa_rs_"), "newPassword": "the heron moved to pier 7"}}
		}},
		"Mutation.verifyEmail": {query: `mutation($t: String!) { verifyEmail(token: $t) }`, vars: func(tb testing.TB, w *world, _ *person) map[string]any {
			return map[string]any{"t": w.mailedTo(tb, "VERIFY", "cdsa_ev_")}
		}},
		"Mutation.requestEmailVerification": {query: `mutation { requestEmailVerification }`},
		"Mutation.inviteUser": {happy: "admin", query: `mutation($in: InviteUserInput!) { inviteUser(input: $in) { token invitation { id email roles createdAt expiresAt invitedBy { id } } } }`, vars: func(testing.TB, *world, *person) map[string]any {
			return map[string]any{"in": map[string]any{"email": uid.New(uid.User).String() + "@example.org"}}
		}},
		"Mutation.revokeInvitation": {happy: "admin", query: `mutation($id: ID!) { revokeInvitation(id: $id) }`, vars: byID(func(tb testing.TB, w *world, _ *person) uuid.UUID {
			id, _, _ := w.invite(tb)
			return id
		})},
		"Query.invitations": {query: `{ invitations { id email roles createdAt expiresAt invitedBy { id } } }`},
	})
}
