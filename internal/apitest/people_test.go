//go:build unix

package apitest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/uid"
)

// TestAnothersProfile: whoever may not change another's profile is told the same of one that exists and one that does
// not, and is recorded once.
func TestAnothersProfile(t *testing.T) {
	w := shared()
	update := operations["Mutation.updateUser"].query
	for _, name := range []string{"norole", "analyst", "auditor", "steward", "approver"} {
		x := w.person(t, name)
		acts := w.since(t)
		r := x.do(t, update, map[string]any{"id": w.other.id, "in": map[string]any{"fullName": "Taken Over"}})
		require.Equal(t, "FORBIDDEN", r.outcome(), "%s", r)
		require.Len(t, of(acts(), "PERMISSION_DENIED", x.id), 1, "recorded were %v", names(acts()))
		absent := x.do(t, update, map[string]any{"id": uid.New(uid.User), "in": map[string]any{"fullName": "Taken Over"}})
		require.Equal(t, r.Errors[0].Message, absent.Errors[0].Message)
	}
	acts := w.since(t)
	x := w.person(t, "superuser")
	x.ok(t, update, map[string]any{"id": w.other.id, "in": map[string]any{"fullName": "Other"}}, nil)
	require.Len(t, of(acts(), "SUPERUSER_BYPASS_USED", x.id), 2, "the permission, and power over who may do more")
}

// TestDeactivated: what a deactivated user has is of no use, at once on this replica.
func TestDeactivated(t *testing.T) {
	w := shared()
	x := w.newPerson(t, "leaver", "analyst")
	x.ok(t, `{ viewer { id } }`, nil, nil)
	w.root(t).ok(t, operations["Mutation.setUserActive"].query, map[string]any{"id": x.id}, nil)
	require.Equal(t, "UNAUTHENTICATED", x.do(t, `{ viewer { id } }`, nil).outcome())
	require.Equal(t, "UNAUTHENTICATED", (&person{server: w.server}).do(t, operations["Mutation.refreshSession"].query, map[string]any{"t": x.refresh}).outcome())
	require.Equal(t, "UNAUTHENTICATED", (&person{server: w.server}).do(t, operations["Mutation.login"].query, map[string]any{"in": map[string]any{"login": x.email, "password": x.password}}).outcome())
}

