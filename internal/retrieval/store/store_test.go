package store

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/embed"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/pgtest"
	"cdsa.dev/cdsa/internal/retrieval"
	"cdsa.dev/cdsa/internal/uid"
)

// world is a database with people, a model and documents.
type world struct {
	t     *testing.T
	db    *pgtest.DB
	e     embed.Embedder
	model uuid.UUID
}

func newWorld(t *testing.T) *world {
	t.Helper()
	e, err := embed.NewLocal()
	require.NoError(t, err)
	w := &world{t: t, db: pgtest.New(t), e: e, model: uid.New(uid.EmbeddingModel)}
	w.exec(`INSERT INTO embedding_models (id, created_at, updated_at, name, display_name, provider, model_id, dimension)
		VALUES ($1, now(), now(), 'local', 'Local', 'LOCAL', $2, $3)`, w.model, e.Model(), e.Dimensions())
	return w
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	_, err := w.db.Owner.Exec(context.Background(), sql, args...)
	require.NoError(w.t, err)
}

func (w *world) user(name string, perms ...string) *authz.Principal {
	w.t.Helper()
	id := uid.New(uid.User)
	w.exec(`INSERT INTO users (id, created_at, updated_at, email, username, hashed_password) VALUES ($1, now(), now(), $2::text || '@example.org', $2, 'x')`, id, name)
	return authz.NewUser(id, name, uuid.Nil, false, time.Time{}, append(perms, "documents:read")...)
}

// document stores the text as generation 1 and makes it current. change may alter the document before.
func (w *world) document(owner *authz.Principal, title, text string, change func(*Document), tags ...string) Document {
	w.t.Helper()
	d := Document{ID: uid.New(uid.Document), OwnerID: owner.UserID, Sensitivity: enum.SensitivityInternal}
	if change != nil {
		change(&d)
	}
	if tags == nil {
		tags = []string{}
	}
	w.exec(`INSERT INTO documents (id, created_at, updated_at, title, source_type, content, content_hash, uploaded_by, is_public, required_permission, tags, generation)
		VALUES ($1, now(), now(), $2, 'UPLOAD', $3, $4, $5, $6, $7, $8, 1)`, d.ID, title, text, d.ID.String(), d.OwnerID, d.IsPublic, d.RequiredPermission, tags)
	w.store(d, 1, text)
	return d
}

func (w *world) store(d Document, generation int, text string) []Row {
	w.t.Helper()
	ctx := context.Background()
	x, err := retrieval.Extract(ctx, []byte(text), "a.md", "")
	require.NoError(w.t, err)
	chunks, err := Cut(x)
	require.NoError(w.t, err)
	rows, err := (&Preparer{Embedder: w.e, Language: x.Language}).Rows(ctx, chunks)
	require.NoError(w.t, err)
	w.replace(d, generation, rows)
	return rows
}

func (w *world) replace(d Document, generation int, rows []Row) {
	w.t.Helper()
	require.NoError(w.t, pgx.BeginFunc(context.Background(), w.db.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(context.Background(), `DELETE FROM document_chunks WHERE document_id = $1 AND generation = $2`, d.ID, generation); err != nil {
			return err
		}
		return AddChunks(context.Background(), tx, d, generation, w.model, rows)
	}))
}

func (w *world) params(p *authz.Principal, kind enum.SearchType, query string) Params {
	w.t.Helper()
	v, err := w.e.Embed(context.Background(), []string{query})
	require.NoError(w.t, err)
	return Params{Principal: p, Type: kind, Query: query, Vector: v[0], ModelID: w.model, Limit: 10}
}

func (w *world) search(p Params) []Hit {
	w.t.Helper()
	hits, err := Search(context.Background(), w.db.Pool, p)
	require.NoError(w.t, err)
	return hits
}

func titles(hits []Hit) []string {
	out := []string{}
	for _, h := range hits {
		out = append(out, h.Title)
	}
	return out
}

var types = []enum.SearchType{enum.SearchTypeSemantic, enum.SearchTypeKeyword, enum.SearchTypeHybrid}

func with(permission string) func(*Document) {
	return func(d *Document) { d.RequiredPermission = &permission }
}

func public(d *Document) { d.IsPublic = true }

const holidays = "# Leave\n\nEvery employee may take 28 days of paid vacation a year. Days not taken expire in March."

