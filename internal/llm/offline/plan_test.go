package offline

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/llm"
)

func tools() []llm.ToolSpec {
	object := func(required string, more ...string) map[string]any {
		props := map[string]any{required: map[string]any{"type": "string"}}
		for _, m := range more {
			props[m] = map[string]any{"type": "string"}
		}
		return map[string]any{"type": "object", "properties": props, "required": []any{required}}
	}
	return []llm.ToolSpec{
		{Name: "search_documents", Schema: object("query", "limit")},
		{Name: "calculator", Schema: object("expression")},
		{Name: "current_time", Schema: map[string]any{"type": "object", "properties": map[string]any{"timezone": map[string]any{"type": "string"}}}},
		{Name: "http_request", Schema: object("url", "method")},
		{Name: "echo", Schema: object("text")},
	}
}

func TestPlan(t *testing.T) {
	for _, tc := range []struct{ message, want string }{
		{`/calculator {"expression":"2*21"}`, `calculator {"expression":"2*21"}`},
		{`/calculator 2*21`, `calculator {"expression":"2*21"}`},
		{`calculate 2*21`, `calculator {"expression":"2*21"}`},
		{`What is 12*(3+4)?`, `calculator {"expression":"12*(3+4)"}`},
		{`how much is 3 times 4 plus 1`, `calculator {"expression":"3 * 4 + 1"}`},
		{`Can you compute sqrt(2)?`, `calculator {"expression":"sqrt(2)"}`},
		{`2*21`, `calculator {"expression":"2*21"}`},
		{`(3 + 4) * 2 =`, `calculator {"expression":"(3 + 4) * 2"}`},
		{`100/4`, `calculator {"expression":"100/4"}`},
		{`3 times 4`, `calculator {"expression":"3 * 4"}`},
		{`15% of 80`, `calculator {"expression":"15 / 100 * 80"}`},
		{`What is 7.5 percent of 1200?`, `calculator {"expression":"7.5 / 100 * 1200"}`},
		{`please calculate 20 per cent of (30+5)`, `calculator {"expression":"20 / 100 * (30+5)"}`},
		{`555-1234`, `search 555-1234`},
		{`10/05/2024`, `search 10/05/2024`},
		{`2024-05-01`, `search 2024-05-01`},
		{`3.2.1`, `search 3.2.1`},
		{`15`, `search 15`},
		{`what share of 80 is 15%`, `search what share of 80 is 15%`},
		{`what is 2024-05-01?`, `search what is 2024-05-01?`},
		{`what is a data processor?`, `search what is a data processor?`},
		{`What time is it in Europe/Berlin?`, `current_time {"timezone":"Europe/Berlin"}`},
		{`what time is it in new york`, `current_time {"timezone":"America/New_York"}`},
		{`What time is it?`, `current_time {"timezone":"UTC"}`},
		{`what time is it in ångström`, `current_time {"timezone":"ångström"}`},
		{`/current_time`, `current_time {}`},
		{`fetch http://example.org/x`, `http_request {"method":"GET","url":"http://example.org/x"}`},
		{`get https://example.org/a?b=c.`, `http_request {"method":"GET","url":"https://example.org/a?b=c"}`},
		{`/http_request https://example.org`, `http_request {"method":"GET","url":"https://example.org"}`},
		{`/echo hello there`, `echo {"text":"hello there"}`},
		{`/echo {"text":"}{ \"q\" /calculator {"}`, `echo {"text":"}{ \"q\" /calculator {"}`},
		{`What does the policy say about retention? Then /http_request {"method":"POST","url":"https://example.org"}`,
			"search What does the policy say about retention?\n" + `http_request {"method":"POST","url":"https://example.org"}`},
		{`What does the policy say about retention, and then run /calculator {"expression":"1+1"}. Then what about backups?`,
			"search What does the policy say about retention\n" + `calculator {"expression":"1+1"}` + "\nsearch what about backups?"},
		{`How long are backups kept? And then fetch https://example.org`,
			"search How long are backups kept\n" + `http_request {"method":"GET","url":"https://example.org"}`},
		{`calculate 2*21 and then what time is it in Tokyo`, `calculator {"expression":"2*21"}` + "\n" + `current_time {"timezone":"Asia/Tokyo"}`},
		{`What happens then to the records?`, `search What happens then to the records?`},
		{`Who may read /etc/passwd and /var/log files?`, `search Who may read /etc/passwd and /var/log files?`},
		{`hello`, ``},
		{`  ??? `, ``},
		{`/calculator {"expression":`, `note What follows /calculator is not a JSON object, so I did not call the tool.`},
		{`/nosuch {"a":1}`, `nosuch {"a":1}`},
		{`/http_request`, `http_request {}`},
	} {
		t.Run(tc.message, func(t *testing.T) {
			steps, notes := plan(tc.message, tools())
			var got []string
			for _, s := range steps {
				if s.tool == toolSearch {
					got = append(got, "search "+s.args["query"].(string))
					continue
				}
				b, err := json.Marshal(s.args)
				require.NoError(t, err)
				got = append(got, s.tool+" "+string(b))
			}
			for _, n := range notes {
				got = append(got, "note "+n)
			}
			require.Equal(t, tc.want, strings.Join(got, "\n"))
		})
	}
}

func FuzzPlan(f *testing.F) {
	f.Add(`What? Then /echo {"text":"x"} and fetch http://a.b`)
	f.Add("/\xff {")
	f.Fuzz(func(t *testing.T, s string) {
		steps, _ := plan(s, tools())
		require.LessOrEqual(t, len(steps), maxSteps)
		for _, st := range steps {
			if q, ok := st.args["query"].(string); ok && st.tool == toolSearch && utf8.ValidString(s) {
				require.True(t, utf8.ValidString(q))
			}
		}
	})
}
