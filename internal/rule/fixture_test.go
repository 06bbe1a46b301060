package rule_test

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"entgo.io/ent/privacy"
	"github.com/google/uuid"
	"github.com/pgvector/pgvector-go"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// shared opens a document or a secret to stewards, auditors and admins: a permission that analysts lack.
const shared = "metrics:read"

// creation is an ent create builder.
type creation interface {
	Exec(ctx context.Context) error
}

// parents are the rows that a new row of someone hangs on.
type parents struct {
	tool, model, chat, execution, gated, secret, document, chunk uuid.UUID
}

// drafts make a row of each entity that belongs to owner. An entity without a draft fails TestRows.
var drafts = map[string]func(c *ent.Client, id, owner uuid.UUID, in parents) creation{
	"User": func(c *ent.Client, id, _ uuid.UUID, _ parents) creation {
		return c.User.Create().SetID(id).SetEmail(id.String() + "@example.org").SetUsername(id.String()).SetHashedPassword("")
	},
	"Session": func(c *ent.Client, id, owner uuid.UUID, _ parents) creation {
		return c.Session.Create().SetID(id).SetUserID(owner).SetToken("").SetExpiresAt(later()).SetFamilyID(id)
	},
	"Role": func(c *ent.Client, id, _ uuid.UUID, _ parents) creation {
		return c.Role.Create().SetID(id).SetName(id.String())
	},
	"Permission": func(c *ent.Client, id, _ uuid.UUID, _ parents) creation {
		return c.Permission.Create().SetID(id).SetName(id.String()).SetResource(id.String()).SetAction("read")
	},
	"ChatSession": func(c *ent.Client, id, owner uuid.UUID, _ parents) creation {
		return c.ChatSession.Create().SetID(id).SetUserID(owner)
	},
	"ChatMessage": func(c *ent.Client, id, owner uuid.UUID, in parents) creation {
		return c.ChatMessage.Create().SetID(id).SetUserID(owner).SetSessionID(in.chat).SetRole(enum.MessageRoleUser).SetToolExecutionID(in.execution)
	},
	"ContextWindow": func(c *ent.Client, id, _ uuid.UUID, in parents) creation {
		return c.ContextWindow.Create().SetID(id).SetSessionID(in.chat)
	},
	"Tool": func(c *ent.Client, id, _ uuid.UUID, _ parents) creation {
		return c.Tool.Create().SetID(id).SetName(id.String()).SetDisplayName("A tool").SetCategory(enum.ToolCategoryDataAccess).
			SetSchema(map[string]any{}).SetRiskLevel(enum.RiskLevelLow).SetExecutor(enum.ToolExecutorBuiltin)
	},
	"ToolExecution": func(c *ent.Client, id, owner uuid.UUID, in parents) creation {
		return execution(c, id, owner, in)
	},
	"ToolApproval": func(c *ent.Client, id, owner uuid.UUID, in parents) creation {
		return c.ToolApproval.Create().SetID(id).SetUserID(owner).SetExecutionID(in.gated).SetExpiresAt(later()).SetArgsHash("").SetPolicyVersion("")
	},
	"ToolCache": func(c *ent.Client, id, _ uuid.UUID, in parents) creation {
		return c.ToolCache.Create().SetID(id).SetToolID(in.tool).SetCacheKey(id.String()).SetExpiresAt(later())
	},
	"AuditLog": func(c *ent.Client, id, owner uuid.UUID, in parents) creation {
		b := c.AuditLog.Create().SetID(id).SetAction(enum.AuditActionLogout).SetSuccess(true).SetActorKind(enum.ActorKindUser)
		if owner != uuid.Nil {
			b.SetUserID(owner).SetToolExecutionID(in.execution)
		}
		return b
	},
	"SystemMetric": func(c *ent.Client, id, _ uuid.UUID, _ parents) creation {
		return c.SystemMetric.Create().SetID(id).SetMetricName("cdsa.test").SetMetricValue(1)
	},
	"Secret": func(c *ent.Client, id, owner uuid.UUID, _ parents) creation { return secret(c, id, owner) },
	"SecretVersion": func(c *ent.Client, id, owner uuid.UUID, in parents) creation {
		b := c.SecretVersion.Create().SetID(id).SetSecretID(in.secret).SetVersionNumber(int(id[14]) + int(id[13])<<8 + int(id[12])<<16 + 1).
			SetEncryptedValue([]byte{0}).SetEncryptionKeyID("").SetStage(enum.SecretVersionStageCurrent)
		if owner != uuid.Nil {
			b.SetCreatedBy(owner)
		}
		return b
	},
	"SecretAccessLog": func(c *ent.Client, id, owner uuid.UUID, in parents) creation {
		return c.SecretAccessLog.Create().SetID(id).SetSecretID(in.secret).SetUserID(owner).SetAccessType(enum.SecretAccessTypeUse).
			SetSuccess(true).SetToolID(in.tool).SetToolExecutionID(in.execution)
	},
	"Document": func(c *ent.Client, id, owner uuid.UUID, _ parents) creation { return document(c, id, owner) },
	"DocumentChunk": func(c *ent.Client, id, owner uuid.UUID, in parents) creation {
		return chunk(c, id, owner, in)
	},
	"SearchResult": func(c *ent.Client, id, owner uuid.UUID, in parents) creation {
		return c.SearchResult.Create().SetID(id).SetUserID(owner).SetQuery("q").SetChunkID(in.chunk).SetDocumentID(in.document).SetSessionID(in.chat).
			SetRelevanceScore(1).SetRank(1).SetSearchType(enum.SearchTypeHybrid).SetSearchID(id).SetQueryEmbedding(vector())
	},
	"EmbeddingModel": func(c *ent.Client, id, _ uuid.UUID, _ parents) creation {
		return c.EmbeddingModel.Create().SetID(id).SetName(id.String()).SetDisplayName("").SetProvider(enum.EmbeddingProviderLocal).SetModelID("m").SetDimension(384)
	},
}

