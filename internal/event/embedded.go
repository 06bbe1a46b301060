package event

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// KeySize is the size of Config.Key in bytes.
const KeySize = 32

// embedded is a NATS server inside this process: no listener, no system account, its files encrypted.
type embedded struct {
	srv   *server.Server
	store *store
	log   *slog.Logger
}

// openEmbedded starts the server on the store and connects. A store that cannot be trusted is replaced, and that is logged.
func openEmbedded(ctx context.Context, cfg Config) (*embedded, *nats.Conn, error) {
	if len(cfg.Key) != KeySize {
		return nil, nil, fmt.Errorf("event: the event store's key has %d bytes, not %d", len(cfg.Key), KeySize)
	}
	st, err := openStore(cfg.StoreDir)
	if err != nil {
		return nil, nil, err
	}
	e := &embedded{store: st, log: cfg.Logger}
	nc, err := e.open(ctx, cfg)
	if err != nil {
		return nil, nil, errors.Join(err, st.close())
	}
	return e, nc, nil
}

func (e *embedded) open(ctx context.Context, cfg Config) (*nats.Conn, error) {
	fresh := func(reason string) error {
		e.log.WarnContext(ctx, "the event store is not usable: starting a fresh stream, subscribers will read again", "reason", reason)
		return e.store.wipe()
	}
	if reason := e.store.suspect(); reason != "" {
		if err := fresh(reason); err != nil {
			return nil, err
		}
	}
	nc, info, err := e.start(ctx, cfg)
	reason := ""
	if err != nil {
		reason = err.Error()
	} else if reason = e.store.damage(info); reason == "" {
		return nc, nil
	}
	if nc != nil {
		nc.Close()
	}
	e.stop()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := fresh(reason); err != nil {
		return nil, err
	}
	if nc, _, err = e.start(ctx, cfg); err != nil {
		e.stop()
	}
	return nc, err
}

// start starts the server, connects and looks the stream up; info is nil when there is none.
func (e *embedded) start(ctx context.Context, cfg Config) (*nats.Conn, *jetstream.StreamInfo, error) {
	srv, err := server.NewServer(&server.Options{
		ServerName: "cdsa", DontListen: true, NoSigs: true, NoSystemAccount: true, MaxPayload: 1 << 20,
		JetStream: true, StoreDir: e.store.natsDir(), JetStreamKey: hex.EncodeToString(cfg.Key), JetStreamCipher: server.AES,
		JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: cfg.MaxBytes + 64<<20,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("event: configure the embedded bus: %w", err)
	}
	e.srv = srv
	log := &natsLog{log: e.log}
	srv.SetLoggerV2(log, false, false, false)
	srv.Start()
	if !srv.ReadyForConnections(5*time.Second) || !srv.JetStreamEnabled() {
		if p := log.fatal.Load(); p != nil {
			return nil, nil, fmt.Errorf("event: the embedded bus did not start: %s", *p)
		}
		return nil, nil, errors.New("event: the embedded bus did not start within 5 s")
	}
	nc, err := nats.Connect("", append(connOptions(cfg), nats.InProcessServer(srv))...)
	if err != nil {
		return nil, nil, fmt.Errorf("event: connect to the embedded bus: %w", err)
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(requestTimeout))
	if err != nil {
		return nc, nil, fmt.Errorf("event: open JetStream: %w", err)
	}
	s, err := js.Stream(ctx, streamName(cfg.Prefix))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nc, nil, nil
	}
	if err != nil {
		return nc, nil, fmt.Errorf("event: look the stream up: %w", err)
	}
	return nc, s.CachedInfo(), nil
}

func (e *embedded) stop() {
	if e.srv != nil {
		e.srv.Shutdown()
		e.srv.WaitForShutdown()
		e.srv = nil
	}
}

// close stops the server. last is the stream's last sequence, known false when it could not be read: then the stop is not
// recorded as clean.
func (e *embedded) close(last uint64, known bool) error {
	e.stop()
	var err error
	if known && e.store.had {
		m := e.store.mark
		m.Last, m.Clean = last, true
		err = e.store.write(m)
	}
	return errors.Join(err, e.store.close())
}

// natsLog passes the server's warnings and errors on; the rest is detail. It never carries payloads: tracing stays off.
type natsLog struct {
	log   *slog.Logger
	fatal atomic.Pointer[string]
}

func (l *natsLog) Noticef(f string, v ...any) { l.log.Debug("nats", "said", fmt.Sprintf(f, v...)) }
func (l *natsLog) Warnf(f string, v ...any)   { l.log.Warn("nats", "said", fmt.Sprintf(f, v...)) }
func (l *natsLog) Errorf(f string, v ...any)  { l.log.Error("nats", "said", fmt.Sprintf(f, v...)) }
func (l *natsLog) Debugf(string, ...any)      {}
func (l *natsLog) Tracef(string, ...any)      {}

func (l *natsLog) Fatalf(f string, v ...any) {
	s := fmt.Sprintf(f, v...)
	l.fatal.Store(&s)
	l.log.Error("the embedded event bus failed", "error", s)
}
