package document

import (
	"context"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/gqlhttp/present"
)

// persistedNotFound is the code and the message that Apollo's clients know.
const (
	persistedNotFoundCode    = "PERSISTED_QUERY_NOT_FOUND"
	persistedNotFoundMessage = "PersistedQueryNotFound"
)

// persistedQueries is gqlgen's AutomaticPersistedQuery with this API's errors. Anyone may register: a hash only names
// a text and gives no right to run it. What anonymous callers register stays in its own small region.
type persistedQueries struct {
	extension.AutomaticPersistedQuery
}

func newPersistedQueries() persistedQueries {
	return persistedQueries{extension.AutomaticPersistedQuery{Cache: textCache{newRegions[string](1000, persistedBytes)}}}
}

func (q persistedQueries) MutateOperationParameters(ctx context.Context, p *graphql.RawParams) *gqlerror.Error {
	ext := p.Extensions["persistedQuery"]
	if ext == nil {
		return nil
	}
	if _, ok := ext.(map[string]any); !ok {
		return present.Wrap(errs.Input("extensions.persistedQuery", "extensions.persistedQuery must be an object with version 1 and sha256Hash."))
	}
	err := q.AutomaticPersistedQuery.MutateOperationParameters(ctx, p)
	switch {
	case err == nil:
		return nil
	case err.Extensions["code"] == persistedNotFoundCode:
		return present.Protocol(persistedNotFoundCode, persistedNotFoundMessage)
	}
	return present.Wrap(errs.Input("extensions.persistedQuery",
		"extensions.persistedQuery must have version 1 and as sha256Hash the SHA-256 of the query in lower-case hex."))
}

type textCache struct{ regions[string] }

func (c textCache) Get(_ context.Context, hash string) (string, bool) { return c.get(hash) }

func (c textCache) Add(ctx context.Context, hash, query string) {
	c.add(ctx, hash, query, len(hash)+len(query))
}