func execution(c *ent.Client, id, owner uuid.UUID, in parents) *ent.ToolExecutionCreate {
	return c.ToolExecution.Create().SetID(id).SetUserID(owner).SetToolID(in.tool).SetSessionID(in.chat).SetStatus(enum.ToolExecutionStatusPending).
		SetToolVersion(1).SetArgsHash("").SetEffectiveRisk(enum.RiskLevelLow)
}

func secret(c *ent.Client, id, owner uuid.UUID) *ent.SecretCreate {
	return c.Secret.Create().SetID(id).SetOwnerID(owner).SetName(id.String()).SetSecretType(enum.SecretTypeGeneric).SetEncryptedValue([]byte{0}).SetEncryptionKeyID("")
}

func document(c *ent.Client, id, owner uuid.UUID) *ent.DocumentCreate {
	return c.Document.Create().SetID(id).SetUploadedBy(owner).SetTitle("A document").SetSourceType(enum.DocumentSourceTypeUpload).SetContentHash(id.String())
}

func chunk(c *ent.Client, id, owner uuid.UUID, in parents) *ent.DocumentChunkCreate {
	return c.DocumentChunk.Create().SetID(id).SetOwnerID(owner).SetDocumentID(in.document).SetEmbeddingModelID(in.model).
		SetChunkIndex(int(id[14]) + int(id[13])<<8 + int(id[12])<<16).SetContent("c").SetEmbedding(vector())
}

func vector() pgvector.Vector { return pgvector.NewVector(make([]float32, 1536)) }

// touched is what an update changes where no updated_at changes by itself.
var touched = map[string]struct {
	field string
	value any
}{
	"Session": {"name", "n"}, "Permission": {"description", "d"}, "SecretVersion": {"rotation_reason", "r"}, "DocumentChunk": {"token_count", 7}, "SearchResult": {"was_helpful", true},
}

func later() time.Time { return time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond) }

// unscoped reads and writes everything: what is really there.
func unscoped(ctx context.Context) context.Context {
	return privacy.DecisionContext(ctx, privacy.Allow)
}

