//go:build unix

package apitest

import (
	"context"
	"encoding/base64"
	"io"
	netmail "net/mail"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/pgtest"
)

var inMail = regexp.MustCompile(`(http://\S+)/#(reset|verify|invite)=(\S+)`)

// letters waits for the mails to an address in a server's folder and gives the tokens of their links by kind.
func letters(tb testing.TB, dir, to string, want int) map[string]string {
	tb.Helper()
	tokens := map[string]string{}
	eventually(tb, "a mail is written", func() bool {
		clear(tokens)
		entries, err := os.ReadDir(filepath.Join(dir, "mail"))
		require.NoError(tb, err)
		n := 0
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".eml") {
				continue
			}
			info, err := e.Info()
			require.NoError(tb, err)
			require.Equal(tb, os.FileMode(0o600), info.Mode())
			f, err := os.Open(filepath.Join(dir, "mail", e.Name()))
			require.NoError(tb, err)
			m, err := netmail.ReadMessage(f)
			require.NoError(tb, err)
			text, err := io.ReadAll(m.Body) // letters are ASCII, and so unencoded
			require.NoError(tb, err)
			require.NoError(tb, f.Close())
			list, err := m.Header.AddressList("To")
			require.NoError(tb, err)
			if list[0].Address != to {
				continue
			}
			n++
			found := inMail.FindStringSubmatch(string(text))
			require.NotNil(tb, found, "%s", text)
			keepOut(found[3])
			tokens[found[2]] = found[3]
		}
		return n >= want
	})
	return tokens
}

// TestMail takes the links out of the mails that the server writes, as a person would, and finds no trace of them
// elsewhere. That nothing of it is in the log is looked at when the server ends.
func TestMail(t *testing.T) {
	dir := t.TempDir()
	s := startReplica(t, pgtest.New(t), "CDSA_DATA_DIR="+dir, "CDSA_REGISTRATION=invite")
	x := s.newPerson(t, "forgetful", "analyst")
	nobody := &person{name: "nobody", server: s}
	var spent []string
	query := func(name string) string { return operations["Mutation."+name].query }

	verify := letters(t, dir, x.email, 1)["verify"]
	nobody.ok(t, query("verifyEmail"), map[string]any{"t": verify}, nil)
	require.Equal(t, "EXPIRED", nobody.do(t, query("verifyEmail"), map[string]any{"t": verify}).outcome())
	var d struct{ Viewer struct{ IsVerified bool } }
	x.ok(t, `{ viewer { isVerified } }`, nil, &d)
	require.True(t, d.Viewer.IsVerified)

	for _, email := range []string{x.email, "no.one.at.all@example.org"} {
		r := nobody.do(t, query("requestPasswordReset"), map[string]any{"email": email})
		require.JSONEq(t, `{"requestPasswordReset": true}`, string(r.Data))
	}
	keepOut("no.one.at.all")
	reset := letters(t, dir, x.email, 2)["reset"]
	in := map[string]any{"in": map[string]any{"token": reset, "newPassword": "a new pier for the otter"}}
	nobody.ok(t, query("resetPassword"), in, nil)
	require.Equal(t, "EXPIRED", nobody.do(t, query("resetPassword"), in).outcome())
	require.Equal(t, "UNAUTHENTICATED", x.do(t, `{ viewer { id } }`, nil).outcome(), "sessions end with the old password")
	x.password = "a new pier for the otter"
	keepOut(x.password)
	x = x.login(t)

	_, email, token := s.invite(t, "auditor", "analyst")
	require.Equal(t, token, letters(t, dir, email, 1)["invite"])
	register := func(token string) reply {
		return nobody.do(t, operations["Mutation.register"].query, map[string]any{"in": map[string]any{"email": email, "username": "invited.one", "password": "a seat at the long table", "invitation": token}})
	}
	require.Equal(t, "FORBIDDEN", register("").outcome())
	require.Equal(t, "FORBIDDEN", register(reset).outcome())
	require.Equal(t, "OK", register(token).outcome())
	require.Equal(t, "FORBIDDEN", register(token).outcome())
	guest := (&person{name: "guest", username: "invited.one", email: email, password: "a seat at the long table", server: s}).login(t)
	var v struct {
		Viewer struct {
			IsVerified bool
			Roles      []struct{ Name string }
		}
	}
	guest.ok(t, `{ viewer { isVerified roles { name } } }`, nil, &v)
	require.False(t, v.Viewer.IsVerified)
	require.Len(t, v.Viewer.Roles, 2)

	spent = append(spent, verify, reset, token, x.email, email, "no.one.at.all")
	for _, word := range spent {
		if strings.Contains(word, "@") {
			word = strings.SplitN(word, "@", 2)[0]
		}
		for _, table := range []string{"audit_logs", "river_job", "outbox"} {
			var n int
			require.NoError(t, s.db.Owner.QueryRow(context.Background(), `SELECT count(*) FROM `+table+` x WHERE x::text LIKE '%' || $1 || '%'`, word).Scan(&n))
			require.Zero(t, n, "%s holds what was mailed, or to whom", table)
		}
	}
	require.Contains(t, s.log.String(), "a mail was written to a file")
}

// TestMail_Off: production without an SMTP server says so at start and answers as ever.
func TestMail_Off(t *testing.T) {
	dir := t.TempDir()
	s := startReplica(t, pgtest.New(t), "CDSA_DATA_DIR="+dir, "CDSA_ENV=production", "CDSA_ADMIN_EMAIL=admin@localhost", "CDSA_OIDC_PROVIDERS=", "CDSA_BUS_KEY="+base64.StdEncoding.EncodeToString(keyOf("bus")[:32]))
	require.Contains(t, s.log.String(), "no mails are sent")
	x := s.newPerson(t, "mailless", "analyst")
	for _, email := range []string{x.email, "no.one@example.org", "a@b\r\nBcc: c@d"} {
		r := (&person{server: s}).do(t, operations["Mutation.requestPasswordReset"].query, map[string]any{"email": email})
		require.JSONEq(t, `{"requestPasswordReset": true}`, string(r.Data))
	}
	eventually(t, "the jobs are done", func() bool {
		return s.text(t, `SELECT (count(*) = 4 AND bool_and(state = 'completed'))::text FROM river_job WHERE kind = 'send_mail'`) == "true"
	})
	require.NoDirExists(t, filepath.Join(dir, "mail"))
}
