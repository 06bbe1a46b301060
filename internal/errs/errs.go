// Package errs is the one error type that reaches clients: a code to branch on and a sentence that tells a person
// what to do. An error of any other type is internal: it is logged and shown as a fixed sentence with the request id.
package errs

import (
	"errors"
	"fmt"
	"time"
)

// Code is the value of extensions.code.
type Code string

// The codes of the API. Table tells what each means.
const (
	Unauthenticated     Code = "UNAUTHENTICATED"
	Forbidden           Code = "FORBIDDEN"
	NotFound            Code = "NOT_FOUND"
	BadUserInput        Code = "BAD_USER_INPUT"
	Conflict            Code = "CONFLICT"
	FailedPrecondition  Code = "FAILED_PRECONDITION"
	IllegalTransition   Code = "ILLEGAL_TRANSITION"
	Expired             Code = "EXPIRED"
	MFARequired         Code = "MFA_REQUIRED"
	StepUpRequired      Code = "STEP_UP_REQUIRED"
	RateLimited         Code = "RATE_LIMITED"
	ResourceExhausted   Code = "RESOURCE_EXHAUSTED"
	UpstreamUnavailable Code = "UPSTREAM_UNAVAILABLE"
	Internal            Code = "INTERNAL_SERVER_ERROR"
)

// Table says what each code means to a client, for docs/errors.md.
var Table = []struct {
	Code    Code
	Meaning string
}{
	{Unauthenticated, "No one is signed in, or the token is bad, expired or revoked. Sign in or refresh."},
	{Forbidden, "The caller may see the object but not do this to it, or lacks the permission of the field."},
	{NotFound, "There is no such object, or the caller may not see it; the two are not told apart."},
	{BadUserInput, "An argument is wrong. extensions.fields names each bad field with a sentence."},
	{Conflict, "Another object or a concurrent change is in the way. Read again."},
	{FailedPrecondition, "The object is not in a state that allows this. extensions.state is its state."},
	{IllegalTransition, "The state machine has no such step. extensions.state is the present state."},
	{Expired, "The request, link or grant is past its time."},
	{MFARequired, "A second factor is needed. extensions.state tells which: CODE_MISSING, sign in again with a code; ENROLLMENT, enrol one first."},
	{StepUpRequired, "This needs a fresh second factor: call stepUp, then try again."},
	{RateLimited, "Too many requests. Try again after extensions.retryAfterMs."},
	{ResourceExhausted, "A size or number limit was passed. Ask for less."},
	{UpstreamUnavailable, "Something this server depends on did not answer. extensions.retryable says whether to try again."},
	{Internal, "A fault of the server. Quote extensions.requestId to its operator."},
}

// Error is an error a client may see.
type Error struct {
	Code       Code
	Message    string            // a whole sentence
	Fields     map[string]string // argument path to sentence, with BadUserInput
	State      string            // present state, with FailedPrecondition, IllegalTransition and MFARequired
	RetryAfter time.Duration     // with RateLimited
	Retryable  bool              // with UpstreamUnavailable
	cause      error             // for the log only
}

func (e *Error) Error() string { return e.Message }

// Unwrap gives the cause, which never reaches a client.
func (e *Error) Unwrap() error { return e.cause }

// New makes an error from a code and a sentence.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes an error that hides cause from the client and keeps it for the log.
func Wrap(cause error, code Code, format string, args ...any) *Error {
	e := New(code, format, args...)
	e.cause = cause
	return e
}

// Input is BAD_USER_INPUT for one field; the sentence stands for the whole as well.
func Input(field, format string, args ...any) *Error {
	s := fmt.Sprintf(format, args...)
	return &Error{Code: BadUserInput, Message: s, Fields: map[string]string{field: s}}
}

// Missing is NOT_FOUND, which never tells whether the object exists.
func Missing(what string) *Error {
	return New(NotFound, "There is no such %s, or you may not see it.", what)
}

// InState is FAILED_PRECONDITION or ILLEGAL_TRANSITION with the object's present state.
func InState(code Code, state, format string, args ...any) *Error {
	e := New(code, format, args...)
	e.State = state
	return e
}

// As finds the client-facing error in err's chain.
func As(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}

// Is says whether err carries code.
func Is(err error, code Code) bool {
	e, ok := As(err)
	return ok && e.Code == code
}
