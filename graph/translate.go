package graph

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/vektah/gqlparser/v2/ast"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/document"
	"cdsa.dev/cdsa/ent/documentchunk"
	"cdsa.dev/cdsa/ent/predicate"
	"cdsa.dev/cdsa/ent/searchresult"
	"cdsa.dev/cdsa/ent/toolapproval"
	"cdsa.dev/cdsa/ent/user"
	"cdsa.dev/cdsa/graph/model"
	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/batch"
	service "cdsa.dev/cdsa/internal/document"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
)

const maxNodes = 100

// tableOf names an id's table without asking the database.
func tableOf(_ context.Context, id uuid.UUID) (string, error) {
	t, ok := uid.Of(id)
	if !ok {
		return "", errs.Missing("object")
	}
	return uid.Tables[t], nil
}

// node fetches a row by its id: null without an error when it is absent or hidden.
func (r *Resolver) node(ctx context.Context, id uuid.UUID) (ent.Noder, error) {
	t, ok := uid.Of(id)
	if !ok {
		return nil, nil //nolint:nilnil // nothing has such an id
	}
	switch t { //nolint:exhaustive // the others are fetched alike
	case uid.User:
		found, err := r.userNodes(ctx, id)
		if err != nil || len(found) == 0 {
			return nil, err
		}
		return found[0], nil
	case uid.ChatSession:
		if x, covered, err := r.Reads.ChatSession(ctx, id); covered {
			if x == nil {
				return nil, err
			}
			return x, err
		}
	}
	n, err := r.Client.Noder(ctx, id, ent.WithNodeType(tableOf))
	if ent.IsNotFound(err) {
		return nil, nil //nolint:nilnil // a hidden node is null without an error
	}
	return n, err
}

// userNodes are accounts: users' names are shown beside rows that name them, but fewer may fetch one by its id.
func (r *Resolver) userNodes(ctx context.Context, ids ...uuid.UUID) ([]*ent.User, error) {
	p, err := rule.JudgedByID(ctx, uid.Types[uid.User])
	if err != nil {
		return nil, err
	}
	q, err := r.Client.User.Query().Where(user.IDIn(ids...), rule.Fetchable(uid.Types[uid.User], p).Selector()).CollectFields(ctx, "User", "Node")
	if err != nil {
		return nil, err
	}
	return q.All(ctx)
}

func (r *Resolver) nodes(ctx context.Context, ids []uuid.UUID) ([]ent.Noder, error) {
	if len(ids) > maxNodes {
		return nil, errs.Input("ids", "At most %d ids at once.", maxNodes)
	}
	byType := map[uid.Tag][]uuid.UUID{}
	for _, id := range ids {
		if t, ok := uid.Of(id); ok {
			byType[t] = append(byType[t], id)
		}
	}
	found := make(map[uuid.UUID]ent.Noder, len(ids))
	for t, of := range byType { // entgql's own list is full of errors when one is missing
		if t == uid.User {
			users, err := r.userNodes(ctx, of...)
			if err != nil {
				return nil, err
			}
			for _, u := range users {
				found[u.ID] = u
			}
			continue
		}
		rows, err := r.Client.NodesOf(ctx, uid.Tables[t], of)
		if err != nil {
			return nil, err
		}
		for i, id := range of {
			found[id] = rows[i]
		}
	}
	out := make([]ent.Noder, len(ids))
	for i, id := range ids {
		out[i] = found[id]
	}
	return out, nil
}

func viewerID(ctx context.Context) uuid.UUID {
	if p := authz.From(ctx); p != nil {
		return p.UserID
	}
	return uuid.Nil
}

func (r *Resolver) viewer(ctx context.Context) (*ent.User, error) {
	p := authz.From(ctx)
	if p == nil {
		return nil, nil //nolint:nilnil // null when anonymous
	}
	q, err := r.Client.User.Query().Where(user.ID(p.UserID)).CollectFields(ctx)
	if err != nil {
		return nil, err
	}
	return q.Only(ctx)
}

