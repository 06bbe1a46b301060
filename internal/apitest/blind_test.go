//go:build unix

package apitest

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/pgtest"
)

// line is the way from one replica to the database, which a test can cut.
type line struct {
	network, address string // of the database
	ln               net.Listener

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

// lay makes a way to the database and gives it with the URL that leads over it.
func lay(tb testing.TB, db *pgtest.DB) (l *line, dbURL string) {
	tb.Helper()
	conf, err := pgx.ParseConfig(db.URL)
	require.NoError(tb, err)
	l = &line{conns: map[net.Conn]bool{}}
	l.network, l.address = pgNetwork(conf)
	l.ln, err = net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it ends with the test
	require.NoError(tb, err)
	go l.serve()
	tb.Cleanup(func() {
		_ = l.ln.Close() // it is of no more use either way
		l.set(true)
	})
	u := url.URL{Scheme: "postgres", User: url.UserPassword(conf.User, conf.Password), Host: l.ln.Addr().String(), Path: "/" + conf.Database, RawQuery: "sslmode=disable"}
	return l, u.String()
}

func pgNetwork(c *pgx.ConnConfig) (network, address string) {
	if strings.HasPrefix(c.Host, "/") {
		return "unix", c.Host + "/.s.PGSQL." + fmt.Sprint(c.Port)
	}
	return "tcp", net.JoinHostPort(c.Host, fmt.Sprint(c.Port))
}

func (l *line) serve() {
	for {
		in, err := l.ln.Accept()
		if err != nil {
			return
		}
		out, err := net.DialTimeout(l.network, l.address, waitLimit) //nolint:noctx // bounded
		if err != nil || !l.join(in, out) {
			_ = in.Close()
			if out != nil {
				_ = out.Close()
			}
			continue
		}
		go l.pass(in, out)
		go l.pass(out, in)
	}
}

func (l *line) join(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		if !l.cut {
			l.conns[c] = true
		}
	}
	return !l.cut
}

func (l *line) pass(to, from net.Conn) {
	_, _ = io.Copy(to, from) // ends with either
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range []net.Conn{to, from} {
		_ = c.Close()
		delete(l.conns, c)
	}
}

// set cuts the line, with all that goes over it, or mends it.
func (l *line) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	for c := range l.conns {
		_ = c.Close()
	}
}

// TestRevocationBlind: a replica that cannot read revocations for 2 s serves no one on what it knew; a moment is nothing.
func TestRevocationBlind(t *testing.T) {
	db := pgtest.New(t)
	way, dbURL := lay(t, db)
	s := startReplica(t, db, "DATABASE_URL="+dbURL, "CDSA_WORKERS=false")
	x := s.newPerson(t, "held", "approver")
	logged := func(text string) int { return strings.Count(s.log.String(), text) }
	const failed, mended = "revocations could not be read", "revocations are read again"

	socket, stream := x.connect(t), x.stream(t, watched)
	anonymous := (&person{name: "anonymous", server: s}).connect(t)
	socket.subscribe(t, watched, nil)
	way.set(true)
	eventually(t, "the replica notices", func() bool { return logged(failed) > 0 })
	way.set(false)
	eventually(t, "the replica reads again", func() bool { return logged(mended) > 0 })
	eventually(t, "the replica answers again", func() bool { return socket.subscribe(t, `{ __typename }`, nil).outcome(t) == "OK" })
	select {
	case <-socket.closed:
		require.FailNow(t, "a moment without the database cut a websocket off")
	case <-stream.ended:
		require.FailNow(t, "a moment without the database cut an event stream off")
	default:
	}

	start := time.Now()
	way.set(true)
	require.Equal(t, 1013, socket.closeCode(t), "clients come back after this one")
	took := time.Since(start)
	t.Logf("blind: websocket ended after %v", took.Round(time.Millisecond))
	require.Greater(t, took, time.Second, "not at the first failure")
	require.Less(t, took, revocationBound+time.Second)
	select {
	case <-stream.ended:
	case <-time.After(waitLimit):
		require.FailNow(t, "the event stream stays open")
	}
	require.NotContains(t, stream.text, "event: complete")
	require.NotContains(t, stream.text, "UNAUTHENTICATED")
	require.Equal(t, "UPSTREAM_UNAVAILABLE", x.do(t, `{ __typename }`, nil).outcome())
	refused := x.dial(t)
	require.Equal(t, 1013, refused.closeCode(t))
	select {
	case <-anonymous.closed:
		require.FailNow(t, "who has no rights loses none")
	default:
	}

	way.set(false)
	eventually(t, "the replica answers again", func() bool { return x.do(t, `{ __typename }`, nil).outcome() == "OK" })
	x.connect(t)
}
