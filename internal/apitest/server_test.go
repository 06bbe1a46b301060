//go:build unix

package apitest

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/app"
	"cdsa.dev/cdsa/internal/config"
	"cdsa.dev/cdsa/internal/pgtest"
)

const (
	adminPassword = "a heron stands in the reeds"
	startLimit    = 2 * time.Minute
	stopLimit     = time.Minute
	// waitLimit bounds waiting for what must happen; only a failing test takes as long.
	waitLimit = 30 * time.Second
)

// The keys are the same on every replica, and known, so that tests can forge what is sealed with them.
var (
	signingKey  = keyOf("signing")[:32]
	cursorKey   = keyOf("cursor")
	auditKey    = keyOf("audit")[:32]
	identityKey = keyOf("identity")[:32]
)

func keyOf(name string) []byte { k := sha512.Sum512([]byte(name)); return k[:] }

// server is the whole program in this process, but for main.
type server struct {
	url   string
	db    *pgtest.DB
	log   *logBuffer
	admin *person
	stop  func() error
}

// startServer starts the program on a database of its own; env comes on top and may name another database or a bus.
// It ends with the test.
func startServer(tb testing.TB, env ...string) *server {
	tb.Helper()
	return startReplica(tb, pgtest.New(tb), env...)
}

// startReplica starts the program on a given database.
func startReplica(tb testing.TB, db *pgtest.DB, env ...string) *server {
	tb.Helper()
	b64 := base64.StdEncoding.EncodeToString
	base := []string{
		"DATABASE_URL=" + db.URL, "CDSA_MIGRATE_URL=" + db.OwnerURL, "CDSA_DATA_DIR=" + tb.TempDir(), "CDSA_ADMIN_PASSWORD=" + adminPassword,
		"CDSA_SIGNING_KEY=" + b64(signingKey), "CDSA_CURSOR_KEY=" + b64(cursorKey), "CDSA_AUDIT_KEY=" + b64(auditKey), "CDSA_IDENTITY_KEY=" + b64(identityKey),
		"CDSA_ARGON2_MEMORY=7MiB", "CDSA_ARGON2_ITERATIONS=5", "CDSA_SHUTDOWN_GRACE=5s", "CDSA_LOG_LEVEL=debug", "CDSA_LLM_OFFLINE_DELAY=10ms", oidcEnv(tb),
		"CDSA_HTTP_TOOL_ALLOW=127.0.0.1:1", // where nobody listens: a call that is allowed and fails at once
		"CDSA_MAX_SESSIONS=1000",           // the same few people sign in for every test
		"CDSA_LOCKOUT_FAILURES=1000",       // everyone here comes from one address, and many mistype
	}
	base = slices.DeleteFunc(base, func(b string) bool { // what a test gives, itself or as a file, it gives instead
		name, _, _ := strings.Cut(b, "=")
		return slices.ContainsFunc(env, func(e string) bool {
			return strings.HasPrefix(e, name+"=") || strings.HasPrefix(e, name+"_FILE=")
		})
	})
	cfg, err := config.Load(append(base, env...))
	require.NoError(tb, err)
	s := &server{db: db, log: &logBuffer{}}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	a, err := app.New(ctx, cfg, "test", app.NewLogger(cfg, s.log))
	require.NoError(tb, err)
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	s.url = "http://" + ln.Addr().String()
	s.admin = &person{name: "admin", server: s}

	serving, end := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- a.Run(serving, ln) }()
	s.stop = sync.OnceValue(func() error {
		end()
		err := <-served
		closing, cancel := context.WithTimeout(context.Background(), stopLimit)
		defer cancel()
		if cerr := a.Close(closing); err == nil {
			err = cerr
		}
		return err
	})
	tb.Cleanup(func() {
		if err := s.stop(); err != nil {
			tb.Errorf("the server did not end cleanly: %v", err)
		}
		s.checkLog(tb)
	})
	return s
}

// logBuffer keeps the log for the end.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

var _ io.Writer = (*logBuffer)(nil)

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// confidential is what was typed in tests and must be in no log: passwords, tokens, addresses, texts.
var confidential struct {
	sync.Mutex
	words []string
}

func keepOut(words ...string) {
	confidential.Lock()
	defer confidential.Unlock()
	confidential.words = append(confidential.words, words...)
}

func (s *server) checkLog(tb testing.TB) {
	tb.Helper()
	text := s.log.String()
	confidential.Lock()
	words := append([]string{adminPassword, "admin@localhost"}, confidential.words...)
	confidential.Unlock()
	for _, w := range words {
		if i := strings.Index(text, w); i >= 0 {
			tb.Errorf("the log holds what is confidential: %.400s", text[max(0, i-200):])
		}
	}
	for line := range strings.Lines(text) {
		if strings.Contains(line, "level=ERROR") {
			tb.Errorf("the server logged an error: %.1000s", line)
		}
	}
	if tb.Failed() {
		var l []string
		for line := range strings.Lines(text) {
			if !strings.Contains(line, "level=DEBUG") && !strings.Contains(line, "msg=request") {
				l = append(l, line)
			}
		}
		tb.Logf("end of the server's log:\n%s", strings.Join(l[max(0, len(l)-20):], ""))
	}
}

// eventually polls until ok, which is called from this goroutine alone.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(waitLimit); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			require.FailNow(tb, "this did not happen in time", what)
		}
	}
}
