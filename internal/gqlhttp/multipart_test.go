package gqlhttp

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// formPart is one part of a multipart body; file "" makes a plain field.
type formPart struct{ name, file, content string }

func form(t *testing.T, parts ...formPart) (io.Reader, string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		h := textproto.MIMEHeader{}
		disposition := fmt.Sprintf(`form-data; name=%q`, p.name)
		if p.file != "" {
			disposition += fmt.Sprintf(`; filename="%s"`, p.file)
			h.Set("Content-Type", "text/plain")
		}
		h.Set("Content-Disposition", disposition)
		pw, err := w.CreatePart(h)
		require.NoError(t, err)
		_, err = pw.Write([]byte(p.content))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return &b, w.FormDataContentType()
}

const (
	oneFile  = `{"query":"mutation($f:Upload!,$m:[Upload!]){upload(file:$f,more:$m)}","variables":{"f":null}}`
	twoFiles = `{"query":"mutation($f:Upload!,$m:[Upload!]){upload(file:$f,more:$m)}","variables":{"f":null,"m":[null,null]}}`
)

func TestMultipart(t *testing.T) {
	spool := t.TempDir()
	t.Setenv("TMPDIR", spool)
	f := start(t, func(s *Settings) { s.MaxUpload, s.UploadMemory, s.MaxFiles = 1<<20, 1<<10, 4 })
	send := func(t *testing.T, header []string, parts ...formPart) reply {
		t.Helper()
		body, contentType := form(t, parts...)
		return f.do("POST", f.url, body, append([]string{"Content-Type", contentType}, header...)...)
	}
	full := append([]string{"GraphQL-Require-Preflight", "1"}, signedIn...)

	t.Run("OneFile", func(t *testing.T) {
		r := send(t, full, formPart{"operations", "", oneFile}, formPart{"map", "", `{"0":["variables.f"]}`}, formPart{"0", "a.txt", "hello"})
		require.Equal(t, `{"data":{"upload":["a.txt 5 hello"]}}`, r.text)
		require.Equal(t, "upload", <-f.seen)
	})
	t.Run("Lists", func(t *testing.T) {
		r := send(t, append([]string{"Apollo-Require-Preflight", "1"}, signedIn...), formPart{"operations", "", twoFiles},
			formPart{"map", "", `{"a":["variables.f","variables.m.0"],"b":["variables.m.1"]}`},
			formPart{"a", "a.txt", "shared"}, formPart{"b", "b.txt", strings.Repeat("x", 5000)})
		require.Equal(t, `{"data":{"upload":["a.txt 6 shared","a.txt 6 shared","b.txt 5000 5000 bytes"]}}`, r.text)
		require.Equal(t, "upload", <-f.seen)
	})

	head := formPart{"operations", "", oneFile}
	paths := formPart{"map", "", `{"0":["variables.f"]}`}
	file := formPart{"0", "a.txt", "hello"}
	for name, c := range map[string]struct {
		header []string
		parts  []formPart
		status int
		code   string
	}{
		"NoPreflight":    {signedIn, []formPart{head, paths, file}, 400, "BAD_USER_INPUT"},
		"Anonymous":      {[]string{"GraphQL-Require-Preflight", "1"}, []formPart{head, paths, file}, 401, "UNAUTHENTICATED"},
		"Order":          {full, []formPart{paths, head, file}, 400, "BAD_USER_INPUT"},
		"FileFirst":      {full, []formPart{file, head, paths}, 400, "BAD_USER_INPUT"},
		"NoMap":          {full, []formPart{head, file}, 400, "BAD_USER_INPUT"},
		"NoParts":        {full, nil, 400, "BAD_USER_INPUT"},
		"MissingFile":    {full, []formPart{head, paths}, 400, "BAD_USER_INPUT"},
		"UnknownPart":    {full, []formPart{head, paths, file, {"1", "b.txt", "x"}}, 400, "BAD_USER_INPUT"},
		"FileTwice":      {full, []formPart{head, paths, file, file}, 400, "BAD_USER_INPUT"},
		"EmptyPaths":     {full, []formPart{head, {"map", "", `{"0":[]}`}, file}, 400, "BAD_USER_INPUT"},
		"MapNotJSON":     {full, []formPart{head, {"map", "", `hunter2`}, file}, 400, "BAD_USER_INPUT"},
		"PathElsewhere":  {full, []formPart{head, {"map", "", `{"0":["query"]}`}, file}, 400, "BAD_USER_INPUT"},
		"PathIndex":      {full, []formPart{head, {"map", "", `{"0":["variables.f.99999999999"]}`}, file}, 400, "BAD_USER_INPUT"},
		"PathNegative":   {full, []formPart{{"operations", "", twoFiles}, {"map", "", `{"0":["variables.m.-1"]}`}, file}, 400, "BAD_USER_INPUT"},
		"PathTwice":      {full, []formPart{head, {"map", "", `{"0":["variables.f","variables.f"]}`}, file}, 400, "BAD_USER_INPUT"},
		"PathAbsent":     {full, []formPart{head, {"map", "", `{"0":["variables.g"]}`}, file}, 400, "BAD_USER_INPUT"},
		"TooManyFiles":   {full, []formPart{head, {"map", "", `{"0":["variables.f","a","b","c","d"]}`}, file}, 400, "RESOURCE_EXHAUSTED"},
		"BatchOfOne":     {full, []formPart{{"operations", "", `[` + oneFile + `]`}, paths, file}, 400, "BAD_USER_INPUT"},
		"TooLarge":       {full, []formPart{head, paths, {"0", "a.txt", strings.Repeat("x", 2<<20)}}, 413, "RESOURCE_EXHAUSTED"},
		"LongName":       {full, []formPart{head, paths, {"0", strings.Repeat("n", 300), "x"}}, 400, "BAD_USER_INPUT"},
		"NameControl":    {full, []formPart{head, paths, {"0", "a\x01b", "x"}}, 400, "BAD_USER_INPUT"},
		"LargeOperation": {full, []formPart{{"operations", "", `{"query":"` + strings.Repeat(" ", 1<<19) + `"`}, paths, file}, 400, "BAD_USER_INPUT"},
	} {
		t.Run(name, func(t *testing.T) {
			r := send(t, c.header, c.parts...)
			require.Equal(t, c.status, r.status, r.text)
			require.Equal(t, c.code, r.code(), r.text)
			require.NotContains(t, r.text, "hunter2")
		})
	}
	t.Run("Truncated", func(t *testing.T) {
		body, contentType := form(t, head, paths, file)
		b, err := io.ReadAll(body)
		require.NoError(t, err)
		r := f.do("POST", f.url, bytes.NewReader(b[:len(b)-40]), append([]string{"Content-Type", contentType}, full...)...)
		require.Equal(t, 400, r.status, r.text)
	})
	t.Run("ChunkedTooLarge", func(t *testing.T) {
		body, contentType := form(t, head, paths, formPart{"0", "a.txt", strings.Repeat("x", 3<<20)})
		r := f.do("POST", f.url, io.MultiReader(body), append([]string{"Content-Type", contentType}, full...)...)
		require.Equal(t, 413, r.status, r.text)
	})
	require.Empty(t, f.seen, "nothing refused has run")
	left, err := os.ReadDir(spool)
	require.NoError(t, err)
	require.Empty(t, left, "no temporary file is left")
}

// TestMultipartStorage has nowhere to store a large file: the server's fault, told apart from the client's.
func TestMultipartStorage(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()+"/absent")
	f := start(t, func(s *Settings) { s.UploadMemory = 10 })
	body, contentType := form(t, formPart{"operations", "", oneFile}, formPart{"map", "", `{"0":["variables.f"]}`}, formPart{"0", "a.txt", strings.Repeat("x", 100)})
	r := f.do("POST", f.url, body, append([]string{"Content-Type", contentType, "GraphQL-Require-Preflight", "1"}, signedIn...)...)
	require.Equal(t, 500, r.status)
	require.Equal(t, "INTERNAL_SERVER_ERROR", r.code())
	require.NotContains(t, r.text, "absent")
	require.Contains(t, f.logs.String(), "upload storage")
}
