// Package present is the one renderer of errors: it decides what of an error a client may see and what of its cause
// the log may. It never shows a cause, a client's value or a database's text, and it decides nothing about what is an
// error. Everything here is safe for concurrent use.
//
// Codes are those of package errs; the protocol's own are GRAPHQL_PARSE_FAILED, GRAPHQL_VALIDATION_FAILED and
// PERSISTED_QUERY_NOT_FOUND.
package present

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"strings"
	"unicode"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/pgaway"
)

const (
	internalMessage  = "Something went wrong on the server. Quote the request id to its operator."
	deadlineMessage  = "This took longer than the server allows. Ask for less, or try again."
	cancelledMessage = "The request was cancelled before it was finished. Send it again."
	awayMessage      = "The server cannot reach its database now. Try again in a few seconds."
	maxLogged        = 300 // runes of a cause in the log
)

// protocol is an error of the protocol itself, whose text this package wrote.
type protocol struct{ code, message string }

func (p *protocol) Error() string { return p.message }

// Protocol is an error with a code of the protocol itself and a sentence that is shown as it stands.
func Protocol(code, message string, at ...gqlerror.Location) *gqlerror.Error {
	return &gqlerror.Error{Err: &protocol{code, message}, Message: message, Locations: at, Extensions: map[string]any{"code": code}}
}

// Wrap lets a gqlgen mutator return err; the presenter finds it inside. The code is set already, for a transport that
// sends it as it is.
func Wrap(err error) *gqlerror.Error {
	var g *gqlerror.Error
	if errors.As(err, &g) {
		return g
	}
	if e, ok := errs.As(err); ok {
		return &gqlerror.Error{Err: err, Message: e.Message, Extensions: map[string]any{"code": string(e.Code)}}
	}
	return &gqlerror.Error{Err: err, Message: internalMessage, Extensions: map[string]any{"code": string(errs.Internal)}}
}

// Presenter is the one place that decides what of an error a client may see: an *errs.Error as it is, the protocol's
// own errors, a sentence for coercion, cancellation, deadlines and a database that cannot be reached
// (UPSTREAM_UNAVAILABLE), and for everything else INTERNAL_SERVER_ERROR with the request id. The cause of that goes to log (nil: slog.Default) with quoted values and addresses taken out.
func Presenter(log *slog.Logger) graphql.ErrorPresenterFunc {
	return func(ctx context.Context, err error) *gqlerror.Error {
		if err == nil {
			return nil
		}
		var g *gqlerror.Error
		errors.As(err, &g)
		return present(ctx, log, err, g)
	}
}

func present(ctx context.Context, log *slog.Logger, err error, g *gqlerror.Error) *gqlerror.Error {
	argument := argumentPath(ctx, g)
	if e, ok := errs.As(err); ok {
		logCause(ctx, log, e)
		if argument != "" && e.Code == errs.BadUserInput && len(e.Fields) == 0 {
			e = errs.Input(argument, "%s", e.Message)
		}
		return atField(ctx, render(ctx, e, g), argument != "")
	}
	var p *protocol
	switch {
	case errors.As(err, &p):
		out := &gqlerror.Error{Message: p.message, Extensions: extensions(ctx, p.code)}
		if g != nil {
			out.Locations = g.Locations
		}
		return out
	case errors.Is(err, context.DeadlineExceeded), pgaway.TooLong(err):
		return render(ctx, errs.New(errs.ResourceExhausted, deadlineMessage), g)
	case errors.Is(err, context.Canceled):
		e := errs.New(errs.UpstreamUnavailable, cancelledMessage)
		e.Retryable = true
		return render(ctx, e, g)
	case errors.Is(err, errPanicked): // logged with its stack already
		return atField(ctx, render(ctx, errs.New(errs.Internal, internalMessage), g), argument != "")
	case argument != "":
		e := errs.Input(argument, "The argument %s is not a valid value of its type.", argument)
		return atField(ctx, render(ctx, e, g), true)
	case g != nil && g.Err == nil:
		if len(g.Path) > 1 && g.Path[0] == ast.PathName("variable") {
			// A request error: its path led into the variables, not into the response.
			return render(ctx, variableError(g), &gqlerror.Error{Locations: g.Locations})
		}
		if e := foreign(g); e != nil {
			return render(ctx, e, g)
		}
	}
	if g != nil && g.Err != nil {
		err = g.Err // its own text would add the path, and so the client's aliases
	}
	if pgaway.Unreachable(err) {
		e := errs.Wrap(err, errs.UpstreamUnavailable, "%s", awayMessage)
		e.Retryable = pgaway.Unsent(err) || !mutates(ctx) // else it may have been done, with the answer lost
		logCause(ctx, log, e)
		return render(ctx, e, g)
	}
	logInternal(ctx, log, err)
	return render(ctx, errs.New(errs.Internal, internalMessage), g)
}

// mutates says whether what is being executed, if it is known, is a mutation.
func mutates(ctx context.Context) bool {
	if !graphql.HasOperationContext(ctx) {
		return false
	}
	op := graphql.GetOperationContext(ctx).Operation
	return op != nil && op.Operation == ast.Mutation
}

// foreign translates what gqlgen's and entgql's own code builds as finished errors.
func foreign(g *gqlerror.Error) *errs.Error {
	switch code, _ := g.Extensions["code"].(string); code {
	case "NOT_FOUND":
		return errs.Missing("object")
	case "INVALID_PAGINATION":
		return errs.New(errs.BadUserInput, "Ask for first or last, not both, with a size in the allowed range.")
	}
	return nil
}

