// Package config is the one reader of the environment: a typed struct, filled and checked once at start.
//
// It refuses to start half right: a variable with the prefix CDSA_ that it does not know is an error, as is a value
// that cannot be read, and all problems are reported together. Production refuses whatever is only fit for a
// developer's machine. Secrets may come from a file (…_FILE) and are never printed: neither by an error nor by
// logging the struct. A Config is read-only after Load and safe to share.
package config

import (
	"log/slog"
	"net/netip"
	"time"

	"cdsa.dev/cdsa/internal/enum"
)

// Environment says how strict the server is.
type Environment string

// The environments.
const (
	Dev        Environment = "dev"
	Production Environment = "production"
)

// Registration says who may make an account.
type Registration string

// The ways of registration.
const (
	RegistrationOpen   Registration = "open"
	RegistrationInvite Registration = "invite"
	RegistrationClosed Registration = "closed"
)

// Config is everything that can be set. Tags: env is the variable, default and production its defaults, doc its
// meaning, oneof, min, max, check and bytes what it must satisfy, required:"production" what production demands.
// An empty variable counts as unset.
type Config struct {
	Env      Environment `env:"CDSA_ENV" default:"dev" oneof:"dev,production" doc:"How strict the server is. production refuses to start on generated keys and other defaults of a developer's machine."`
	Server   Server      `section:"Server"`
	Database Database    `section:"Database"`
	Bus      Bus         `section:"Event bus"`
	Keys     Keys        `section:"Keys"`
	Identity Identity    `section:"Identity"`
	Mail     Mail        `section:"Mail"`
	LLM      LLM         `section:"Language model"`
	Tools    Tools       `section:"Tools and approvals"`
	Limits   Limits      `section:"Limits"`
	Log      Log         `section:"Logs and diagnosis"`
}

// Server is about listening and who may reach it from where.
type Server struct {
	ListenAddr     string         `env:"CDSA_LISTEN_ADDR" default:"127.0.0.1:8080" check:"listen" doc:"Address and port of the HTTP server. TLS is the business of a proxy in front."`
	DataDir        string         `env:"CDSA_DATA_DIR" default:".data" doc:"Folder for the private database, the event store and generated keys."`
	AllowedOrigins []string       `env:"CDSA_ALLOWED_ORIGINS" check:"origin" doc:"Web origins that may call the API from a browser, as https://app.example.org, separated by commas. Empty: only the server's own pages."`
	TrustedProxies []netip.Prefix `env:"CDSA_TRUSTED_PROXIES" doc:"Networks (CIDR) of the proxies whose X-Forwarded-For is believed, separated by commas. Empty: none."`
	Workers        bool           `env:"CDSA_WORKERS" default:"true" doc:"Whether this replica does background work: answers, tool calls, indexing. At least one must."`
	ShutdownGrace  time.Duration  `env:"CDSA_SHUTDOWN_GRACE" default:"10s" min:"0s" max:"5m" doc:"How long requests under way may take to end after a stop signal."`
}

// Database is about PostgreSQL.
type Database struct {
	URL              Secret        `env:"DATABASE_URL" required:"production" check:"postgres" doc:"URL of PostgreSQL with pgvector for the server's role, which owns nothing. Empty: a private cluster in the data folder."`
	MigrateURL       Secret        `env:"CDSA_MIGRATE_URL" check:"postgres" derived:"DATABASE_URL" doc:"URL for the role that owns the schema and runs migrations."`
	MaxConns         int           `env:"CDSA_DATABASE_MAX_CONNS" default:"16" min:"2" max:"1000" doc:"Most connections to the database."`
	StatementTimeout time.Duration `env:"CDSA_STATEMENT_TIMEOUT" default:"30s" min:"100ms" max:"10m" doc:"Longest that the database works on one statement of an operation. Background work and migrations are not bounded by it."`
	PGBin            string        `env:"CDSA_PG_BIN" doc:"Folder of initdb and postgres for the private cluster. Empty: the newest one found that has pgvector."`
}

// Bus is about NATS.
type Bus struct {
	URL      Secret        `env:"NATS_URL" check:"nats" doc:"URL of NATS with JetStream. Empty: one inside this process, which serves a single replica."`
	MaxAge   time.Duration `env:"CDSA_BUS_MAX_AGE" default:"2h" min:"1h" max:"168h" doc:"How long events are kept for clients that come back."`
	Replicas int           `env:"CDSA_BUS_REPLICAS" default:"1" min:"1" max:"5" doc:"Copies of the event store in a NATS cluster."`
}

