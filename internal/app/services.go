package app

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/agent"
	"cdsa.dev/cdsa/internal/approval"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/auth/hashproc"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/chat"
	"cdsa.dev/cdsa/internal/dispatch"
	"cdsa.dev/cdsa/internal/document"
	"cdsa.dev/cdsa/internal/embed"
	"cdsa.dev/cdsa/internal/event"
	"cdsa.dev/cdsa/internal/execution"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/job"
	"cdsa.dev/cdsa/internal/llm"
	"cdsa.dev/cdsa/internal/llm/provider"
	"cdsa.dev/cdsa/internal/mail"
	"cdsa.dev/cdsa/internal/oidc"
	"cdsa.dev/cdsa/internal/ratelimit"
	"cdsa.dev/cdsa/internal/realtime"
	"cdsa.dev/cdsa/internal/seed"
	"cdsa.dev/cdsa/internal/tool"
	"cdsa.dev/cdsa/internal/tool/builtin"
	"cdsa.dev/cdsa/internal/tool/builtin/httprequest"
	"cdsa.dev/cdsa/internal/turn"
	"cdsa.dev/cdsa/internal/uow"
)

// services are what the resolvers and the workers call.
type services struct {
	store      *uow.Store
	audit      *audit.Recorder
	cursors    *event.Cursors
	hasher     *auth.Hasher
	principals *auth.PrincipalCache
	authn      *auth.Authenticator
	oidc       *oidc.Set
	tokens     *auth.Tokens
	keys       *keyWatch
	models     *llm.Registry
	tools      *tool.Registry
	mail       mail.Sender // nil: no mails are sent
	accounts   *account.Service
	chats      *chat.Service
	executions *execution.Service
	approvals  *approval.Service
	documents  *document.Service
	turns      *turn.Runner
	dispatch   *dispatch.Dispatcher
	limits     *ratelimit.Limiter
}

// Workers at once, by queue. Answers wait on models and tools on the network: many fit; indexing is arithmetic: few do, of
// large documents and of small ones.
const (
	turnWorkers  = 32
	toolWorkers  = 16
	indexWorkers = 2
	mailWorkers  = 4
)

func (a *App) openServices(ctx context.Context) error {
	if err := a.openCore(); err != nil {
		return err
	}
	if err := a.openIdentity(); err != nil {
		return err
	}
	if err := a.openWork(ctx); err != nil {
		return err
	}
	a.hub = realtime.NewHub(realtime.HubOptions{Log: a.log})
	a.dispatch = &dispatch.Dispatcher{Bus: a.bus, Hub: a.hub, Client: a.client, Log: a.log}
	return nil
}

// openCore makes what every service writes with.
func (a *App) openCore() error {
	key, err := a.cfg.AuditKey()
	if err != nil {
		return err
	}
	if a.audit, err = audit.New(a.pool, key); err != nil {
		return err
	}
	if key, err = a.cfg.CursorKey(); err != nil {
		return err
	}
	if a.cursors, err = event.NewCursors(key, a.bus.Incarnation); err != nil {
		return err
	}
	if a.river, err = a.newQueue(); err != nil {
		return fmt.Errorf("open the job queue: %w", err)
	}
	a.store = &uow.Store{DB: a.db, Audit: a.audit, Jobs: a.river, Wake: a.relay.Wake}
	return nil
}

