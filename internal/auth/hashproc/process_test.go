package hashproc

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"

	"cdsa.dev/cdsa/internal/auth"
)

const password = "a password nobody logs"

var (
	salt  = []byte("a salt, 16 bytes")
	cheap = auth.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}
	slow  = auth.Params{Memory: 64 << 10, Iterations: 4, Parallelism: 1, SaltLength: 16, KeyLength: 32} // some 200 ms
)

func key(password string, salt []byte, p auth.Params) []byte {
	return argon2.IDKey([]byte(password), salt, p.Iterations, p.Memory, p.Parallelism, p.KeyLength)
}

// logged is the log of a Process.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logged) warnings() int { return strings.Count(l.String(), "level=WARN") }

// process makes a Process with a child of this test binary. Whatever happened, nothing is left of it at the end and
// nothing confidential is in its log.
func process(t *testing.T, child string, change ...func(*Process)) (*Process, *logged) {
	t.Helper()
	log := &logged{}
	exe, err := os.Executable()
	require.NoError(t, err)
	p := New(exe, []string{child}, slog.New(slog.NewTextHandler(log, nil)))
	for _, c := range change {
		c(p)
	}
	files := openFiles(t)
	t.Cleanup(func() {
		p.Close()
		require.Equal(t, files, openFiles(t), "open files")
		for _, secret := range []string{password, string(salt), hex.EncodeToString(key(password, salt, cheap))} {
			require.NotContains(t, log.String(), secret)
		}
	})
	return p, log
}

// openFiles counts, where there is a way to.
func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/dev/fd")
	require.NoError(t, err)
	return len(files)
}

// pid is that of the child that runs, 0 without one.
func (p *Process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child == nil {
		return 0
	}
	return p.child.cmd.Process.Pid
}

func gone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }

// TestDerivers is what every Deriver does.
func TestDerivers(t *testing.T) {
	apart, log := process(t, "child-right")
	for name, d := range map[string]auth.Deriver{"InProcess": auth.InProcess{}, "Process": apart} {
		t.Run(name, func(t *testing.T) {
			for _, p := range []auth.Params{
				cheap, {Memory: 8, Iterations: 1, Parallelism: 1, SaltLength: 8, KeyLength: 16}, {Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32},
				{Memory: 7 << 10, Iterations: 5, Parallelism: 1, SaltLength: 16, KeyLength: 32}, {Memory: 1000, Iterations: 3, Parallelism: 4, SaltLength: 64, KeyLength: 64},
				{Memory: 128, Iterations: 64, Parallelism: 16, SaltLength: 33, KeyLength: 63},
			} {
				salt := bytes.Repeat([]byte{0, 255, '$'}, 22)[:p.SaltLength]
				for _, password := range []string{"", "correct horse", "Pa\u00dfwort \U0001F511", strings.Repeat("\U0001F511", auth.MaxPassword), "\x00\xff\n"} {
					require.Equal(t, key(password, salt, p), d.Derive(password, salt, p), "%+v", p)
				}
			}
			// Of the reference implementation: argon2 -id -t 2 -k 65536 -p 1, its own test vector for version 0x13.
			want, err := hex.DecodeString("09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7")
			require.NoError(t, err)
			require.Equal(t, want, d.Derive("password", []byte("somesalt"), auth.Params{Memory: 65536, Iterations: 2, Parallelism: 1, SaltLength: 8, KeyLength: 32}))
			var wg sync.WaitGroup
			for i := range 50 {
				wg.Go(func() {
					password := fmt.Sprint("password ", i)
					for range 4 {
						if want, got := key(password, salt, cheap), d.Derive(password, salt, cheap); !bytes.Equal(want, got) {
							t.Errorf("%s: %x, not %x", password, got, want)
						}
					}
				})
			}
			wg.Wait()
		})
	}
	require.NotZero(t, apart.pid(), "the child did it")
	require.Empty(t, log.String())
}

// TestHasher: what is stored does not tell who computed it.
func TestHasher(t *testing.T) {
	apart, _ := process(t, "child-right")
	within, err := auth.NewHasher(auth.HasherConfig{MemoryKiB: 7 << 10, Iterations: 5})
	require.NoError(t, err)
	without, err := auth.NewHasher(auth.HasherConfig{MemoryKiB: 7 << 10, Iterations: 5, Deriver: apart})
	require.NoError(t, err)
	for _, pair := range [][2]*auth.Hasher{{within, without}, {without, within}} {
		stored, err := pair[0].Hash(t.Context(), password)
		require.NoError(t, err)
		ok, rehash, err := pair[1].Verify(t.Context(), password, stored)
		require.NoError(t, err)
		require.True(t, ok)
		require.False(t, rehash)
		ok, _, err = pair[1].Verify(t.Context(), password+"!", stored)
		require.NoError(t, err)
		require.False(t, ok)
	}
}

