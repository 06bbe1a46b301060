package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/gorilla/websocket"

	"cdsa.dev/cdsa/internal/realtime/outbox"
	"cdsa.dev/cdsa/internal/realtime/wire"
)

// Close codes of graphql-transport-ws and RFC 6455 section 7.4.1.
const (
	closeGoingAway    = 1001
	closeInternal     = 1011
	closeTryAgain     = 1013
	closeBadMessage   = 4400
	closeUnauthorized = 4401
	closeForbidden    = 4403
	closeSubprotocol  = 4406
	closeInitTimeout  = 4408
	closeDuplicate    = 4409
	closeManyInits    = 4429
)

const (
	messageTimeout = 30 * time.Second // for a message to arrive whole
	closeTimeout   = 2 * time.Second  // for the peer to answer a close frame
)

// conn is one websocket. Its states: opened, ready (acknowledged), closing (a close frame is sent, messages are
// ignored), ended. Messages are handled one after the other; operations run beside them.
type conn struct {
	s      *Server
	exec   graphql.GraphExecutor
	ws     *websocket.Conn
	out    *outbox.Conn
	ctx    context.Context
	cancel context.CancelFunc
	turn   chan struct{} // a message has been handled
	opened time.Time
	heard  atomic.Int64 // Unix ns of the last byte read
	pinged time.Time    // the clock's

	inited  bool         // connection_init was seen; of the goroutine that handles
	ready   atomic.Bool  // acknowledged
	expires atomic.Int64 // Unix ns of the principal's end; 0: never

	mu      sync.Mutex
	closing bool
	ops     []*operation
	slow    []*operation // waiting for room to send their gap
}

var _ peer = (*conn)(nil)

// start begins to read. The handshake is done.
func (c *conn) start(ws *websocket.Conn) {
	c.ws = ws
	if !c.s.enter(c, nil) { // it filled up, or closed, during the handshake
		code, why := closeTryAgain, busy
		if c.s.ending() {
			code, why = closeGoingAway, goingAway
		}
		_ = c.out.Finish(wire.CloseFrame(code, why)) // a peer that is gone needs none
		c.cancel()
		_ = c.out.Close() // never fails
		return
	}
	ws.SetReadLimit(min(initMessage, c.s.cfg.MaxMessage))
	if ws.Subprotocol() != protocol {
		c.close(closeSubprotocol, "Subprotocol not acceptable; use "+protocol+".")
	}
	go c.read()
}

var readBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxKept is the capacity above which a buffer is not kept for reuse.
const maxKept = 64 << 10 // bytes

// read takes messages until the connection ends. Handling happens elsewhere, so that this stack stays small.
func (c *conn) read() {
	defer c.end()
	defer func() {
		if r := recover(); r != nil {
			c.s.cfg.Log.Error("panic while reading a websocket", "type", fmt.Sprintf("%T", r))
		}
	}()
	for {
		kind, rd, err := c.ws.NextReader()
		if err != nil {
			c.linger(err)
			return
		}
		buf := readBuffers.Get().(*bytes.Buffer)
		buf.Reset()
		c.readDeadline(time.Now().Add(messageTimeout))
		_, err = buf.ReadFrom(rd)
		if err != nil {
			c.linger(err)
			return
		}
		c.readDeadline(time.Time{})
		c.s.work.run(func() {
			defer func() { c.turn <- struct{}{} }()
			c.handle(kind, buf.Bytes())
		})
		<-c.turn
		if buf.Cap() <= maxKept {
			readBuffers.Put(buf)
		}
	}
}

// readDeadline leaves the deadline of a close alone.
func (c *conn) readDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		_ = c.out.SetReadDeadline(t) // fails only on a closed socket, as the read then does
	}
}

// linger reads on for a moment where gorilla has sent a close frame and given up: closing a socket with unread data
// would reset it, and the peer would not see the frame.
func (c *conn) linger(err error) {
	var ce *websocket.CloseError
	var ne net.Error
	if errors.As(err, &ce) || errors.As(err, &ne) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return
	}
	c.quit()
	_ = c.out.SetReadDeadline(time.Now().Add(closeTimeout))                      // fails only on a closed socket
	_, _ = io.Copy(io.Discard, io.LimitReader(c.out.Conn, 4*c.s.cfg.MaxMessage)) // ends by deadline, or by the peer
}

