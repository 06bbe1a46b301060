//go:build unix

package document

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/document"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
)

func TestService_Create(t *testing.T) {
	w := newWorld(t)
	ctx := testkit.As(w.ann)
	t.Run("OK", func(t *testing.T) {
		level, perm := enum.SensitivityConfidential, "chat:read"
		body := []byte("\x00\xff any bytes")
		d, err := w.Create(ctx, Input{Title: " Handbook ", File: bytes.NewReader(body), Filename: `C:\docs\handbook.md`, ContentType: "text/plain; charset=x",
			Tags: []string{" hr ", "hr", "2026"}, RequiredPermission: &perm, Sensitivity: &level, Metadata: map[string]any{"year": 2026.0}, SourceType: enum.DocumentSourceTypeUpload})
		require.NoError(t, err)
		sum := sha256.Sum256(body)
		require.Equal(t, "Handbook", d.Title)
		require.Equal(t, "handbook.md", d.Source)
		require.Equal(t, "text/markdown", d.FileType)
		require.Equal(t, hex.EncodeToString(sum[:]), d.ContentHash)
		require.Equal(t, []string{"hr", "2026"}, []string(d.Tags))
		require.Equal(t, map[string]any{"year": 2026.0}, d.Metadata)
		require.Equal(t, int64(len(body)), d.FileSize)
		require.Equal(t, enum.DocumentStatusUploaded, d.Status)
		require.Equal(t, level, d.Sensitivity)
		require.Equal(t, &perm, d.RequiredPermission)
		require.Equal(t, w.ann.UserID, d.UploadedBy)
		require.Empty(t, d.Original, "the bytes stay in the database")
		require.Equal(t, body, w.document(d.ID).Original)
		require.Equal(t, []enum.DocumentStatus{enum.DocumentStatusUploaded}, w.statuses(d.ID))
		require.Equal(t, 1, w.jobs(d.ID))
		require.Equal(t, 1, w.audits(enum.AuditActionDocumentUploaded, d.ID))
		u, err := d.QueryUploader().Only(ctx) // usable after commit
		require.NoError(t, err)
		require.Equal(t, w.ann.UserID, u.ID)
	})
	t.Run("Defaults", func(t *testing.T) {
		d := w.create(w.ann, note("n", "some text"), false)
		require.Equal(t, enum.SensitivityInternal, d.Sensitivity)
		require.False(t, d.IsPublic)
		require.Nil(t, d.RequiredPermission)
	})
	t.Run("SameBytes", func(t *testing.T) {
		d := w.create(w.ann, note("first", "the same bytes"), false)
		again := w.create(w.ann, note("second", "the same bytes"), false)
		require.Equal(t, d.ID, again.ID)
		require.Equal(t, "first", again.Title)
		require.Equal(t, 1, w.jobs(d.ID))
		require.Equal(t, 2, w.audits(enum.AuditActionDocumentUploaded, d.ID))
		theirs := w.create(w.bob, note("third", "the same bytes"), false)
		require.NotEqual(t, d.ID, theirs.ID)
	})
	t.Run("FailedBefore", func(t *testing.T) {
		d := w.create(w.ann, note("blank", "  \n "), true)
		require.Equal(t, enum.DocumentStatusFailed, d.Status)
		again := w.create(w.ann, note("blank", "  \n "), false)
		require.Equal(t, d.ID, again.ID)
		require.Equal(t, enum.DocumentStatusUploaded, again.Status)
		require.Nil(t, again.ProcessingError)
		require.False(t, again.IsProcessed)
		require.Equal(t, 2, w.jobs(d.ID))
	})
	t.Run("FailedByItsName", func(t *testing.T) {
		file := func(name string) Input {
			return Input{Title: "page", File: strings.NewReader("<p hidden>plain words"), Filename: name, SourceType: enum.DocumentSourceTypeUpload}
		}
		d := w.create(w.ann, file("a.html"), true)
		require.Equal(t, enum.DocumentStatusFailed, d.Status)
		again := w.create(w.ann, file("a.txt"), true)
		require.Equal(t, d.ID, again.ID)
		require.Equal(t, enum.DocumentStatusIndexed, again.Status)
		require.Equal(t, "text/plain", again.FileType)
		require.Equal(t, "a.txt", again.Source)
	})
	t.Run("Charset", func(t *testing.T) {
		text := "\x84\xee\xe3\xee\xe2\xee\xf0 \xe0\xf0\xe5\xed\xe4\xfb"
		in := func(contentType string) Input {
			return Input{Title: "charset", File: strings.NewReader(text), Filename: "a.txt", ContentType: contentType, SourceType: enum.DocumentSourceTypeUpload}
		}
		d := w.create(w.ann, in("text/plain"), true)
		require.Equal(t, enum.DocumentStatusFailed, d.Status)
		require.Contains(t, *d.ProcessingError, "Save it as UTF-8")
		d = w.create(w.ann, in("text/plain; charset=Windows-1251"), true)
		require.Equal(t, enum.DocumentStatusIndexed, d.Status)
		require.Equal(t, "„оговор аренды", *d.Content)
		require.Equal(t, "text/plain; charset=windows-1251", d.FileType, "as it must be read if it is processed again")
	})
	t.Run("AtOnce", func(t *testing.T) {
		var wg sync.WaitGroup
		ids := make([]uuid.UUID, 6)
		for i := range ids {
			wg.Go(func() {
				d, err := w.Create(ctx, note("race", "raced for"))
				if err == nil {
					ids[i] = d.ID
				}
			})
		}
		wg.Wait()
		for _, id := range ids {
			require.Equal(t, ids[0], id)
		}
		require.NotEqual(t, uuid.Nil, ids[0])
		require.Equal(t, 1, w.jobs(ids[0]))
	})
	t.Run("FileName", func(t *testing.T) {
		name := strings.Repeat("é", 400) + "\x00.HTML"
		d, err := w.Create(ctx, Input{Title: name, File: strings.NewReader("<p>x"), Filename: name, Source: name, SourceType: enum.DocumentSourceTypeUpload})
		require.NoError(t, err)
		require.Equal(t, strings.Repeat("é", 250)+".HTML", d.Title)
		require.Equal(t, "text/html", d.FileType)
	})
}