// variableError words what gqlparser found wrong with a variable, without the value.
func variableError(g *gqlerror.Error) *errs.Error {
	name := Line(strings.TrimPrefix(g.Path.String(), "variable."), 100)
	switch g.Message {
	case "must be defined":
		return errs.Input(name, "The variable %s is required.", name)
	case "cannot be null":
		return errs.Input(name, "The variable %s must not be null.", name)
	case "unknown field":
		return errs.Input(name, "The variable %s is not a field of its input type.", name)
	}
	return errs.Input(name, "The variable %s is not a valid value of its type.", name)
}

// argumentPath is the argument, input fields included, that could not be turned into its Go type, or "". gqlgen
// reports these under the field whose arguments it was reading, with a path that goes on into the argument.
func argumentPath(ctx context.Context, g *gqlerror.Error) string {
	fc := graphql.GetFieldContext(ctx)
	if g == nil || fc == nil || fc.Args != nil || fc.Field.Field == nil || fc.Field.Definition == nil || len(fc.Field.Definition.Arguments) == 0 {
		return ""
	}
	if own := fc.Path(); len(g.Path) > len(own) {
		return g.Path[len(own):].String()
	}
	return ""
}

// atField cuts a path that leads into an argument back to its field: response paths know no arguments.
func atField(ctx context.Context, out *gqlerror.Error, inArgument bool) *gqlerror.Error {
	if inArgument {
		out.Path = graphql.GetFieldContext(ctx).Path()
	}
	return out
}

// render writes e for the client. g, which may be nil, gives path and locations.
func render(ctx context.Context, e *errs.Error, g *gqlerror.Error) *gqlerror.Error {
	out := &gqlerror.Error{Err: e, Message: e.Message, Extensions: extensions(ctx, e.Code)}
	if g != nil {
		out.Path, out.Locations = g.Path, g.Locations
	}
	if len(out.Path) == 0 {
		out.Path = graphql.GetPath(ctx)
	}
	if len(e.Fields) > 0 {
		out.Extensions["fields"] = maps.Clone(e.Fields)
	}
	if e.State != "" {
		out.Extensions["state"] = e.State
	}
	if e.RetryAfter > 0 {
		out.Extensions["retryAfterMs"] = e.RetryAfter.Milliseconds()
	}
	if e.Code == errs.UpstreamUnavailable {
		out.Extensions["retryable"] = e.Retryable
	}
	return out
}

func extensions[C ~string](ctx context.Context, code C) map[string]any {
	ext := map[string]any{"code": string(code)}
	if id := authz.RequestFrom(ctx).ID; id != "" {
		ext["requestId"] = id
	}
	return ext
}

var errPanicked = errors.New("panic while serving an operation")

// Recover turns a panic into an internal error and logs it with its stack.
func Recover(log *slog.Logger) graphql.RecoverFunc {
	return func(ctx context.Context, v any) error {
		logger(log).ErrorContext(ctx, "panic while serving an operation",
			"request_id", authz.RequestFrom(ctx).ID, "field", fieldName(ctx), "cause", scrub(fmt.Sprint(v)), "type", fmt.Sprintf("%T", v),
			"stack", string(debug.Stack()))
		return errPanicked
	}
}

func logger(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.Default()
	}
	return log
}

func logInternal(ctx context.Context, log *slog.Logger, err error) {
	logger(log).LogAttrs(ctx, slog.LevelError, "internal error", causeAttrs(ctx, err)...)
}

// logCause keeps what a client-facing error hides.
func logCause(ctx context.Context, log *slog.Logger, e *errs.Error) {
	cause := e.Unwrap()
	if cause == nil {
		return
	}
	level := slog.LevelDebug
	switch e.Code {
	case errs.Internal:
		level = slog.LevelError
	case errs.UpstreamUnavailable:
		level = slog.LevelWarn
	}
	logger(log).LogAttrs(ctx, level, "refused", append(causeAttrs(ctx, cause), slog.String("code", string(e.Code)))...)
}

func causeAttrs(ctx context.Context, err error) []slog.Attr {
	attrs := []slog.Attr{
		slog.String("request_id", authz.RequestFrom(ctx).ID),
		slog.String("field", fieldName(ctx)),
		slog.String("cause", scrub(err.Error())),
		slog.String("type", fmt.Sprintf("%T", root(err))),
	}
	var sql interface{ SQLState() string }
	if errors.As(err, &sql) {
		attrs = append(attrs, slog.String("sqlstate", sql.SQLState()))
	}
	return attrs
}

func root(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// fieldName is Type.field by the schema's names; aliases are the client's.
func fieldName(ctx context.Context) string {
	if fc := graphql.GetFieldContext(ctx); fc != nil && fc.Field.Field != nil {
		return fc.Object + "." + fc.Field.Name
	}
	return ""
}

// scrub takes quoted values and e-mail addresses out of an error's text: that is where drivers and parsers put what
// the client sent.
func scrub(text string) string {
	var out strings.Builder
	var quote rune
	for _, r := range Line(text, maxLogged) {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '"' || r == '`' || r == '\'':
			quote = r
			out.WriteString("…")
		case unicode.IsControl(r):
			out.WriteRune(' ')
		default:
			out.WriteRune(r)
		}
	}
	words := strings.Fields(out.String())
	for i, w := range words {
		if strings.Contains(w, "@") || strings.HasPrefix(strings.ToLower(w), "token=") || strings.HasPrefix(strings.ToLower(w), "password=") {
			words[i] = "…"
		}
	}
	return strings.Join(words, " ")
}

// Line cuts s to a number of runes.
func Line(s string, runes int) string {
	n := 0
	for i := range s {
		if n++; n > runes {
			return s[:i] + "…"
		}
	}
	return s
}
