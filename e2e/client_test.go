package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	question = "What happens to my rights if I cure the violation within 30 days after my receipt of the notice?"
	toolBody = "the tide turns at seven"
)

// settings is what a client program is told.
type settings struct {
	URL        string `json:"url"`
	OtherURL   string `json:"otherUrl,omitempty"` // of a second replica
	AdminEmail string `json:"adminEmail"`
	Password   string `json:"password"`
	Document   string `json:"document,omitempty"` // path of a text
	Question   string `json:"question,omitempty"`
	ToolURL    string `json:"toolUrl,omitempty"`
	ToolBody   string `json:"toolBody,omitempty"`
	Chromium   string `json:"chromium,omitempty"`
	Screenshot string `json:"screenshot,omitempty"` // where to write a picture of the page
	Provider   string `json:"provider,omitempty"`   // issuer of an OpenID Connect provider
	Attacker   string `json:"attacker,omitempty"`   // issuer of one that the client plays
	Pictures   string `json:"pictures,omitempty"`   // a folder for pictures of the page
	Mails      string `json:"mails,omitempty"`      // the folder the server writes mails to
}

// settings of a client of s; a test fills in more.
func (s *server) settings() settings {
	return settings{URL: s.url, AdminEmail: adminEmail, Password: password, Question: question, ToolBody: toolBody}
}

// runClient runs clients/name with Node. asked answers what the program asks of the test, by name; it runs on one
// goroutine. The test fails when the program does.
func runClient(t *testing.T, name string, limit time.Duration, with settings, asked map[string]func() any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	b, err := json.Marshal(with)
	require.NoError(t, err)
	cmd := exec.CommandContext(ctx, "node", name)
	cmd.Dir = "clients"
	cmd.Env = append(os.Environ(), "E2E_SETTINGS="+string(b))
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	progress, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())

	shown := make(chan struct{})
	go func() {
		defer close(shown)
		for lines := bufio.NewScanner(progress); lines.Scan(); {
			t.Log(lines.Text())
		}
		_, _ = io.Copy(io.Discard, progress) // a line too long for the scanner must not block the program
	}()
	answer(t, out, in, asked)
	<-shown
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s failed: %v (limit %s)", name, err, limit)
	}
}

// answer serves the program's questions until it closes its output.
func answer(t *testing.T, out io.Reader, in io.WriteCloser, asked map[string]func() any) {
	t.Helper()
	type reply struct {
		ID    int `json:"id"`
		Value any `json:"value"`
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var q struct {
			ID   int    `json:"id"`
			Name string `json:"name"`
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &q), "the program printed %q", lines.Text())
		do, ok := asked[q.Name]
		require.True(t, ok, "the program asked for %q", q.Name)
		b, err := json.Marshal(reply{q.ID, do()})
		require.NoError(t, err)
		_, err = in.Write(append(b, '\n'))
		require.NoError(t, err)
	}
	_ = in.Close() // the program may have ended first
}

// document writes a text of some fifty pages: licences that every Debian machine has.
func document(t *testing.T) string {
	t.Helper()
	const dir = "/usr/share/common-licenses"
	var text strings.Builder
	for _, name := range []string{"GPL-3", "LGPL-2.1", "GFDL-1.3", "MPL-2.0", "Apache-2.0"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err, "this test reads licences of Debian's package base-files; run it on Debian or Ubuntu")
		text.Write(b)
		text.WriteString("\n\n")
	}
	const page = 2400 // characters
	require.Greater(t, text.Len(), 45*page)
	path := filepath.Join(t.TempDir(), "licences.txt")
	require.NoError(t, os.WriteFile(path, []byte(text.String()), 0o600))
	return path
}

// outside is the HTTP server that http_request calls. /tide answers, /slow only ends with its caller.
type outside struct {
	*httptest.Server
	tide, slow atomic.Int64
	called     chan struct{} // one for each call of /slow
}

func startOutside(t *testing.T) *outside {
	t.Helper()
	o := &outside{called: make(chan struct{}, 16)}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/tide":
			o.tide.Add(1)
			_, _ = io.WriteString(w, toolBody) // a caller that was killed is what some tests are about
		case "/slow":
			o.slow.Add(1)
			o.called <- struct{}{}
			<-r.Context().Done()
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(o.Close)
	return o
}

// allow is the setting that lets a server call it, though its address is private.
func (o *outside) allow() string { return "CDSA_HTTP_TOOL_ALLOW=" + o.Listener.Addr().String() }

// asked are the answers to what programs want to know of it.
func (o *outside) asked(t *testing.T) map[string]func() any {
	return map[string]func() any{
		"hits":     func() any { return o.tide.Load() },
		"slowHits": func() any { return o.slow.Load() },
		"called": func() any {
			select {
			case <-o.called:
			case <-time.After(time.Minute):
				t.Error("the tool was not called within a minute")
			}
			return nil
		},
	}
}

// browser finds Chromium.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("there is no Chromium on PATH: the browser test needs one. Install the package chromium; scripts/setup.sh does where it may.")
	return ""
}