func TestService_Create_Refuses(t *testing.T) {
	w := newWorld(t)
	bad := func(change func(*Input)) Input {
		in := note("title", "text")
		change(&in)
		return in
	}
	perm := func(s string) *string { return &s }
	level := enum.Sensitivity("SECRET")
	deep := any("x")
	for range maxDepth + 1 {
		deep = []any{deep}
	}
	for field, list := range map[string][]Input{
		"title":  {bad(func(in *Input) { in.Title = " " }), bad(func(in *Input) { in.Title = strings.Repeat("x", 301) }), bad(func(in *Input) { in.Title = "a\x00b" }), bad(func(in *Input) { in.Title = "\xff" })},
		"source": {bad(func(in *Input) { in.Source = strings.Repeat("x", 2001) }), bad(func(in *Input) { in.Source = "a\nb" })},
		"tags": {bad(func(in *Input) { in.Tags = []string{""} }), bad(func(in *Input) { in.Tags = []string{strings.Repeat("x", 101)} }),
			bad(func(in *Input) {
				for i := range 51 {
					in.Tags = append(in.Tags, strings.Repeat("x", i+1))
				}
			})},
		"content":            {bad(func(in *Input) { in.Content = "" })},
		"requiredPermission": {bad(func(in *Input) { in.RequiredPermission = perm("no:such") }), bad(func(in *Input) { in.RequiredPermission = perm("audit:read") })},
		"sensitivity":        {bad(func(in *Input) { in.Sensitivity = &level })},
		"metadata": {bad(func(in *Input) { in.Metadata = map[string]any{"x": strings.Repeat("x", 256<<10)} }), bad(func(in *Input) { in.Metadata = map[string]any{"x": "\x00"} }),
			bad(func(in *Input) { in.Metadata = map[string]any{"\x00": 1} }), bad(func(in *Input) { in.Metadata = map[string]any{"x": deep} })},
	} {
		for _, in := range list {
			_, err := w.Create(testkit.As(w.ann), in)
			requireCode(t, errs.BadUserInput, err)
			e, _ := errs.As(err)
			require.Contains(t, e.Fields, "input."+field)
			require.Len(t, e.Fields, 1)
		}
	}
	_, err := w.Create(context.Background(), note("t", "x"))
	requireCode(t, errs.Unauthenticated, err)
	_, err = w.Create(testkit.As(w.person("auditor", "auditor")), note("t", "x"))
	requireCode(t, errs.Forbidden, err)
	_, err = w.Create(testkit.As(w.ann), Input{Title: "t", File: endless{}, SourceType: enum.DocumentSourceTypeUpload})
	requireCode(t, errs.ResourceExhausted, err)
	_, err = w.Create(testkit.As(w.ann), Input{Title: "t", File: &large{}, SourceType: enum.DocumentSourceTypeUpload})
	requireCode(t, errs.ResourceExhausted, err)
	broken := errors.New("connection reset")
	_, err = w.Create(testkit.As(w.ann), Input{Title: "t", File: iotest.ErrReader(broken), SourceType: enum.DocumentSourceTypeUpload})
	require.ErrorIs(t, err, broken)
	require.Zero(t, w.Count(t, "SELECT count(*) FROM documents"))
	require.Zero(t, w.Count(t, "SELECT count(*) FROM river_job"))
	require.Empty(t, w.intake, "every slot was given back")
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// large is a file that says it is too large; reading it would fail the test.
type large struct{ io.Reader }

func (*large) Seek(_ int64, whence int) (int64, error) {
	if whence == io.SeekEnd {
		return maxFile + 1, nil
	}
	return 0, nil
}

// TestService_Create_Superuser: whoever opens a document to a permission that they pass as a superuser is recorded.
func TestService_Create_Superuser(t *testing.T) {
	w := newWorld(t)
	root := authz.NewUser(w.ann.UserID, "root", w.ann.SessionID, true, time.Now().Add(time.Hour), w.ann.Permissions()...)
	passed := func() int {
		return w.Count(t, `SELECT count(*) FROM audit_logs WHERE action = 'SUPERUSER_BYPASS_USED' AND user_id = $1 AND resource_type = 'Document'
			AND details->'permissions' = '["metrics:read"]'`, root.UserID)
	}
	perm := "metrics:read"
	in := Input{Title: "t", Content: "c", SourceType: enum.DocumentSourceTypeApi, RequiredPermission: &perm}
	_, err := w.Create(authz.With(context.Background(), root), in)
	require.NoError(t, err)
	require.Equal(t, 1, passed())
	perm = "chat:read" // which a role gives
	in.Content = "d"
	_, err = w.Create(authz.With(context.Background(), root), in)
	require.NoError(t, err)
	require.Zero(t, w.Count(t, `SELECT count(*) FROM audit_logs WHERE action = 'SUPERUSER_BYPASS_USED' AND details->'permissions' ? 'chat:read'`))
}

func TestService_Delete(t *testing.T) {
	w := newWorld(t)
	in := note("Leave", "Everyone has thirty days of leave a year.")
	in.IsPublic = true
	d := w.create(w.ann, in, true)
	found, err := w.Search(testkit.As(w.bob), SearchParams{Query: "days of leave", Limit: 5, Type: enum.SearchTypeHybrid})
	require.NoError(t, err)
	require.Len(t, found.Hits, 1)
	hit := found.Hits[0].Result

	requireCode(t, errs.Forbidden, w.Delete(testkit.As(w.bob), d.ID))
	require.Equal(t, 1, w.audits(enum.AuditActionPermissionDenied, d.ID))
	hidden := w.create(w.ann, note("mine", "of no concern to others"), true)
	requireCode(t, errs.NotFound, w.Delete(testkit.As(w.bob), hidden.ID))
	requireCode(t, errs.NotFound, w.Delete(testkit.As(w.ann), unknown))
	requireCode(t, errs.BadUserInput, w.Delete(testkit.As(w.ann), w.ann.UserID))
	requireCode(t, errs.Unauthenticated, w.Delete(context.Background(), d.ID))
	requireCode(t, errs.Forbidden, w.Delete(testkit.As(w.person("auditor", "auditor")), d.ID))

	require.NoError(t, w.Delete(testkit.As(w.ann), d.ID))
	require.Equal(t, 1, w.audits(enum.AuditActionDocumentDeleted, d.ID))
	events := w.events(d.ID)
	require.Equal(t, &fact.Readers{Owner: w.ann.UserID, Public: true}, events[len(events)-1].Deleted)
	require.Zero(t, w.Count(t, "SELECT count(*) FROM document_chunks WHERE document_id = $1", d.ID))
	kept := w.Kit.Client.SearchResult.GetX(testkit.As(w.bob), hit.ID)
	require.Equal(t, d.ID, kept.DocumentID)
	require.Equal(t, hit.EndOffset, kept.EndOffset)
	require.Nil(t, kept.ChunkID)
	requireCode(t, errs.NotFound, w.Delete(testkit.As(w.ann), d.ID))
}

func TestTagged(t *testing.T) {
	w := newWorld(t)
	tagged := func(tags ...string) *ent.Document {
		in := note("tagged "+strings.Join(tags, " "), "text "+strings.Join(tags, " "))
		in.Tags = tags
		return w.create(w.ann, in, false)
	}
	a, ab, odd := tagged("a"), tagged("b", "a"), tagged(`o'd"d,{}\`)
	tagged()
	find := func(p *authz.Principal, tags ...string) []uuid.UUID {
		filter, err := Tagged(tags)
		require.NoError(t, err)
		return w.Kit.Client.Document.Query().Where(filter).Order(ent.Asc(document.FieldID)).IDsX(testkit.As(p))
	}
	require.Equal(t, []uuid.UUID{a.ID, ab.ID}, find(w.ann, "a"))
	require.Equal(t, []uuid.UUID{ab.ID}, find(w.ann, "a", "b"))
	require.Equal(t, []uuid.UUID{odd.ID}, find(w.ann, `o'd"d,{}\`))
	require.Empty(t, find(w.ann, "c"))
	require.Empty(t, find(w.bob, "a"), "it opens nothing")
	for _, tags := range [][]string{make([]string, maxTags+1), {strings.Repeat("x", maxTag+1)}, {"a\x00"}} {
		_, err := Tagged(tags)
		requireCode(t, errs.BadUserInput, err)
	}
}

func TestService_ChunkCount(t *testing.T) {
	w := newWorld(t)
	d := w.create(w.ann, note("long", long(5, "alpha beta")), true)
	n := w.Count(t, "SELECT count(*) FROM document_chunks WHERE document_id = $1", d.ID)
	require.Greater(t, n, 2)
	// What a worker is writing does not count.
	w.exec(`INSERT INTO document_chunks (id, created_at, chunk_index, content, generation, document_id, embedding_model_id, owner_id)
		SELECT $2, now(), 0, 'x', 2, document_id, embedding_model_id, owner_id FROM document_chunks WHERE document_id = $1 LIMIT 1`, d.ID, uid.New(uid.DocumentChunk))
	nobody := authz.NewUser(uid.New(uid.User), "nobody", uuid.Nil, true, time.Now().Add(time.Hour))
	for name, c := range map[string]struct {
		p    *authz.Principal
		want int
	}{"Owner": {w.ann, n}, "Other": {w.bob, 0}, "Superuser": {nobody, 0}, "Anonymous": {nil, 0}} {
		got, err := w.ChunkCount(testkit.As(c.p), d)
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
}
