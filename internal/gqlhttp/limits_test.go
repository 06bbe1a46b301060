package gqlhttp

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func pageOf(t *testing.T, r reply, field string) string {
	t.Helper()
	require.Empty(t, r.Errors, r.text)
	var data map[string]struct{ Page string }
	require.NoError(t, json.Unmarshal(r.Data, &data))
	return data[field].Page
}

func TestPaging(t *testing.T) {
	f := start(t)
	const (
		byFirst = `query($n:Int){users(first:$n){page}}`
		byBoth  = `query($n:Int,$l:Int){users(first:$n,last:$l){page}}`
		byLast  = `query($l:Int){users(last:$l){page}}`
		spread  = `query($n:Int){...A} fragment A on Query{... on Query{users(first:$n){page}}}`
		preset  = `query($n:Int=7){users(first:$n){page}}`
	)
	v := func(kv ...any) map[string]any {
		m := map[string]any{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i].(string)] = kv[i+1]
		}
		return m
	}
	for _, c := range []struct {
		query string
		vars  map[string]any
		want  string
	}{
		{`{users{page}}`, nil, "first 20 last -"},
		{`{users(first:null){page}}`, nil, "first 20 last -"},
		{`{users(first:null,last:null){page}}`, nil, "first 20 last -"},
		{`{users(first:3){page}}`, nil, "first 3 last -"},
		{`{users(first:3,last:null){page}}`, nil, "first 3 last -"},
		{`{users(last:100){page}}`, nil, "first - last 100"},
		{`{users(first:null,last:4){page}}`, nil, "first - last 4"},
		{`{users(after:"ok"){page}}`, nil, "first 20 last -"},
		{byFirst, nil, "first 20 last -"},
		{byFirst, v("n", nil), "first 20 last -"},
		{byFirst, v("n", 1), "first 1 last -"},
		{byFirst, v("n", 100), "first 100 last -"},
		{byBoth, nil, "first 20 last -"},
		{byBoth, v("l", 5), "first - last 5"},
		{byBoth, v("n", nil, "l", 5), "first - last 5"},
		{byBoth, v("n", 6, "l", nil), "first 6 last -"},
		{byLast, nil, "first 20 last -"},
		{byLast, v("l", nil), "first 20 last -"},
		{byLast, v("l", 9), "first - last 9"},
		{spread, nil, "first 20 last -"},
		{spread, v("n", 2), "first 2 last -"},
		{preset, nil, "first 7 last -"},
		{preset, v("n", nil), "first 20 last -"},
	} {
		require.Equal(t, c.want, pageOf(t, f.query(c.query, c.vars), "users"), "%s %v", c.query, c.vars)
	}

	for _, c := range []struct {
		query string
		vars  map[string]any
		field string
	}{
		{`{users(first:0){page}}`, nil, "first"},
		{`{users(first:-1){page}}`, nil, "first"},
		{`{users(first:101){page}}`, nil, "first"},
		{`{users(first:2147483648){page}}`, nil, "first"},
		{`{users(last:101){page}}`, nil, "last"},
		{`{users(first:1,last:1){page}}`, nil, "first"},
		{byFirst, v("n", 0), "first"},
		{byFirst, v("n", 101), "first"},
		{byFirst, v("n", -5), "first"},
		{byFirst, v("n", 1e15), "first"},
		{byBoth, v("n", 1, "l", 1), "first"},
		{byLast, v("l", 1000), "last"},
		{spread, v("n", 500), "first"},
		{`query($n:Int){viewer{friends{edges{node{friends(first:$n){page}}}}}}`, v("n", 500), "first"},
		{`{users(after:"forged"){page}}`, nil, "after"},
		{`{users(before:"forged"){page}}`, nil, "before"},
		{`{users(after:7){page}}`, nil, "after"},
		{`{users(after:{a:1}){page}}`, nil, "after"},
		{`query($c:Cursor){users(after:$c){page}}`, v("c", "forged"), "after"},
		{`query($c:Cursor){users(before:$c){page}}`, v("c", []any{"ok"}), "before"},
		{`query($c:Cursor){viewer{...A}} fragment A on User{friends(after:$c){page}}`, v("c", "forged"), "after"},
		{`{users @skip(if:true){page} users(after:"forged"){page}}`, nil, "after"},
	} {
		r := f.query(c.query, c.vars)
		if r.code() == "GRAPHQL_VALIDATION_FAILED" { // fields that do not merge are refused sooner
			continue
		}
		require.Equal(t, "BAD_USER_INPUT", r.code(), "%s %v %s", c.query, c.vars, r.text)
		require.Contains(t, r.Errors[0].Extensions["fields"], c.field, c.query)
		require.NotContains(t, r.text, "forged")
		require.NotContains(t, r.text, `"data"`)
	}
	require.Equal(t, "first must be between 1 and 100.", f.query(byFirst, v("n", 101)).message())
	require.NotContains(t, f.logs.String(), `"level":"ERROR"`)
}

// TestPagingVariableUsedTwice: a null page size is this field's own affair.
func TestPagingVariableUsedTwice(t *testing.T) {
	f := start(t)
	const q = `query($n:Int){users(first:$n){page} echo(number:$n) viewer{friends(last:$n){page}}}`
	r := f.query(q, nil)
	require.JSONEq(t, `{"users":{"page":"first 20 last -"},"echo":"false false false 0","viewer":{"friends":{"page":"first 20 last -"}}}`, string(r.Data))
	r = f.query(q, map[string]any{"n": 3})
	require.JSONEq(t, `{"users":{"page":"first 3 last -"},"echo":"false true false 0","viewer":{"friends":{"page":"first - last 3"}}}`, string(r.Data))
}

