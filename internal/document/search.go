package document

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/pgvector/pgvector-go"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/chatsession"
	"cdsa.dev/cdsa/ent/document"
	"cdsa.dev/cdsa/ent/documentchunk"
	"cdsa.dev/cdsa/ent/searchresult"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/retrieval"
	"cdsa.dev/cdsa/internal/retrieval/store"
	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

const (
	maxDocumentIDs = 100
	snippetLength  = 300 // code points
	// fusedBest is the highest score of fusion: first in both rankings.
	fusedBest = 2.0 / (retrieval.FusionK + 1)
)

// SearchParams say what to search; Query and Type are required.
type SearchParams struct {
	Query       string // 1..2,000 characters
	Limit       int    // 1..100
	Type        enum.SearchType
	Tags        []string    // only documents with one of them; empty: all
	DocumentIDs []uuid.UUID // only these, at most 100; empty: all
	SessionID   *uuid.UUID  // the caller's conversation it is for
	// WithContent loads the documents' whole text, which is large.
	WithContent bool
}

// Found is the outcome of a search.
type Found struct {
	SearchID  uuid.UUID // groups the results of this search
	Hits      []Hit     // best first
	Exhausted bool      // there is nothing more to find
	Took      time.Duration
}

// Hit is a passage that was found. Document is without its bytes and, unless asked for, its text; Chunk without its embedding.
type Hit struct {
	Result                  *ent.SearchResult
	Chunk                   *ent.DocumentChunk
	Document                *ent.Document
	Score                   float64 // 0..1, falling along the hits; compares nothing beyond this search
	Rank                    int     // from 1
	VectorRank, KeywordRank *int    // places by meaning and by words, from 1; nil when not found so
	Similarity              float64 // of meaning, cosine; 0 when not found so
	Snippet                 string
	GrantedBy               string // why the caller may read it: owner, public or the permission
}

// Search finds the passages that fit the query best among those the caller may read, and records the results. Needs
// search:execute, and finds nothing without documents:read: UNAUTHENTICATED, FORBIDDEN, BAD_USER_INPUT, NOT_FOUND for another's conversation, UPSTREAM_UNAVAILABLE.
// Documents the caller may not read, or that do not exist, are as if not named. Audited as DOCUMENT_SEARCHED, without the query.
func (s *Service) Search(ctx context.Context, p SearchParams) (Found, error) {
	start := time.Now()
	if _, err := authz.Require(ctx, "search", "execute"); err != nil {
		return Found{}, err
	}
	who, err := rule.Judged(ctx, "DocumentChunk")
	if err != nil {
		return Found{}, err
	}
	if err := p.check(); err != nil {
		return Found{}, err
	}
	if p.SessionID != nil {
		if err := s.ownSession(ctx, who, *p.SessionID); err != nil {
			return Found{}, err
		}
	}
	model, err := s.model(ctx)
	if err != nil {
		return Found{}, err
	}
	vector, err := s.embed(ctx, p)
	if err != nil {
		return Found{}, err
	}
	hits, err := store.Search(ctx, s.Pool, store.Params{
		Principal: who, Type: p.Type, Query: p.Query, Vector: vector, ModelID: model, Limit: p.Limit, DocumentIDs: p.DocumentIDs, Tags: p.Tags,
	})
	if err != nil {
		return Found{}, err
	}
	out := Found{SearchID: uuid.Must(uuid.NewV7()), Exhausted: len(hits) < p.Limit}
	if hits, err = s.record(ctx, who, p, out.SearchID, vector, hits); err != nil {
		return Found{}, err
	}
	if out.Hits, err = s.load(ctx, p, out.SearchID, hits); err != nil {
		return Found{}, err
	}
	out.Took = time.Since(start)
	return out, nil
}

func (p *SearchParams) check() error {
	switch {
	case strings.TrimSpace(p.Query) == "":
		return errs.Input("input.query", "Say what to search for.")
	case len(p.Query) > 4*store.MaxQuery || utf8.RuneCountInString(p.Query) > store.MaxQuery:
		return errs.Input("input.query", "A query may have at most %d characters. Shorten it.", store.MaxQuery)
	case strings.ContainsRune(p.Query, 0) || !utf8.ValidString(p.Query):
		return errs.Input("input.query", "The query contains characters that are not text. Remove them.")
	case p.Limit < 1 || p.Limit > store.MaxLimit:
		return errs.Input("input.limit", "Ask for between 1 and %d results.", store.MaxLimit)
	case !slices.Contains(p.Type.Values(), string(p.Type)):
		return errs.Input("input.searchType", "The search type must be SEMANTIC, KEYWORD or HYBRID.")
	case badTags(p.Tags):
		return errs.Input("input.tags", "At most %d tags of at most %d characters.", maxTags, maxTag)
	}
	if err := checkIDs(p.DocumentIDs, "input.documentIds"); err != nil {
		return err
	}
	if p.SessionID != nil {
		return uid.Check(*p.SessionID, uid.ChatSession, "input.sessionId")
	}
	return nil
}

