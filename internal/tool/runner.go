package tool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/tool/canonical"
)

// Runner runs built-ins. Close waits for runs that outlived their time.
type Runner struct {
	registry *Registry
	log      *slog.Logger
	running  sync.WaitGroup
}

// NewRunner makes a runner of the registry's tools; log gets causes and panics, never parameters or results.
func NewRunner(r *Registry, log *slog.Logger) *Runner { return &Runner{registry: r, log: log} }

// Close waits until no executor is running any more, or for ctx. New runs must have stopped before.
func (r *Runner) Close(ctx context.Context) error {
	done := make(chan struct{})
	go func() { r.running.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for running tools: %w", ctx.Err())
	}
}

// Slot is the right to one run. It ends with Run or Release, whichever comes first.
type Slot struct {
	runner *Runner
	entry  entry
	once   sync.Once
}

// Reserve takes a slot of the tool, so that a worker can be sure of it before it consumes a grant. False when all are
// taken or there is no such built-in.
func (r *Runner) Reserve(name string) (*Slot, bool) {
	e, ok := r.registry.entries[name]
	if !ok {
		return nil, false
	}
	select {
	case e.slots <- struct{}{}:
		return &Slot{runner: r, entry: e}, true
	default:
		return nil, false
	}
}

// Release gives an unused slot back. It may be called after Run and more than once.
func (s *Slot) Release() { s.once.Do(func() { <-s.entry.slots }) }

// Run reserves a slot and runs; DEPENDENCY_UNAVAILABLE when none is free. Otherwise as Slot.Run.
func (r *Runner) Run(ctx context.Context, c Call) (Result, error) {
	if _, ok := r.registry.entries[c.Tool]; !ok {
		return Result{}, Fail("There is no built-in tool of this name on this server.")
	}
	s, ok := r.Reserve(c.Tool)
	if !ok {
		return Result{}, Unavailable(nil, "The tool is busy; try again in a moment.")
	}
	return s.Run(ctx, c)
}

// Run executes the call and returns its result as plain JSON values that satisfy the tool's output schema, or an *Error:
// TOOL_ERROR, TIMEOUT, INVALID_RESULT (wrong shape, or more than MaxResult) or DEPENDENCY_UNAVAILABLE. When ctx ends
// first - the call was cancelled, the server stops - the error is ctx's cause and no *Error. Parameters are
// validated once more. An executor that ignores its context is left behind at its time; it keeps its slot until it
// returns, and what it returns then is dropped.
func (s *Slot) Run(ctx context.Context, c Call) (Result, error) {
	used := false
	s.once.Do(func() { used = true })
	if !used {
		return Result{}, errors.New("tool: a slot was used twice")
	}
	if c.Tool != s.entry.Name {
		<-s.entry.slots
		return Result{}, fmt.Errorf("tool: a slot of %s was used for another tool", s.entry.Name)
	}
	params, err := s.entry.in.Check(c.Parameters)
	if err != nil {
		<-s.entry.slots
		return Result{}, &Error{Code: enum.ToolErrorCodeToolError, Message: err.Error(), cause: err}
	}
	c.Parameters = params
	limit := c.Timeout
	if limit <= 0 || limit > MaxTimeout {
		limit = s.entry.timeout()
	}
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()

	type outcome struct {
		res Result
		err error
	}
	done := make(chan outcome, 1)
	s.runner.running.Add(1)
	go func() {
		defer s.runner.running.Done()
		var o outcome
		func() {
			defer func() { <-s.entry.slots }() // before the outcome is known: who waits for it may start the next
			o.res, o.err = s.execute(ctx, c)
		}()
		done <- o
	}()
	select {
	case o := <-done:
		return s.settle(parent, ctx, limit, o.res, o.err)
	case <-ctx.Done():
		select { // both may be ready: a result in time counts
		case o := <-done:
			return s.settle(parent, ctx, limit, o.res, o.err)
		default:
			return s.settle(parent, ctx, limit, Result{}, ctx.Err())
		}
	}
}

// execute turns a panic into an error; the log gets the stack, which holds no values.
func (s *Slot) execute(ctx context.Context, c Call) (res Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.runner.log.ErrorContext(ctx, "tool panicked", "tool", c.Tool, "execution_id", c.ExecutionID, "stack", string(debug.Stack()))
			err = &Error{Code: enum.ToolErrorCodeToolError, Message: "The tool broke down; its operator can find the cause in the log.", cause: errors.New("panic")}
		}
	}()
	return s.entry.Execute(ctx, c)
}

func (s *Slot) settle(parent, ctx context.Context, limit time.Duration, res Result, err error) (Result, error) {
	if err == nil {
		return s.check(res)
	}
	if parent.Err() != nil {
		return Result{}, context.Cause(parent)
	}
	if e, ok := AsError(err); ok {
		return Result{}, e
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return Result{}, TimedOut(err, "The tool did not finish within %s.", limit)
	}
	return Result{}, &Error{Code: enum.ToolErrorCodeToolError, Message: "The tool failed; its operator can find the cause in the log.", cause: err}
}

// check gives the result as plain JSON, or INVALID_RESULT.
func (s *Slot) check(res Result) (Result, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(res.Value); err != nil {
		return Result{}, Invalid(err, "The tool returned something that is not JSON.")
	}
	v, err := canonical.Parse(buf.Bytes())
	if err != nil {
		return Result{}, Invalid(err, "The tool's result cannot be kept: %s.", err)
	}
	b, err := canonical.Marshal(v)
	if err != nil {
		return Result{}, Invalid(err, "The tool's result cannot be kept: %s.", err)
	}
	if len(b) > MaxResult {
		return Result{}, Invalid(nil, "The tool's result is larger than %d KiB; ask it for less.", MaxResult>>10)
	}
	if err := storable(v); err != nil {
		return Result{}, Invalid(err, "The tool's result cannot be kept: %s.", err)
	}
	if err := s.entry.out.match(v); err != nil {
		return Result{}, Invalid(fmt.Errorf("result does not fit the output schema at %d places", len(explain(err, "result"))),
			"The tool returned a result of another shape than it declares.")
	}
	if !slices.Contains(res.Sensitivity.Values(), string(res.Sensitivity)) {
		res.Sensitivity = enum.SensitivityRestricted // unsaid: the worst
	}
	return Result{v, res.Sensitivity}, nil
}
