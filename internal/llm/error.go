package llm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cdsa.dev/cdsa/internal/errs"
)

// Kind says what went wrong with a model call.
type Kind string

// The values of Kind.
const (
	KindTimeout       Kind = "timeout"        // no answer, or no next chunk, in time
	KindRateLimited   Kind = "rate_limited"   // 429
	KindUnavailable   Kind = "unavailable"    // connection failed or broke off, 5xx
	KindProtocol      Kind = "protocol"       // the answer is not what the protocol says, or beyond all bounds
	KindContextLength Kind = "context_length" // the conversation is longer than the model reads
	KindAuth          Kind = "auth"           // the key is missing, wrong or lacks the right
	KindRefused       Kind = "refused"        // any other refusal of the request: trying again will not help
	KindToolArguments Kind = "tool_arguments" // a tool call's arguments are no JSON object; goes back to the model
	KindCancelled     Kind = "cancelled"      // the caller's context ended
)

// Error is the failure of a model call. It holds neither the key nor the prompt nor the provider's text, so it may
// be logged as it is.
type Error struct {
	Kind       Kind
	Provider   string
	Status     int           // HTTP status, 0 without one
	Code       string        // the provider's error code, if it looked like one
	RetryAfter time.Duration // what the provider asked for, 0 if it did not
	Tool       string        // with KindToolArguments
	Partial    bool          // some of the answer had already been yielded
	cause      error         // context.Canceled or context.DeadlineExceeded only: others quote URLs and bodies
}

func (e *Error) Error() string {
	s := fmt.Sprintf("model call: %s", e.Kind)
	if e.Provider != "" {
		s = fmt.Sprintf("model call to %s: %s", e.Provider, e.Kind)
	}
	if e.Status != 0 {
		s += fmt.Sprintf(", status %d", e.Status)
	}
	if e.Code != "" {
		s += ", code " + e.Code
	}
	if e.Tool != "" {
		s += ", tool " + e.Tool
	}
	return s
}

// Unwrap gives the context's error of a cancelled call.
func (e *Error) Unwrap() error { return e.cause }

// Retryable says whether the same request may succeed later.
func (e *Error) Retryable() bool {
	switch e.Kind {
	case KindTimeout, KindRateLimited, KindUnavailable, KindProtocol:
		return true
	case KindContextLength, KindAuth, KindRefused, KindToolArguments, KindCancelled:
	}
	return false
}

// Cancelled is the error of a call whose context ended; ctx.Err() must not be nil.
func Cancelled(ctx context.Context, provider string) *Error {
	return &Error{Kind: KindCancelled, Provider: provider, cause: ctx.Err()}
}

// AsError finds a model's error in err's chain.
func AsError(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}

// Public is what a person may be told about the error.
func (e *Error) Public() *errs.Error {
	var out *errs.Error
	switch e.Kind {
	case KindContextLength:
		return errs.Wrap(e, errs.ResourceExhausted,
			"This conversation is longer than the model can read. Start a new session, or choose a model with a larger context window.")
	case KindAuth:
		out = errs.Wrap(e, errs.UpstreamUnavailable,
			"The model's provider does not accept this server's credentials. Ask an administrator to check the model's key.")
	case KindRefused, KindToolArguments:
		out = errs.Wrap(e, errs.UpstreamUnavailable,
			"The model's provider refused the request. Ask an administrator to check the model's settings.")
	case KindRateLimited:
		out = errs.Wrap(e, errs.UpstreamUnavailable, "The model's provider is too busy for this server right now. Try again in a minute.")
	case KindCancelled:
		out = errs.Wrap(e, errs.UpstreamUnavailable, "The answer was stopped before it was complete. Send the message again.")
	case KindTimeout, KindUnavailable, KindProtocol:
		out = errs.Wrap(e, errs.UpstreamUnavailable, "The model did not answer, or its answer broke off. Try again.")
	}
	if out == nil {
		return errs.Wrap(e, errs.Internal, "The model call failed. Try again, or ask an administrator.")
	}
	out.Retryable = e.Retryable() || e.Kind == KindCancelled
	return out
}