func TestSearch_Readable(t *testing.T) {
	w := newWorld(t)
	ann, bob := w.user("ann"), w.user("bob", "audit:read")
	w.document(ann, "own", holidays, nil)
	w.document(bob, "foreign", holidays, nil)
	w.document(bob, "public", holidays, public)
	w.document(bob, "permitted", holidays, with("secrets:use"))
	reader := authz.NewUser(ann.UserID, "ann", uuid.Nil, false, time.Time{}, "documents:read", "secrets:use")
	super := authz.NewUser(ann.UserID, "ann", uuid.Nil, true, time.Time{})
	for _, kind := range types {
		t.Run(string(kind), func(t *testing.T) {
			granted := func(p *authz.Principal) map[string]string {
				m := map[string]string{}
				for _, h := range w.search(w.params(p, kind, "paid vacation days")) {
					m[h.Title] = h.GrantedBy
				}
				return m
			}
			require.Equal(t, map[string]string{"own": "owner", "public": "public"}, granted(ann))
			require.Equal(t, map[string]string{"own": "owner", "public": "public", "permitted": "secrets:use"}, granted(reader))
			require.Equal(t, map[string]string{"own": "owner", "public": "public"}, granted(super), "a superuser reads no more")
			require.Equal(t, map[string]string{"foreign": "owner", "public": "owner", "permitted": "owner"}, granted(bob))
			require.Empty(t, granted(authz.Seeder))
			require.Empty(t, granted(authz.NewUser(ann.UserID, "ann", uuid.Nil, false, time.Time{}, "search:execute", "audit:read")), "without documents:read not even one's own")
			// Ranks count readable rows only.
			hits := w.search(w.params(ann, kind, "paid vacation days"))
			for i, h := range hits {
				for _, r := range []*int{h.VectorRank, h.KeywordRank} {
					if r != nil {
						require.Equal(t, i+1, *r)
					}
				}
			}
		})
	}
}

// The chunk's copied columns are a filter, the document's own decide.
func TestSearch_StaleCopy(t *testing.T) {
	w := newWorld(t)
	ann, bob := w.user("ann"), w.user("bob")
	d := w.document(bob, "was public", holidays, public)
	find := func() int { return len(w.search(w.params(ann, enum.SearchTypeHybrid, "vacation"))) }
	require.Equal(t, 1, find())
	w.exec("UPDATE documents SET is_public = false WHERE id = $1", d.ID)
	require.Zero(t, find())
	w.exec("UPDATE documents SET is_public = true WHERE id = $1", d.ID)
	d.IsPublic = false
	require.NoError(t, pgx.BeginFunc(context.Background(), w.db.Pool, func(tx pgx.Tx) error { return CopyAccess(context.Background(), tx, d) }))
	require.Zero(t, find())
}

func TestSearch_Generations(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	d := w.document(ann, "doc", holidays, nil)
	w.store(d, 2, "# Leave\n\nEvery employee may take 30 days of paid vacation a year.")
	days := func() string {
		hits := w.search(w.params(ann, enum.SearchTypeHybrid, "days of vacation"))
		require.Len(t, hits, 1)
		return hits[0].Content
	}
	require.Contains(t, days(), "28 days")
	w.exec("UPDATE documents SET generation = 2 WHERE id = $1", d.ID)
	require.Contains(t, days(), "30 days")
	require.NoError(t, pgx.BeginFunc(context.Background(), w.db.Pool, func(tx pgx.Tx) error { return DropOldChunks(context.Background(), tx, d.ID, 2) }))
	var n int
	require.NoError(t, w.db.Owner.QueryRow(context.Background(), "SELECT count(*) FROM document_chunks").Scan(&n))
	require.Equal(t, 1, n)
	require.Contains(t, days(), "30 days")

	other := w.params(ann, enum.SearchTypeHybrid, "vacation")
	other.ModelID = uid.New(uid.EmbeddingModel)
	require.Empty(t, w.search(other), "chunks of another model")
}

func TestAddChunks(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	d := w.document(ann, "doc", holidays, nil)
	rows := w.store(d, 1, holidays+"\n\n# More\n\nAnd sick leave, of which there is no end, and parental leave besides that and study leave.")
	hits := w.search(w.params(ann, enum.SearchTypeKeyword, "sick leave"))
	require.Len(t, hits, 1)
	var n int
	require.NoError(t, w.db.Owner.QueryRow(context.Background(), "SELECT count(*) FROM document_chunks").Scan(&n))
	require.Equal(t, len(rows), n)
	bad := append([]Row{}, rows...)
	bad[0].Vector = bad[0].Vector[:7]
	require.Error(t, pgx.BeginFunc(context.Background(), w.db.Pool, func(tx pgx.Tx) error {
		return AddChunks(context.Background(), tx, d, 1, w.model, bad)
	}))
}

