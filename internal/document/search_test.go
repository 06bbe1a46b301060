//go:build unix

package document

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/searchresult"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/embed"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/retrieval"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

var types = []enum.SearchType{enum.SearchTypeSemantic, enum.SearchTypeKeyword, enum.SearchTypeHybrid}

func (w *world) find(p *authz.Principal, sp SearchParams) Found {
	w.t.Helper()
	found, err := w.Search(testkit.As(p), sp)
	require.NoError(w.t, err)
	return found
}

func TestService_Search(t *testing.T) {
	w := newWorld(t)
	level := enum.SensitivityConfidential
	d := w.create(w.ann, Input{Title: "GPL", Content: gpl(t), SourceType: enum.DocumentSourceTypeApi, Sensitivity: &level, Tags: []string{"licence"}}, true)
	w.create(w.ann, note("Café", "Öffnungszeiten: das Café hat täglich von 8 bis 18 Uhr geöffnet. 😀 Und auch sonntags."), true)
	for query, want := range map[string]string{
		"what price may I charge for a copy":      "charge any price",
		"is there a warranty for the program":     "WARRANTY",
		"patent licence granted by a contributor": "patent license",
		"what happens when I violate the licence": "violate",
	} {
		found := w.find(w.ann, SearchParams{Query: query, Limit: 5, Type: enum.SearchTypeHybrid})
		require.Len(t, found.Hits, 5)
		var all strings.Builder
		for _, h := range found.Hits[:3] {
			all.WriteString(strings.Join(strings.Fields(h.Chunk.Content), " "))
		}
		require.Contains(t, all.String(), want, query)
	}
	for _, kind := range types {
		t.Run(string(kind), func(t *testing.T) {
			const query = "convey the source code"
			sp := SearchParams{Query: query, Limit: 7, Type: kind, Tags: []string{"licence"}, DocumentIDs: []uuid.UUID{d.ID}}
			found := w.find(w.ann, sp)
			require.Len(t, found.Hits, 7)
			require.False(t, found.Exhausted)
			require.Positive(t, found.Took)
			last := 1.0
			for i, h := range found.Hits {
				require.Equal(t, i+1, h.Rank)
				require.LessOrEqual(t, h.Score, last)
				require.GreaterOrEqual(t, h.Score, 0.0)
				last = h.Score
				require.Equal(t, h.Chunk.Content, retrieval.Slice(*d.Content, h.Chunk.StartOffset, h.Chunk.EndOffset))
				require.Contains(t, h.Chunk.Content, h.Snippet)
				require.Equal(t, "owner", h.GrantedBy)
				require.True(t, kind != enum.SearchTypeKeyword || h.KeywordRank != nil)
				require.Nil(t, h.Document.Content)
				require.Equal(t, d.ID, h.Document.ID)
				r := h.Result
				require.Equal(t, found.SearchID, r.SearchID)
				require.Equal(t, w.ann.UserID, r.UserID)
				require.Equal(t, query, r.Query)
				require.Equal(t, h.Chunk.ID, *r.ChunkID)
				require.Equal(t, h.Chunk.StartOffset, r.StartOffset)
				require.Equal(t, h.Chunk.EndOffset, r.EndOffset)
				require.Equal(t, kind, r.SearchType)
				require.Equal(t, map[string]any{"tags": []any{"licence"}, "documentIds": []any{d.ID.String()}}, r.FiltersApplied)
			}
			c, err := found.Hits[0].Result.QueryChunk().Only(testkit.As(w.ann)) // usable after commit
			require.NoError(t, err)
			require.Equal(t, found.Hits[0].Chunk.ID, c.ID)
			title, err := c.QueryDocument().Only(testkit.As(w.ann))
			require.NoError(t, err)
			require.Equal(t, "GPL", title.Title)
		})
	}
	t.Run("Audit", func(t *testing.T) {
		w.find(w.ann, SearchParams{Query: "zebra-canary", Limit: 3, Type: enum.SearchTypeHybrid})
		require.Zero(t, w.Count(t, "SELECT count(*) FROM audit_logs WHERE to_jsonb(audit_logs)::text LIKE '%zebra%'"))
		require.Zero(t, w.Count(t, "SELECT count(*) FROM outbox WHERE convert_from(payload, 'UTF8') LIKE '%zebra%'"))
		require.Equal(t, 8, w.Count(t, "SELECT count(*) FROM audit_logs WHERE action = 'DOCUMENT_SEARCHED' AND user_id = $1 AND sensitive_data", w.ann.UserID))
	})
	t.Run("CodePoints", func(t *testing.T) {
		found := w.find(w.ann, SearchParams{Query: "sonntags geöffnet", Limit: 1, Type: enum.SearchTypeHybrid, WithContent: true})
		h := found.Hits[0]
		require.Equal(t, "Café", h.Document.Title)
		require.Equal(t, h.Chunk.Content, retrieval.Slice(*h.Document.Content, h.Chunk.StartOffset, h.Chunk.EndOffset))
	})
	t.Run("Exhausted", func(t *testing.T) {
		found := w.find(w.ann, SearchParams{Query: "Öffnungszeiten", Limit: 100, Type: enum.SearchTypeKeyword})
		require.Len(t, found.Hits, 1)
		require.True(t, found.Exhausted)
		found = w.find(w.ann, SearchParams{Query: "Öffnungszeiten", Limit: 100, Type: enum.SearchTypeKeyword, Tags: []string{"licence"}})
		require.Empty(t, found.Hits)
		require.NotNil(t, found.Hits)
		require.NotEqual(t, uuid.Nil, found.SearchID)
	})
	t.Run("WordsNeedNoModel", func(t *testing.T) {
		down := w.with(failing{w.Embedder, func() error { return errs.New(errs.UpstreamUnavailable, "Down.") }})
		found, err := down.Search(testkit.As(w.ann), SearchParams{Query: "Öffnungszeiten", Limit: 1, Type: enum.SearchTypeKeyword})
		require.NoError(t, err)
		require.Len(t, found.Hits, 1)
		_, err = down.Search(testkit.As(w.ann), SearchParams{Query: "x", Limit: 1, Type: enum.SearchTypeHybrid})
		requireCode(t, errs.UpstreamUnavailable, err)
	})
}

