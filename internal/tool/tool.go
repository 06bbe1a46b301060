// Package tool validates the parameters of tools and runs them: JSON Schema 2020-12 under limits, a registry of
// built-in tools, and a runner that bounds time, concurrency and size and survives what an executor does.
//
// It decides nothing about people: permissions, approvals and the audit log are the caller's, who has settled them
// before Run. It stores nothing and knows neither the database nor GraphQL. Everything exported is safe for concurrent
// use once built.
//
// Errors: what is wrong with a schema or with parameters is an *errs.Error; how a run ended is an *Error, whose code goes into the row
// of the call and whose sentence goes to the person and the model; its cause is for the log alone. Neither quotes
// parameters or results.
package tool

import (
	"context"
	"time"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/enum"
)

// Limits of what goes into and comes out of a tool (data-model: JSON columns are limited to 256 KiB).
const (
	MaxParameters = 256 << 10 // bytes of canonical JSON
	MaxResult     = 256 << 10 // bytes of canonical JSON
	MaxValues     = 20_000    // values in one JSON tree, nested ones and keys' values included
)

// Call is one run of a tool: cleared, counted and authorised already.
type Call struct {
	ExecutionID uuid.UUID
	UserID      uuid.UUID // on whose behalf; an executor that reads data filters by this user's rights
	Tool        string    // name
	Version     int
	Parameters  map[string]any // as Schema.Check returned them: the very values whose hash was approved
	Timeout     time.Duration  // 0: the definition's; a tool's row may shorten or lengthen it up to MaxTimeout
}

// Result is what a tool returns.
type Result struct {
	Value       any              // JSON: nil, bool, string, float64, []any, map[string]any once the Runner has seen it
	Sensitivity enum.Sensitivity // of Value; the conversation's rises to it
}

// Executor runs one tool. Execute honours ctx, changes nothing after it returns, and returns an *Error with a
// sentence for whatever the caller can act on; any other error is shown as a fixed sentence. It is called from many
// goroutines at once.
type Executor interface {
	Execute(ctx context.Context, c Call) (Result, error)
}

// Checker is an Executor that sees from the parameters alone, without reaching out, that a call cannot succeed. Check is
// asked before a call has a row, so that no person decides on what is hopeless; Execute still judges for itself.
type Checker interface {
	Executor
	// Check returns a sentence for each bad field, by its path ("parameters.url"). params satisfy the schema.
	Check(params map[string]any) (map[string]string, error)
}

// ExecutorFunc is an Executor of one function.
type ExecutorFunc func(ctx context.Context, c Call) (Result, error)

// Execute calls f.
func (f ExecutorFunc) Execute(ctx context.Context, c Call) (Result, error) { return f(ctx, c) }