// Keys are the server's own secrets. In dev they are made once in the data folder.
type Keys struct {
	Signing Secret `env:"CDSA_SIGNING_KEY" required:"production" doc:"Ed25519 keys of access tokens in PEM (PKCS #8): the newest whose Not-Before has passed signs, else the first; the others are still accepted. Or one seed of 32 bytes in base64. A file is read again when it changes, without a restart."`
	Cursor  Secret `env:"CDSA_CURSOR_KEY" required:"production" bytes:"64" doc:"Key that seals positions in lists and in the event stream: 64 bytes in base64. The same on every replica."`
	Audit   Secret `env:"CDSA_AUDIT_KEY" required:"production" bytes:"32" doc:"Key that wraps the keys of personal fields in the audit log: 32 bytes in base64. The same on every replica; without it those fields cannot be read."`
	// Identity seals TOTP secrets and makes mailed tokens and the successors of refresh tokens.
	Identity Secret `env:"CDSA_IDENTITY_KEY" required:"production" bytes:"32" doc:"Key of TOTP secrets, mailed links and refresh tokens' successors: 32 bytes in base64. The same on every replica; without it second factors cannot be checked."`
	Bus      Secret `env:"CDSA_BUS_KEY" bytes:"32" doc:"Key that encrypts the event store of the bus inside this process: 32 bytes in base64. Production needs it when NATS_URL is empty."`
}

// Identity is about accounts, passwords and sessions.
type Identity struct {
	Registration      Registration  `env:"CDSA_REGISTRATION" default:"open" production:"closed" oneof:"open,invite,closed" doc:"Who may make an account: anyone, the invited, or no one."`
	AdminEmail        string        `env:"CDSA_ADMIN_EMAIL" default:"admin@localhost" production:"" check:"email" doc:"E-mail address of the first administrator, made when there is none."`
	AdminPassword     Secret        `env:"CDSA_ADMIN_PASSWORD" doc:"Their password. Empty: one is made up and shown once."`
	AccessTokenTTL    time.Duration `env:"CDSA_ACCESS_TOKEN_TTL" default:"15m" min:"1s" max:"1h" doc:"Lifetime of an access token."`
	SessionTTL        time.Duration `env:"CDSA_SESSION_TTL" default:"720h" min:"1m" max:"8760h" doc:"How long a login session lives without being refreshed (idle limit)."`
	SessionMaxAge     time.Duration `env:"CDSA_SESSION_MAX_AGE" default:"2160h" min:"1m" max:"8760h" doc:"How long a login session lives from its sign-in on, however often it is refreshed (absolute limit)."`
	MaxSessions       int           `env:"CDSA_MAX_SESSIONS" default:"20" min:"1" max:"1000" doc:"Login sessions a user may have at once; a further sign-in ends the one that was used longest ago."`
	PrincipalTTL      time.Duration `env:"CDSA_PRINCIPAL_TTL" default:"1s" min:"100ms" max:"1500ms" doc:"How long a replica may rely on what it knows of a session: the bound on revocation when the bus is down."`
	Argon2Memory      Bytes         `env:"CDSA_ARGON2_MEMORY" default:"19MiB" min:"7MiB" max:"1GiB" doc:"Memory of a password hash (argon2id; OWASP: 19 MiB, 2 passes, 1 lane)."`
	Argon2Iterations  int           `env:"CDSA_ARGON2_ITERATIONS" default:"2" min:"1" max:"64" doc:"Passes of a password hash."`
	Argon2Parallelism int           `env:"CDSA_ARGON2_PARALLELISM" default:"1" min:"1" max:"16" doc:"Lanes of a password hash."`
	Argon2Concurrent  int           `env:"CDSA_ARGON2_CONCURRENT" default:"0" min:"0" max:"256" doc:"Password hashes at once. 0: half of the CPUs."`
	// The second factor.
	MFARoles      []string      `env:"CDSA_MFA_ROLES" doc:"Roles, separated by commas, whose holders may do nothing but enrol until they have a second factor, and in each login session until they gave it."`
	MFARequired   []string      `env:"CDSA_MFA_REQUIRED_FOR" default:"none" production:"decide_critical,reveal_secret,break_glass" oneof:"none,decide_critical,reveal_secret,break_glass,change_roles" doc:"Acts that nobody may do without a second factor, separated by commas. Whoever has one must give it afresh for any of these, set or not."`
	StepUpAge     time.Duration `env:"CDSA_STEP_UP_AGE" default:"10m" min:"10s" max:"1h" doc:"How long a second factor counts as fresh."`
	OIDCProviders Secret        `env:"CDSA_OIDC_PROVIDERS" doc:"OpenID Connect providers, a JSON list; docs/identity.md has its form."`
	// Failed sign-ins.
	LockoutFailures int           `env:"CDSA_LOCKOUT_FAILURES" default:"5" min:"1" max:"1000" doc:"Failed sign-ins at one account from one network before the first pause; five times as many from one network at all accounts, and at one account from everywhere."`
	LockoutBase     time.Duration `env:"CDSA_LOCKOUT_BASE" default:"1s" min:"10ms" max:"1m" doc:"The first pause; each further failure doubles it."`
	LockoutMax      time.Duration `env:"CDSA_LOCKOUT_MAX" default:"15m" min:"10ms" max:"24h" doc:"The longest pause."`
	Registrations   int           `env:"CDSA_REGISTRATIONS" default:"200" min:"1" max:"1000000" doc:"Attempts to register from one network (a /24, or a /56 of IPv6) in an hour."`
}