// hashAll asks for n keys at once and calls meanwhile; every key must be right.
func hashAll(t *testing.T, p *Process, n int, params auth.Params, meanwhile func()) {
	t.Helper()
	want := key(password, salt, params)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if got := p.Derive(password, salt, params); !bytes.Equal(want, got) {
				t.Errorf("%x, not %x", got, want)
			}
		})
	}
	meanwhile()
	wg.Wait()
}

func TestProcess_Killed(t *testing.T) {
	p, log := process(t, "child-right")
	hashAll(t, p, 4, slow, func() {
		p.awaitUsing(t, 4)
		require.NoError(t, syscall.Kill(p.pid(), syscall.SIGKILL))
	})
	require.Equal(t, 1, log.warnings(), "four found it dead: %s", log)
	require.Contains(t, log.String(), "signal: killed")
	require.Zero(t, p.pid())
	p.hurry()
	hashAll(t, p, 1, cheap, func() {})
	require.NotZero(t, p.pid(), "a new one")
	require.Equal(t, 1, log.warnings())
}

// awaitUsing waits until n calls wait for the child.
func (p *Process) awaitUsing(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.child == nil {
			return false
		}
		p.child.mu.Lock()
		defer p.child.mu.Unlock()
		return len(p.child.waiting) == n
	}, 10*time.Second, time.Millisecond)
}

// hurry ends the pause after a failure.
func (p *Process) hurry() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notUntil = time.Time{}
}

func TestProcess_BadChildren(t *testing.T) {
	for child, says := range map[string]string{
		"child-quits": "it said: child: out of luck", "child-garbage": errMalformed.Error(), "child-short": errNonsense.Error(), "child-long": errNonsense.Error(),
		"child-stranger": errNonsense.Error(), "child-mute": errHangs.Error(), "child-stubborn": errHangs.Error(), "child-closes": errEnded.Error(),
	} {
		t.Run(child, func(t *testing.T) {
			p, log := process(t, child, func(p *Process) {
				if says == errHangs.Error() {
					p.patience = 300 * time.Millisecond
				}
			})
			hashAll(t, p, 3, cheap, func() {})
			require.Equal(t, 1, log.warnings(), "%s", log)
			require.Contains(t, log.String(), says)
			require.Zero(t, p.pid(), "not asked again")
			p.children.Wait() // it is dead, not left alone
			hashAll(t, p, 1, cheap, func() {})
			require.Zero(t, p.pid(), "not tried again at once")
			p.hurry()
			hashAll(t, p, 1, cheap, func() {})
			require.Equal(t, 1, log.warnings(), "once a minute")
			p.mu.Lock()
			p.warned = p.warned.Add(-warnEvery)
			p.mu.Unlock()
			p.hurry()
			hashAll(t, p, 1, cheap, func() {})
			require.Equal(t, 2, log.warnings())
			require.NoError(t, p.Close())
		})
	}
}

// TestProcess_WriteStuck: a child that reads nothing leaves writers waiting for room in the pipe.
func TestProcess_WriteStuck(t *testing.T) {
	p, log := process(t, "child-stubborn", func(p *Process) { p.patience = 300 * time.Millisecond })
	long := strings.Repeat("x", maxPassword)
	var wg sync.WaitGroup
	for range 40 { // 160 KiB
		wg.Go(func() {
			if !bytes.Equal(key(long, salt, cheap), p.Derive(long, salt, cheap)) {
				t.Error("wrong key")
			}
		})
	}
	wg.Wait()
	require.Equal(t, 1, log.warnings())
}

// TestProcess_Pauses: starting what never works takes less and less, and what has worked is tried again soon.
func TestProcess_Pauses(t *testing.T) {
	p, _ := process(t, "child-quits")
	wait := func() time.Duration {
		p.hurry()
		begun := time.Now()
		hashAll(t, p, 1, cheap, func() {})
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.notUntil.Sub(begun)
	}
	for _, want := range []time.Duration{pause, 2 * pause, 4 * pause} {
		require.GreaterOrEqual(t, wait(), want)
	}
	for range 10 {
		wait()
	}
	require.InDelta(t, maxPause.Seconds(), wait().Seconds(), 5)
	p.args = []string{"child-right"}
	require.Negative(t, wait())
	require.NoError(t, syscall.Kill(p.pid(), syscall.SIGKILL))
	require.InDelta(t, pause.Seconds(), wait().Seconds(), 0.9)
}

