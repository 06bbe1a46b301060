package transport

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/gorilla/websocket"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/realtime/wire"
)

// handle is the protocol: one message, in the order of arrival. What takes time goes on beside it, connection_init
// apart, which everything waits for.
func (c *conn) handle(kind int, b []byte) {
	defer func() {
		if r := recover(); r != nil {
			c.s.cfg.Log.Error("panic while handling a message", "request_id", authz.RequestFrom(c.ctx).ID, "type", fmt.Sprintf("%T", r))
			c.close(closeInternal, "Internal error.")
		}
	}()
	if c.isClosing() {
		return
	}
	if kind != websocket.TextMessage {
		c.close(closeBadMessage, "Messages are text, not binary.")
		return
	}
	m, err := wire.Parse(b)
	if err != nil {
		c.s.debit(c.ctx, len(b))
		c.close(closeBadMessage, err.Error())
		return
	}
	switch m.Type {
	case wire.ConnectionInit:
		c.init(m.Init)
	case wire.PingMessage:
		c.write(wire.Pong)
	case wire.PongMessage:
	case wire.Subscribe:
		c.subscribe(m)
	case wire.Complete:
		c.stop(m.ID)
	}
}

func (c *conn) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

func (c *conn) init(payload map[string]any) {
	if c.inited {
		c.close(closeManyInits, "Too many initialisation requests.")
		return
	}
	c.inited = true
	judged := time.Now()
	ctx, p, err := c.s.cfg.Init(c.ctx, payload)
	if err != nil {
		c.refuse(err)
		return
	}
	c.ctx = authz.With(ctx, p)
	if p != nil && !p.ExpiresAt.IsZero() {
		c.expires.Store(p.ExpiresAt.UnixNano())
	}
	holds, err := c.s.adopt(c.ctx, c, p, judged)
	switch {
	case err != nil:
		c.refuse(err)
		return
	case !holds:
		c.revoke()
		return
	case c.expired(time.Now()):
		c.expire()
		return
	}
	c.ws.SetReadLimit(c.s.cfg.MaxMessage)
	c.ready.Store(true)
	c.write(wire.Ack)
}

const unsure = "The server cannot check the token now. Try again in a few seconds."

// refuse ends a connection whose connection_init failed: with 4403 for the client's fault, or with a code after which
// clients try again for ours.
func (c *conn) refuse(err error) {
	e, ok := errs.As(err)
	if ok {
		switch e.Code {
		case errs.Internal, errs.UpstreamUnavailable, errs.RateLimited, errs.ResourceExhausted:
		default:
			c.close(closeForbidden, e.Message)
			return
		}
	}
	if !c.isClosing() {
		level := slog.LevelError
		if ok {
			level = slog.LevelWarn // told in a sentence, as over HTTP: the database is away, and all clients come back
		}
		c.s.cfg.Log.Log(c.ctx, level, "connection_init failed", "request_id", authz.RequestFrom(c.ctx).ID, "error", err)
	}
	c.close(closeTryAgain, unsure)
}

func (c *conn) subscribe(m wire.Message) {
	if !c.ready.Load() {
		c.close(closeUnauthorized, "Unauthorized: send connection_init and wait for connection_ack first.")
		return
	}
	limited := c.s.admit(c.ctx)
	var params *graphql.RawParams
	if limited == nil {
		var err error
		if params, err = wire.Params(m.Payload); err != nil {
			c.s.debit(c.ctx, len(m.Payload))
			c.close(closeBadMessage, err.Error())
			return
		}
	}
	o := newOperation(c, m.ID)
	var refused *errs.Error
	c.mu.Lock()
	switch {
	case c.closing:
		c.mu.Unlock()
		o.cancel()
		return
	case c.find(m.ID) != nil:
		c.mu.Unlock()
		o.cancel()
		c.close(closeDuplicate, "Subscriber for "+m.ID+" already exists")
		return
	case limited != nil:
	case len(c.ops) >= c.s.cfg.MaxOperations:
		refused = errs.New(errs.ResourceExhausted, "This connection has %d operations open. Complete some of them first.", len(c.ops))
	case wire.HasNUL(params):
		refused = errs.New(errs.BadUserInput, "Text must not hold a NUL character.")
	default:
		c.ops = append(c.ops, o)
		c.s.operations.Add(1)
	}
	c.mu.Unlock()
	if limited != nil {
		c.write(wire.AppendError(nil, o.qid, c.s.answer(o.ctx, c.exec, limited).Errors))
		o.cancel()
		return
	}
	if refused != nil {
		o.cancel()
		c.s.debit(c.ctx, len(m.Payload))
		c.write(wire.AppendError(nil, o.qid, gqlerror.List{present(refused)}))
		return
	}
	c.s.work.run(func() { o.run(params) })
}