// close sends a close frame, ends all work and gives the peer a moment to answer. Only the first has an effect.
func (c *conn) close(code int, reason string) {
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return
	}
	c.closing = true
	ops := c.takeOps()
	_ = c.out.Finish(wire.CloseFrame(code, reason))         // a peer that is gone needs none
	_ = c.out.SetReadDeadline(time.Now().Add(closeTimeout)) // fails only on a closed socket
	c.mu.Unlock()
	c.cancel()
	for _, o := range ops {
		o.release()
	}
}

// takeOps ends all operations without a word. mu is held.
func (c *conn) takeOps() []*operation {
	ops := c.ops
	c.ops, c.slow = nil, nil
	for _, o := range ops {
		o.ended.Store(true)
	}
	return ops
}

// quit ends all work without a close frame.
func (c *conn) quit() {
	c.mu.Lock()
	c.closing = true
	ops := c.takeOps()
	c.mu.Unlock()
	c.cancel()
	for _, o := range ops {
		o.release()
	}
}

// end is the last thing the reading goroutine does.
func (c *conn) end() {
	c.quit()
	_ = c.out.Close() // never fails
	c.s.leave(c)
}

// write sends a frame that belongs to no operation.
func (c *conn) write(frame []byte) {
	_, _ = c.out.Write(frame) // an error has ended the connection already
}

// send sends an operation's frames unless it has ended. Under mu, or they could reach a later operation of that id.
func (c *conn) send(o *operation, frames []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.ended.Load() || c.closing {
		return false
	}
	_, err := c.out.Write(frames)
	return err == nil
}

// finish ends an operation with its last frame; false if it had ended.
func (c *conn) finish(o *operation, frame []byte) bool {
	c.mu.Lock()
	if o.ended.Load() {
		c.mu.Unlock()
		return false
	}
	c.forget(o)
	if !c.closing {
		_, _ = c.out.Write(frame) // an error has ended the connection already
	}
	c.mu.Unlock()
	o.release()
	return true
}

// stop ends the operation of that id at the client's wish.
func (c *conn) stop(id string) {
	c.mu.Lock()
	o := c.find(id)
	if o != nil {
		c.forget(o)
	}
	c.mu.Unlock()
	if o != nil {
		o.release()
	}
}

func (c *conn) find(id string) *operation {
	for _, o := range c.ops {
		if o.id == id {
			return o
		}
	}
	return nil
}

func (c *conn) forget(o *operation) {
	o.ended.Store(true)
	for i, x := range c.ops {
		if x == o {
			last := len(c.ops) - 1
			c.ops[i], c.ops[last] = c.ops[last], nil
			c.ops = c.ops[:last]
			return
		}
	}
}

// drained sends the gaps that waited for room.
func (c *conn) drained() {
	c.mu.Lock()
	slow := c.slow
	c.slow = nil
	c.mu.Unlock()
	for _, o := range slow {
		c.s.work.run(o.sendGap)
	}
}

func (c *conn) tick(now time.Time) {
	c.mu.Lock()
	closing := c.closing
	c.mu.Unlock()
	silent := now.Sub(time.Unix(0, c.heard.Load()))
	switch {
	case closing: // the read deadline ends it
	case !c.ready.Load() && now.Sub(c.opened) >= c.s.cfg.InitTimeout:
		c.close(closeInitTimeout, "Connection initialisation timeout.")
	case c.expired(now):
		c.expire()
	case silent >= c.s.cfg.Silence:
		c.out.Abort() // half open: nobody is there to read a close frame
	case now.Sub(c.pinged) >= c.s.cfg.Heartbeat:
		c.pinged = now
		if !c.out.Full() {
			c.write(wire.Ping)
		}
	}
}

func (c *conn) expired(now time.Time) bool {
	at := c.expires.Load()
	return at != 0 && now.UnixNano() >= at
}

func (c *conn) expire() {
	c.close(closeForbidden, "The access token has expired. Refresh it and connect again.")
}

const changed = "The session has ended or its rights have changed. Connect again."

func (c *conn) revoke() {
	c.close(closeForbidden, changed)
}

func (c *conn) suspend() {
	c.close(closeTryAgain, unsure)
}

func (c *conn) shutdown() {
	c.close(closeGoingAway, goingAway)
}
