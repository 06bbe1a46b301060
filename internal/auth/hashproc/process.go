// Package hashproc makes password hashes in a process apart. argon2 works in goroutines of its own and needs much
// memory: within the server neither could be kept from slowing queries down, as a child of low priority it is.
//
// A sign-in never fails because of the child. When it cannot be started, dies, hangs or talks nonsense, the hash is made
// in this process, a warning is logged once a minute at most, and a later hash tries a new child. What may be logged is
// how the child ended and what it said on its standard error, where nothing ever writes a password, a salt or a key.
package hashproc

import (
	"log/slog"
	"sync"
	"time"

	"cdsa.dev/cdsa/internal/auth"
)

const (
	idleFor   = 5 * time.Minute // without a hash, and the child is ended
	pause     = time.Second     // after a failure, before another child is tried; doubles with each until one has worked
	maxPause  = time.Minute
	warnEvery = time.Minute
)

// A hash takes 1 µs a KiB and pass on an idle CPU; a child that needs this much longer hangs.
const (
	patience       = 30 * time.Second
	patiencePerKiB = 50 * time.Microsecond // and pass
)

// Process is an auth.Deriver with one child, which is started when it is first needed. Safe for concurrent use.
type Process struct {
	program  string
	args     []string
	log      *slog.Logger
	patience time.Duration
	idleFor  time.Duration

	mu       sync.Mutex
	child    *child // nil: none runs
	using    int    // calls that wait for a child
	closed   bool
	notUntil time.Time // before that, no child is started
	pause    time.Duration
	warned   time.Time
	idle     *time.Timer
	children sync.WaitGroup // all that were started
}

// New makes a Process whose child is program, called with args; it must then call Serve.
func New(program string, args []string, log *slog.Logger) *Process {
	p := &Process{program: program, args: args, log: log, patience: patience, idleFor: idleFor, pause: pause}
	p.idle = time.AfterFunc(idleFor, p.rest)
	return p
}

// Derive is of auth.Deriver.
func (p *Process) Derive(password string, salt []byte, params auth.Params) []byte {
	if key := p.apart(password, salt, params); key != nil {
		return key
	}
	return auth.InProcess{}.Derive(password, salt, params)
}

// apart has the child derive; nil when this process must.
func (p *Process) apart(password string, salt []byte, params auth.Params) []byte {
	r := request{params: params, salt: salt, password: []byte(password)}
	frame, err := r.encode()
	clear(r.password)
	if err != nil { // the fault of the caller, not of the child
		return nil
	}
	defer clear(frame)
	c := p.use()
	if c == nil {
		return nil
	}
	defer p.unuse()
	limit := p.patience + time.Duration(params.Memory)*time.Duration(params.Iterations)*patiencePerKiB
	key, err := c.derive(frame, int(params.KeyLength), limit)
	if err != nil {
		p.failed(c, err)
		return nil
	}
	p.worked(c)
	return key
}

// worked notes that c did: the next failure is the first.
func (p *Process) worked(c *child) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child == c {
		p.pause = pause
	}
}

// use gives the child, a new one if need be; nil when there is none to be had. The caller gives it back with unuse.
func (p *Process) use() *child {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child == nil {
		if p.closed || time.Now().Before(p.notUntil) {
			return nil
		}
		c, err := start(p.program, p.args)
		if err != nil {
			p.warn(err)
			return nil
		}
		p.children.Go(c.run)
		p.child = c
	}
	p.using++
	return p.child
}

func (p *Process) unuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.using--
	if p.using == 0 && !p.closed {
		p.idle.Reset(p.idleFor)
	}
}

// failed takes c out of use. Many may find that it failed: those who come later change nothing.
func (p *Process) failed(c *child, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child == c {
		p.child = nil
		p.warn(err)
	}
}

// warn notes a failure. p.mu is held.
func (p *Process) warn(err error) {
	now := time.Now()
	p.notUntil = now.Add(p.pause)
	p.pause = min(2*p.pause, maxPause)
	if now.Sub(p.warned) >= warnEvery {
		p.warned = now
		p.log.Warn("passwords are hashed in the server's own process, which slows down what else it does: the process for it failed", "error", err)
	}
}

// rest ends a child that nobody used for long.
func (p *Process) rest() {
	p.mu.Lock()
	c := p.child
	if c == nil || p.using > 0 {
		p.mu.Unlock()
		return
	}
	p.child = nil
	p.mu.Unlock()
	if err := c.stop(); err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.warn(err)
	}
}

// Close ends the child and waits until nothing of it is left. Hashes still asked for are made in this process.
func (p *Process) Close() error {
	p.mu.Lock()
	p.closed = true
	p.idle.Stop()
	c := p.child
	p.child = nil
	p.mu.Unlock()
	var err error
	if c != nil {
		err = c.stop()
	}
	p.children.Wait()
	return err
}