// TestNames: an address or a name that could be taken for someone else's, or for more than a name, is refused wherever
// one is given.
func TestNames(t *testing.T) {
	w := shared()
	x := w.newPerson(t, "kelvin", "analyst")
	free := func() (email, username string) {
		n := numbers.Add(1)
		return fmt.Sprintf("free.%d@example.org", n), fmt.Sprintf("free.%d", n)
	}
	upper := strings.ToUpper(x.username)
	domain := "@example.org"
	for name, c := range map[string]struct{ email, username, fullName, code, field string }{
		"EmailUpper":        {email: strings.ToUpper(x.email), code: "CONFLICT"},
		"EmailMixed":        {email: "K" + x.email[1:], code: "CONFLICT"},
		"EmailSpaces":       {email: "  " + x.email + "\n", code: "CONFLICT"},
		"UsernameUpper":     {username: upper, code: "CONFLICT"},
		"AdminUpper":        {username: "ADMIN", code: "CONFLICT"},
		"EmailKelvin":       {email: "\u212a" + x.email[1:], code: "BAD_USER_INPUT", field: "email"},
		"UsernameKelvin":    {username: "\u212a" + x.username[1:], code: "BAD_USER_INPUT", field: "username"},
		"EmailFullWidth":    {email: "\uff4b" + x.email[1:], code: "BAD_USER_INPUT", field: "email"},
		"EmailFullWidthAt":  {email: strings.Replace(x.email, "@", "\uff20", 1), code: "BAD_USER_INPUT", field: "email"},
		"EmailFullStop":     {email: strings.Replace(x.email, ".org", "\u3002org", 1), code: "BAD_USER_INPUT", field: "email"},
		"UsernameFullWidth": {username: "\uff4b" + x.username[1:], code: "BAD_USER_INPUT", field: "username"},
		"EmailZeroWidth":    {email: "\u200b" + x.email, code: "BAD_USER_INPUT", field: "email"},
		"EmailZeroWidthIn":  {email: strings.Replace(x.email, "@", "\u200d@", 1), code: "BAD_USER_INPUT", field: "email"},
		"UsernameZeroWidth": {username: x.username[:3] + "\u200c" + x.username[3:], code: "BAD_USER_INPUT", field: "username"},
		"UsernameSoft":      {username: x.username[:3] + "\u00ad" + x.username[3:], code: "BAD_USER_INPUT", field: "username"},
		"UsernameCyrillic":  {username: "adm\u0456n", code: "BAD_USER_INPUT", field: "username"},
		"EmailHomograph":    {email: "kelvin@ex\u0430mple.org", code: "BAD_USER_INPUT", field: "email"},
		"EmailIDN":          {email: "kelvin@m\u00fcnchen.example", code: "BAD_USER_INPUT", field: "email"},
		"EmailCombining":    {email: "ke\u0301lvin" + domain, code: "BAD_USER_INPUT", field: "email"},
		"EmailTrailingDot":  {email: x.email + ".", code: "BAD_USER_INPUT", field: "email"},
		"EmailQuoted":       {email: `"kelvin"` + domain, code: "BAD_USER_INPUT", field: "email"},
		"EmailHeader":       {email: "a@example.org\r\nBcc: b@example.org", code: "BAD_USER_INPUT", field: "email"},
		"EmailTwo":          {email: "a@example.org,b@example.org", code: "BAD_USER_INPUT", field: "email"},
		"UsernameHeader":    {username: "alice\r\nX: y", code: "BAD_USER_INPUT", field: "username"},
		"UsernameIsEmail":   {username: "someone@example.org", code: "BAD_USER_INPUT", field: "username"},
		"UsernameSystem":    {username: "system:operator", code: "BAD_USER_INPUT", field: "username"},
		"FullNameHeader":    {fullName: "Ada\r\nSubject: You won", code: "BAD_USER_INPUT", field: "fullName"},
		"FullNameNewline":   {fullName: "Ada\nBcc: a@example.org", code: "BAD_USER_INPUT", field: "fullName"},
		"FullNameSeparator": {fullName: "Ada\u2028Lovelace", code: "BAD_USER_INPUT", field: "fullName"},
		"FullNameOverride":  {fullName: "\u202eadA", code: "BAD_USER_INPUT", field: "fullName"},
		"FullNameLong":      {fullName: strings.Repeat("x", 1<<20), code: "BAD_USER_INPUT", field: "fullName"},
		"EmailLong":         {email: strings.Repeat("x", 1<<20) + domain, code: "BAD_USER_INPUT", field: "email"},
		"UsernameLong":      {username: strings.Repeat("x", 1<<20), code: "BAD_USER_INPUT", field: "username"},
	} {
		t.Run(name, func(t *testing.T) {
			before := w.text(t, `SELECT count(*)::text FROM users`)
			for _, mutation := range []string{"register", "createUser", "updateUser"} {
				email, username := free()
				in := map[string]any{"email": email, "username": username, "password": "the tide comes in at " + uuid.NewString()}
				caller, vars := w.root(t), map[string]any{"in": in}
				switch mutation {
				case "register":
					caller = &person{server: w.server}
				case "updateUser":
					y := w.person(t, "analyst")
					caller, in["password"], vars["id"] = y, y.password, y.id
				}
				for field, value := range map[string]string{"email": c.email, "username": c.username, "fullName": c.fullName} {
					if value != "" {
						in[field] = value
					}
				}
				start := time.Now()
				r := caller.do(t, operations["Mutation."+mutation].query, vars)
				require.Less(t, time.Since(start), answerLimit)
				require.Equal(t, c.code, r.outcome(), "%s: %s", mutation, r)
				if c.field != "" {
					require.Contains(t, r.Errors[0].Extensions.Fields, "input."+c.field, "%s", mutation)
				}
				require.Less(t, len(r.body), 1000, "what was sent is not sent back")
			}
			require.Equal(t, before, w.text(t, `SELECT count(*)::text FROM users`))
		})
	}
	y := w.person(t, "analyst")
	require.Equal(t, y.email, w.text(t, `SELECT email::text FROM users WHERE id = $1`, y.id))
	require.Equal(t, y.username, w.text(t, `SELECT username::text FROM users WHERE id = $1`, y.id))
}

// TestLongPasswords are refused before anyone computes with them.
func TestLongPasswords(t *testing.T) {
	w := shared()
	x := w.person(t, "analyst")
	stranger := &person{server: w.server}
	for _, c := range []struct {
		size, status int
		code         string
	}{{257, 200, "BAD_USER_INPUT"}, {1_900_000, 200, "BAD_USER_INPUT"}, {10 << 20, 413, "RESOURCE_EXHAUSTED"}} {
		long := strings.Repeat("a Winded 0tter ", c.size/15+1)[:c.size]
		n := numbers.Add(1)
		in := map[string]any{"email": fmt.Sprintf("long.%d@example.org", n), "username": fmt.Sprintf("long.%d", n), "password": long}
		for name, call := range map[string]func() reply{
			"register": func() reply { return stranger.do(t, operations["Mutation.register"].query, map[string]any{"in": in}) },
			"createUser": func() reply {
				return w.root(t).do(t, operations["Mutation.createUser"].query, map[string]any{"in": in})
			},
			"login": func() reply {
				return stranger.do(t, operations["Mutation.login"].query, map[string]any{"in": map[string]any{"login": x.username, "password": long}})
			},
		} {
			start := time.Now()
			r := call()
			require.Less(t, time.Since(start), answerLimit, "%s of %d", name, c.size)
			require.Equal(t, c.code, r.outcome(), "%s of %d: %s", name, c.size, r)
			require.Equal(t, c.status, r.status)
			require.Less(t, len(r.body), 1000)
		}
	}
}
