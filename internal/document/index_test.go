//go:build unix

package document

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/ent/documentchunk"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/job"
	"cdsa.dev/cdsa/internal/retrieval"
	"cdsa.dev/cdsa/internal/retrieval/store"
	"cdsa.dev/cdsa/internal/testkit"
)

func TestService_Index(t *testing.T) {
	w := newWorld(t)
	in := note("GPL", gpl(t))
	in.IsPublic = true
	d := w.create(w.ann, in, true)
	require.Equal(t, enum.DocumentStatusIndexed, d.Status)
	require.True(t, d.IsProcessed)
	require.True(t, d.IsIndexed)
	require.Nil(t, d.ProcessingError)
	require.Nil(t, d.LeaseExpiresAt)
	require.Equal(t, 1, d.Generation)
	require.Equal(t, "en", d.Language)
	require.Equal(t, "text/plain", d.FileType)
	require.Equal(t, in.Content, *d.Content)
	require.Equal(t, []enum.DocumentStatus{"UPLOADED", "EXTRACTING", "CHUNKING", "EMBEDDING", "INDEXED"}, w.statuses(d.ID))
	last := -1.0
	for _, e := range w.events(d.ID) {
		require.GreaterOrEqual(t, e.Progress, last)
		last = e.Progress
	}
	require.InDelta(t, 1, last, 0)
	require.Equal(t, 1, w.audits(enum.AuditActionDocumentProcessed, d.ID))
	chunks := w.Kit.Client.DocumentChunk.Query().Where(documentchunk.DocumentID(d.ID)).AllX(testkit.As(w.bob))
	require.Greater(t, len(chunks), 20)
	for _, c := range chunks {
		require.Equal(t, c.Content, retrieval.Slice(*d.Content, c.StartOffset, c.EndOffset))
		require.Equal(t, w.ann.UserID, c.OwnerID)
		require.True(t, c.IsPublic)
		require.Equal(t, 1, c.Generation)
	}
	require.NoError(t, w.Index(context.Background(), d.ID), "a second job has nothing to do")
	require.Equal(t, 1, w.document(d.ID).Generation)
	require.NoError(t, w.Index(context.Background(), unknown))
}

func TestService_Index_Fails(t *testing.T) {
	w := newWorld(t)
	local := w.Embedder
	const canary = "xyzzy-canary"
	for name, c := range map[string]struct {
		in   Input
		s    *Service
		want string
	}{
		"Binary":   {Input{File: bytes.NewReader([]byte("%PDF-1.7\n\x00\x01")), Filename: "a.pdf"}, w.Service, "Files of type application/pdf cannot be read. Upload plain text, Markdown or HTML."},
		"Empty":    {Input{File: strings.NewReader("")}, w.Service, "There is no text in this file. Choose a file with text in it."},
		"TooLarge": {Input{File: strings.NewReader(strings.Repeat("a b\n", 6<<20))}, w.Service, "A document that is to be searched may have at most 20 MB. Split it into smaller files."},
		"Upstream": {note("", "upstream"), w.with(failing{local, func() error {
			return errs.New(errs.UpstreamUnavailable, "The embedding service did not answer. Try again later.")
		}}), "The embedding service did not answer. Try again later."},
		"Fault": {note("", "fault "+canary), w.with(failing{local, func() error { return errors.New("wrong size") }}), faultSentence},
		"Panic": {note("", "panic "+canary), w.with(failing{local, func() error { panic("at " + canary) }}), faultSentence},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			c.s.Log = slog.New(slog.NewTextHandler(&log, nil))
			c.in.Title, c.in.SourceType = name, enum.DocumentSourceTypeUpload
			d := w.create(w.ann, c.in, false)
			require.NoError(t, c.s.Index(context.Background(), d.ID))
			d = w.document(d.ID)
			require.Equal(t, enum.DocumentStatusFailed, d.Status)
			require.True(t, d.IsProcessed)
			require.False(t, d.IsIndexed)
			require.Nil(t, d.LeaseExpiresAt)
			require.Equal(t, c.want, *d.ProcessingError)
			require.Equal(t, 1, w.audits(enum.AuditActionDocumentProcessingFailed, d.ID))
			require.Equal(t, enum.DocumentStatusFailed, w.events(d.ID)[len(w.events(d.ID))-1].Status)
			require.NotContains(t, log.String(), canary)
			require.Equal(t, c.want == faultSentence, log.Len() > 0)
			require.Zero(t, w.Count(t, "SELECT count(*) FROM document_chunks WHERE document_id = $1", d.ID))
		})
	}
}

