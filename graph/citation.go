package graph

import (
	"context"
	"maps"
	"slices"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/ast"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/document"
	"cdsa.dev/cdsa/internal/batch"
	"cdsa.dev/cdsa/internal/cite"
)

// citations are a message's. Where their documents are wanted, those of all messages that were read together are noted, so
// that one statement reads the documents of all.
func (r *Resolver) citations(ctx context.Context, m *ent.ChatMessage) ([]*cite.Citation, error) {
	out := pointers(m)
	wanted := slices.ContainsFunc(graphql.CollectFieldsCtx(ctx, []string{"Citation"}), func(f graphql.CollectedField) bool { return f.Name == "document" })
	if len(out) == 0 || !wanted {
		return out, nil
	}
	all, err := batch.Load(ctx, "citations", m, func(ctx context.Context, messages []*ent.ChatMessage) (map[uuid.UUID][]*cite.Citation, error) {
		var l []*cite.Citation
		of := make(map[uuid.UUID][]*cite.Citation, len(messages))
		for _, m := range messages {
			of[m.ID] = pointers(m)
			l = append(l, of[m.ID]...)
		}
		batch.Note(ctx, l)
		return of, nil
	})
	return all[m.ID], err
}

func pointers(m *ent.ChatMessage) []*cite.Citation {
	l := make([]*cite.Citation, len(m.Citations))
	for i := range l {
		l[i] = &m.Citations[i]
	}
	return l
}

// citedDocuments is documents that are cited, with what one selection wants of them.
type citedDocuments struct{ selection *ast.Selection }

// citedDocument is the document of a citation; nil when it is gone or hidden.
func (r *Resolver) citedDocument(ctx context.Context, c *cite.Citation) (*ent.Document, error) {
	documents, err := batch.Load(ctx, citedDocuments{selection(ctx)}, c, func(ctx context.Context, citations []*cite.Citation) (map[uuid.UUID]*ent.Document, error) {
		byID := map[uuid.UUID]*ent.Document{}
		for _, c := range citations {
			byID[c.DocumentID] = nil
		}
		q, err := r.Client.Document.Query().Where(document.IDIn(slices.Collect(maps.Keys(byID))...)).CollectFields(ctx, "Document", "Node")
		if err != nil {
			return nil, err
		}
		found, err := q.All(ctx)
		for _, d := range found {
			byID[d.ID] = d
		}
		return byID, err
	})
	return documents[c.DocumentID], err
}
