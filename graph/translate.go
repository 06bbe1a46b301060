package graph

import (
	"context"
	"errors"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/document"
	"cdsa.dev/cdsa/ent/predicate"
	"cdsa.dev/cdsa/ent/toolapproval"
	"cdsa.dev/cdsa/ent/user"
	"cdsa.dev/cdsa/graph/model"
	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/authz"
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
		return r.userNode(ctx, id)
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

// userNode is an account: users' names are shown beside rows that name them, but fewer may fetch one by its id.
func (r *Resolver) userNode(ctx context.Context, id uuid.UUID) (ent.Noder, error) {
	p, err := rule.JudgedByID(ctx, uid.Types[uid.User])
	if err != nil {
		return nil, err
	}
	q, err := r.Client.User.Query().Where(user.ID(id), rule.Fetchable(uid.Types[uid.User], p).Selector()).CollectFields(ctx, "User", "Node")
	if err != nil {
		return nil, err
	}
	u, err := q.Only(ctx)
	if ent.IsNotFound(err) {
		return nil, nil //nolint:nilnil // likewise
	}
	return u, err
}

func (r *Resolver) nodes(ctx context.Context, ids []uuid.UUID) ([]ent.Noder, error) {
	if len(ids) > maxNodes {
		return nil, errs.Input("ids", "At most %d ids at once.", maxNodes)
	}
	out := make([]ent.Noder, len(ids))
	for i, id := range ids { // one query each: entgql's own list answers nothing when one is missing
		n, err := r.node(ctx, id)
		if err != nil {
			return nil, err
		}
		out[i] = n
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
	ids := make([]uuid.UUID, len(a.Decisions))
	for i, d := range a.Decisions {
		ids[i] = d.ApproverID
	}
	users, err := r.Client.User.Query().Where(user.IDIn(ids...)).All(ctx)
	if err != nil {
		return nil, err
	}
	byID := map[uuid.UUID]*ent.User{}
	for _, u := range users {
		byID[u.ID] = u
	}
	for _, d := range a.Decisions {
		v := &model.ApprovalDecision{Approver: byID[d.ApproverID], Approved: d.Approved, At: d.At, SecondFactorAt: d.MFAAt}
		if d.Comment != "" {
			v.Comment = &d.Comment
		}
		out = append(out, v)
	}
	return out, nil
}

func (r *Resolver) approvalID(ctx context.Context, x *ent.ToolExecution) (*uuid.UUID, error) {
	if !x.RequiresApproval {
		return nil, nil //nolint:nilnil // most calls have none
	}
	if x.Edges.Approval != nil {
		return &x.Edges.Approval.ID, nil
	}
	id, err := r.Client.ToolApproval.Query().Where(toolapproval.ExecutionID(x.ID)).OnlyID(ctx)
	if ent.IsNotFound(err) {
		return nil, nil //nolint:nilnil // hidden is null
	}
	return idOrNil(id), err
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
	out := &model.SearchPayload{SearchID: found.SearchID, Hits: make([]*model.SearchHit, len(found.Hits)), Exhausted: found.Exhausted, TookMs: float64(found.Took.Microseconds()) / 1000}
	for i, h := range found.Hits {
		out.Hits[i] = &model.SearchHit{Result: h.Result, Chunk: h.Chunk, Document: h.Document, Score: h.Score, Rank: h.Rank, VectorRank: h.VectorRank, KeywordRank: h.KeywordRank, Snippet: h.Snippet, GrantedBy: h.GrantedBy}
	}
	return out, nil
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