func TestService_Search_Refuses(t *testing.T) {
	w := newWorld(t)
	ctx := testkit.As(w.ann)
	ok := SearchParams{Query: "x", Limit: 1, Type: enum.SearchTypeHybrid}
	for field, list := range map[string][]func(*SearchParams){
		"query": {func(p *SearchParams) { p.Query = "" }, func(p *SearchParams) { p.Query = " \n" }, func(p *SearchParams) { p.Query = "a\x00b" }, func(p *SearchParams) { p.Query = "\xff" },
			func(p *SearchParams) { p.Query = strings.Repeat("x ", 4<<10) }},
		"limit":       {func(p *SearchParams) { p.Limit = 0 }, func(p *SearchParams) { p.Limit = 101 }, func(p *SearchParams) { p.Limit = -1 }},
		"searchType":  {func(p *SearchParams) { p.Type = "" }},
		"tags":        {func(p *SearchParams) { p.Tags = make([]string, 51) }, func(p *SearchParams) { p.Tags = []string{"a\x00"} }},
		"documentIds": {func(p *SearchParams) { p.DocumentIDs = make([]uuid.UUID, 101) }, func(p *SearchParams) { p.DocumentIDs = []uuid.UUID{w.ann.UserID} }},
		"sessionId":   {func(p *SearchParams) { p.SessionID = &w.ann.UserID }},
	} {
		for _, change := range list {
			p := ok
			change(&p)
			_, err := w.Search(ctx, p)
			requireCode(t, errs.BadUserInput, err)
			e, _ := errs.As(err)
			require.Contains(t, e.Fields, "input."+field)
		}
	}
	_, err := w.Search(context.Background(), ok)
	requireCode(t, errs.Unauthenticated, err)
	_, err = w.Search(testkit.As(w.person("auditor", "auditor")), ok)
	requireCode(t, errs.Forbidden, err)
	require.Zero(t, w.Count(t, "SELECT count(*) FROM search_results"))
	for _, odd := range []string{"???", "😀", `"`, "-", "or or", strings.Repeat("ж", 2000), "';--"} {
		for _, kind := range types {
			_, err := w.Search(ctx, SearchParams{Query: odd, Limit: 1, Type: kind})
			require.NoError(t, err, odd)
		}
	}
}