// Mail is about what is sent to people.
type Mail struct {
	SMTPAddr     string `env:"CDSA_SMTP_ADDR" check:"hostport" doc:"host:port of the SMTP server. Empty: mails are files in the folder mail of the data folder, for a developer to read; production then mails nothing."`
	SMTPUsername string `env:"CDSA_SMTP_USERNAME" doc:"User name at the SMTP server."`
	SMTPPassword Secret `env:"CDSA_SMTP_PASSWORD" doc:"Password at the SMTP server."`
	SMTPTLS      string `env:"CDSA_SMTP_TLS" default:"starttls" oneof:"starttls,implicit,none" doc:"How the connection is secured. none is for a server on this machine."`
	From         string `env:"CDSA_MAIL_FROM" check:"mailbox" default:"CDSA <cdsa@localhost>" production:"" doc:"Sender of mails. Needed with CDSA_SMTP_ADDR in production."`
	PublicURL    string `env:"CDSA_PUBLIC_URL" check:"origin" doc:"Where people reach the server, as https://cdsa.example.org: for links in mails and as a redirect address of OpenID Connect. Empty: http:// and the listen address."`
}

// LLM is about the language model.
type LLM struct {
	Provider           string           `env:"CDSA_LLM_PROVIDER" default:"offline" oneof:"offline,openai" doc:"offline answers with quotes from the documents and says so; openai is any server that speaks that API."`
	BaseURL            string           `env:"CDSA_LLM_BASE_URL" default:"https://api.openai.com/v1" check:"http" doc:"Where the provider answers."`
	APIKey             Secret           `env:"CDSA_LLM_API_KEY" doc:"The provider's key."`
	Model              string           `env:"CDSA_LLM_MODEL" doc:"Name of the model. Needed with openai."`
	SensitivityCeiling enum.Sensitivity `env:"CDSA_LLM_SENSITIVITY_CEILING" derived:"RESTRICTED for offline, INTERNAL otherwise" doc:"The most confidential conversation the model may see."`
	ContextWindow      int              `env:"CDSA_LLM_CONTEXT_WINDOW" default:"32000" min:"1000" max:"10000000" doc:"The model's window in tokens."`
	OfflineDelay       time.Duration    `env:"CDSA_LLM_OFFLINE_DELAY" default:"0s" min:"0s" max:"10s" doc:"Pause between the pieces of an offline answer, to show streaming."`
}

// Tools is about tool calls and their approval.
type Tools struct {
	HTTPAllow           []string      `env:"CDSA_HTTP_TOOL_ALLOW" check:"hostport" doc:"Private addresses (host:port, separated by commas) that http_request may call all the same."`
	ApprovalTTL         time.Duration `env:"CDSA_APPROVAL_TTL" default:"24h" min:"1s" max:"720h" doc:"How long a request waits for a decision."`
	ApprovalElevatedTTL time.Duration `env:"CDSA_APPROVAL_ELEVATED_TTL" default:"4h" min:"1s" max:"720h" doc:"The same for an elevated request."`
	GrantTTL            time.Duration `env:"CDSA_GRANT_TTL" default:"15m" min:"1s" max:"24h" doc:"How long an approved call may wait to run."`
	GrantElevatedTTL    time.Duration `env:"CDSA_GRANT_ELEVATED_TTL" default:"5m" min:"1s" max:"24h" doc:"The same for an elevated one."`
	MaxSteps            int           `env:"CDSA_AGENT_MAX_STEPS" default:"8" min:"1" max:"100" doc:"Model calls in one answer."`
	MaxCalls            int           `env:"CDSA_AGENT_MAX_TOOL_CALLS" default:"16" min:"1" max:"200" doc:"Tool calls in one answer."`
}