func TestSearch_Ranking(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	w.document(ann, "leave", holidays, nil, "hr", "policy")
	w.document(ann, "disk", "When the server's disk has no space left, delete old log files. Error E-4711 says so.", nil, "it")
	w.document(ann, "court", "The attorney files the lawsuit with the court and the judge hears both parties.", nil, "legal")
	w.document(ann, "urlaub", "Jeder Mitarbeiter hat Anspruch auf 28 Urlaubstage im Jahr. Die Tage werden mit dem Lohn bezahlt und sind im März verfallen.", nil)
	first := func(kind enum.SearchType, query string) string {
		hits := w.search(w.params(ann, kind, query))
		if len(hits) == 0 {
			return ""
		}
		return hits[0].Title
	}
	require.Equal(t, "disk", first(enum.SearchTypeSemantic, "computer storage is full"))
	require.Equal(t, "court", first(enum.SearchTypeSemantic, "a lawyer brings a case"))
	require.Empty(t, first(enum.SearchTypeKeyword, "computer storage is full"))
	require.Equal(t, "disk", first(enum.SearchTypeKeyword, "E-4711"))
	require.Equal(t, "disk", first(enum.SearchTypeKeyword, `"old log" -attorney`))
	require.Empty(t, first(enum.SearchTypeKeyword, "log -files"))
	require.Equal(t, "urlaub", first(enum.SearchTypeKeyword, "Urlaubstag Mitarbeitern"), "by German stems")
	require.Equal(t, "leave", first(enum.SearchTypeHybrid, "How many vacation days does an employee have?"))
	require.Equal(t, "disk", first(enum.SearchTypeHybrid, "what does E-4711 mean"))

	p := w.params(ann, enum.SearchTypeHybrid, "vacation")
	p.Tags = []string{"it", "legal"}
	require.ElementsMatch(t, []string{"disk", "court"}, titles(w.search(p)))
	p.Tags = nil
	p.DocumentIDs = []uuid.UUID{w.search(w.params(ann, enum.SearchTypeKeyword, "lawsuit"))[0].DocumentID}
	require.Equal(t, []string{"court"}, titles(w.search(p)))
	for _, odd := range []string{"'", "\"", "\\", "!!!", "a & | b", ":*", "<->", "the and of", "%", "日本", strings.Repeat("x ", 999)} {
		w.search(w.params(ann, enum.SearchTypeHybrid, odd))
		w.search(w.params(ann, enum.SearchTypeKeyword, odd))
	}
}

// The one statement ranks as Fuse does.
func TestSearch_HybridIsFusion(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	words := strings.Fields("invoice contract tenant disk server vacation judge salary hospital garden engine music")
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 40 {
		var b strings.Builder
		for range 12 {
			b.WriteString(words[r.IntN(len(words))] + " ")
		}
		w.document(ann, fmt.Sprint(i), b.String(), nil)
	}
	for _, q := range []string{"invoice", "the tenant pays the salary", "automobile motor", "judge hospital"} {
		p := w.params(ann, enum.SearchTypeHybrid, q)
		hits := w.search(p)
		require.Len(t, hits, 10)
		p.Type, p.Limit = enum.SearchTypeSemantic, minDepth
		var vector []uuid.UUID
		for _, h := range w.search(p) {
			vector = append(vector, h.ChunkID)
		}
		// The keyword ranking of a hybrid search takes any of the words; it is read from the hits themselves.
		p.Type, p.Limit = enum.SearchTypeHybrid, MaxLimit
		keyword := make([]uuid.UUID, 0, 50)
		for rank := 1; ; rank++ {
			n := len(keyword)
			for _, h := range w.search(p) {
				if h.KeywordRank != nil && *h.KeywordRank == rank {
					keyword = append(keyword, h.ChunkID)
				}
			}
			if len(keyword) == n {
				break
			}
		}
		for i, f := range retrieval.Fuse(vector, keyword)[:10] {
			require.Equal(t, f.Item, hits[i].ChunkID, "%s: hit %d", q, i)
			require.InDelta(t, f.Score, hits[i].Score, 1e-12)
			require.Equal(t, f.Ranks[0], *hits[i].VectorRank)
		}
		require.Equal(t, hits, w.search(w.params(ann, enum.SearchTypeHybrid, q)), "the same again")
	}
}

// A hit's offsets and quote hold in the document's own text.
func TestSearch_LicenceText(t *testing.T) {
	data, err := os.ReadFile("/usr/share/common-licenses/GPL-3")
	if err != nil {
		t.Skip("no GPL-3 text on this machine")
	}
	w := newWorld(t)
	ann := w.user("ann")
	text := string(data)
	d := w.document(ann, "GPL", text, nil)
	for query, want := range map[string]string{
		"What happens when I violate the license?":               "terminate",
		"Do I get a guarantee that the program works?":           "WARRANTY",
		"Must I give the source when I distribute binaries?":     "Corresponding Source",
		"Which version of the license applies in later editions": "revised",
	} {
		hits := w.search(w.params(ann, enum.SearchTypeHybrid, query))
		found := false
		for _, h := range hits[:5] {
			require.Equal(t, retrieval.Slice(text, h.Start, h.End), h.Content)
			var part string
			require.NoError(t, w.db.Owner.QueryRow(context.Background(), "SELECT substr(content, $2 + 1, $3 - $2) FROM documents WHERE id = $1", d.ID, h.Start, h.End).Scan(&part))
			require.Equal(t, h.Content, part)
			quotes, err := retrieval.Quotes(context.Background(), w.e, query, h.Content, 2)
			require.NoError(t, err)
			for _, q := range quotes {
				require.Equal(t, q.Text, retrieval.Slice(text, h.Start+q.Start, h.Start+q.End))
			}
			found = found || strings.Contains(h.Content, want)
		}
		require.True(t, found, query)
	}
}

