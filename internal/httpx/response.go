package httpx

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"cdsa.dev/cdsa/internal/authz"
)

const (
	writeTimeout = 30 * time.Second // for a peer to take what is written
	writeRenewal = 5 * time.Second  // how often the deadline moves while a response is written
)

// response remembers what the access log tells and keeps a peer that does not read from holding a handler. It
// belongs to one request and is used by its handler's goroutine, as every ResponseWriter.
type response struct {
	http.ResponseWriter
	ctx      *authz.RequestContext
	route    string
	began    time.Time
	status   int
	bytes    int64
	deadline time.Time // when the write deadline was last moved
	hijacked bool
}

// Unwrap lets http.ResponseController reach the connection.
func (x *response) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// WriteHeader notes the first final status.
func (x *response) WriteHeader(status int) {
	if x.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		x.status = status
	}
	if status < 200 { // sent at once; others with what is written next
		x.renew(time.Now())
	}
	x.ResponseWriter.WriteHeader(status)
}

// Write counts what is sent.
func (x *response) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	x.renew(time.Now())
	n, err := x.ResponseWriter.Write(b)
	x.bytes += int64(n)
	return n, err
}

// Flush sends what is buffered, for streams.
func (x *response) Flush() { _ = x.FlushError() }

// FlushError is Flush for http.ResponseController.
func (x *response) FlushError() error {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	x.renew(time.Now())
	return http.NewResponseController(x.ResponseWriter).Flush()
}

// Hijack gives the connection away, with no deadline on it; the websocket sets its own.
func (x *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(x.ResponseWriter).Hijack()
	if err == nil {
		x.hijacked = true
		if x.status == 0 {
			x.status = http.StatusSwitchingProtocols
		}
	}
	return c, rw, err
}

// renew moves the write deadline. It counts only while something is being written, so a quiet stream may be quiet.
func (x *response) renew(now time.Time) {
	if x.hijacked || now.Sub(x.deadline) < writeRenewal {
		return
	}
	x.deadline = now
	// A writer without deadlines (a recorder in a test) has no peer to wait for.
	_ = http.NewResponseController(x.ResponseWriter).SetWriteDeadline(now.Add(writeTimeout))
}

// started says whether it is too late for another status.
func (x *response) started() bool { return x.status != 0 || x.hijacked }

// limitBody bounds a body in size and time. The server-wide ReadTimeout cannot be used: it would go on counting
// while a stream is written and end its context.
func (h *Handler) limitBody(x *response, r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	wait := h.cfg.BodyTimeout
	if isMultipart(r) {
		wait *= 10
	}
	x.renew(x.began) // the last request's deadline may be over, and "100 Continue" is a write
	rc := http.NewResponseController(x.ResponseWriter)
	if err := rc.SetReadDeadline(x.began.Add(wait)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		h.cfg.Logger.WarnContext(r.Context(), "no read deadline", "error", err)
	}
	r.Body = &timedBody{ReadCloser: http.MaxBytesReader(x.ResponseWriter, r.Body, h.cfg.MaxBody), rc: rc}
}

// timedBody lifts the read deadline when the body has come: from then on the connection is only watched for the
// client's leaving.
type timedBody struct {
	io.ReadCloser
	rc     *http.ResponseController
	lifted bool
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !b.lifted {
		b.lifted = true
		var tooSlow net.Error
		if !errors.As(err, &tooSlow) || !tooSlow.Timeout() {
			_ = b.rc.SetReadDeadline(time.Time{}) // as above
		}
	}
	return n, err
}