func (r *Resolver) serverInfo() *model.ServerInfo {
	out := &model.ServerInfo{Version: r.Info.Version, Registration: r.Info.Registration, ChatModels: []*model.ChatModel{}, OidcProviders: []*model.OidcProvider{}}
	for _, m := range r.Models.List() {
		out.ChatModels = append(out.ChatModels, &model.ChatModel{Name: m.Name, Provider: m.Provider, ContextWindowSize: m.ContextWindow, SensitivityCeiling: m.SensitivityCeiling, IsDefault: m.IsDefault})
	}
	for _, p := range r.OIDC.Listed() {
		out.OidcProviders = append(out.OidcProviders, &model.OidcProvider{Name: p.Name, AuthorizationURL: p.AuthorizationURL})
	}
	return out
}

// listError turns what the database says of a cursor that belongs to a list in another order into a sentence.
func listError(err error) error {
	foreign := errors.Is(err, ent.ErrForeignCursor)
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code {
		case "22P02", "22007", "22008", "42804", "42883", "42846": // invalid text, datetime; mismatch of types
			foreign = true
		}
	}
	if foreign {
		return errs.Input("after", "This cursor belongs to a list in another order. Start again without it.")
	}
	return err
}

// authPayload answers a sign-in; the rest of the operation is the new principal's to see.
func authPayload(ctx context.Context, s account.Signed, err error) (*model.AuthPayload, error) {
	if err != nil {
		return nil, err
	}
	authz.SignIn(ctx, s.Principal)
	return &model.AuthPayload{AccessToken: s.AccessToken, RefreshToken: s.RefreshToken, ExpiresAt: s.ExpiresAt, Session: s.Session, User: s.User}, nil
}

func (r *Resolver) decisions(ctx context.Context, a *ent.ToolApproval) ([]*model.ApprovalDecision, error) {
	out := make([]*model.ApprovalDecision, 0, len(a.Decisions))
	if len(a.Decisions) == 0 {
		return out, nil
	}
	approvers, err := batch.Load(ctx, approversOf{selection(ctx)}, a, func(ctx context.Context, approvals []*ent.ToolApproval) (map[uuid.UUID]*ent.User, error) {
		var ids []uuid.UUID
		for _, a := range approvals {
			for _, d := range a.Decisions {
				ids = append(ids, d.ApproverID)
			}
		}
		return r.usersByID(ctx, ids, "approver")
	})
	if err != nil {
		return nil, err
	}
	for _, d := range a.Decisions {
		v := &model.ApprovalDecision{Approver: approvers[d.ApproverID], Approved: d.Approved, At: d.At, SecondFactorAt: d.MFAAt}
		if d.Comment != "" {
			v.Comment = &d.Comment
		}
		out = append(out, v)
	}
	return out, nil
}

// approversOf is users who decided, with what one selection wants of them.
type approversOf struct{ selection *ast.Selection }

// usersByID reads users with what is selected of them below the present field.
func (r *Resolver) usersByID(ctx context.Context, ids []uuid.UUID, path ...string) (map[uuid.UUID]*ent.User, error) {
	q := r.Client.User.Query().Where(user.IDIn(ids...))
	if at, ok := below(ctx, path...); ok {
		var err error
		if q, err = q.CollectFields(at, "User", "Node"); err != nil {
			return nil, err
		}
	}
	users, err := q.All(ctx)
	if err != nil {
		return nil, err
	}
	byID := make(map[uuid.UUID]*ent.User, len(users))
	for _, u := range users {
		byID[u.ID] = u
	}
	return byID, nil
}

func (r *Resolver) approvalID(ctx context.Context, x *ent.ToolExecution) (*uuid.UUID, error) {
	if !x.RequiresApproval {
		return nil, nil //nolint:nilnil // most calls have none
	}
	if x.Edges.Approval != nil {
		return &x.Edges.Approval.ID, nil
	}
	approvals, err := batch.Load(ctx, "approvals", x, r.approvalIDs)
	return idOrNil(approvals[x.ID]), err // hidden is null
}