// embed gives the query's vector, nil where only words count.
func (s *Service) embed(ctx context.Context, p SearchParams) ([]float32, error) {
	if p.Type == enum.SearchTypeKeyword {
		return nil, nil
	}
	v, err := s.Embedder.Embed(ctx, []string{p.Query})
	if err != nil {
		return nil, err
	}
	return v[0], nil
}

// ownSession refuses a conversation that is not the caller's, as if there were none.
func (s *Service) ownSession(ctx context.Context, who *authz.Principal, id uuid.UUID) error {
	ok, err := s.Client.ChatSession.Query().Where(chatsession.ID(id), chatsession.UserID(who.UserID)).Exist(ctx)
	if err == nil && !ok {
		return errs.Missing("conversation")
	}
	return err
}

// record writes a result for every hit that can still be read and gives those.
func (s *Service) record(ctx context.Context, who *authz.Principal, p SearchParams, searchID uuid.UUID, vector []float32, hits []store.Hit) ([]store.Hit, error) {
	return uow.Value(ctx, s.Store, func(ctx context.Context, tx *uow.Tx) ([]store.Hit, error) {
		hits, err := readable(ctx, tx.PG, who, hits)
		if err != nil {
			return nil, err
		}
		rows := make([]*ent.SearchResultCreate, len(hits))
		for i, h := range hits {
			rows[i] = tx.SearchResult.Create().SetQuery(p.Query).SetChunkID(h.ChunkID).SetDocumentID(h.DocumentID).SetStartOffset(h.Start).SetEndOffset(h.End).
				SetRelevanceScore(relevance(p.Type, h.Score)).SetRank(i + 1).SetUserID(who.UserID).SetNillableSessionID(p.SessionID).SetSearchType(p.Type).
				SetFiltersApplied(p.filters()).SetSearchID(searchID)
			if i == 0 && vector != nil { // one copy a search: 6 KB that are the same in every row
				rows[i].SetQueryEmbedding(pgvector.NewVector(vector))
			}
		}
		if len(rows) > 0 {
			if err := tx.SearchResult.CreateBulk(rows...).Exec(ctx); err != nil {
				return nil, err
			}
		}
		tx.Audit(searched(p, searchID, hits))
		return hits, nil
	})
}

// readable drops hits whose passage went away, is going, or was closed to the caller since it was found, and holds the
// others until commit. Waiting for one that is being deleted could be a deadlock.
func readable(ctx context.Context, tx pgx.Tx, who *authz.Principal, hits []store.Hit) ([]store.Hit, error) {
	ids := make([]uuid.UUID, len(hits))
	for i, h := range hits {
		ids[i] = h.ChunkID
	}
	scope, args := rule.Readable(who, "owner_id").SQL("c", 2)
	rows, err := tx.Query(ctx, "SELECT c.id FROM document_chunks c WHERE c.id = ANY($1) AND "+scope+" FOR KEY SHARE SKIP LOCKED", append([]any{ids}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("hold passages: %w", err)
	}
	there, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("hold passages: %w", err)
	}
	return slices.DeleteFunc(hits, func(h store.Hit) bool { return !slices.Contains(there, h.ChunkID) }), nil
}

// searched is the audit row: what was found, not what was asked.
func searched(p SearchParams, searchID uuid.UUID, hits []store.Hit) audit.Entry {
	documents := []uuid.UUID{}
	e := audit.Entry{Action: enum.AuditActionDocumentSearched, Resource: "SearchResult"}
	for _, h := range hits {
		if !slices.Contains(documents, h.DocumentID) {
			documents = append(documents, h.DocumentID)
		}
		e.Sensitive = e.Sensitive || atLeastConfidential(h.Sensitivity)
	}
	if p.SessionID != nil {
		e.SessionID = *p.SessionID
	}
	e.Details = map[string]any{"searchId": searchID, "searchType": p.Type, "limit": p.Limit, "hits": len(hits), "documents": documents}
	return e
}

