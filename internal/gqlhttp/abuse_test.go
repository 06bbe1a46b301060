package gqlhttp

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// envelope wraps a document in a request.
func envelope(t *testing.T, query string) string {
	t.Helper()
	b, err := json.Marshal(map[string]string{"query": query})
	require.NoError(t, err)
	return string(b)
}

func nested(open string, depth int, inner string) string {
	return strings.Repeat(open+"{", depth) + inner + strings.Repeat("}", depth)
}

// bomb is n fragments that each spread the next twice: 2^n fields when expanded naively.
func bomb(n int) string {
	var b strings.Builder
	b.WriteString("{viewer{...F0}}")
	for i := range n {
		fmt.Fprintf(&b, " fragment F%d on User{friend{id} ...F%d ... on User{...F%d}}", i, i+1, i+1)
	}
	fmt.Fprintf(&b, " fragment F%d on User{id}", n)
	return b.String()
}

// overlap is the worst known for the rule that fields can be merged: the same names over and over through fragments.
func overlap(fragments, fields int) string {
	var b strings.Builder
	b.WriteString("{viewer{")
	for i := range fragments {
		fmt.Fprintf(&b, "...F%d ", i)
	}
	b.WriteString("}}")
	for i := range fragments {
		fmt.Fprintf(&b, " fragment F%d on User{%s}", i, strings.Repeat("friend{id name} ", fields))
	}
	return b.String()
}

func aliases(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d:__typename ", i)
	}
	return b.String()
}

// within wants an answer inside two seconds. A busy machine gets three attempts, since the bound is on the server's own
// work.
func within(t *testing.T, ask func() reply) reply {
	t.Helper()
	const limit = 2 * time.Second
	for attempt := 1; ; attempt++ {
		began := time.Now()
		r := ask()
		took := time.Since(began)
		if took < limit {
			return r
		}
		if attempt == 3 {
			t.Fatalf("the answer took %v, more than %v, three times", took, limit)
		}
	}
}

