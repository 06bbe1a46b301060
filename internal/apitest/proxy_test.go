//go:build unix

package apitest

import (
	"errors"
	"io"
	"net"
	"net/url"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/pgtest"
)

// proxy stands between a server and its database and notes every statement that is executed.
type proxy struct {
	network, address string // of the database
	ln               net.Listener
	mu               sync.Mutex
	executed         []string
	conns            map[net.Conn]struct{}
	ended            bool
	wg               sync.WaitGroup
}

// between starts a proxy and gives the database as seen through it.
func between(tb testing.TB, db *pgtest.DB) (*proxy, *pgtest.DB) {
	tb.Helper()
	cfg, err := pgconn.ParseConfig(db.URL)
	require.NoError(tb, err)
	p := &proxy{conns: map[net.Conn]struct{}{}}
	p.network, p.address = pgconn.NetworkAddress(cfg.Host, cfg.Port)
	p.ln, err = (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	p.wg.Go(p.accept)
	tb.Cleanup(p.end)

	u, err := url.Parse(db.URL)
	require.NoError(tb, err)
	q := u.Query()
	addr := p.ln.Addr().(*net.TCPAddr)
	q.Set("host", addr.IP.String())
	q.Set("port", strconv.Itoa(addr.Port))
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	through := *db
	through.URL = u.String()
	return p, &through
}

func (p *proxy) end() {
	p.mu.Lock()
	p.ended = true
	_ = p.ln.Close()
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *proxy) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { _ = p.serve(c) }) // ends with either side
	}
}

// keep remembers an open connection, so that end can close it.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = struct{}{}
	return !p.ended
}

func (p *proxy) serve(client net.Conn) error {
	defer client.Close()
	database, err := net.Dial(p.network, p.address)
	if err != nil {
		return err
	}
	defer database.Close()
	if !p.keep(client) || !p.keep(database) {
		return errors.New("ended")
	}
	from := pgproto3.NewBackend(client, client)
	start, err := from.ReceiveStartupMessage()
	if err != nil {
		return err
	}
	if err := forward(database, start); err != nil {
		return err
	}
	p.wg.Go(func() {
		_, _ = io.Copy(client, database) // ends with either side
		_ = client.Close()
	})
	named := map[string]string{}
	for {
		m, err := from.Receive()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *pgproto3.Parse:
			named[m.Name] = m.Query
		case *pgproto3.Bind:
			p.note(named[m.PreparedStatement])
		case *pgproto3.Query:
			p.note(m.String)
		}
		if err := forward(database, m); err != nil {
			return err
		}
	}
}

func forward(to io.Writer, m pgproto3.FrontendMessage) error {
	b, err := m.Encode(nil)
	if err != nil {
		return err
	}
	_, err = to.Write(b)
	return err
}

func (p *proxy) note(sql string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.executed = append(p.executed, sql)
}

// since gives what was executed since the last call.
func (p *proxy) since() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.executed
	p.executed = nil
	return l
}