func (p *SearchParams) filters() map[string]any {
	f := map[string]any{}
	if len(p.Tags) > 0 {
		f["tags"] = p.Tags
	}
	if len(p.DocumentIDs) > 0 {
		f["documentIds"] = p.DocumentIDs
	}
	return f
}

// relevance brings a score between 0 and 1: cosine similarity, cover density, or the share of the best sum fusion can give.
func relevance(t enum.SearchType, score float64) float64 {
	if t == enum.SearchTypeHybrid {
		score /= fusedBest
	}
	return min(1, max(0, score))
}

// load reads the rows of the hits as the caller.
func (s *Service) load(ctx context.Context, p SearchParams, searchID uuid.UUID, hits []store.Hit) ([]Hit, error) {
	out := []Hit{}
	if len(hits) == 0 {
		return out, nil
	}
	results, chunks, documents, err := s.rows(ctx, p, searchID, hits)
	if err != nil {
		return nil, err
	}
	for i, h := range hits {
		r, c, d := results[i+1], chunks[h.ChunkID], documents[h.DocumentID]
		if r == nil || c == nil || d == nil { // gone since
			continue
		}
		out = append(out, Hit{Result: r, Chunk: c, Document: d, Score: r.RelevanceScore, Rank: r.Rank, VectorRank: h.VectorRank, KeywordRank: h.KeywordRank,
			Similarity: similarity(h), Snippet: retrieval.Snippet(h.Content, p.Query, snippetLength).Text, GrantedBy: h.GrantedBy})
		s.Touch(d.ID)
	}
	return out, nil
}

func similarity(h store.Hit) float64 {
	if h.Similarity == nil {
		return 0
	}
	return *h.Similarity
}

// rows gives the results by rank, and passages and documents by id.
func (s *Service) rows(ctx context.Context, p SearchParams, searchID uuid.UUID, hits []store.Hit) (map[int]*ent.SearchResult, map[uuid.UUID]*ent.DocumentChunk, map[uuid.UUID]*ent.Document, error) {
	var chunkIDs, documentIDs []uuid.UUID
	for _, h := range hits {
		chunkIDs = append(chunkIDs, h.ChunkID)
		if !slices.Contains(documentIDs, h.DocumentID) {
			documentIDs = append(documentIDs, h.DocumentID)
		}
	}
	rq := s.Client.SearchResult.Query().Where(searchresult.SearchID(searchID))
	rq.Select(without(searchresult.Columns, searchresult.FieldQueryEmbedding)...)
	rs, err := rq.All(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	cq := s.Client.DocumentChunk.Query().Where(documentchunk.IDIn(chunkIDs...))
	cq.Select(without(documentchunk.Columns, documentchunk.FieldEmbedding, documentchunk.FieldSearchVector)...)
	cs, err := cq.All(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	dq := s.Client.Document.Query().Where(document.IDIn(documentIDs...))
	dq.Select(columns(p.WithContent)...)
	ds, err := dq.All(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	results, chunks, documents := map[int]*ent.SearchResult{}, map[uuid.UUID]*ent.DocumentChunk{}, map[uuid.UUID]*ent.Document{}
	for _, r := range rs {
		results[r.Rank] = r
	}
	for _, c := range cs {
		chunks[c.ID] = c
	}
	for _, d := range ds {
		documents[d.ID] = d
	}
	return results, chunks, documents, nil
}

// Rate records whether one of the caller's own results helped. NOT_FOUND, BAD_USER_INPUT. Audited as SEARCH_FEEDBACK_RECORDED.
func (s *Service) Rate(ctx context.Context, searchResultID uuid.UUID, wasHelpful bool) (*ent.SearchResult, error) {
	who, err := authz.Require(ctx, "search", "execute")
	if err != nil {
		return nil, err
	}
	if err := uid.Check(searchResultID, uid.SearchResult, "id"); err != nil {
		return nil, err
	}
	err = s.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		n, err := tx.SearchResult.Update().Where(searchresult.ID(searchResultID), searchresult.UserID(who.UserID)).SetWasHelpful(wasHelpful).Save(ctx)
		if err != nil {
			return err
		}
		if n == 0 {
			return errs.Missing("search result")
		}
		tx.Audit(audit.Entry{Action: enum.AuditActionSearchFeedbackRecorded, Resource: "SearchResult", ResourceID: searchResultID, Details: map[string]any{"wasHelpful": wasHelpful}})
		return nil
	})
	if err != nil {
		return nil, err
	}
	q := s.Client.SearchResult.Query().Where(searchresult.ID(searchResultID))
	q.Select(without(searchresult.Columns, searchresult.FieldQueryEmbedding)...)
	return q.Only(ctx)
}
