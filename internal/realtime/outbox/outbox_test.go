package outbox

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is a connection over loopback; the far end reads only when told to.
func pair(t testing.TB) (near, far *net.TCPConn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	s, err := l.Accept()
	require.NoError(t, err)
	far = c.(*net.TCPConn)
	t.Cleanup(func() { _ = far.Close() })
	return s.(*net.TCPConn), far
}

// opaque hides the descriptor, as TLS does.
type opaque struct{ c net.Conn }

func (o opaque) Read(b []byte) (int, error)         { return o.c.Read(b) }
func (o opaque) Write(b []byte) (int, error)        { return o.c.Write(b) }
func (o opaque) Close() error                       { return o.c.Close() }
func (o opaque) LocalAddr() net.Addr                { return o.c.LocalAddr() }
func (o opaque) RemoteAddr() net.Addr               { return o.c.RemoteAddr() }
func (o opaque) SetDeadline(t time.Time) error      { return o.c.SetDeadline(t) }
func (o opaque) SetReadDeadline(t time.Time) error  { return o.c.SetReadDeadline(t) }
func (o opaque) SetWriteDeadline(t time.Time) error { return o.c.SetWriteDeadline(t) }

var large = Limits{Soft: 1 << 20, Hard: 64 << 20, Stall: 10 * time.Second}

func TestConn_KeepsOrderAndBytes(t *testing.T) {
	for name, wrap := range map[string]func(*net.TCPConn) net.Conn{
		"TCP": func(c *net.TCPConn) net.Conn { return c }, "without descriptor": func(c *net.TCPConn) net.Conn { return opaque{c} },
	} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				near, far := pair(t)
				idle := make(chan struct{}, 1000)
				o := New(wrap(near), large, func() { idle <- struct{}{} })
				var want bytes.Buffer
				for i, n := range rapid.SliceOfN(rapid.IntRange(0, 200_000), 1, 8).Draw(rt, "sizes") {
					b := bytes.Repeat([]byte{byte('a' + i)}, n)
					want.Write(b)
					got, err := o.Write(b)
					require.NoError(rt, err)
					require.Equal(rt, n, got)
				}
				got := make([]byte, want.Len())
				_, err := io.ReadFull(far, got)
				require.NoError(rt, err)
				require.True(rt, bytes.Equal(want.Bytes(), got))
				for !o.Idle() {
					<-idle
				}
				require.NoError(rt, o.Close())
			})
		})
	}
}

func TestConn_SoftLimitAndWait(t *testing.T) {
	near, far := pair(t)
	drained := make(chan struct{}, 10)
	o := New(near, Limits{Soft: 100 << 10, Hard: 64 << 20, Stall: 10 * time.Second}, func() { drained <- struct{}{} })
	require.NoError(t, o.Wait(t.Context()))
	sent := 0
	for !o.Full() {
		n, err := o.Write(make([]byte, 10<<10))
		require.NoError(t, err)
		sent += n
	}
	require.False(t, o.Idle())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, o.Wait(ctx), context.Canceled)
	go func() { _, _ = io.CopyN(io.Discard, far, int64(sent)) }() // its failure shows as a wait that does not end
	require.NoError(t, o.Wait(t.Context()))
	require.False(t, o.Full())
	<-drained
	require.True(t, o.Idle())
	require.NoError(t, o.Close())
}

func TestConn_HardLimit(t *testing.T) {
	near, _ := pair(t)
	o := New(near, Limits{Soft: 10 << 10, Hard: 50 << 10, Stall: 10 * time.Second}, nil)
	waited := make(chan error, 1)
	var once sync.Once
	var err error
	kept := 0
	for err == nil {
		_, err = o.Write(make([]byte, 10<<10))
		o.mu.Lock()
		kept = max(kept, o.backlog())
		o.mu.Unlock()
		if o.Full() {
			once.Do(func() { go func() { waited <- o.Wait(context.Background()) }() })
		}
	}
	require.ErrorIs(t, err, ErrSlow)
	require.LessOrEqual(t, kept, 70<<10)
	require.ErrorIs(t, <-waited, ErrSlow, "who waits is told")
	_, err = o.Write([]byte("x"))
	require.ErrorIs(t, err, ErrSlow)
	_, err = o.Read(make([]byte, 1))
	require.ErrorIs(t, err, net.ErrClosed, "the reading side ends too")
	require.NoError(t, o.Close())
}

func TestConn_Stall(t *testing.T) {
	near, _ := pair(t)
	o := New(near, Limits{Soft: 1, Hard: 64 << 20, Stall: 30 * time.Millisecond}, nil)
	_, err := o.Write(make([]byte, 8<<20))
	require.NoError(t, err)
	require.ErrorIs(t, o.Wait(t.Context()), ErrSlow)
	require.NoError(t, o.Close())
}

func TestConn_FinishIsTheLast(t *testing.T) {
	near, far := pair(t)
	o := New(near, large, nil)
	_, err := o.Write([]byte("a"))
	require.NoError(t, err)
	require.NoError(t, o.Finish([]byte("z")))
	require.ErrorIs(t, o.Finish([]byte("y")), ErrFinished)
	_, err = o.Write([]byte("b"))
	require.ErrorIs(t, err, ErrFinished)
	b := make([]byte, 2)
	_, err = io.ReadFull(far, b)
	require.NoError(t, err)
	require.Equal(t, "az", string(b))
	require.NoError(t, o.Close())
	require.NoError(t, o.Close())
	_, err = far.Read(b)
	require.ErrorIs(t, err, io.EOF)
}

func TestConn_PeerGone(t *testing.T) {
	near, far := pair(t)
	o := New(near, large, nil)
	require.NoError(t, far.SetLinger(0))
	require.NoError(t, far.Close())
	var err error
	for err == nil {
		_, err = o.Write(make([]byte, 1000))
	}
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Error(t, o.Wait(t.Context()))
	require.NoError(t, o.Close())
}
