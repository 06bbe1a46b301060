// Package document turns query texts into documents that are safe to run: parsed, measured, validated and completed
// with page sizes once, before any operation shares them, and read-only from then on. Each operation is then judged by
// its caller and its variables: introspection, page sizes, cursors, filters, cost. What it answers is metered.
//
// It refuses before it works: shape before validation, which is quadratic in places, and all of it before the first
// resolver. It decides no permission but one: introspection needs a signed-in caller. Everything here is safe for
// concurrent use.
//
// Codes: GRAPHQL_PARSE_FAILED and GRAPHQL_VALIDATION_FAILED for a text that is no valid document, RESOURCE_EXHAUSTED
// for every limit, RATE_LIMITED by Limits.Budgets, BAD_USER_INPUT for page sizes, cursors, filters and NUL characters, UNAUTHENTICATED for
// introspection.
package document

import (
	"context"
	"log/slog"

	"github.com/99designs/gqlgen/graphql/executor"

	"cdsa.dev/cdsa/internal/gqlhttp/present"
	"cdsa.dev/cdsa/internal/ratelimit"
)

// Limits bound documents and operations. A zero refuses everything it limits; start from DefaultLimits.
type Limits struct {
	MaxTokens     int // lexical tokens of a document
	MaxDepth      int // fields inside fields
	MaxAliases    int // of a document
	MaxDirectives int // of a document
	MaxFields     int // of a document, as written
	MaxOperations int // of a document
	MaxFragments  int // of a document
	MaxMutations  int // root fields of one mutation
	MaxErrors     int // in one response
	MaxCost       int // of one operation, see Cost
	MaxPredicates int // of an operation's filters together
	MaxValues     int // of an operation's filters together
	MaxFilter     int // filters inside filters
	MaxAnswer     int // bytes of one answer, see package meter

	PageDefault int // elements of a page when neither first nor last is given
	PageMax     int // the most that first or last may ask for

	// ValidCursor judges every after and before in front of the resolvers; field is Type.field. It must be set: a
	// forged cursor makes entgql panic.
	ValidCursor func(field, cursor string) error

	// Budgets are charged with an operation's cost, after everything else was judged and before anything runs, and what is
	// left is in extensions.cost of the answer, subscriptions' aside: one answer may be many subscribers'. An operation
	// that is refused takes the price of finding out. Nil: there are no budgets.
	Budgets *ratelimit.Limiter
	// Translate may put another error in the place of one that a resolver gave, before it is presented; nil keeps all.
	Translate func(ctx context.Context, err error) error
}

// DefaultLimits are the defaults of the API contract.
func DefaultLimits() Limits {
	return Limits{
		MaxTokens: 15_000, MaxDepth: 30, MaxAliases: 100, MaxDirectives: 200, MaxFields: 1_000,
		MaxOperations: 20, MaxFragments: 200, MaxMutations: 20, MaxErrors: 100, MaxCost: 50_000,
		MaxPredicates: 100, MaxValues: 1_000, MaxFilter: 8, MaxAnswer: 32 << 20,
		PageDefault: 20, PageMax: 100,
	}
}

// Install gives srv these limits, the caches, persisted queries, the error presenter and the panic handler, for every
// transport it has. Extensions that must see an operation before it is judged are added to srv first. It panics
// without ValidCursor. log may be nil: slog.Default.
func (l Limits) Install(srv *executor.Executor, log *slog.Logger) {
	d := &documents{limits: l, saved: newPersistedQueries(), inner: present.Presenter(log)}
	srv.SetErrorPresenter(d.present)
	srv.SetRecoverFunc(present.Recover(log))
	srv.SetParserTokenLimit(l.MaxTokens)
	srv.SetDisableSuggestion(true)
	srv.SetQueryCache(d)
	srv.Use(d)
}