// Limits bound what one request or connection may ask for.
type Limits struct {
	Body          Bytes         `env:"CDSA_MAX_BODY" default:"2MiB" min:"1KiB" max:"64MiB" doc:"Size of a JSON request."`
	Upload        Bytes         `env:"CDSA_MAX_UPLOAD" default:"100MiB" min:"1KiB" max:"2GiB" doc:"Size of an uploaded document."`
	Message       Bytes         `env:"CDSA_MAX_WS_MESSAGE" default:"1MiB" min:"1KiB" max:"64MiB" doc:"Size of a websocket message."`
	Depth         int           `env:"CDSA_MAX_DEPTH" default:"30" min:"5" max:"200" doc:"Nesting of a GraphQL operation."`
	Aliases       int           `env:"CDSA_MAX_ALIASES" default:"100" min:"1" max:"10000" doc:"Aliases in a GraphQL document."`
	RatePoints    int           `env:"CDSA_RATE_POINTS" default:"8000" production:"1000" min:"10" max:"1000000000" doc:"Points a caller's request budget holds. An operation takes one, and one more for each hundred of its cost."`
	RateRefill    int           `env:"CDSA_RATE_REFILL" default:"4000" production:"100" min:"1" max:"1000000000" doc:"Points a second that flow back."`
	Tokens        int           `env:"CDSA_MAX_TOKENS" default:"10000" min:"100" max:"1000000" doc:"Lexical tokens in a GraphQL document."`
	Complexity    int           `env:"CDSA_MAX_COMPLEXITY" default:"20000" min:"100" max:"10000000" doc:"Cost of a GraphQL operation, counted by fields and page sizes."`
	Answer        Bytes         `env:"CDSA_MAX_ANSWER" default:"32MiB" min:"64KiB" max:"1GiB" doc:"Bytes that are read from the database for one answer, and as many of text that are written into it. A document of more text cannot be read; the indexer takes texts of up to 20 MiB."`
	Operations    int           `env:"CDSA_MAX_OPERATIONS" default:"50" min:"1" max:"1000" doc:"Operations in a GraphQL document."`
	Mutations     int           `env:"CDSA_MAX_MUTATIONS" default:"20" min:"1" max:"1000" doc:"Root fields of a mutation."`
	Errors        int           `env:"CDSA_MAX_ERRORS" default:"50" min:"1" max:"1000" doc:"Errors returned for one operation."`
	SocketOps     int           `env:"CDSA_MAX_SOCKET_OPERATIONS" default:"256" min:"1" max:"10000" doc:"Operations under way on one websocket."`
	InitTimeout   time.Duration `env:"CDSA_WS_INIT_TIMEOUT" default:"10s" min:"100ms" max:"1m" doc:"Time a websocket has to say who it is."`
	Heartbeat     time.Duration `env:"CDSA_WS_HEARTBEAT" default:"20s" min:"1s" max:"22s" doc:"Time between pings. A peer that misses one is dropped within 45 s."`
	SSEKeepAlive  time.Duration `env:"CDSA_SSE_KEEPALIVE" default:"12s" min:"1s" max:"15s" doc:"Time between comments on a quiet SSE stream."`
	HeaderTimeout time.Duration `env:"CDSA_HEADER_TIMEOUT" default:"5s" min:"100ms" max:"1m" doc:"Time a client has to send its request headers."`
	BodyTimeout   time.Duration `env:"CDSA_BODY_TIMEOUT" default:"30s" min:"100ms" max:"10m" doc:"Time a client has to send a request body; ten times that for an upload."`
	IdleTimeout   time.Duration `env:"CDSA_IDLE_TIMEOUT" default:"2m" min:"1s" max:"1h" doc:"How long an idle HTTP connection is kept."`
}

// Log is about what operators see.
type Log struct {
	Level        slog.Level `env:"CDSA_LOG_LEVEL" default:"info" doc:"Least level that is logged: debug, info, warn or error."`
	Format       string     `env:"CDSA_LOG_FORMAT" default:"text" production:"json" oneof:"text,json" doc:"Form of the log."`
	MetricsToken Secret     `env:"CDSA_METRICS_TOKEN" doc:"Bearer token for /metrics. Empty: only direct callers on the same machine may read them; from an address of CDSA_TRUSTED_PROXIES nobody is direct."`
	PProf        bool       `env:"CDSA_PPROF" default:"false" doc:"Serve Go's profiler under /debug/pprof/ to direct callers on the same machine; from an address of CDSA_TRUSTED_PROXIES nobody is direct."`
}

// InProduction says whether the strict rules hold.
func (c *Config) InProduction() bool { return c.Env == Production }