func TestService_Search_Session(t *testing.T) {
	w := newWorld(t)
	w.create(w.ann, note("d", "nu xi omicron"), true)
	var s *ent.ChatSession
	require.NoError(t, w.Kit.Store.Do(testkit.As(w.ann), func(ctx context.Context, tx *uow.Tx) (err error) {
		s, err = tx.ChatSession.Create().SetUserID(w.ann.UserID).SetTitle("c").SetModel("offline").Save(ctx)
		return err
	}))
	found := w.find(w.ann, SearchParams{Query: "omicron", Limit: 1, Type: enum.SearchTypeHybrid, SessionID: &s.ID})
	require.Equal(t, &s.ID, found.Hits[0].Result.SessionID)
	require.Equal(t, 1, w.Count(t, "SELECT count(*) FROM audit_logs WHERE action = 'DOCUMENT_SEARCHED' AND session_id = $1", s.ID))
	_, err := w.Search(testkit.As(w.bob), SearchParams{Query: "omicron", Limit: 1, Type: enum.SearchTypeHybrid, SessionID: &s.ID})
	requireCode(t, errs.NotFound, err)
}

// On random documents and people, every search finds what a plain reading of the rule says, and nothing else.
func TestService_Search_OnlyReadable(t *testing.T) {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(1, 2))
	perms := []string{"documents:read", "audit:read", "secrets:read"}
	type person struct {
		*authz.Principal
		holds []string
	}
	var people []person
	for i, holds := range [][]string{{}, perms[:1], perms[:2], perms, {perms[2]}} {
		u := w.person(fmt.Sprintf("p%d", i))
		super := i == 4 // a superuser reads no more than the others
		p := authz.NewUser(u.UserID, u.Username, uuid.Nil, super, time.Now().Add(time.Hour), append([]string{"search:execute"}, holds...)...)
		people = append(people, person{p, holds})
	}
	type doc struct {
		id     uuid.UUID
		owner  uuid.UUID
		public bool
		perm   *string
	}
	var docs []doc
	for i := range 40 {
		d := doc{owner: people[r.IntN(len(people))].UserID, public: r.IntN(4) == 0}
		if r.IntN(2) == 0 {
			d.perm = &perms[r.IntN(len(perms))]
		}
		owner := authz.NewUser(d.owner, "o", uuid.Nil, false, time.Now().Add(time.Hour), append([]string{"documents:write"}, perms...)...)
		in := note(fmt.Sprint(i), fmt.Sprintf("The common word is plankton, the number %d.", i))
		in.IsPublic, in.RequiredPermission = d.public, d.perm
		d.id = w.create(owner, in, true).ID
		docs = append(docs, d)
	}
	reads := func(p person, d doc) bool {
		if !p.Can("documents:read") {
			return false
		}
		if d.owner == p.UserID || d.public {
			return true
		}
		for _, h := range p.holds {
			if d.perm != nil && *d.perm == h {
				return true
			}
		}
		return false
	}
	for _, p := range people {
		want := map[uuid.UUID]bool{}
		for _, d := range docs {
			if reads(p, d) {
				want[d.id] = true
			}
			n, err := w.ChunkCount(testkit.As(p.Principal), &ent.Document{ID: d.id})
			require.NoError(t, err)
			require.Equal(t, reads(p, d), n == 1)
		}
		for _, kind := range types {
			got := map[uuid.UUID]bool{}
			found := w.find(p.Principal, SearchParams{Query: "plankton", Limit: 100, Type: kind})
			require.True(t, found.Exhausted)
			for _, h := range found.Hits {
				got[h.Document.ID] = true
			}
			require.Equal(t, want, got, "%s %s", p.Username, kind)
		}
		// Naming a document opens nothing, and tells nothing.
		for _, d := range docs[:10] {
			found := w.find(p.Principal, SearchParams{Query: "plankton", Limit: 5, Type: enum.SearchTypeHybrid, DocumentIDs: []uuid.UUID{d.id}})
			require.Equal(t, reads(p, d), len(found.Hits) == 1)
		}
	}
	found := w.find(people[0].Principal, SearchParams{Query: "plankton", Limit: 5, Type: enum.SearchTypeHybrid, DocumentIDs: []uuid.UUID{unknown}})
	require.Empty(t, found.Hits)
}

// revoking embeds and lets something happen between the search's beginning and its end.
type revoking struct {
	embed.Embedder
	then func()
}

func (r revoking) Embed(ctx context.Context, texts []string) ([][]float32, error) {
	v, err := r.Embedder.Embed(ctx, texts)
	r.then()
	return v, err
}

