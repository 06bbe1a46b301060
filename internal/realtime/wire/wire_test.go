package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// A websocket library reads what is appended by hand, at every size where the header changes.
func TestFrames_AreReadByGorilla(t *testing.T) {
	var payloads [][]byte
	for _, n := range []int{0, 1, 60, 61, 62, 63, 64, 65, 66, 125, 126, 127, 65400, 65535, 65536, 70000} {
		payloads = append(payloads, []byte(`"`+strings.Repeat("x", n)+`"`))
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.Close() }()
		var b []byte
		for _, p := range payloads {
			b = AppendNext(b, Quote("i"), &graphql.Response{Data: p})
		}
		b = append(append(append(b, Ping...), Ack...), Pong...)
		b = AppendError(b, Quote("i"), gqlerror.List{{Message: "m"}})
		b = AppendNext(b, Quote("i"), &graphql.Response{Data: []byte("1"), Errors: gqlerror.List{{Message: "m"}}})
		b = AppendComplete(b, Quote("i"))
		b = append(b, CloseFrame(4403, strings.Repeat("ä", 100))...)
		_, _ = ws.NetConn().Write(b)
		_, _, _ = ws.ReadMessage()
	}))
	defer srv.Close()
	ws, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(srv.URL, "http"), nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	defer func() { require.NoError(t, ws.Close()) }()
	read := func() string {
		_, b, err := ws.ReadMessage()
		require.NoError(t, err)
		return string(b)
	}
	for _, p := range payloads {
		require.Equal(t, `{"id":"i","type":"next","payload":{"data":`+string(p)+`}}`, read())
	}
	require.Equal(t, `{"type":"connection_ack"}`, read())
	require.Equal(t, `{"type":"pong"}`, read())
	require.JSONEq(t, `{"id":"i","type":"error","payload":[{"message":"m"}]}`, read())
	require.JSONEq(t, `{"id":"i","type":"next","payload":{"data":1,"errors":[{"message":"m"}]}}`, read())
	require.Equal(t, `{"id":"i","type":"complete"}`, read())
	_, _, err = ws.ReadMessage()
	var ce *websocket.CloseError
	require.ErrorAs(t, err, &ce)
	require.Equal(t, 4403, ce.Code)
	require.Equal(t, strings.Repeat("ä", 61), ce.Text, "cut at a rune")
}

func TestAppendBody(t *testing.T) {
	yes := true
	for _, tt := range []struct {
		r    *graphql.Response
		want string
	}{
		{&graphql.Response{Data: []byte(`{"a":1}`), Extensions: map[string]any{}}, `{"data":{"a":1}}`},
		{&graphql.Response{Data: []byte(`null`), Errors: gqlerror.List{{Message: "m"}}}, `{"errors":[{"message":"m"}],"data":null}`},
		{&graphql.Response{Errors: gqlerror.List{{Message: "m"}}}, `{"errors":[{"message":"m"}]}`},
		{&graphql.Response{Data: []byte(`1`), Extensions: map[string]any{"x": 1}}, `{"data":1,"extensions":{"x":1}}`},
		{&graphql.Response{Data: []byte(`1`), Extensions: map[string]any{"x": func() {}}}, `{"data":1,"extensions":{}}`},
		{&graphql.Response{Data: []byte(`1`), HasNext: &yes}, `{"data":1,"hasNext":true}`},
		{&graphql.Response{}, `{}`},
	} {
		require.Equal(t, tt.want, string(AppendBody(nil, tt.r)))
	}
	bad := gqlerror.List{{Message: "m", Extensions: map[string]any{"x": func() {}}}}
	require.Contains(t, string(AppendBody(nil, &graphql.Response{Errors: bad})), "INTERNAL_SERVER_ERROR")
}

func TestAppendNextEvent(t *testing.T) {
	r := &graphql.Response{Data: []byte("{\"a\":\n{\"b\":\"x\\ny\"}\r\n}")}
	require.Equal(t, "event: next\nid: c1\ndata: {\"data\":{\"a\": {\"b\":\"x\\ny\"}  }}\n\n", string(AppendNextEvent(nil, "c1", r)))
	require.NotContains(t, string(AppendNextEvent(nil, "c\n1", r)), "id:")
	require.NotContains(t, string(AppendNextEvent(nil, "", r)), "id:")
	s := bufio.NewScanner(bytes.NewReader(CompleteEvent))
	require.True(t, s.Scan() && s.Text() == "event: complete")
	require.True(t, s.Scan() && s.Text() == "data:")
}

func TestParams(t *testing.T) {
	p, err := Params([]byte(` { "query" : "{a}" , "variables":{"n":12345678901234567890}, "operationName":null, "extensions":{"e":1}, "more":[] } `))
	require.NoError(t, err)
	require.Equal(t, "{a}", p.Query)
	require.Equal(t, json.Number("12345678901234567890"), p.Variables["n"])
	require.Contains(t, p.Extensions, "e")
	for _, bad := range []string{``, `null`, `[]`, `{}`, `{"Query":"{a}"}`, `{"query":null}`, `{"query":"a","variables":1}`, `{"query":"a","extensions":[]}`, `{"query":"a","operationName":{}}`} {
		_, err := Params([]byte(bad))
		require.Error(t, err, bad)
	}
	p, err = Request([]byte(`{"extensions":{"persistedQuery":{}}}`))
	require.NoError(t, err)
	require.Empty(t, p.Query)
	for _, bad := range []string{``, `null`, `{}`, `{"query":1}`, `{"query":null,"extensions":null}`, `{"query":"a"} x`} {
		_, err := Request([]byte(bad))
		require.Error(t, err, bad)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"type":"ping"}`, `{"type":"connection_init","payload":{"a":1}}`, `{"id":"1","type":"subscribe","payload":{"query":"{a}","variables":{"x":"\u0000"}}}`,
		`{"id":"1","type":"complete"}`, `{"type":"ping"}{}`, "\xff", `{"id":"\ud800","type":"complete"}`, strings.Repeat("[", 20000),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		if !json.Valid(b) || !utf8.Valid(b) {
			t.Fatal("took what is not JSON")
		}
		if (m.Type == Subscribe || m.Type == Complete) != (m.ID != "") {
			t.Fatalf("type %q with id %q", m.Type, m.ID)
		}
		if m.Type == Subscribe {
			if p, err := Params(m.Payload); err == nil {
				HasNUL(p)
			}
		}
		var back struct{ ID string }
		if err := json.Unmarshal(AppendComplete(nil, Quote(m.ID))[2:], &back); len(Quote(m.ID)) < 90 && (err != nil || back.ID != m.ID) {
			t.Fatalf("id %q came back as %q", m.ID, back.ID)
		}
	})
}