// start runs Index in the background.
func start(ctx context.Context, s *Service, id uuid.UUID) <-chan error {
	done := make(chan error, 1)
	go func() { done <- s.Index(ctx, id) }()
	return done
}

func TestService_Index_LostWorker(t *testing.T) {
	w := newWorld(t)
	d := w.create(w.ann, note("d", long(5, "gamma delta")), false)
	slow := stall(w.Embedder, 1)
	first := start(context.Background(), w.with(slow), d.ID)
	<-slow.reached
	require.NoError(t, w.Index(context.Background(), d.ID), "a held document is left alone")
	require.Equal(t, enum.DocumentStatusEmbedding, w.document(d.ID).Status)
	require.NoError(t, w.Sweep(context.Background()))
	require.Equal(t, 1, w.jobs(d.ID), "a live lease is not swept")

	// The first worker freezes: it lives, but its lease lapses.
	w.exec("UPDATE documents SET lease_expires_at = now() - interval '1 second' WHERE id = $1", d.ID)
	require.NoError(t, w.Sweep(context.Background()))
	require.Equal(t, enum.DocumentStatusUploaded, w.document(d.ID).Status)
	require.Equal(t, 2, w.jobs(d.ID))
	require.Equal(t, 1, w.audits(enum.AuditActionDocumentProcessingFailed, d.ID))
	require.NoError(t, w.Index(context.Background(), d.ID))
	after := w.document(d.ID)
	require.Equal(t, enum.DocumentStatusIndexed, after.Status)
	close(slow.resume)
	require.NoError(t, <-first, "it finds that it lost the document")
	require.Equal(t, after.UpdatedAt, w.document(d.ID).UpdatedAt)
	require.Equal(t, 1, w.document(d.ID).Generation)
	require.Equal(t, 1, w.audits(enum.AuditActionDocumentProcessed, d.ID))
}

func TestService_Index_Heartbeat(t *testing.T) {
	w := newWorld(t)
	d := w.create(w.ann, note("d", long(150, "epsilon zeta")), false)
	slow := stall(w.Embedder, 2)
	done := start(context.Background(), w.with(slow), d.ID)
	<-slow.reached
	before := *w.document(d.ID).LeaseExpiresAt
	w.eventually("the lease moves on and the progress is told", func() bool {
		events := w.events(d.ID)
		return w.document(d.ID).LeaseExpiresAt.After(before) && events[len(events)-1].Progress > atEmbedding
	})
	close(slow.resume)
	require.NoError(t, <-done)
	require.Equal(t, enum.DocumentStatusIndexed, w.document(d.ID).Status)
}

func TestService_Index_Stopped(t *testing.T) {
	w := newWorld(t)
	d := w.create(w.ann, note("d", "eta theta"), false)
	slow := stall(w.Embedder, 1)
	ctx, stop := context.WithCancel(context.Background())
	done := start(ctx, w.with(slow), d.ID)
	<-slow.reached
	stop()
	require.NoError(t, <-done)
	require.Equal(t, enum.DocumentStatusUploaded, w.document(d.ID).Status)
	require.Equal(t, 2, w.jobs(d.ID))
	require.Zero(t, w.audits(enum.AuditActionDocumentProcessingFailed, d.ID))
	require.NoError(t, w.Index(context.Background(), d.ID))
	require.Equal(t, enum.DocumentStatusIndexed, w.document(d.ID).Status)
}

func TestService_Index_Deleted(t *testing.T) {
	w := newWorld(t)
	d := w.create(w.ann, note("d", "iota kappa"), false)
	slow := stall(w.Embedder, 1)
	done := start(context.Background(), w.with(slow), d.ID)
	<-slow.reached
	require.NoError(t, w.Delete(testkit.As(w.ann), d.ID))
	close(slow.resume)
	err := <-done
	require.NoError(t, err)
	require.Zero(t, w.Count(t, "SELECT count(*) FROM document_chunks"))
	require.Zero(t, w.audits(enum.AuditActionDocumentProcessed, d.ID))
}