// world is the fixture: alice and bob own rows, carol owns none.
type world struct {
	kit               *testkit.Kit
	alice, bob, carol uuid.UUID
	of                map[uuid.UUID]parents           // what new rows of someone hang on
	ids               map[string]map[string]uuid.UUID // entity, label
	labels            map[uuid.UUID]string
	entities          []string               // sorted
	seen              map[string][]uuid.UUID // what a principal's list of an entity gave
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	kit := testkit.New(tb)
	w := &world{kit: kit, of: map[uuid.UUID]parents{}, ids: map[string]map[string]uuid.UUID{}, labels: map[uuid.UUID]string{}, seen: map[string][]uuid.UUID{}}
	for n := range clients(kit.Client) {
		w.entities = append(w.entities, n)
	}
	slices.Sort(w.entities)
	ctx := unscoped(context.Background())
	require.NoError(tb, kit.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error { return w.fill(ctx, tx.Client) }))
	return w
}

// tag is the id tag of an entity.
func tag(entity string) uid.Tag {
	for t, n := range uid.Types {
		if n == entity {
			return t
		}
	}
	panic("no tag for " + entity)
}

func (w *world) fill(ctx context.Context, c *ent.Client) error {
	add := func(entity, label string, owner uuid.UUID, in parents, tweak ...func(creation)) (uuid.UUID, error) {
		id := uid.New(tag(entity))
		b := drafts[entity](c, id, owner, in)
		for _, t := range tweak {
			t(b)
		}
		if w.ids[entity] == nil {
			w.ids[entity] = map[string]uuid.UUID{}
		}
		w.ids[entity][label], w.labels[id] = id, label
		if err := b.Exec(ctx); err != nil {
			return id, fmt.Errorf("%s %s: %w", entity, label, err)
		}
		return id, nil
	}
	var err error
	must := func(id uuid.UUID, e error) uuid.UUID {
		if err == nil {
			err = e
		}
		return id
	}
	w.alice, w.bob, w.carol = must(add("User", "alice", uuid.Nil, parents{})), must(add("User", "bob", uuid.Nil, parents{})), must(add("User", "carol", uuid.Nil, parents{}))
	tool, model := must(add("Tool", "it", uuid.Nil, parents{})), must(add("EmbeddingModel", "it", uuid.Nil, parents{}))
	permission := must(add("Permission", "it", uuid.Nil, parents{}))
	role := must(add("Role", "it", uuid.Nil, parents{}))
	must(add("SystemMetric", "it", uuid.Nil, parents{}))
	must(add("ToolCache", "it", uuid.Nil, parents{tool: tool}))
	must(add("AuditLog", "system", uuid.Nil, parents{}))
	for _, o := range []struct {
		name string
		id   uuid.UUID
	}{{"alice", w.alice}, {"bob", w.bob}} {
		in := parents{tool: tool, model: model}
		must(add("Session", o.name, o.id, in))
		in.chat = must(add("ChatSession", o.name, o.id, in))
		in.execution = must(add("ToolExecution", o.name, o.id, in))
		in.gated = must(add("ToolExecution", o.name+"-gated", o.id, in, func(b creation) { b.(*ent.ToolExecutionCreate).SetRequiresApproval(true) }))
		in.secret, in.document = must(add("Secret", o.name, o.id, in)), must(add("Document", o.name, o.id, in))
		in.chunk = must(add("DocumentChunk", o.name, o.id, in))
		for _, e := range []string{"ChatMessage", "ContextWindow", "ToolApproval", "AuditLog", "SecretVersion", "SearchResult"} {
			must(add(e, o.name, o.id, in))
		}
		must(add("SecretAccessLog", "of-"+o.name, w.alice, in)) // alice used both: the secret's owner counts, not the user
		w.of[o.id] = in
	}
	hers := w.of[w.bob]
	hers.secret = must(add("Secret", "bob-shared", w.bob, hers, func(b creation) { b.(*ent.SecretCreate).SetRequiredPermission(shared) }))
	must(add("SecretVersion", "bob-shared", w.bob, hers))
	for _, x := range []struct {
		label      string
		public     bool
		permission *string
	}{{"bob-public", true, nil}, {"bob-shared", false, new(shared)}} {
		hers.document = must(add("Document", x.label, w.bob, hers, func(b creation) {
			b.(*ent.DocumentCreate).SetIsPublic(x.public).SetNillableRequiredPermission(x.permission)
		}))
		must(add("DocumentChunk", x.label, w.bob, hers, func(b creation) {
			b.(*ent.DocumentChunkCreate).SetIsPublic(x.public).SetNillableRequiredPermission(x.permission)
		}))
	}
	if err != nil {
		return err
	}
	if err := w.room(ctx, c); err != nil {
		return err
	}
	if err := c.Role.UpdateOneID(role).AddPermissionIDs(permission).Exec(ctx); err != nil {
		return err
	}
	return c.User.UpdateOneID(w.alice).AddRoleIDs(role).Exec(ctx)
}

