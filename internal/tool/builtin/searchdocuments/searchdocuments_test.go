package searchdocuments

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/tool"
)

type searcher func(userID uuid.UUID, query string, limit int) ([]Passage, error)

// within is a searcher that notes the documents it was limited to.
type within struct{ documentIDs []uuid.UUID }

func (w *within) Search(_ context.Context, _ uuid.UUID, _ string, _ int, documentIDs []uuid.UUID) ([]Passage, error) {
	w.documentIDs = documentIDs
	return nil, nil
}

func (s searcher) Search(_ context.Context, userID uuid.UUID, query string, limit int, _ []uuid.UUID) ([]Passage, error) {
	return s(userID, query, limit)
}

func run(t *testing.T, s searcher, user uuid.UUID, params map[string]any) (tool.Result, error) {
	t.Helper()
	return runWith(t, s, user, params)
}

func runWith(t *testing.T, s Searcher, user uuid.UUID, params map[string]any) (tool.Result, error) {
	t.Helper()
	b, err := New(s)
	require.NoError(t, err)
	reg, err := tool.NewRegistry(b)
	require.NoError(t, err)
	return tool.NewRunner(reg, slog.New(slog.DiscardHandler)).
		Run(t.Context(), tool.Call{Tool: "search_documents", UserID: user, Parameters: params})
}

func TestTool(t *testing.T) {
	user, doc, chunk, page := uuid.New(), uuid.New(), uuid.New(), 7
	t.Run("OK", func(t *testing.T) {
		res, err := run(t, func(u uuid.UUID, q string, n int) ([]Passage, error) {
			require.Equal(t, user, u)
			require.Equal(t, "how long are logs kept", q)
			require.Equal(t, 2, n)
			return []Passage{
				{doc, chunk, "Policy", 10, 14, &page, "kept", 0.5, enum.SensitivityInternal},
				{doc, chunk, "Policy", 20, 22, nil, "no", 0.25, enum.SensitivityConfidential},
				{doc, chunk, "Policy", 30, 32, nil, "one too many", 0.1, enum.SensitivityRestricted},
			}, nil
		}, user, map[string]any{"query": "how long are logs kept", "limit": 2})
		require.NoError(t, err)
		require.Equal(t, enum.SensitivityConfidential, res.Sensitivity, "the highest of what is returned")
		require.Equal(t, map[string]any{"truncated": false, "passages": []any{
			map[string]any{"number": 1.0, "documentId": doc.String(), "chunkId": chunk.String(), "title": "Policy", "start": 10.0, "end": 14.0,
				"page": 7.0, "text": "kept", "score": 0.5, "sensitivity": "INTERNAL"},
			map[string]any{"number": 2.0, "documentId": doc.String(), "chunkId": chunk.String(), "title": "Policy", "start": 20.0, "end": 22.0,
				"page": nil, "text": "no", "score": 0.25, "sensitivity": "CONFIDENTIAL"},
		}}, res.Value)
	})
	t.Run("Nothing", func(t *testing.T) {
		res, err := run(t, func(_ uuid.UUID, _ string, n int) ([]Passage, error) {
			require.Equal(t, 5, n, "the default")
			return nil, nil
		}, user, map[string]any{"query": "x"})
		require.NoError(t, err)
		require.Equal(t, tool.Result{Value: map[string]any{"truncated": false, "passages": []any{}}, Sensitivity: enum.SensitivityPublic}, res)
	})
	t.Run("UnsaidSensitivity", func(t *testing.T) {
		res, err := run(t, func(uuid.UUID, string, int) ([]Passage, error) { return []Passage{{Text: "x"}}, nil }, user, map[string]any{"query": "x"})
		require.NoError(t, err)
		require.Equal(t, enum.SensitivityRestricted, res.Sensitivity)
	})
	t.Run("TooMuchText", func(t *testing.T) {
		big := strings.Repeat("é\n", 30<<10)
		res, err := run(t, func(uuid.UUID, string, int) ([]Passage, error) {
			return []Passage{{Text: big, Sensitivity: enum.SensitivityPublic}, {Text: big, Sensitivity: enum.SensitivityRestricted}}, nil
		}, user, map[string]any{"query": "x"})
		require.NoError(t, err)
		v := res.Value.(map[string]any)
		require.Len(t, v["passages"], 1)
		require.Equal(t, true, v["truncated"])
		require.Equal(t, enum.SensitivityPublic, res.Sensitivity, "what was left out does not count")
	})
	for name, c := range map[string]struct {
		err  error
		code enum.ToolErrorCode
		want string
	}{
		"Internal":  {errors.New("pq: relation chunks"), enum.ToolErrorCodeDependencyUnavailable, "The document search did not answer; try again in a moment."},
		"Upstream":  {errs.New(errs.UpstreamUnavailable, "The embedder is down."), enum.ToolErrorCodeDependencyUnavailable, "The document search did not answer; try again in a moment."},
		"Forbidden": {errs.New(errs.Forbidden, "You may not search."), enum.ToolErrorCodeToolError, "You may not search."},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := run(t, func(uuid.UUID, string, int) ([]Passage, error) { return nil, c.err }, user, map[string]any{"query": "x"})
			e, ok := tool.AsError(err)
			require.True(t, ok)
			require.Equal(t, c.code, e.Code)
			require.Equal(t, c.want, e.Message)
		})
	}
	for name, params := range map[string]map[string]any{
		"NoQuery": {}, "Blank": {"query": "  "}, "Limit0": {"query": "x", "limit": 0}, "Limit21": {"query": "x", "limit": 21}, "Unknown": {"query": "x", "userId": "y"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := run(t, func(uuid.UUID, string, int) ([]Passage, error) { t.Error("searched"); return nil, nil }, user, params)
			require.Error(t, err)
		})
	}
}

func TestTool_DocumentIDs(t *testing.T) {
	doc, other := uuid.New(), uuid.New()
	for name, c := range map[string]struct {
		params map[string]any
		want   []uuid.UUID
	}{
		"All": {map[string]any{"query": "x"}, nil},
		"Two": {map[string]any{"query": "x", "documentIds": []any{doc.String(), other.String()}}, []uuid.UUID{doc, other}},
	} {
		t.Run(name, func(t *testing.T) {
			w := &within{}
			_, err := runWith(t, w, uuid.New(), c.params)
			require.NoError(t, err)
			require.Equal(t, c.want, w.documentIDs)
		})
	}
	many := make([]any, maxDocuments+1)
	for i := range many {
		many[i] = uuid.NewString()
	}
	for name, bad := range map[string]any{"None": []any{}, "NotAnID": []any{"policy.md"}, "TooMany": many, "NotAList": doc.String()} {
		t.Run(name, func(t *testing.T) {
			_, err := run(t, func(uuid.UUID, string, int) ([]Passage, error) { t.Error("searched"); return nil, nil }, uuid.New(), map[string]any{"query": "x", "documentIds": bad})
			require.Error(t, err)
		})
	}
}
