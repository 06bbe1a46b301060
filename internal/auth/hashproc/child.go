package hashproc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	grace   = 2 * time.Second // for a child to end by itself
	maxSaid = 512             // bytes kept of its standard error: the beginning, where a fault is named
)

var (
	errEnded    = errors.New("it ended")
	errHangs    = errors.New("it does not answer")
	errNonsense = errors.New("it gave an answer that nobody asked for")
	errStubborn = errors.New("it does not end")
)

// child is a running process.
type child struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  io.Reader
	said *head

	writing sync.Mutex

	mu      sync.Mutex
	last    uint64 // id
	waiting map[uint64]chan<- []byte
	cause   error // why it was killed, nil if it was not

	done chan struct{} // closed when it has ended
	err  error         // how, valid then
}

// start starts a process that has nothing of ours: no environment, which holds secrets, no folder, and no terminal
// whose Ctrl-C would reach it. It ends with its input, so however this process ends. The caller runs run.
func start(program string, args []string) (*child, error) {
	c := &child{cmd: exec.Command(program, args...), said: &head{}, waiting: map[uint64]chan<- []byte{}, done: make(chan struct{})}

	c.cmd.Args[0] = "cdsa" // program may be a link that says nothing
	c.cmd.Dir = "/"
	c.cmd.Env = []string{"GOMAXPROCS=" + strconv.Itoa(runtime.GOMAXPROCS(0))}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.cmd.Stderr = c.said
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if c.out, err = c.cmd.StdoutPipe(); err != nil {
		return nil, errors.Join(err, c.in.Close())
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	return c, nil
}

// run hands out answers until the process has ended.
func (c *child) run() {
	err := c.read()
	if errors.Is(err, io.EOF) {
		err = errEnded
	}
	c.kill(err) // what closes its output and lives on is of no use
	ended := c.cmd.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = c.cause
	if ended != nil {
		c.err = fmt.Errorf("%w (%w)", c.err, ended)
	}
	if said := c.said.String(); said != "" {
		c.err = fmt.Errorf("%w; it said: %s", c.err, said)
	}
	close(c.done)
}

func (c *child) read() error {
	for {
		b, err := readFrame(c.out, maxAnswer)
		if err != nil {
			return err
		}
		id, key, err := decodeAnswer(b)
		if err != nil {
			return err
		}
		c.mu.Lock()
		answer, ok := c.waiting[id]
		delete(c.waiting, id)
		c.mu.Unlock()
		if !ok {
			return errNonsense
		}
		answer <- key
	}
}

// derive asks for a key and waits for the answer or the end of the process, which it brings about after limit, or as many
// times that as the CPUs are shared by hashes.
func (c *child) derive(frame []byte, keyLength int, limit time.Duration) ([]byte, error) {
	answer := make(chan []byte, 1)
	c.mu.Lock()
	c.last++
	setID(frame, c.last)
	c.waiting[c.last] = answer
	limit *= time.Duration((len(c.waiting)-1)/runtime.GOMAXPROCS(0) + 1)
	c.mu.Unlock()
	hangs := time.AfterFunc(limit, func() { c.kill(errHangs) }) // ends a write that is stuck, too
	defer hangs.Stop()
	c.writing.Lock()
	_, err := c.in.Write(frame)
	c.writing.Unlock()
	if err != nil {
		c.kill(err)
	}
	select {
	case key := <-answer:
		if len(key) == keyLength {
			return key, nil
		}
		c.kill(errNonsense)
		<-c.done
	case <-c.done:
	}
	return nil, c.err
}

// kill ends the process at once. Of several causes the first counts.
func (c *child) kill(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.cause = cause
	}
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.cause = errors.Join(c.cause, err)
	}
}

// stop asks the process to end and waits for it; not for long.
func (c *child) stop() error {
	err := c.in.Close()
	if errors.Is(err, os.ErrClosed) { // it has ended
		err = nil
	}
	limit := time.NewTimer(grace)
	defer limit.Stop()
	select {
	case <-c.done:
		return err
	case <-limit.C:
	}
	c.kill(errStubborn)
	<-c.done
	return errors.Join(err, fmt.Errorf("the process that hashes passwords was ended hard: %w", c.err))
}

// head keeps the beginning of what is written to it. It is read after the last write.
type head struct{ b []byte }

func (h *head) Write(b []byte) (int, error) {
	h.b = append(h.b, b[:min(len(b), maxSaid-len(h.b))]...)
	return len(b), nil
}

// String gives it in one line.
func (h *head) String() string { return strings.Join(strings.Fields(string(h.b)), " ") }
