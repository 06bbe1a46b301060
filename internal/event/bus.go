package event

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	requestTimeout = 3 * time.Second // any one exchange with the bus
	maxInFlight    = 4096            // PublishAsync without an acknowledgement yet
	stallTimeout   = time.Second     // PublishAsync waits this long for room
)

// Config says where the bus is.
type Config struct {
	URL             string        // of a NATS server or cluster, may hold credentials; empty starts one inside this process
	CredentialsFile string        // NATS .creds file, optional
	StoreDir        string        // embedded: its folder, of its own
	Key             []byte        // embedded: KeySize bytes that encrypt the store
	Replicas        int           // of the stream in a cluster; default 1
	MaxAge          time.Duration // messages are kept so long; default 2 h, at least 1 h
	MaxBytes        int64         // of stored messages; default 512 MiB; the oldest go first, whatever their age
	Duplicates      time.Duration // window in which a message id is stored once; default and minimum 2 min
	Prefix          string        // one token; default "cdsa"; installations that share a server differ in it
	Logger          *slog.Logger
}

func (c *Config) defaults() error {
	if c.Prefix == "" {
		c.Prefix = "cdsa"
	}
	if err := checkSubject(c.Prefix, false); err != nil || strings.Contains(c.Prefix, ".") {
		return errors.New("event: the prefix is one token of letters, digits, _ and -")
	}
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	if c.MaxAge == 0 {
		c.MaxAge = 2 * time.Hour
	}
	if c.MaxAge < time.Hour {
		return errors.New("event: events are kept for one hour at least")
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 512 << 20
	}
	if c.MaxBytes < 1<<20 {
		return errors.New("event: the event stream needs 1 MiB at least")
	}
	c.Duplicates = max(c.Duplicates, 2*time.Minute)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Bus is this process's connection to the event stream.
type Bus struct {
	cfg Config
	log *slog.Logger
	emb *embedded // nil with an external server
	nc  *nats.Conn
	js  jetstream.JetStream

	incarnation atomic.Uint64 // stream creation, Unix ns
	position    atomic.Uint64 // last sequence handled by the feed
	feed        feed
	replays     chan struct{} // bounds concurrent replays
	ensuring    sync.Mutex

	done  chan struct{} // closed by Close
	close sync.Once
	err   error
}

// Open connects, or starts the embedded server, and makes the stream if there is none. A store that cannot be trusted is
// replaced by a fresh stream, which is a new incarnation. The caller ends with Close.
func Open(ctx context.Context, cfg Config) (*Bus, error) {
	if err := cfg.defaults(); err != nil {
		return nil, err
	}
	b := &Bus{cfg: cfg, log: cfg.Logger, replays: make(chan struct{}, maxReplays), done: make(chan struct{})}
	b.feed.init()
	var err error
	if cfg.URL == "" {
		b.emb, b.nc, err = openEmbedded(ctx, cfg)
	} else {
		b.nc, err = connect(cfg)
	}
	if err != nil {
		return nil, err
	}
	if err := b.attach(ctx); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// attach finishes Open on a live connection.
func (b *Bus) attach(ctx context.Context) error {
	b.nc.SetDisconnectErrHandler(func(_ *nats.Conn, err error) {
		if err != nil {
			b.log.Warn("the event bus is disconnected", "error", err)
		}
	})
	b.nc.SetReconnectHandler(func(*nats.Conn) {
		b.log.Info("the event bus is connected again")
		b.feed.reattach()
	})
	b.nc.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		b.log.Warn("event bus", "error", err)
	})
	var err error
	b.js, err = jetstream.New(b.nc, jetstream.WithDefaultTimeout(requestTimeout),
		jetstream.WithPublishAsyncMaxPending(maxInFlight), jetstream.WithPublishAsyncTimeout(requestTimeout))
	if err != nil {
		return fmt.Errorf("event: open JetStream: %w", err)
	}
	info, err := b.ensure(ctx)
	if err != nil {
		return err
	}
	b.incarnation.Store(uint64(info.Created.UnixNano()))
	b.position.Store(info.State.LastSeq)
	if b.emb != nil {
		return b.emb.store.write(marker{Incarnation: b.Incarnation()})
	}
	return nil
}

// connOptions: publishing while disconnected fails at once instead of filling a buffer.
func connOptions(cfg Config) []nats.Option {
	o := []nats.Option{
		nats.Name("cdsa"), nats.Timeout(2 * time.Second), nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(50*time.Millisecond, 100*time.Millisecond), nats.ReconnectBufSize(-1),
		nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2),
	}
	if cfg.CredentialsFile != "" {
		o = append(o, nats.UserCredentials(cfg.CredentialsFile))
	}
	return o
}

// connect keeps the URL, which may hold a password, out of errors.
func connect(cfg Config) (*nats.Conn, error) {
	nc, err := nats.Connect(cfg.URL, connOptions(cfg)...)
	var bad *url.Error
	if errors.As(err, &bad) {
		return nil, errors.New("event: the NATS URL is not a URL")
	}
	if err != nil {
		return nil, fmt.Errorf("event: connect to NATS: %w", err)
	}
	return nc, nil
}

// Close ends the feed and the signals, waits briefly for acknowledgements and stops an embedded server. It may be called
// more than once.
func (b *Bus) Close() error {
	b.close.Do(func() {
		close(b.done)
		b.feed.stop()
		last, known := uint64(0), false
		if b.js != nil {
			select {
			case <-b.js.PublishAsyncComplete():
			case <-time.After(requestTimeout):
				b.log.Warn("the event bus closes with messages that were not acknowledged")
			}
			if b.emb != nil {
				ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
				if info, err := b.info(ctx); err == nil {
					last, known = info.State.LastSeq, true
				}
				cancel()
			}
			b.js.CleanupPublisher()
		}
		b.nc.Close()
		if b.emb != nil {
			b.err = b.emb.close(last, known)
		}
	})
	return b.err
}

// Healthy is nil when events can be published and the feed, once started, follows the stream.
func (b *Bus) Healthy() error {
	switch {
	case b.closed():
		return ErrClosed
	case !b.nc.IsConnected():
		return ErrUnavailable
	case b.emb != nil && !b.emb.srv.JetStreamEnabled():
		return errors.New("event: the embedded bus has stopped storing, look for an error of its store in the log")
	case b.feed.detached():
		return errors.New("event: the feed is not attached to the stream")
	}
	return nil
}

func (b *Bus) closed() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// Incarnation names the present stream: sequences of different incarnations cannot be compared.
func (b *Bus) Incarnation() uint64 { return b.incarnation.Load() }

// Position is the last sequence this process's feed has handled: what a client reads after taking it includes everything up
// to it.
func (b *Bus) Position() uint64 { return b.position.Load() }

func (b *Bus) subject(s string) string { return b.cfg.Prefix + ".event." + s }

func (b *Bus) signalSubject(s string) string { return b.cfg.Prefix + ".signal." + s }
