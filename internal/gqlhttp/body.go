package gqlhttp

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"cdsa.dev/cdsa/internal/errs"
)

const (
	// maxDrain is how much of an over-long body is read and thrown away, so that a client still sending gets to
	// read the refusal instead of a reset connection. Bytes.
	maxDrain = 32 << 20
	// serverDrains is how much net/http itself throws away behind an answer, without closing the connection. Bytes.
	serverDrains = 256 << 10
	// drainTime bounds the same; every refusal is out within two seconds.
	drainTime = time.Second
)

// readBody reads at most limit bytes into the exchange's buffer; false means the refusal is sent.
func (x *exchange) readBody(limit int64) ([]byte, bool) {
	if x.r.ContentLength > limit {
		x.tooLarge(limit)
		return nil, false
	}
	if n := x.r.ContentLength; n > 0 {
		x.buf.in.Grow(int(min(n, maxPooled)))
	}
	n, err := x.buf.in.ReadFrom(io.LimitReader(x.r.Body, limit+1))
	if n > limit || isTooLarge(err) {
		x.tooLarge(limit)
		return nil, false
	}
	if err != nil {
		x.refuseInput(http.StatusBadRequest, 0, errs.New(errs.BadUserInput, "The request body could not be read to its end. Send it again."))
		return nil, false
	}
	return x.buf.in.Bytes(), true
}

func isTooLarge(err error) bool {
	var e *http.MaxBytesError
	return errors.As(err, &e)
}

func (x *exchange) tooLarge(limit int64) {
	x.drain()
	x.refuseInput(http.StatusRequestEntityTooLarge, 0, errs.New(errs.ResourceExhausted,
		"The request body is larger than %d bytes. Send less.", limit))
}

// drain throws away what the client is still sending and closes the connection after the answer.
func (x *exchange) drain() {
	x.w.Header().Set("Connection", "close")
	// Not every writer has deadlines (a recorder in tests); the byte limit holds without them.
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(drainTime))
	// The body is refused whatever it holds, so how its reading ends is of no interest.
	_, _ = io.CopyN(io.Discard, x.r.Body, maxDrain)
}

// jsonContent says whether the request's body is declared as UTF-8 JSON without a content coding.
func jsonContent(h http.Header) bool {
	if ce := h.Get("Content-Encoding"); ce != "" && !strings.EqualFold(ce, "identity") {
		return false
	}
	ct := h["Content-Type"]
	if len(ct) == 1 && ct[0] == "application/json" {
		return true
	}
	if len(ct) != 1 {
		return false
	}
	typ, params, err := mime.ParseMediaType(ct[0])
	if err != nil || typ != "application/json" {
		return false
	}
	cs, ok := params["charset"]
	return !ok || strings.EqualFold(cs, "utf-8") || strings.EqualFold(cs, "utf8")
}