// room gives everyone parents whose unique child does not exist yet, so that a create fails for its rule or not at all.
func (w *world) room(ctx context.Context, c *ent.Client) error {
	for _, owner := range []uuid.UUID{w.alice, w.bob, w.carol} {
		in := w.of[owner]
		if owner == w.carol {
			in = w.of[w.bob] // carol's new rows hang on bob's: only ownership of the row itself is hers
		}
		for _, entity := range []string{"ChatSession", "ToolExecution"} {
			id := uid.New(tag(entity))
			label := "room-" + w.labels[owner]
			if err := drafts[entity](c, id, owner, in).Exec(ctx); err != nil {
				return err
			}
			w.ids[entity][label], w.labels[id] = id, label
			if entity == "ChatSession" {
				in.chat = id
			} else {
				in.gated = id
			}
		}
		w.of[owner] = in
	}
	return nil
}

// show is rows by label, sorted.
func (w *world) show(ids []uuid.UUID) string {
	var s []string
	for _, id := range ids {
		s = append(s, w.labels[id])
	}
	slices.Sort(s)
	return strings.Join(s, ",")
}

// all are the ids of an entity's rows, by label.
func (w *world) all(entity string) []string { return slices.Sorted(maps.Keys(w.ids[entity])) }

// who are the principals of the table, in its order.
func (w *world) who(tb testing.TB) []who {
	tb.Helper()
	user := func(id uuid.UUID, super bool, roles ...string) *authz.Principal {
		return authz.NewUser(id, "someone", uid.New(uid.Session), super, later(), testkit.Permissions(tb, roles...)...)
	}
	l := []who{{"anonymous", nil}, {"owner", user(w.alice, false)}, {"stranger", user(w.carol, false)}}
	for _, r := range authz.Roles {
		l = append(l, who{r.Name, user(w.carol, false, r.Name)}, who{"owner+" + r.Name, user(w.alice, false, r.Name)})
	}
	for _, role := range []string{"analyst", "auditor"} { // alice's programs, with all that the role allows
		l = append(l, who{"token+" + role, user(w.alice, false, role).Within(uid.New(uid.Session), testkit.Permissions(tb, role))})
	}
	l = append(l, who{"superuser", user(w.carol, true)}, who{"owner+superuser", user(w.alice, true)})
	for _, p := range authz.Workers() {
		l = append(l, who{p.Username, p})
	}
	return l
}

type who struct {
	name string
	p    *authz.Principal
}

func (x who) ctx() context.Context {
	if x.p == nil {
		return context.Background()
	}
	return testkit.As(x.p)
}

// mine is whose row a create of this principal makes.
func (x who) mine(w *world) uuid.UUID {
	if x.p == nil || x.p.UserID == uuid.Nil {
		return w.carol
	}
	return x.p.UserID
}

// clients are the entities' clients by name: whatever ent generates is found here, so that none is forgotten.
func clients(c *ent.Client) map[string]reflect.Value {
	m := map[string]reflect.Value{}
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		t := v.Type().Field(i)
		if t.IsExported() && t.Type.Kind() == reflect.Pointer && strings.HasSuffix(t.Type.Elem().Name(), "Client") {
			m[t.Name] = v.Field(i)
		}
	}
	return m
}

// call calls a method and splits off its error.
func call(v reflect.Value, method string, args ...any) (any, error) {
	in := make([]reflect.Value, len(args))
	for i, a := range args {
		in[i] = reflect.ValueOf(a)
	}
	out := v.MethodByName(method).Call(in)
	last := out[len(out)-1]
	err, isErr := last.Interface().(error)
	if isErr || last.Type() == reflect.TypeFor[error]() {
		if len(out) == 1 {
			return nil, err
		}
		return out[0].Interface(), err
	}
	return out[0].Interface(), nil
}
