// Package outbox is a connection whose Write never waits for the peer. What the socket does not take at once is kept
// in a bounded buffer, written by a goroutine that lives only while the peer is behind. A peer that stays behind is
// reported (Full, for the caller to stop sending) and then cut off: at the hard limit, or after Limits.Stall without
// progress.
//
// A Write is taken whole and never interleaves with another, so that one Write is one or more whole frames. Write,
// Full, Wait, Finish and Close may be called from any goroutine. Errors are permanent: after the first, every Write
// fails with it.
package outbox

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// ErrSlow ends a connection whose peer did not read.
var ErrSlow = errors.New("outbox: the peer does not read")

// ErrFinished refuses what is written after Finish.
var ErrFinished = errors.New("outbox: the connection is closing")

const (
	// KernelBuffer bounds what a peer that does not read hides in the kernel: 3-4 MB without it (measured).
	KernelBuffer = 64 << 10 // bytes
	// chunk is what one deadline must suffice for.
	chunk = 16 << 10 // bytes
)

// Limits bound what is kept for a peer.
type Limits struct {
	Soft  int           // bytes kept at which Full is true
	Hard  int           // bytes kept at which a further Write cuts the peer off; one Write may pass it
	Stall time.Duration // a peer that takes nothing for so long is cut off
}

// DefaultLimits are the figures of the realtime design.
var DefaultLimits = Limits{Soft: 64 << 10, Hard: 256 << 10, Stall: 10 * time.Second}

// Conn is a net.Conn with an outbox. Make it with New.
type Conn struct {
	net.Conn
	lim    Limits
	raw    syscall.RawConn // nil where there is no descriptor to try, as with TLS
	try    func(fd uintptr) bool
	onIdle func()

	mu       sync.Mutex
	pend     []byte        // not yet with the flusher
	inflight int           // bytes the flusher holds
	busy     bool          // the flusher runs
	finished bool          // the last frame is taken
	err      error         // the first failure
	room     chan struct{} // closed when Full turns false; nil when nobody waits
	flushed  sync.WaitGroup

	// the arguments and results of try, under mu
	p []byte
	n int
	e error
}

// New wraps c. onIdle, if not nil, is called without locks held each time the buffer has emptied.
func New(c net.Conn, lim Limits, onIdle func()) *Conn {
	o := &Conn{Conn: c, lim: lim, onIdle: onIdle}
	o.try = o.tryWrite
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			o.raw = raw
		}
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetWriteBuffer(KernelBuffer) // a hint: without it the peer is only cut off later
	}
	return o
}

// SetWriteDeadline does nothing: Write never waits, and the flusher sets its own deadlines.
func (o *Conn) SetWriteDeadline(time.Time) error { return nil }

// Full says whether the peer is behind by more than the soft limit.
func (o *Conn) Full() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.backlog() > o.lim.Soft
}

// Idle says whether nothing is kept.
func (o *Conn) Idle() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.backlog() == 0
}

func (o *Conn) backlog() int { return len(o.pend) + o.inflight }

// Wait returns when the peer is no more behind than the soft limit, or with the connection's or the context's error.
func (o *Conn) Wait(ctx context.Context) error {
	for {
		o.mu.Lock()
		if o.err != nil || o.backlog() <= o.lim.Soft {
			err := o.err
			o.mu.Unlock()
			return err
		}
		if o.room == nil {
			o.room = make(chan struct{})
		}
		room := o.room
		o.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Write takes p whole and copies what the socket does not take at once.
func (o *Conn) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.finished {
		return 0, ErrFinished
	}
	return o.write(p)
}

// Finish writes the last frame and refuses everything after it.
func (o *Conn) Finish(frame []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.finished {
		return ErrFinished
	}
	o.finished = true
	_, err := o.write(frame)
	return err
}

func (o *Conn) write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	rest := p
	if !o.busy && o.raw != nil {
		n, err := o.attempt(p)
		if err != nil {
			o.fail(err)
			return n, err
		}
		if n == len(p) {
			return n, nil
		}
		rest = p[n:]
	}
	if o.backlog() > o.lim.Hard {
		o.fail(ErrSlow)
		return 0, ErrSlow
	}
	o.pend = append(o.pend, rest...)
	if !o.busy {
		o.busy = true
		o.flushed.Go(o.flush)
	}
	return len(p), nil
}

// attempt writes what the socket takes now; a full socket is no error.
func (o *Conn) attempt(p []byte) (int, error) {
	o.p = p
	err := o.raw.Write(o.try)
	o.p = nil
	switch {
	case err != nil:
		return 0, err
	case o.e == nil:
		return o.n, nil
	case errors.Is(o.e, syscall.EAGAIN):
		return 0, nil
	}
	return 0, o.e
}

func (o *Conn) tryWrite(fd uintptr) bool {
	for {
		o.n, o.e = syscall.Write(int(fd), o.p)
		if o.e != syscall.EINTR { //nolint:errorlint // a bare errno, on the hottest path
			o.n = max(o.n, 0)
			return true
		}
	}
}

// fail makes err permanent and resets the socket, which ends the reading side as well. mu is held.
func (o *Conn) fail(err error) { o.shut(err, true) }

// shut closes the socket. Without reset the kernel goes on to send what it has taken: to a peer that does not read,
// for minutes.
func (o *Conn) shut(err error, reset bool) {
	if o.err == nil {
		o.err = err
		if t, ok := o.Conn.(*net.TCPConn); ok && reset {
			_ = t.SetLinger(0) // fails only on a closed socket
		}
		o.pend = nil
		_ = o.Conn.Close() // the error that matters is err
	}
	o.wake()
}

func (o *Conn) wake() {
	if o.room != nil && (o.err != nil || o.backlog() <= o.lim.Soft) {
		close(o.room)
		o.room = nil
	}
}

// flush writes what is kept until nothing is left or the peer is given up.
func (o *Conn) flush() {
	for {
		o.mu.Lock()
		b := o.pend
		o.pend = nil
		if o.err != nil || len(b) == 0 {
			o.busy = false
			o.inflight = 0
			o.wake()
			idle := o.err == nil
			o.mu.Unlock()
			if idle && o.onIdle != nil {
				o.onIdle()
			}
			return
		}
		o.inflight = len(b)
		o.mu.Unlock()
		o.drain(b)
		_ = o.Conn.SetWriteDeadline(time.Time{}) // fails only on a closed socket
	}
}

func (o *Conn) drain(b []byte) {
	for len(b) > 0 {
		_ = o.Conn.SetWriteDeadline(time.Now().Add(o.lim.Stall)) // fails only on a closed socket, as the write then does
		n, err := o.Conn.Write(b[:min(len(b), chunk)])
		b = b[n:]
		o.mu.Lock()
		o.inflight = len(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if n > 0 && o.raw != nil { // slow, but alive
				err = nil
			} else {
				err = ErrSlow
			}
		}
		if err != nil {
			o.fail(err)
			o.mu.Unlock()
			return
		}
		o.wake()
		o.mu.Unlock()
	}
}

// Abort drops what is kept, resets the connection and does not wait.
func (o *Conn) Abort() {
	o.mu.Lock()
	o.fail(net.ErrClosed)
	o.mu.Unlock()
}

// Close closes the socket, drops what it has not taken, and waits for the flusher. It is idempotent; onIdle must not
// call it.
func (o *Conn) Close() error {
	o.mu.Lock()
	o.shut(net.ErrClosed, o.backlog() > 0)
	o.mu.Unlock()
	o.flushed.Wait()
	return nil
}
