package tool

import (
	"errors"
	"fmt"

	"cdsa.dev/cdsa/internal/enum"
)

// Error is how a run failed.
type Error struct {
	Code    enum.ToolErrorCode
	Message string // a whole sentence for the person and the model
	cause   error
}

func (e *Error) Error() string { return e.Message }

// Unwrap gives the cause, for the log.
func (e *Error) Unwrap() error { return e.cause }

// Fail is TOOL_ERROR: the tool did its work and the answer is that it cannot be done.
func Fail(format string, args ...any) *Error {
	return &Error{Code: enum.ToolErrorCodeToolError, Message: fmt.Sprintf(format, args...)}
}

// Unavailable is DEPENDENCY_UNAVAILABLE: something the tool needs did not answer; a retry may help.
func Unavailable(cause error, format string, args ...any) *Error {
	return &Error{Code: enum.ToolErrorCodeDependencyUnavailable, Message: fmt.Sprintf(format, args...), cause: cause}
}

// TimedOut is TIMEOUT.
func TimedOut(cause error, format string, args ...any) *Error {
	return &Error{Code: enum.ToolErrorCodeTimeout, Message: fmt.Sprintf(format, args...), cause: cause}
}

// Invalid is INVALID_RESULT: the tool returned what its definition does not allow.
func Invalid(cause error, format string, args ...any) *Error {
	return &Error{Code: enum.ToolErrorCodeInvalidResult, Message: fmt.Sprintf(format, args...), cause: cause}
}

// AsError finds the *Error in err's chain.
func AsError(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}