// approvalIDs reads the ids of the calls' approvals, by call.
func (r *Resolver) approvalIDs(ctx context.Context, calls []*ent.ToolExecution) (map[uuid.UUID]uuid.UUID, error) {
	ids := make([]uuid.UUID, 0, len(calls))
	for _, x := range calls {
		if x.RequiresApproval {
			ids = append(ids, x.ID)
		}
	}
	found, err := r.Client.ToolApproval.Query().Where(toolapproval.ExecutionIDIn(ids...)).Select(toolapproval.FieldID, toolapproval.FieldExecutionID).All(ctx)
	approvals := make(map[uuid.UUID]uuid.UUID, len(found))
	for _, a := range found {
		approvals[a.ExecutionID] = a.ID
	}
	return approvals, err
}

func documentIs(id uuid.UUID) predicate.Document { return document.ID(id) }

func (r *Resolver) uploadDocument(ctx context.Context, in model.UploadDocumentInput) (*ent.Document, error) {
	title := deref(in.Title)
	if title == "" {
		title = in.File.Filename
	}
	return r.Documents.Create(ctx, service.Input{
		Title: title, File: in.File.File, Filename: in.File.Filename, ContentType: in.File.ContentType, Source: in.File.Filename, SourceType: enum.DocumentSourceTypeUpload,
		Tags: in.Tags, IsPublic: deref(in.IsPublic), RequiredPermission: in.RequiredPermission, Sensitivity: in.Sensitivity, Metadata: in.Metadata,
	})
}

func (r *Resolver) createDocument(ctx context.Context, in model.CreateDocumentInput) (*ent.Document, error) {
	return r.Documents.Create(ctx, service.Input{
		Title: in.Title, Content: in.Content, Source: deref(in.Source), SourceType: enum.DocumentSourceTypeApi,
		Tags: in.Tags, IsPublic: deref(in.IsPublic), RequiredPermission: in.RequiredPermission, Sensitivity: in.Sensitivity, Metadata: in.Metadata,
	})
}

