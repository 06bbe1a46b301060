package transport

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/gorilla/websocket"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/realtime/outbox"
)

const (
	protocol = "graphql-transport-ws"
	// readBuffer is all an idle connection keeps for reading: a size of the allocator, and the least above what gorilla
	// takes. What is longer is read past it.
	readBuffer = 288 // bytes
	// writeBuffer is for the handshake, and for gorilla's own control frames.
	writeBuffer = 512 // bytes
	// initMessage bounds what a peer can send before it is known.
	initMessage = 64 << 10 // bytes

	busy = "The server takes no more connections now. Try again in a few seconds."
)

// webSocket is the graphql.Transport of graphql-transport-ws.
type webSocket struct{ s *Server }

// Supports any websocket handshake.
func (t webSocket) Supports(r *http.Request) bool { return websocket.IsWebSocketUpgrade(r) }

var upgrader = websocket.Upgrader{
	WriteBufferPool: &sync.Pool{}, WriteBufferSize: writeBuffer,
	Subprotocols: []string{protocol},
	CheckOrigin:  func(*http.Request) bool { return true }, // judged before, with an answer a person can read
}

// Do upgrades and returns; the connection lives on without the request.
func (t webSocket) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	if !t.s.originAllowed(r) {
		refuse(w, http.StatusForbidden, errs.New(errs.Forbidden, "This origin may not connect. Ask the operator to allow it."))
		return
	}
	if !t.s.room() {
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, errs.New(errs.ResourceExhausted, busy))
		return
	}
	c := newConn(t.s, exec, authz.RequestFrom(r.Context()))
	h := &hijacker{ResponseWriter: w, c: c}
	ws, err := upgrader.Upgrade(h, r, nil)
	if h.writer != nil {
		h.writer.Reset(nil)
		writers.Put(h.writer)
	}
	if err != nil {
		if c.out != nil {
			_ = c.out.Close() // never fails
		}
		c.cancel()
		return
	}
	c.start(ws)
}

// hijacker gives gorilla the outbox for a connection, and small buffers.
type hijacker struct {
	http.ResponseWriter
	c      *conn
	writer *bufio.Writer
}

// writers are needed for the handshake only.
var writers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 1024) }}

// Hijack takes the connection over, through whatever wraps the ResponseWriter.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if rw.Reader.Buffered() > 0 {
		_ = nc.Close() // the error below says more
		return nil, nil, errors.New("the client sent data before the handshake was complete")
	}
	h.c.out = outbox.New(nc, h.c.s.cfg.Outbox, h.c.drained)
	h.writer = writers.Get().(*bufio.Writer)
	h.writer.Reset(nil)
	nc = watched{h.c.out, &h.c.heard}
	return nc, bufio.NewReadWriter(bufio.NewReaderSize(nc, readBuffer), h.writer), nil
}

// watched notes when the peer was last heard.
type watched struct {
	*outbox.Conn
	heard *atomic.Int64 // Unix ns
}

// Read reads from the socket.
func (w watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if n > 0 {
		w.heard.Store(time.Now().UnixNano())
	}
	return n, err
}

// newConn makes a connection's state before there is a connection. Strings of the request are copied, or they would
// keep its buffers.
func newConn(s *Server, exec graphql.GraphExecutor, rq authz.Request) *conn {
	rq = authz.Request{ID: strings.Clone(rq.ID), IP: strings.Clone(rq.IP), UserAgent: strings.Clone(rq.UserAgent)}
	c := &conn{s: s, exec: exec, turn: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancel(authz.WithRequest(s.ctx, rq))
	c.opened = time.Now()
	c.heard.Store(c.opened.UnixNano())
	c.pinged = c.opened
	return c
}