// TestPagingOtherOperation: a variable of the same name in another operation of the document is not this one's.
func TestPagingOtherOperation(t *testing.T) {
	f := start(t)
	b, err := json.Marshal(map[string]any{
		"query":         `query A($n:Int){users(first:$n){page}} query B($n:String){echo(text:$n)}`,
		"operationName": "B", "variables": map[string]any{"n": "text"},
	})
	require.NoError(t, err)
	require.Empty(t, f.post(string(b)).Errors)
}

// TestDocumentShared runs one cached document with different variables at once.
func TestDocumentShared(t *testing.T) {
	f := start(t)
	const q = `query($n:Int,$c:Cursor){users(first:$n,after:$c){page}}`
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				r := f.query(q, map[string]any{"n": i + 1})
				if want := "first " + string(rune('1'+i)) + " last -"; !strings.Contains(r.text, want) {
					t.Errorf("got %s, want %s", r.text, want)
				}
			}
		})
	}
	wg.Wait()
}

func TestCost(t *testing.T) {
	f := start(t)
	of := func(q string, vars map[string]any) string {
		t.Helper()
		g := start(t, func(s *Settings) { s.MaxCost = 0 })
		r := g.query(q, vars)
		require.Equal(t, "RESOURCE_EXHAUSTED", r.code(), r.text)
		return regexp.MustCompile(`costs (\d+)`).FindStringSubmatch(r.message())[1]
	}
	ids := []any{"1", "2", "3"}
	for _, c := range []struct {
		query string
		vars  map[string]any
		want  string
	}{
		{`{viewer{id name}}`, nil, "3"},
		{`{users{edges{node{id}}}}`, nil, "61"},
		{`{users(first:2){edges{node{id}}}}`, nil, "7"},
		{`{users(last:2){edges{node{id}}}}`, nil, "7"},
		{`query($n:Int){users(first:$n){edges{node{id}}}}`, map[string]any{"n": 2}, "7"},
		{`query($n:Int){users(first:$n){edges{node{id}}}}`, nil, "61"},
		{`query($n:Int){users(last:$n){edges{node{id}}}}`, map[string]any{"n": 2}, "7"},
		{`{users(first:2){edges{node{friends(first:3){edges{cursor}}}}}}`, nil, "19"},
		{`{a:viewer{...F} b:viewer{...F}} fragment F on User{id name}`, nil, "6"},
		{`query($i:[ID!]!){nodes(ids:$i){id}}`, map[string]any{"i": ids}, "6"},
		{`{nodes(ids:["1","2"]){id}}`, nil, "4"},
		{`{search(input:{query:"a",limit:4}){id}}`, nil, "24"},
		{`query($s:SearchInput!){search(input:$s){id}}`, map[string]any{"s": map[string]any{"query": "a", "limit": 3}}, "18"},
		{`{__schema{queryType{name}}}`, nil, "5002"},
	} {
		require.Equal(t, c.want, of(c.query, c.vars), "%s %v", c.query, c.vars)
	}
	huge := f.query(`query($s:SearchInput!){search(input:$s){id}}`, map[string]any{"s": map[string]any{"query": "a", "limit": 1 << 30}})
	require.Equal(t, "RESOURCE_EXHAUSTED", huge.code())
}

func TestIntrospection(t *testing.T) {
	f := start(t)
	standard, err := os.ReadFile("testdata/introspection.graphql")
	require.NoError(t, err)
	r := f.query(string(standard), nil)
	require.Empty(t, r.Errors)
	require.Contains(t, r.text, `"UserConnection"`)

	const ofType = `{__type(name:"User"){fields{type{ofType{ofType{ofType{ofType{ofType{ofType{ofType{name}}}}}}}}}}}`
	require.Empty(t, f.query(ofType, nil).Errors)
	require.Empty(t, f.query(`{__schema{types{fields{type{fields{name}}}}}}`, nil).Errors)
	for _, deep := range []string{
		`{__schema{types{fields{type{fields{type{fields{name}}}}}}}}`,
		`{__schema{types{fields{args{type{inputFields{name}}}}}}}`,
		`{__schema{types{fields{type{fields{args{name}}}}}}}`,
		`{__schema{types{...A}}} fragment A on __Type{fields{type{...B}}} fragment B on __Type{possibleTypes{interfaces{name}}}`,
		`{__type(name:"User"){fields{type{fields{type{enumValues{name} interfaces{possibleTypes{name}}}}}}}}`,
	} {
		r := f.query(deep, nil)
		require.NotEmpty(t, r.Errors, deep)
		require.NotContains(t, r.text, `"data"`)
	}
	anonymous := f.post(envelope(t, string(standard)))
	require.Equal(t, "UNAUTHENTICATED", anonymous.code())
	require.NotContains(t, anonymous.text, "data")
}

func TestSuggestions(t *testing.T) {
	f := start(t)
	for _, q := range []string{`{viewr{id}}`, `{viewer{nam}}`, `{users(firs:1){page}}`, `{echo(colour:REDD)}`, `{viewer}`, `query($c:Colou){echo(colour:$c)}`} {
		require.NotContains(t, f.post(envelope(t, q)).text, "Did you mean", q)
		r := f.query(q, nil)
		require.Equal(t, "GRAPHQL_VALIDATION_FAILED", r.code())
	}
	require.Contains(t, f.query(`{viewr{id}}`, nil).message(), "Did you mean")
	r := f.query(`{viewr{id} viewer{nam}}`, nil)
	require.Len(t, r.Errors, 2, "every validation error is reported")
}