// TestAbuse holds that every hostile request is refused with its code within two seconds, anonymous or signed in.
func TestAbuse(t *testing.T) {
	f := start(t)
	doc := func(q string) string { return envelope(t, q) }
	for name, c := range map[string]struct {
		body string
		code string
	}{
		"Body20MB":           {`{"query":"` + strings.Repeat("x", 20<<20) + `"}`, "RESOURCE_EXHAUSTED"},
		"Tokens100000":       {doc("{" + strings.Repeat("a ", 100_000) + "}"), "RESOURCE_EXHAUSTED"},
		"Commas":             {doc("{" + strings.Repeat(",", 1<<20)), "GRAPHQL_PARSE_FAILED"},
		"Comments":           {doc("{" + strings.Repeat("#\n", 100_000)), "RESOURCE_EXHAUSTED"},
		"Depth200":           {doc("{viewer{" + nested("friend", 200, "id") + "}}"), "RESOURCE_EXHAUSTED"},
		"Depth31":            {doc("{viewer{" + nested("friend", 29, "id") + "}}"), "RESOURCE_EXHAUSTED"},
		"Depth5000":          {doc("{viewer{" + nested("friend", 5000, "id") + "}}"), "RESOURCE_EXHAUSTED"},
		"DepthInFragment":    {doc("{viewer{...A}} fragment A on User{" + nested("friend", 40, "id") + "}"), "RESOURCE_EXHAUSTED"},
		"InlineFragments":    {doc("{viewer{" + nested("... on User", 3000, "id") + "}}"), "RESOURCE_EXHAUSTED"},
		"LiteralDepth":       {doc("{echo(data:" + strings.Repeat("{a:", 200) + "1" + strings.Repeat("}", 200) + ")}"), "RESOURCE_EXHAUSTED"},
		"LiteralHuge":        {doc("{echo(data:{a:99999999999999999999999})}"), "BAD_USER_INPUT"},
		"LiteralFloat":       {doc("{echo(data:{a:1e999})}"), "BAD_USER_INPUT"},
		"LiteralNUL":         {doc(`{echo(text:"a\u0000b")}`), "BAD_USER_INPUT"},
		"VariableNUL":        {`{"query":"query($t:String){echo(text:$t)}","variables":{"t":"a\u0000b"}}`, "BAD_USER_INPUT"},
		"VariableKeyNUL":     {`{"query":"query($t:Map){echo(data:$t)}","variables":{"t":{"\u0000":1}}}`, "BAD_USER_INPUT"},
		"RawNUL":             {"{\"query\":\"{__typename}\x00\"}", "BAD_USER_INPUT"},
		"NotUTF8":            {"{\"query\":\"{__typename} #\xff\"}", "BAD_USER_INPUT"},
		"NotUTF8Variable":    {"{\"query\":\"{__typename}\",\"variables\":{\"a\":\"\xc3\x28\"}}", "BAD_USER_INPUT"},
		"DeepJSON":           {`{"query":"{__typename}","variables":{"a":` + strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000) + `}}`, "RESOURCE_EXHAUSTED"},
		"DeepJSONOpen":       {strings.Repeat(`{"a":`, 300_000), "RESOURCE_EXHAUSTED"},
		"HugeNumber":         {`{"query":"{__typename}","variables":{"a":1e999999}}`, "BAD_USER_INPUT"},
		"LongNumber":         {`{"query":"{__typename}","variables":{"a":` + strings.Repeat("1", 1<<20) + `}}`, "BAD_USER_INPUT"},
		"FragmentSelf":       {doc("{viewer{...A}} fragment A on User{...A}"), "GRAPHQL_VALIDATION_FAILED"},
		"FragmentCycle":      {doc("{viewer{...A}} fragment A on User{friend{...B}} fragment B on User{friend{...A}}"), "GRAPHQL_VALIDATION_FAILED"},
		"FragmentCycleAlone": {doc("{viewer{id}} fragment A on User{friend{...B}} fragment B on User{friend{...A}}"), "GRAPHQL_VALIDATION_FAILED"},
		"FragmentMissing":    {doc("{viewer{...Nowhere}}"), "GRAPHQL_VALIDATION_FAILED"},
		"Fragments201":       {doc(bomb(200)), "RESOURCE_EXHAUSTED"},
		"FragmentBomb":       {doc(bomb(60)), "RESOURCE_EXHAUSTED"},
		"Aliases10000":       {doc("{" + aliases(4_990) + "}"), "RESOURCE_EXHAUSTED"},
		"Aliases101":         {doc("{" + aliases(101) + "}"), "RESOURCE_EXHAUSTED"},
		"Directives":         {doc("{viewer " + strings.Repeat("@skip(if:false)", 2_000) + "{id}}"), "RESOURCE_EXHAUSTED"},
		"DirectivesUnknown":  {doc("query " + strings.Repeat("@a", 7_000) + "{viewer{id}}"), "RESOURCE_EXHAUSTED"},
		"VariableDirectives": {doc("query($a:Int " + strings.Repeat("@a", 7_000) + "){viewer{id}}"), "RESOURCE_EXHAUSTED"},
		"SameField":          {doc("{" + strings.Repeat("viewer{id} ", 3_000) + "}"), "RESOURCE_EXHAUSTED"},
		"SameField51":        {doc("{" + strings.Repeat("__typename ", 51) + "}"), "RESOURCE_EXHAUSTED"},
		"Overlap":            {doc(overlap(190, 9)), "RESOURCE_EXHAUSTED"},
		"UnknownFields":      {doc(strings.ReplaceAll("{"+aliases(100)+strings.Repeat("viewr ", 50)+"}", "__typename", "viewr")), "GRAPHQL_VALIDATION_FAILED"},
		"LongName":           {doc("{" + strings.Repeat("v", 2<<19) + "}"), "GRAPHQL_VALIDATION_FAILED"},
		"LongVariables":      {doc("query(" + strings.Repeat("$a:Int ", 3_700) + "){viewer{id}}"), "GRAPHQL_VALIDATION_FAILED"},
		"Operations":         {doc(strings.Repeat("query A{viewer{id}} ", 21)), "RESOURCE_EXHAUSTED"},
		"Mutations":          {doc("mutation{...A touch} fragment A on Mutation{" + strings.Repeat("touch ", 20) + "}"), "RESOURCE_EXHAUSTED"},
		"Cost":               {doc("{users(first:100){edges{node{friends(first:100){edges{node{friends{edges{node{id}}}}}}}}}}"), "RESOURCE_EXHAUSTED"},
		"CostDirective":      {doc("{dear}"), "RESOURCE_EXHAUSTED"},
		"PersistedNonsense":  {`{"extensions":{"persistedQuery":{"version":1e400}}}`, "BAD_USER_INPUT"},
	} {
		for who, header := range map[string][]string{"Anonymous": nil, "SignedIn": signedIn} {
			t.Run(name+"/"+who, func(t *testing.T) {
				r := within(t, func() reply { return f.post(c.body, header...) })
				require.Equal(t, c.code, r.code(), "%.300s", r.text)
				require.Less(t, len(r.text), 64<<10, "a refusal is small")
				require.NotContains(t, r.text, `"data"`)
			})
		}
	}
	t.Run("Body20MBChunked", func(t *testing.T) {
		r := within(t, func() reply {
			return f.do("POST", f.url, io.MultiReader(strings.NewReader(strings.Repeat("x", 20<<20))), "Content-Type", "application/json")
		})
		require.Equal(t, 413, r.status)
		require.Equal(t, "RESOURCE_EXHAUSTED", r.code())
	})
	require.NotContains(t, f.logs.String(), `"level":"ERROR"`, "no hostile request is the server's fault")
}

// TestAllowed holds that the limits leave room for what real clients send.
func TestAllowed(t *testing.T) {
	f := start(t)
	for name, q := range map[string]string{
		"Depth30":    "{viewer{" + nested("friend", 28, "id") + "}}",
		"Aliases100": "{" + aliases(100) + "}",
		"Mutations":  "mutation{" + strings.Repeat("touch ", 20) + "}",
		"Pages":      "{users(first:20){edges{node{friends(first:20){edges{node{id name}}}}}}}",
		"Fields":     overlap(90, 3),
	} {
		t.Run(name, func(t *testing.T) {
			attempt := 0
			r := within(t, func() reply {
				attempt++
				return f.query(q+strings.Repeat(" ", attempt), nil) // a text of its own is not in the cache
			})
			require.Empty(t, r.Errors)
		})
	}
}
