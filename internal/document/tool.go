package document

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/retrieval"
	"cdsa.dev/cdsa/internal/tool/builtin/searchdocuments"
)

// Searcher is what the search_documents tool searches with.
func (s *Service) Searcher() searchdocuments.Searcher { return searcher{s} }

type searcher struct{ s *Service }

// nearEnough is the likeness of meaning below which a passage without a word of the question has nothing to do with it: measured
// with the local model, unrelated ones have up to a third, and nine of ten that say the same in other words have more.
const nearEnough = 0.35

// Search is Service.Search, HYBRID, with the rights the user has at this moment, without passages that have nothing to do with the
// question: a ranking has a first place even where nothing fits.
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
	out := make([]searchdocuments.Passage, 0, len(found.Hits))
	for _, h := range found.Hits {
		words := h.KeywordRank != nil && h.Chunk.Language != "" // where function words are known, it was found by another
		if h.Similarity < nearEnough && !words && !retrieval.HasWordOf(query, h.Chunk.Content) {
			continue
		}
		out = append(out, searchdocuments.Passage{
			DocumentID: h.Document.ID, ChunkID: h.Chunk.ID, Title: h.Document.Title, Start: h.Chunk.StartOffset, End: h.Chunk.EndOffset,
			Page: h.Chunk.Page, Text: h.Chunk.Content, Score: h.Score, Sensitivity: h.Document.Sensitivity,
		})
	}
	return out, nil
}