// The former generation is found until the new one is whole, and never both.
func TestService_Index_Again(t *testing.T) {
	w := newWorld(t)
	d := w.create(w.ann, note("d", "The former text speaks of walruses."), true)
	find := func(word string) []Hit {
		found, err := w.Search(testkit.As(w.ann), SearchParams{Query: word, Limit: 10, Type: enum.SearchTypeKeyword})
		require.NoError(t, err)
		return found.Hits
	}
	w.exec("UPDATE documents SET status = 'UPLOADED', original = 'The present text speaks of narwhals.' WHERE id = $1", d.ID)
	slow := stall(w.Embedder, 1)
	done := start(context.Background(), w.with(slow), d.ID)
	<-slow.reached
	require.Len(t, find("walruses"), 1)
	require.Empty(t, find("narwhals"))
	// What changes about who may read it meanwhile holds for the new passages too.
	w.exec("UPDATE documents SET is_public = true, sensitivity = 'RESTRICTED' WHERE id = $1", d.ID)
	close(slow.resume)
	require.NoError(t, <-done)
	require.Empty(t, find("walruses"))
	hits := find("narwhals")
	require.Len(t, hits, 1)
	require.Equal(t, 2, hits[0].Chunk.Generation)
	require.True(t, hits[0].Chunk.IsPublic)
	require.Equal(t, enum.SensitivityRestricted, hits[0].Chunk.Sensitivity)
	require.Equal(t, 1, w.Count(t, "SELECT count(*) FROM document_chunks WHERE document_id = $1", d.ID))

	// A failure leaves what can be searched.
	w.exec(`UPDATE documents SET status = 'UPLOADED', original = '\x000102' WHERE id = $1`, d.ID)
	require.NoError(t, w.Index(context.Background(), d.ID))
	require.Equal(t, enum.DocumentStatusFailed, w.document(d.ID).Status)
	require.True(t, w.document(d.ID).IsIndexed)
	require.Len(t, find("narwhals"), 1)
}

// A worker that fails half way leaves no passages; one that was killed leaves some, which the next one replaces.
func TestService_Index_HalfWay(t *testing.T) {
	w := newWorld(t)
	d := w.create(w.ann, note("d", long(150, "epsilon zeta")), false)
	slow := stall(w.Embedder, 2)
	ctx, stop := context.WithCancel(context.Background())
	done := start(ctx, w.with(slow), d.ID)
	<-slow.reached
	stored := func() int {
		return w.Count(t, "SELECT count(*) FROM document_chunks WHERE document_id = $1", d.ID)
	}
	require.Equal(t, store.Batch, stored())
	require.Greater(t, w.events(d.ID)[len(w.events(d.ID))-1].Progress, 0.3, "the progress of storing is told")
	found, err := w.Search(testkit.As(w.ann), SearchParams{Query: "epsilon", Limit: 10, Type: enum.SearchTypeHybrid})
	require.NoError(t, err)
	require.Empty(t, found.Hits)
	n, err := w.ChunkCount(testkit.As(w.ann), d)
	require.NoError(t, err)
	require.Zero(t, n)
	w.exec("UPDATE documents SET is_public = true WHERE id = $1", d.ID)
	stop()
	require.NoError(t, <-done)
	require.Equal(t, store.Batch, stored())
	broken := w.with(failing{w.Embedder, func() error { return errors.New("broken") }})
	require.NoError(t, broken.Index(context.Background(), d.ID))
	require.Equal(t, enum.DocumentStatusFailed, w.document(d.ID).Status)
	require.Zero(t, stored())
	w.exec("UPDATE documents SET status = 'UPLOADED' WHERE id = $1", d.ID)
	require.NoError(t, w.Index(context.Background(), d.ID))
	require.Equal(t, enum.DocumentStatusIndexed, w.document(d.ID).Status)
	require.Equal(t, stored(), w.Count(t, "SELECT count(*) FROM document_chunks WHERE is_public"))
}