// newQueue makes the job client. Its workers find the services when jobs arrive, after everything is open.
func (a *App) newQueue() (*river.Client[pgx.Tx], error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, j *river.Job[job.Turn]) error { return a.turns.Run(ctx, j.Args.Reply) }))
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, j *river.Job[job.RunTool]) error {
		return a.executions.Run(ctx, j.Args.Execution)
	}))
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, j *river.Job[job.Index]) error {
		return a.documents.Index(ctx, j.Args.Document)
	}))
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, j *river.Job[job.SendMail]) error { return a.sendMail(ctx, j.Args.ID) }))
	return river.NewClient(riverpgxv5.New(a.pool), &river.Config{
		Logger: a.log, Workers: workers, JobTimeout: -1, // leases bound the work, not the queue
		FetchCooldown: 5 * time.Millisecond, FetchPollInterval: time.Second,
		CompletedJobRetentionPeriod: time.Hour, DiscardedJobRetentionPeriod: 24 * time.Hour,
		Queues: map[string]river.QueueConfig{
			job.QueueTurns: {MaxWorkers: turnWorkers}, job.QueueTools: {MaxWorkers: toolWorkers}, job.QueueIndex: {MaxWorkers: indexWorkers},
			job.QueueIndexSmall: {MaxWorkers: indexWorkers}, job.QueueMail: {MaxWorkers: mailWorkers},
		},
	})
}

func (a *App) openIdentity() error {
	id := a.cfg.Identity
	var err error
	a.hasher, err = auth.NewHasher(auth.HasherConfig{
		MemoryKiB: uint32(id.Argon2Memory / 1024), Iterations: uint32(id.Argon2Iterations), Parallelism: uint8(id.Argon2Parallelism), Concurrent: id.Argon2Concurrent,
		Deriver: a.deriver(),
	})
	if err != nil {
		return err
	}
	material, err := a.cfg.SigningKey(auth.GenerateSigningKey)
	if err != nil {
		return err
	}
	keyring, err := auth.ParseKeyring(material)
	if err != nil {
		return err
	}
	if a.tokens, err = auth.NewTokens(keyring, auth.TokenConfig{TTL: id.AccessTokenTTL}); err != nil {
		return err
	}
	providers, err := oidc.Parse(id.OIDCProviders.Reveal(), !a.cfg.InProduction())
	if err != nil {
		return fmt.Errorf("CDSA_OIDC_PROVIDERS: %w", err)
	}
	a.oidc = oidc.New(oidc.Config{Providers: providers, PlainHTTP: !a.cfg.InProduction(), Log: a.log})
	a.onClose(func(context.Context) error { a.oidc.Close(); return nil })
	identityKey, err := a.cfg.IdentityKey()
	if err != nil {
		return err
	}
	if err := a.openMail(); err != nil {
		return err
	}
	a.accounts, err = account.New(account.Config{
		Store: a.store, Client: a.client, Pool: a.pool, Audit: a.audit, Hasher: a.hasher, Tokens: a.tokens, Registration: string(id.Registration), SessionTTL: id.SessionTTL,
		IdentityKey: identityKey, Revoked: func(subject uuid.UUID) { a.revoked(subject); a.signal(fact.Revoked, []byte(subject.String())) }, Log: a.log,
		Mail: a.mail, OIDC: a.oidc,
		Settings: account.Settings{
			SessionMaxAge: id.SessionMaxAge, MaxSessions: id.MaxSessions, MFARoles: id.MFARoles, MFARequired: id.MFARequired, StepUpAge: id.StepUpAge,
			LockoutFailures: id.LockoutFailures, LockoutBase: id.LockoutBase, LockoutMax: id.LockoutMax, Registrations: id.Registrations,
			PublicURL: a.cfg.Mail.PublicURL, RedirectOrigins: a.cfg.Server.AllowedOrigins,
		},
	})
	if err != nil {
		return err
	}
	if a.limits, err = a.newLimiter(identityKey); err != nil {
		return err
	}
	a.principals = auth.NewPrincipalCache(a.accounts.LoadPrincipal, auth.PrincipalCacheConfig{TTL: id.PrincipalTTL})
	a.authn = auth.NewAuthenticator(a.tokens, a.principals).AcceptAPITokens(a.accounts.FindAPIToken)
	a.keys = a.watchKeys(material)
	return nil
}

// deriver is who computes hashes.
func (a *App) deriver() auth.Deriver {
	if a.hashing == nil {
		return auth.InProcess{}
	}
	p := hashproc.New(a.hashing[0], a.hashing[1:], a.log)
	a.onClose(func(context.Context) error { return p.Close() })
	return p
}