func TestProcess_CannotStart(t *testing.T) {
	p, log := process(t, "", func(p *Process) { p.program = "/nowhere/cdsa" })
	for range 3 {
		p.hurry()
		hashAll(t, p, 2, cheap, func() {})
	}
	require.Equal(t, 1, log.warnings())
	require.Contains(t, log.String(), "/nowhere/cdsa")
	require.NoError(t, p.Close())
}

// TestProcess_OutOfBounds: what cannot be sent is no reason to end the child.
func TestProcess_OutOfBounds(t *testing.T) {
	p, log := process(t, "child-right")
	hashAll(t, p, 1, cheap, func() {})
	pid := p.pid()
	long := strings.Repeat("x", maxPassword+1)
	require.Equal(t, key(long, salt, cheap), p.Derive(long, salt, cheap))
	require.Equal(t, pid, p.pid())
	require.Empty(t, log.String())
}

func TestProcess_Idle(t *testing.T) {
	p, log := process(t, "child-right", func(p *Process) { p.idleFor = 50 * time.Millisecond })
	hashAll(t, p, 1, slow, func() {
		p.awaitUsing(t, 1)
		p.rest()
		require.NotZero(t, p.pid(), "it is at work")
	})
	require.Eventually(t, func() bool { return p.pid() == 0 }, 10*time.Second, time.Millisecond)
	p.children.Wait()
	hashAll(t, p, 1, cheap, func() {})
	require.NoError(t, p.Close())
	require.Empty(t, log.String(), "an end like any other")
}

func TestProcess_Close(t *testing.T) {
	p, _ := process(t, "child-right")
	require.NoError(t, p.Close(), "none was started")
	hashAll(t, p, 1, cheap, func() {})
	require.Zero(t, p.pid(), "and none will be")

	p, log := process(t, "child-right")
	hashAll(t, p, 3, slow, func() {
		p.awaitUsing(t, 3)
		pid := p.pid()
		begun := time.Now()
		require.NoError(t, p.Close())
		require.Less(t, time.Since(begun), grace, "it ends with its input, at work or not")
		require.True(t, gone(pid))
	})
	require.Empty(t, log.String())
	require.NoError(t, p.Close(), "again")

	p, _ = process(t, "child-stubborn", func(p *Process) { p.patience = time.Minute })
	hashAll(t, p, 1, cheap, func() {
		p.awaitUsing(t, 1)
		pid := p.pid()
		require.ErrorIs(t, p.Close(), errStubborn)
		require.True(t, gone(pid))
	})
}

// TestServe_Ends: the child ends with its input, and at the first thing in it that is no request.
func TestServe_Ends(t *testing.T) {
	frame, err := sample().encode()
	require.NoError(t, err)
	bad := bytes.Clone(frame)
	bad[frameHead+16] = 0 // lanes
	for name, c := range map[string]struct{ in, says string }{
		"AtOnce":      {"", ""},
		"NoFrame":     {"GET / HTTP/1.1\r\n\r\n", "it said: child: a malformed frame"},
		"NoRequest":   {"\x00\x00\x00\x01x", "it said: child: a malformed frame"},
		"OutOfBounds": {string(bad), "it said: child: a malformed frame"},
		"Half":        {string(frame[:len(frame)-1]), "it said: child: unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			exe, err := os.Executable()
			require.NoError(t, err)
			ch, err := start(exe, []string{"child-right"})
			require.NoError(t, err)
			go ch.run()
			_, err = ch.in.Write([]byte(c.in))
			require.NoError(t, err)
			if c.says == "" || name == "Half" {
				require.NoError(t, ch.stop())
			}
			<-ch.done
			require.Equal(t, c.says == "", ch.cmd.ProcessState.Success())
			require.ErrorIs(t, ch.err, errEnded)
			require.Contains(t, ch.err.Error(), c.says)
		})
	}
}

// TestProcess_Signals: a signal to all the processes of a service leaves the child to its parent.
func TestProcess_Signals(t *testing.T) {
	p, log := process(t, "child-right")
	hashAll(t, p, 1, cheap, func() {})
	pid := p.pid()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		require.NoError(t, syscall.Kill(pid, s))
	}
	hashAll(t, p, 2, slow, func() {})
	require.Equal(t, pid, p.pid())
	require.Empty(t, log.String())
}