// Each owner has one worker of large documents and one of small ones at most, and the next begins when one ends.
func TestService_Index_Share(t *testing.T) {
	w := newWorld(t)
	upload := func(p *authz.Principal, size int, text string) uuid.UUID {
		return w.create(p, note(text, strings.Repeat(text+" \n", size/(len(text)+2)+1)), false).ID
	}
	large := upload(w.ann, smallFile+1, "large one")
	slow := stall(w.Embedder, 1)
	done := start(context.Background(), w.with(slow), large)
	<-slow.reached
	second, third := upload(w.ann, smallFile+1, "large two"), upload(w.ann, smallFile+1, "large three")
	for _, id := range []uuid.UUID{second, third} {
		w.exec("DELETE FROM river_job")
		require.NoError(t, w.Index(context.Background(), id))
		require.Equal(t, enum.DocumentStatusUploaded, w.document(id).Status, "it waits for the first")
		require.Nil(t, w.document(id).LeaseExpiresAt)
	}
	require.NoError(t, w.Sweep(context.Background()))
	require.Zero(t, w.Count(t, "SELECT count(*) FROM river_job"), "without a job")
	for _, id := range []uuid.UUID{upload(w.ann, 100, "small"), upload(w.bob, smallFile+1, "large one")} {
		require.NoError(t, w.Index(context.Background(), id))
		require.Equal(t, enum.DocumentStatusIndexed, w.document(id).Status)
	}
	require.Equal(t, 1, w.Count(t, "SELECT count(*) FROM river_job WHERE queue = $1", job.QueueIndexSmall))
	close(slow.resume)
	require.NoError(t, <-done)
	require.Equal(t, 1, w.jobs(second), "the one that waited longest is next")
	require.Zero(t, w.jobs(third))
	broken := w.with(failing{w.Embedder, func() error { return errors.New("broken") }})
	require.NoError(t, broken.Index(context.Background(), second))
	require.Equal(t, 1, w.jobs(third), "a failure ends a turn too")

	// A worker that never ends its turn: the sweep gives the turn to the next.
	w.exec("UPDATE documents SET lease_expires_at = NULL WHERE id = $1", third)
	w.exec("DELETE FROM river_job")
	require.NoError(t, w.Sweep(context.Background()))
	require.Equal(t, 1, w.jobs(third))
}

func TestService_Index_OtherModel(t *testing.T) {
	w := newWorld(t)
	d := w.create(w.ann, note("d", "lambda mu"), false)
	w.exec("UPDATE embedding_models SET model_id = 'another'")
	require.ErrorContains(t, w.Index(context.Background(), d.ID), "another")
	require.Equal(t, enum.DocumentStatusUploaded, w.document(d.ID).Status, "it waits")
	_, err := w.Search(testkit.As(w.ann), SearchParams{Query: "x", Limit: 1, Type: enum.SearchTypeHybrid})
	require.ErrorContains(t, err, "another")
}