// openWork makes models, tools, documents, approvals and turns.
func (a *App) openWork(context.Context) error {
	var err error
	l := a.cfg.LLM
	a.models, err = provider.New(provider.Config{
		Provider: l.Provider, BaseURL: l.BaseURL, APIKey: l.APIKey.Reveal(), Model: l.Model, SensitivityCeiling: l.SensitivityCeiling,
		ContextWindow: l.ContextWindow, AllowPlainHTTP: !a.cfg.InProduction(), OfflineDelay: l.OfflineDelay,
	})
	if err != nil {
		return err
	}
	embedder, err := embed.NewLocal()
	if err != nil {
		return err
	}
	a.documents = &document.Service{Store: a.store, Client: a.client, Pool: a.pool, Embedder: embedder, LoadUser: a.accounts.LoadUserPrincipal, Log: a.log}
	a.tools, err = builtin.New(builtin.Config{Now: time.Now, Searcher: a.documents.Searcher(), HTTP: httprequest.Config{Allow: a.cfg.Tools.HTTPAllow}})
	if err != nil {
		return err
	}
	settings := approval.DefaultSettings()
	t := a.cfg.Tools
	settings.ApprovalRequestTTL, settings.ElevatedRequestTTL = t.ApprovalTTL, t.ApprovalElevatedTTL
	settings.ApprovalGrantTTL, settings.ElevatedGrantTTL = t.GrantTTL, t.GrantElevatedTTL
	settings.SecondFactor = approval.SecondFactor{Age: a.cfg.Identity.StepUpAge, Required: slices.Contains(a.cfg.Identity.MFARequired, "decide_critical")}
	settings.MFARoles = a.cfg.Identity.MFARoles
	if err := settings.Validate(); err != nil {
		return fmt.Errorf("approval settings: %w", err)
	}
	if err := a.openExecutions(settings); err != nil {
		return err
	}
	a.chats = &chat.Service{Store: a.store, Client: a.client, Models: a.models, Position: a.bus.Position, Signal: a.signal, Tools: a.executions}
	a.turns = turn.New(turn.Config{
		Store: a.store, Client: a.client, Pool: a.pool, Bus: a.bus, Relay: a.relay, Models: a.models, Executions: a.executions,
		LoadUser: a.accounts.LoadUserPrincipal, Limits: agent.Limits{MaxSteps: t.MaxSteps, MaxCalls: t.MaxCalls}, Log: a.log,
	})
	return nil
}

// seed writes what a server cannot be without: roles, permissions, tools, the local model and a first administrator.
func (a *App) seed(ctx context.Context) error {
	var err error
	a.seeded, err = seed.Run(authz.With(ctx, authz.Seeder), a.store, a.client, seed.Input{
		Tools: a.tools.All(), AdminEmail: a.cfg.Identity.AdminEmail, AdminPassword: a.cfg.Identity.AdminPassword.Reveal(), HashPassword: a.hasher.Hash,
	})
	if err != nil {
		return fmt.Errorf("seed the database: %w", err)
	}
	unknown, err := a.accounts.UnknownMFARoles(ctx)
	if err != nil {
		return err
	}
	if len(unknown) > 0 {
		a.log.WarnContext(ctx, "CDSA_MFA_ROLES names what is no role: nobody is asked for a second factor by it", "roles", unknown)
	}
	return nil
}

// openExecutions makes the services of tool calls and of decisions on them.
func (a *App) openExecutions(settings approval.Settings) error {
	runner := tool.NewRunner(a.tools, a.log)
	a.onClose(runner.Close)
	a.executions = &execution.Service{
		Store: a.store, Client: a.client, Tools: a.tools, Runner: runner, Schemas: tool.NewSchemaCache(schemasKept),
		Approval: settings, Signal: a.signal, Log: a.log,
	}
	a.approvals = &approval.Service{Store: a.store, Client: a.client, Policy: settings}
	return nil
}

// schemasKept is how many compiled schemas of tools stay in memory.
const schemasKept = 256
