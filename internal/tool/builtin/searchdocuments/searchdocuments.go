// Package searchdocuments is the built-in tool "search_documents": the passages of the organisation's documents that
// fit a question best, among those the asking user may read.
//
// What the user may read is the Searcher's to know; this package adds no rights and removes none. It keeps no state. The
// result's sensitivity is the highest of its passages. Errors are *tool.Error: TOOL_ERROR for what the user can
// change, DEPENDENCY_UNAVAILABLE when the search cannot answer.
package searchdocuments

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/tool"
)

const (
	defaultLimit = 5
	maxLimit     = 20
	maxDocuments = 100       // a search may be limited to
	maxBytes     = 192 << 10 // of passages as JSON, well within tool.MaxResult
)

// Passage is one hit. Start and End are offsets in Unicode code points into the document's extracted text, and Text
// is exactly what lies between them, so that an answer can cite it.
type Passage struct {
	DocumentID  uuid.UUID
	ChunkID     uuid.UUID
	Title       string
	Start, End  int
	Page        *int
	Text        string
	Score       float64 // relevance, higher is better
	Sensitivity enum.Sensitivity
}

// Searcher finds passages, best first, in what the user may read at this moment, and records the search. With
// documentIDs it looks into these documents only. Errors: an *errs.Error whose sentence may be shown, or any other.
type Searcher interface {
	Search(ctx context.Context, userID uuid.UUID, query string, limit int, documentIDs []uuid.UUID) ([]Passage, error)
}

type input struct {
	Query       string      `json:"query"`
	Limit       int         `json:"limit"`
	DocumentIDs []uuid.UUID `json:"documentIds"`
}

type passage struct {
	Number      int              `json:"number"` // from 1; what an answer cites as [1]
	DocumentID  uuid.UUID        `json:"documentId"`
	ChunkID     uuid.UUID        `json:"chunkId"`
	Title       string           `json:"title"`
	Start       int              `json:"start"`
	End         int              `json:"end"`
	Page        *int             `json:"page"`
	Text        string           `json:"text"`
	Score       float64          `json:"score"`
	Sensitivity enum.Sensitivity `json:"sensitivity"`
}

type output struct {
	Passages  []passage `json:"passages"`
	Truncated bool      `json:"truncated"` // there were more than fit
}

// New makes the tool over a Searcher.
func New(s Searcher) (tool.Builtin, error) {
	return tool.Typed(definition(), func(ctx context.Context, c tool.Call, in input) (output, enum.Sensitivity, error) {
		if in.Limit == 0 {
			in.Limit = defaultLimit
		}
		hits, err := s.Search(ctx, c.UserID, in.Query, in.Limit, in.DocumentIDs)
		if err != nil {
			return output{}, "", explain(err)
		}
		return gather(hits[:min(len(hits), in.Limit)])
	})
}

// gather numbers the passages and stops before they are too large to keep.
func gather(hits []Passage) (output, enum.Sensitivity, error) {
	out := output{Passages: []passage{}}
	level := enum.SensitivityPublic
	size := 0
	for i, h := range hits {
		p := passage{i + 1, h.DocumentID, h.ChunkID, h.Title, h.Start, h.End, h.Page, h.Text, h.Score, h.Sensitivity}
		if !slices.Contains(p.Sensitivity.Values(), string(p.Sensitivity)) {
			p.Sensitivity = enum.SensitivityRestricted // unsaid: the worst
		}
		b, err := json.Marshal(p)
		if err != nil {
			return output{}, "", fmt.Errorf("encoding a passage: %w", err)
		}
		if size += len(b); size > maxBytes {
			out.Truncated = true
			break
		}
		out.Passages = append(out.Passages, p)
		if rank(p.Sensitivity) > rank(level) {
			level = p.Sensitivity
		}
	}
	return out, level, nil
}

func rank(s enum.Sensitivity) int { return slices.Index(s.Values(), string(s)) }

func explain(err error) error {
	e, ok := errs.As(err)
	switch {
	case ok && e.Code == errs.UpstreamUnavailable || !ok:
		return tool.Unavailable(err, "The document search did not answer; try again in a moment.")
	default:
		return &tool.Error{Code: enum.ToolErrorCodeToolError, Message: e.Message}
	}
}

func definition() tool.Definition {
	type m = map[string]any
	text, whole := m{"type": "string"}, m{"type": "integer", "minimum": 0}
	return tool.Definition{
		Name:        "search_documents",
		DisplayName: "Search documents",
		Description: "Searches the organisation's documents that the user may read and returns the best passages, each with a number to cite it by. " +
			"Use it before answering a question about the organisation.",
		Category:  enum.ToolCategoryKnowledgeSearch,
		RiskLevel: enum.RiskLevelLow,
		Schema: m{"type": "object", "required": []any{"query"}, "additionalProperties": false, "properties": m{
			"query": m{"type": "string", "minLength": 1, "maxLength": 2_000, "pattern": `\S`, "description": "What to look for, in plain words."},
			"limit": m{"type": "integer", "minimum": 1, "maximum": maxLimit, "default": defaultLimit, "description": "How many passages at most."},
			"documentIds": m{"type": "array", "minItems": 1, "maxItems": maxDocuments, "items": m{"type": "string", "format": "uuid"},
				"description": "Ids of the documents to look into; without it, all that the user may read."}}},
		OutputSchema: m{"type": "object", "required": []any{"passages", "truncated"}, "additionalProperties": false, "properties": m{
			"truncated": m{"type": "boolean"},
			"passages": m{"type": "array", "maxItems": maxLimit, "items": m{"type": "object", "additionalProperties": false,
				"required": []any{"number", "documentId", "chunkId", "title", "start", "end", "page", "text", "score", "sensitivity"},
				"properties": m{"number": whole, "documentId": text, "chunkId": text, "title": text, "start": whole, "end": whole,
					"page": m{"type": []any{"integer", "null"}}, "text": text, "score": m{"type": "number"},
					"sensitivity": m{"enum": []any{"PUBLIC", "INTERNAL", "CONFIDENTIAL", "RESTRICTED"}}}}}}},
		Hints:          tool.Hints{ReadOnly: true, Idempotent: true},
		TimeoutSeconds: 20, MaxConcurrent: 8,
	}
}