func TestService_Sweep(t *testing.T) {
	w := newWorld(t)
	t.Run("LostJob", func(t *testing.T) {
		d := w.create(w.ann, note("d", "lost job"), false)
		require.NoError(t, w.Sweep(context.Background()))
		require.Equal(t, 1, w.jobs(d.ID))
		w.exec("UPDATE documents SET lease_expires_at = now() - interval '1 second' WHERE id = $1", d.ID)
		require.NoError(t, w.Sweep(context.Background()))
		require.Equal(t, 1, w.jobs(d.ID), "a job that waits in the queue is not lost")
		w.exec("DELETE FROM river_job")
		require.NoError(t, w.Sweep(context.Background()))
		require.NoError(t, w.Sweep(context.Background()))
		require.Equal(t, 1, w.jobs(d.ID), "once")
		w.exec("UPDATE documents SET lease_expires_at = now() - interval '1 second' WHERE id = $1", d.ID)
		w.exec("UPDATE river_job SET state = 'running', attempted_at = now() - interval '6 seconds'")
		require.NoError(t, w.Sweep(context.Background()))
		require.Equal(t, 2, w.jobs(d.ID), "whoever took the job died before it took the document")
		require.Len(t, w.events(d.ID), 1, "nothing happened that anyone wants to know")
	})
	t.Run("KillsItsWorkers", func(t *testing.T) {
		d := w.create(w.ann, note("d", "poison"), false)
		kill := func() {
			c, err := w.claim(testkit.As(authz.Indexer), d.ID) // and the process dies: no heartbeat follows
			require.NoError(t, err)
			require.NotNil(t, c)
			w.exec("UPDATE documents SET lease_expires_at = now() - interval '1 second' WHERE id = $1", d.ID)
			require.NoError(t, w.Sweep(context.Background()))
		}
		for range maxInterruptions - 1 {
			kill()
			require.Equal(t, enum.DocumentStatusUploaded, w.document(d.ID).Status)
		}
		kill()
		got := w.document(d.ID)
		require.Equal(t, enum.DocumentStatusFailed, got.Status)
		require.Equal(t, interruptedSentence, *got.ProcessingError)
		require.Equal(t, maxInterruptions, w.audits(enum.AuditActionDocumentProcessingFailed, d.ID))
		w.create(w.ann, note("d", "poison"), false) // its owner tries again: the count begins anew
		kill()
		require.Equal(t, enum.DocumentStatusUploaded, w.document(d.ID).Status)
		require.NoError(t, w.Index(context.Background(), d.ID))
		require.Equal(t, enum.DocumentStatusIndexed, w.document(d.ID).Status)
	})
	t.Run("NoWorker", func(t *testing.T) {
		d := w.create(w.ann, note("d", "no sweep needed"), false)
		_, err := w.claim(testkit.As(authz.Indexer), d.ID)
		require.NoError(t, err)
		w.exec("UPDATE documents SET lease_expires_at = now() - interval '1 second' WHERE id = $1", d.ID)
		require.NoError(t, w.Index(context.Background(), d.ID), "a job that is there takes a lapsed document itself")
		require.Equal(t, enum.DocumentStatusIndexed, w.document(d.ID).Status)
	})
	t.Run("Touch", func(t *testing.T) {
		d := w.create(w.ann, note("d", "touched"), true)
		require.Nil(t, d.LastAccessed)
		w.Touch(d.ID, unknown)
		require.NoError(t, w.Sweep(context.Background()))
		got := w.document(d.ID)
		require.WithinDuration(t, time.Now(), *got.LastAccessed, time.Minute)
		require.Equal(t, d.UpdatedAt, got.UpdatedAt)
		w.Touch(d.ID)
		require.NoError(t, w.Sweep(context.Background()))
		require.Equal(t, got.LastAccessed, w.document(d.ID).LastAccessed, "at most once a minute")
		require.Empty(t, w.touched.read)
	})
}

// Uploads, workers, searches, sweeps and deletions of the same documents at once neither fail nor block each other for good.
func TestService_AtOnce(t *testing.T) {
	w := newWorld(t)
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	ann, bob := authz.With(ctx, w.ann), authz.With(ctx, w.bob)
	var work, rest sync.WaitGroup
	var faults sync.Map
	check := func(err error) {
		if err != nil && !errs.Is(err, errs.NotFound) {
			faults.Store(err.Error(), true)
		}
	}
	for i := range 3 {
		work.Go(func() {
			for n := range 8 {
				in := note("d", long(4, fmt.Sprintf("chi psi %d", (i+n)%3))) // three documents that come and go
				in.IsPublic = true
				d, err := w.Create(ann, in)
				if err != nil {
					check(err)
					continue
				}
				check(w.Index(ctx, d.ID))
				check(w.Delete(ann, d.ID))
			}
		})
	}
	done := make(chan struct{})
	for _, f := range []func() error{
		func() error { return w.Sweep(ctx) },
		func() error { return w.Sweep(ctx) },
		func() error {
			_, err := w.Search(bob, SearchParams{Query: "psi", Limit: 20, Type: enum.SearchTypeHybrid})
			return err
		},
		func() error {
			_, err := w.Search(ann, SearchParams{Query: "chi", Limit: 20, Type: enum.SearchTypeKeyword})
			return err
		},
	} {
		rest.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					check(f())
				}
			}
		})
	}
	work.Wait()
	close(done)
	rest.Wait()
	faults.Range(func(k, _ any) bool { t.Error(k); return true })
	require.Zero(t, w.Count(t, "SELECT count(*) FROM document_chunks c LEFT JOIN documents d ON d.id = c.document_id WHERE d.id IS NULL OR d.generation <> c.generation"))
}
