package hashproc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"cdsa.dev/cdsa/internal/auth"
)

// niceness is that of the child: against one busy thread it has a quarter of a CPU, so that whoever keeps queries busy
// slows signing in but does not stop it, and all of a CPU that nobody else wants.
const niceness = 5

// The blocks of a hash are most of the heap, and nothing else lives long: collecting often costs little and keeps few of
// them; what is unused after a pause goes back.
const (
	childGCPercent = 10
	childRest      = 5 * time.Second
)

// Serve is the child: it answers requests until in ends. Several run at once; the parent bounds how many. It changes
// this whole process, and leaves it to its parent to end it: a signal to all the processes of a service does not.
func Serve(in io.Reader, out io.Writer) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	if err := lowerPriority(); err != nil {
		return fmt.Errorf("take a low priority: %w", err)
	}
	debug.SetGCPercent(childGCPercent)
	s := &server{out: out, ended: make(chan error, 1), rest: time.AfterFunc(childRest, debug.FreeOSMemory)}
	go func() { s.end(s.read(in)) }()
	return <-s.ended
}

type server struct {
	ended chan error // gets the first
	rest  *time.Timer

	mu  sync.Mutex // of out
	out io.Writer
}

func (s *server) end(err error) {
	select {
	case s.ended <- err:
	default:
	}
}

func (s *server) read(in io.Reader) error {
	for {
		b, err := readFrame(in, maxRequest)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r, err := decodeRequest(b)
		if err != nil {
			return err
		}
		go s.answer(r)
	}
}

func (s *server) answer(r request) {
	key := auth.Argon2id(r.password, r.salt, r.params)
	clear(r.password)
	frame := encodeAnswer(r.id, key)
	clear(key)
	s.mu.Lock()
	_, err := s.out.Write(frame)
	s.mu.Unlock()
	clear(frame)
	if err != nil {
		s.end(err)
	}
	s.rest.Reset(childRest)
}