func TestService_Search_Meanwhile(t *testing.T) {
	w := newWorld(t)
	in := note("d", "pi rho sigma")
	in.IsPublic = true
	d := w.create(w.ann, in, true)
	s := w.with(revoking{w.Embedder, func() { w.exec("UPDATE documents SET is_public = false WHERE id = $1", d.ID) }})
	found, err := s.Search(testkit.As(w.bob), SearchParams{Query: "rho", Limit: 5, Type: enum.SearchTypeHybrid})
	require.NoError(t, err)
	require.Empty(t, found.Hits, "the passage's copy lags, the document decides")
}

func TestService_Rate(t *testing.T) {
	w := newWorld(t)
	in := note("d", "tau upsilon phi")
	in.IsPublic = true
	w.create(w.ann, in, true)
	hit := w.find(w.bob, SearchParams{Query: "upsilon", Limit: 1, Type: enum.SearchTypeHybrid}).Hits[0].Result
	r, err := w.Rate(testkit.As(w.bob), hit.ID, true)
	require.NoError(t, err)
	require.True(t, *r.WasHelpful)
	_, err = r.QueryChunk().Only(testkit.As(w.bob))
	require.NoError(t, err)
	require.Equal(t, 1, w.audits(enum.AuditActionSearchFeedbackRecorded, hit.ID))
	r, err = w.Rate(testkit.As(w.bob), hit.ID, false)
	require.NoError(t, err)
	require.False(t, *r.WasHelpful)
	_, err = w.Rate(testkit.As(w.ann), hit.ID, true)
	requireCode(t, errs.NotFound, err)
	_, err = w.Rate(testkit.As(w.ann), uid.New(uid.SearchResult), true)
	requireCode(t, errs.NotFound, err)
	_, err = w.Rate(testkit.As(w.ann), unknown, true)
	requireCode(t, errs.BadUserInput, err)
	_, err = w.Rate(context.Background(), hit.ID, true)
	requireCode(t, errs.Unauthenticated, err)
	require.False(t, *w.Kit.Client.SearchResult.Query().Where(searchresult.ID(hit.ID)).OnlyX(testkit.As(w.bob)).WasHelpful)
}

func TestSearcher(t *testing.T) {
	w := newWorld(t)
	level := enum.SensitivityRestricted
	in := note("Plan", "The harbour is dredged in March.")
	in.Sensitivity = &level
	d := w.create(w.ann, in, true)
	other := w.create(w.ann, note("Other", "The harbour is closed in April."), true)
	s := w.Searcher()
	kinds := func() string {
		var kind string
		require.NoError(t, w.Pool.QueryRow(context.Background(), "SELECT actor_kind FROM audit_logs WHERE action = 'DOCUMENT_SEARCHED' ORDER BY created_at DESC LIMIT 1").Scan(&kind))
		return kind
	}
	hits, err := s.Search(testkit.As(authz.Agent), w.ann.UserID, "when is the harbour dredged", 5, nil)
	require.NoError(t, err)
	require.Len(t, hits, 2)
	require.Equal(t, "AGENT", kinds())
	h := hits[0]
	require.Equal(t, d.ID, h.DocumentID)
	require.Equal(t, level, h.Sensitivity)
	require.Equal(t, "Plan", h.Title)
	require.Equal(t, h.Text, retrieval.Slice(*d.Content, h.Start, h.End))
	hits, err = s.Search(testkit.As(w.ann), w.ann.UserID, "harbour", 5, []uuid.UUID{other.ID})
	require.NoError(t, err)
	require.Len(t, hits, 1)
	require.Equal(t, other.ID, hits[0].DocumentID)
	require.Equal(t, "USER", kinds())
	hits, err = s.Search(testkit.As(w.ann), w.bob.UserID, "harbour", 5, nil) // on bob's behalf with bob's rights, whoever calls
	require.NoError(t, err)
	require.Empty(t, hits)
	_, err = s.Search(testkit.As(authz.Agent), uid.New(uid.User), "harbour", 5, nil)
	requireCode(t, errs.Forbidden, err)
	hits, err = s.Search(testkit.As(w.ann), w.ann.UserID, "Who keeps the key?", 5, nil)
	require.NoError(t, err)
	require.Empty(t, hits, "what has nothing to do with the question")
	hits, err = s.Search(testkit.As(w.ann), w.ann.UserID, "the port is shut in spring", 5, nil)
	require.NoError(t, err)
	require.NotEmpty(t, hits, "what says it in other words")
	away := errors.New("away")
	w.LoadUser = func(context.Context, uuid.UUID) (*authz.Principal, error) { return nil, away }
	_, err = s.Search(testkit.As(w.ann), w.ann.UserID, "harbour", 5, nil)
	require.ErrorIs(t, err, away)
}
