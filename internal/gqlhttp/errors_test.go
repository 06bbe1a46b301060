package gqlhttp

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestErrors(t *testing.T) {
	f := start(t)
	fail := func(kind string) reply {
		return f.query(`query($k:String!){alias:fail(kind:$k)}`, map[string]any{"k": kind})
	}
	for kind, c := range map[string]struct{ code, message string }{
		"input":    {"BAD_USER_INPUT", "The name is too long."},
		"state":    {"ILLEGAL_TRANSITION", "It is done already."},
		"wrapped":  {"CONFLICT", "The name is taken."},
		"pg":       {"INTERNAL_SERVER_ERROR", "Something went wrong on the server. Quote the request id to its operator."},
		"panic":    {"INTERNAL_SERVER_ERROR", "Something went wrong on the server. Quote the request id to its operator."},
		"deadline": {"RESOURCE_EXHAUSTED", "This took longer than the server allows. Ask for less, or try again."},
		"cancel":   {"UPSTREAM_UNAVAILABLE", "The request was cancelled before it was finished. Send it again."},
		"node":     {"NOT_FOUND", "There is no such object, or you may not see it."},
		"anything": {"INTERNAL_SERVER_ERROR", "Something went wrong on the server. Quote the request id to its operator."},
	} {
		t.Run(kind, func(t *testing.T) {
			r := fail(kind)
			require.Equal(t, 200, r.status)
			require.Equal(t, c.code, r.code(), r.text)
			require.Equal(t, c.message, r.message())
			require.Equal(t, []any{"alias"}, r.Errors[0].Path)
			require.Equal(t, "req-1", r.Errors[0].Extensions["requestId"])
			require.NotContains(t, r.text, "secret")
			require.NotContains(t, r.text, "SQLSTATE")
		})
	}
	require.Equal(t, map[string]any{"name": "The name is too long."}, fail("input").Errors[0].Extensions["fields"])
	require.Equal(t, "DONE", fail("state").Errors[0].Extensions["state"])
	require.Equal(t, true, fail("cancel").Errors[0].Extensions["retryable"])

	logs := f.logs.String()
	require.Contains(t, logs, `"request_id":"req-1"`)
	require.Contains(t, logs, `"field":"Query.fail"`)
	require.Contains(t, logs, `"sqlstate":"23505"`)
	require.Contains(t, logs, "panic while serving")
	for _, leak := range []string{"secret@example.com", "hunter2", "alias"} {
		require.NotContains(t, logs, leak)
	}
}

// TestCoercion: whatever is wrong with an argument is the client's to mend and is never quoted back.
func TestCoercion(t *testing.T) {
	f := start(t)
	for name, c := range map[string]struct {
		query string
		vars  map[string]any
		field string
	}{
		"Required":     {`query($k:String!){fail(kind:$k)}`, nil, "k"},
		"Null":         {`query($k:String!){fail(kind:$k)}`, map[string]any{"k": nil}, "k"},
		"Enum":         {`query($c:Colour){echo(colour:$c)}`, map[string]any{"c": "secret"}, "c"},
		"EnumCase":     {`query($c:Colour){echo(colour:$c)}`, map[string]any{"c": "red"}, "c"},
		"EnumNumber":   {`query($c:Colour){echo(colour:$c)}`, map[string]any{"c": true}, "c"},
		"Int":          {`query($n:Int){echo(number:$n)}`, map[string]any{"n": "secret"}, "n"},
		"IntFraction":  {`query($n:Int){echo(number:$n)}`, map[string]any{"n": 1.5}, "n"},
		"IntText":      {`query($n:Int){echo(number:$n)}`, map[string]any{"n": "12"}, "n"},
		"IntLarge":     {`query($n:Int){echo(number:$n)}`, map[string]any{"n": 1 << 40}, "n"},
		"IDList":       {`query($i:[ID!]!){nodes(ids:$i){id}}`, map[string]any{"i": []any{"1", 2.5}}, "i.1"},
		"Text":         {`query($t:String){echo(text:$t)}`, map[string]any{"t": 7}, "t"},
		"UUID":         {`query($i:UUID!){user(id:$i){id}}`, map[string]any{"i": "secret"}, "id"},
		"UUIDLiteral":  {`{user(id:"secret"){id}}`, nil, "id"},
		"Map":          {`query($m:Map){echo(data:$m)}`, map[string]any{"m": "secret"}, "data"},
		"UnknownField": {`query($s:SearchInput!){search(input:$s){id}}`, map[string]any{"s": map[string]any{"query": "a", "secrt": 1}}, "s.secrt"},
		"InnerMissing": {`query($s:SearchInput!){search(input:$s){id}}`, map[string]any{"s": map[string]any{}}, "s.query"},
		"InnerEnum":    {`query($s:SearchInput!){search(input:$s){id}}`, map[string]any{"s": map[string]any{"query": "a", "colour": "red"}}, "s.colour"},
		"Upload":       {`mutation($f:Upload!){upload(file:$f)}`, map[string]any{"f": "secret"}, "file"},
	} {
		t.Run(name, func(t *testing.T) {
			r := f.query(c.query, c.vars)
			require.Equal(t, "BAD_USER_INPUT", r.code(), r.text)
			require.Contains(t, r.Errors[0].Extensions["fields"], c.field, r.text)
			require.NotContains(t, r.text, "secret")
			for _, step := range r.Errors[0].Path {
				require.Contains(t, []any{"user", "echo", "search", "upload"}, step, "a path names response fields only")
			}
		})
	}
	require.NotContains(t, f.logs.String(), `"level":"ERROR"`)
}

// TestErrorsBounded: a response carries at most MaxErrors, the last of them saying so.
func TestErrorsBounded(t *testing.T) {
	f := start(t)
	r := f.query(`{failing(count:5000){broken}}`, nil)
	require.Len(t, r.Errors, 100)
	require.Equal(t, "RESOURCE_EXHAUSTED", r.Errors[99].Extensions["code"].(string))
	require.Equal(t, 5000, strings.Count(string(r.Data), `"broken":null`))
	require.Len(t, f.query(`{failing(count:100){broken}}`, nil).Errors, 100)
	require.Equal(t, "INTERNAL_SERVER_ERROR", f.query(`{failing(count:100){broken}}`, nil).Errors[99].Extensions["code"].(string))
}