func (r *Resolver) searchDocuments(ctx context.Context, in model.SearchDocumentsInput) (*model.SearchPayload, error) {
	p := service.SearchParams{Query: in.Query, Limit: 10, Type: enum.SearchTypeHybrid, Tags: in.Tags, DocumentIDs: in.DocumentIds, SessionID: in.SessionID}
	if in.Limit != nil {
		p.Limit = *in.Limit
	}
	if in.SearchType != nil {
		p.Type = *in.SearchType
	}
	p.WithContent = selects(ctx, "hits", "document", "content")
	found, err := r.Documents.Search(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := r.hitEdges(ctx, found.Hits); err != nil {
		return nil, err
	}
	out := &model.SearchPayload{SearchID: found.SearchID, Hits: make([]*model.SearchHit, len(found.Hits)), Exhausted: found.Exhausted, TookMs: float64(found.Took.Microseconds()) / 1000}
	for i, h := range found.Hits {
		out.Hits[i] = &model.SearchHit{Result: h.Result, Chunk: h.Chunk, Document: h.Document, Score: h.Score, Rank: h.Rank, VectorRank: h.VectorRank, KeywordRank: h.KeywordRank, Snippet: h.Snippet, GrantedBy: h.GrantedBy}
	}
	return out, nil
}

// below is the context of the field at path below the present one, for a look-ahead at what is selected there; false where
// a step is not selected, or is twice: two selections with arguments of their own cannot be looked ahead at as one.
func below(ctx context.Context, path ...string) (context.Context, bool) {
	fc := graphql.GetFieldContext(ctx)
	if fc == nil || len(path) == 0 {
		return ctx, false
	}
	field := fc.Field
	for _, name := range path {
		named := slices.DeleteFunc(slices.Clone(graphql.CollectFields(graphql.GetOperationContext(ctx), field.Selections, nil)),
			func(f graphql.CollectedField) bool { return f.Name != name })
		if len(named) != 1 {
			return ctx, false
		}
		field = named[0]
	}
	return graphql.WithFieldContext(ctx, &graphql.FieldContext{Field: field}), true
}

// selection tells what is selected of the present field from what is elsewhere; nil outside of an operation.
func selection(ctx context.Context) *ast.Selection {
	if fc := graphql.GetFieldContext(ctx); fc != nil && len(fc.Field.Selections) > 0 {
		return &fc.Field.Selections[0]
	}
	return nil
}

// hitEdges reads the rows of hits again with the edges that are selected of them, if any: a row that has none loaded reads
// each by itself.
func (r *Resolver) hitEdges(ctx context.Context, hits []service.Hit) error {
	ids := func(of func(h service.Hit) uuid.UUID) []uuid.UUID {
		l := make([]uuid.UUID, len(hits))
		for i, h := range hits {
			l[i] = of(h)
		}
		return l
	}
	documents, err := withEdges(ctx, func(at context.Context) (*ent.DocumentQuery, error) {
		return r.Client.Document.Query().Where(document.IDIn(ids(func(h service.Hit) uuid.UUID { return h.Document.ID })...)).CollectFields(at, "Document", "Node")
	}, func(d *ent.Document) uuid.UUID { return d.ID }, "hits", "document")
	if err != nil {
		return err
	}
	chunks, err := withEdges(ctx, func(at context.Context) (*ent.DocumentChunkQuery, error) {
		return r.Client.DocumentChunk.Query().Where(documentchunk.IDIn(ids(func(h service.Hit) uuid.UUID { return h.Chunk.ID })...)).CollectFields(at, "DocumentChunk", "Node")
	}, func(c *ent.DocumentChunk) uuid.UUID { return c.ID }, "hits", "chunk")
	if err != nil {
		return err
	}
	results, err := withEdges(ctx, func(at context.Context) (*ent.SearchResultQuery, error) {
		return r.Client.SearchResult.Query().Where(searchresult.IDIn(ids(func(h service.Hit) uuid.UUID { return h.Result.ID })...)).CollectFields(at, "SearchResult", "Node")
	}, func(s *ent.SearchResult) uuid.UUID { return s.ID }, "hits", "result")
	if err != nil {
		return err
	}
	for i, h := range hits { // what has gone since stays as it was read
		hits[i].Document = cmp.Or(documents[h.Document.ID], h.Document)
		hits[i].Chunk = cmp.Or(chunks[h.Chunk.ID], h.Chunk)
		hits[i].Result = cmp.Or(results[h.Result.ID], h.Result)
	}
	return nil
}

// withEdges runs a query with a look-ahead at what is selected at path below the present field, by id; nil where that are
// fields alone.
func withEdges[T any, Q interface {
	All(ctx context.Context) ([]*T, error)
}](ctx context.Context, query func(at context.Context) (Q, error), id func(*T) uuid.UUID, path ...string) (map[uuid.UUID]*T, error) {
	at, ok := below(ctx, path...)
	if !ok || !slices.ContainsFunc(graphql.CollectFieldsCtx(at, nil), func(f graphql.CollectedField) bool { return len(f.Selections) > 0 }) {
		return nil, nil //nolint:nilnil // documented
	}
	q, err := query(at)
	if err != nil {
		return nil, err
	}
	rows, err := q.All(ctx)
	byID := make(map[uuid.UUID]*T, len(rows))
	for _, x := range rows {
		byID[id(x)] = x
	}
	return byID, err
}

// selects says whether the present field's selection reaches down to a field.
func selects(ctx context.Context, path ...string) bool {
	return reaches(graphql.GetOperationContext(ctx), graphql.CollectFieldsCtx(ctx, nil), path)
}

func reaches(oc *graphql.OperationContext, fields []graphql.CollectedField, path []string) bool {
	for _, f := range fields {
		if f.Name == path[0] && (len(path) == 1 || reaches(oc, graphql.CollectFields(oc, f.Selections, nil), path[1:])) {
			return true
		}
	}
	return false
}
