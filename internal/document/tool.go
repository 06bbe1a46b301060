package document

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/tool/builtin/searchdocuments"
)

// Searcher is what the search_documents tool searches with.
func (s *Service) Searcher() searchdocuments.Searcher { return searcher{s} }

type searcher struct{ s *Service }

// Search is Service.Search, HYBRID, with the rights the user has at this moment.
func (t searcher) Search(ctx context.Context, userID uuid.UUID, query string, limit int, documentIDs []uuid.UUID) ([]searchdocuments.Passage, error) {
	p, err := t.s.LoadUser(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("the user who searches: %w", err)
	}
	if p == nil || p.UserID != userID {
		return nil, errs.New(errs.Forbidden, "The user on whose behalf this is searched may not search.")
	}
	now := authz.From(ctx)
	if now != nil && now.UserID == userID && now.APIToken {
		p = p.Within(now.SessionID, now.Permissions())
	}
	if now == nil || now.UserID != userID || now.Kind == enum.ActorKindAgent {
		p = p.AsAgent() // unless the user called the tool in person
	}
	found, err := t.s.Search(authz.With(ctx, p), SearchParams{Query: query, Limit: limit, Type: enum.SearchTypeHybrid, DocumentIDs: documentIDs})
	if err != nil {
		return nil, err
	}
	out := make([]searchdocuments.Passage, len(found.Hits))
	for i, h := range found.Hits {
		out[i] = searchdocuments.Passage{
			DocumentID: h.Document.ID, ChunkID: h.Chunk.ID, Title: h.Document.Title, Start: h.Chunk.StartOffset, End: h.Chunk.EndOffset,
			Page: h.Chunk.Page, Text: h.Chunk.Content, Score: h.Score, Sensitivity: h.Document.Sensitivity,
		}
	}
	return out, nil
}