func TestSearch_Refuses(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	good := w.params(ann, enum.SearchTypeHybrid, "x")
	for name, c := range map[string]struct {
		change func(*Params)
		code   errs.Code
		field  string
	}{
		"Anonymous": {func(p *Params) { p.Principal = nil }, errs.Unauthenticated, ""},
		"NoQuery":   {func(p *Params) { p.Query = " \n" }, errs.BadUserInput, "query"},
		"LongQuery": {func(p *Params) { p.Query = strings.Repeat("é", MaxQuery+1) }, errs.BadUserInput, "query"},
		"NUL":       {func(p *Params) { p.Query = "a\x00b" }, errs.BadUserInput, "query"},
		"NotUTF8":   {func(p *Params) { p.Query = "a\xff" }, errs.BadUserInput, "query"},
		"NoLimit":   {func(p *Params) { p.Limit = 0 }, errs.BadUserInput, "limit"},
		"HugeLimit": {func(p *Params) { p.Limit = math.MaxInt32 }, errs.BadUserInput, "limit"},
		"Type":      {func(p *Params) { p.Type = "FUZZY" }, errs.BadUserInput, "searchType"},
		"NoVector":  {func(p *Params) { p.Vector = nil }, "", ""},
		"NoModel":   {func(p *Params) { p.ModelID = uuid.Nil }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := good
			c.change(&p)
			_, err := Search(context.Background(), w.db.Pool, p)
			require.Error(t, err)
			shown, ok := errs.As(err)
			require.Equal(t, c.code != "", ok)
			if ok {
				require.Equal(t, c.code, shown.Code)
				if c.field != "" {
					require.Contains(t, shown.Fields, c.field)
				}
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Search(ctx, w.db.Pool, good)
	require.ErrorIs(t, err, context.Canceled)
}

// A passage that a document repeats is found once by its meaning, and wherever it stands by its words.
func TestSearch_RepeatedPassages(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	calls := 0
	w.e = counting{w.e, &calls}
	d := w.document(ann, "repeated", strings.Repeat(strings.Repeat("The walrus sleeps on the ice. ", 40)+"\n\n", 30), nil)
	var n, embedded int
	require.NoError(t, w.db.Owner.QueryRow(context.Background(), "SELECT count(*), count(embedding) FROM document_chunks WHERE document_id = $1", d.ID).Scan(&n, &embedded))
	require.Greater(t, n, 20)
	require.Less(t, embedded, 4)
	require.Equal(t, embedded, calls)
	p := w.params(ann, enum.SearchTypeSemantic, "an animal of the arctic sea")
	p.Limit = 50
	require.Len(t, w.search(p), embedded)
	p = w.params(ann, enum.SearchTypeKeyword, "walrus")
	p.Limit = 100
	require.Len(t, w.search(p), n)
}

// counting counts the texts that are embedded.
type counting struct {
	embed.Embedder
	n *int
}

func (c counting) Embed(ctx context.Context, texts []string) ([][]float32, error) {
	*c.n += len(texts)
	return c.Embedder.Embed(ctx, texts)
}

func TestCut_TooMany(t *testing.T) {
	_, err := Cut(&retrieval.Text{Content: strings.Repeat("a\f", 200*(maxChunks+1))})
	require.True(t, errs.Is(err, errs.ResourceExhausted), "%v", err)
}

// The languages of the query are those of the generated column.
func TestConfigurations(t *testing.T) {
	var def string
	require.NoError(t, pgtest.New(t).Owner.QueryRow(context.Background(), `SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef
		JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum WHERE adrelid = 'document_chunks'::regclass AND attname = 'search_vector'`).Scan(&def))
	for _, c := range configurations {
		require.Contains(t, def, fmt.Sprintf("WHEN '%s'::text THEN to_tsvector('%s'::regconfig, search_text(content))", c.language, c.name))
	}
	require.Equal(t, len(configurations), strings.Count(def, "WHEN"))
	require.Contains(t, def, "ELSE to_tsvector('simple'::regconfig, search_text(content))")
}
