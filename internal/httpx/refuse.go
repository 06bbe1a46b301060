package httpx

import (
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
)

var statusOf = map[errs.Code]int{
	errs.Unauthenticated: http.StatusUnauthorized, errs.Forbidden: http.StatusForbidden, errs.NotFound: http.StatusNotFound,
	errs.Conflict: http.StatusConflict, errs.RateLimited: http.StatusTooManyRequests, errs.ResourceExhausted: http.StatusRequestEntityTooLarge,
	errs.UpstreamUnavailable: http.StatusServiceUnavailable, errs.Internal: http.StatusInternalServerError,
}

type errorBody struct {
	Errors []errorItem `json:"errors"`
}

type errorItem struct {
	Message    string         `json:"message"`
	Extensions map[string]any `json:"extensions"`
}

// Refuse answers a request that does not reach the API with the error as a GraphQL response. Anything but an
// *errs.Error is INTERNAL_SERVER_ERROR with a fixed sentence. It logs nothing.
func Refuse(w http.ResponseWriter, r *http.Request, err error) {
	e, ok := errs.As(err)
	if !ok {
		e = errs.New(errs.Internal, "Something went wrong on the server. Quote the request id to its operator.")
	}
	ext := map[string]any{"code": e.Code, "requestId": authz.RequestFrom(r.Context()).ID}
	if len(e.Fields) > 0 {
		ext["fields"] = e.Fields
	}
	hd := w.Header()
	switch e.Code {
	case errs.Unauthenticated:
		hd.Set("WWW-Authenticate", `Bearer realm="cdsa", error="invalid_token"`)
	case errs.RateLimited:
		ext["retryAfterMs"] = e.RetryAfter.Milliseconds()
		hd.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	case errs.UpstreamUnavailable:
		ext["retryable"] = e.Retryable
	}
	status, ok := statusOf[e.Code]
	if !ok {
		status = http.StatusBadRequest
	}
	kind := "application/json; charset=utf-8"
	if strings.Contains(r.Header.Get("Accept"), "application/graphql-response+json") {
		kind = "application/graphql-response+json; charset=utf-8"
	}
	body, err := json.Marshal(errorBody{[]errorItem{{e.Message, ext}}})
	if err != nil { // strings, numbers and maps of them
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	hd.Set("Content-Type", kind)
	hd.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone away is not an event
}

// refuse is Refuse with the cause in the log when it is the server's.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e, ok := errs.As(err)
	switch {
	case r.Context().Err() != nil: // the client left; there is no one to answer and nothing to mend
	case !ok || e.Code == errs.Internal:
		h.cfg.Logger.ErrorContext(r.Context(), "request refused by a fault", "error", cause(err))
	case e.Code == errs.UpstreamUnavailable:
		h.cfg.Logger.WarnContext(r.Context(), "request refused", "code", string(e.Code), "error", cause(err))
	default:
		h.cfg.Logger.LogAttrs(r.Context(), slog.LevelDebug, "request refused", slog.String("code", string(e.Code)), slog.String("why", cause(err)))
	}
	Refuse(w, r, err)
}

func cause(err error) string {
	if e, ok := errs.As(err); ok {
		if c := errors.Unwrap(e); c != nil {
			return c.Error()
		}
	}
	return err.Error()
}
