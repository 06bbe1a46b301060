// Package authz says who acts and what they may do. It knows nothing of rows: what of a permitted kind a principal
// may see is decided beside the data, in package rule.
package authz

import (
	"context"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
)

// Principal is who acts. A nil principal is anonymous and may do nothing that is not public. A Principal is
// immutable and safe to share.
type Principal struct {
	UserID    uuid.UUID // uuid.Nil for a system principal
	Username  string    // or the system principal's name
	SessionID uuid.UUID // login session; uuid.Nil for a system principal
	Kind      enum.ActorKind
	Superuser bool
	APIToken  bool      // a program with an API token: its rights are the token's, and it may not change who may sign in
	ExpiresAt time.Time // of the token; zero for a system principal
	// A role of the user's demands a second factor. Who must enrol has none, who must step up has one that this login
	// session was not given: until then they may do nothing.
	MustEnrol, MustStepUp bool
	perms                 map[string]bool
}

// NewUser makes the principal of a signed-in person. perms are names of the form resource:action.
func NewUser(userID uuid.UUID, username string, sessionID uuid.UUID, superuser bool, expires time.Time, perms ...string) *Principal {
	return &Principal{UserID: userID, Username: username, SessionID: sessionID, Kind: enum.ActorKindUser, Superuser: superuser, ExpiresAt: expires, perms: set(perms)}
}

// NewSystem makes a named principal for background work, with exactly the permissions given.
func NewSystem(name string, perms ...string) *Principal {
	return &Principal{Username: name, Kind: enum.ActorKindSystem, perms: set(perms)}
}

// AsAgent is p acting through the assistant: the same rights, audited as AGENT.
func (p *Principal) AsAgent() *Principal {
	q := *p
	q.Kind = enum.ActorKindAgent
	return &q
}

// Limited is p with what it has and is given here as well: the superuser bypass and permissions, never more than before.
func (p *Principal) Limited(superuser bool, perms ...string) *Principal {
	q := *p
	q.Superuser = p.Superuser && superuser
	q.perms = map[string]bool{}
	for _, n := range perms {
		if p.perms[n] {
			q.perms[n] = true
		}
	}
	return &q
}

func set(names []string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// Within is p limited to some of its permissions, for a program with the API token of a session: of those, what p's roles
// give, and no superuser's bypass.
func (p *Principal) Within(session uuid.UUID, permissions []string) *Principal {
	q := *p
	q.SessionID, q.APIToken, q.Superuser, q.perms = session, true, false, map[string]bool{}
	for _, n := range permissions {
		if p.perms[n] {
			q.perms[n] = true
		}
	}
	return &q
}

// Holds says whether a role gives p the permission; the superuser bypass does not count.
func (p *Principal) Holds(permission string) bool { return p != nil && p.perms[permission] }

// Can says whether p has the permission, by a role or as superuser.
func (p *Principal) Can(permission string) bool {
	return p != nil && (p.perms[permission] || p.Superuser)
}

// Permissions lists what p's roles give, sorted.
func (p *Principal) Permissions() []string {
	if p == nil {
		return []string{}
	}
	return slices.Sorted(maps.Keys(p.perms))
}

// SameRights says whether p and q are one person in one session who may do the same; the tokens they came with may
// expire at different times. Every field counts that is not excepted here, so that a new one cannot be forgotten.
func (p *Principal) SameRights(q *Principal) bool {
	if p == nil || q == nil {
		return p == q
	}
	if !maps.Equal(p.perms, q.perms) {
		return false
	}
	a, b := *p, *q
	a.perms, b.perms = nil, nil
	a.ExpiresAt, b.ExpiresAt = time.Time{}, time.Time{}
	return reflect.DeepEqual(a, b)
}

// IsSystem says whether p is a background worker.
func (p *Principal) IsSystem() bool { return p != nil && p.Kind == enum.ActorKindSystem }

type principalKey struct{}

// With puts the principal in the context.
func With(ctx context.Context, p *Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// From gives the context's principal, nil when anonymous.
func From(ctx context.Context) *Principal {
	if p, _ := ctx.Value(principalKey{}).(*Principal); p != nil {
		return p
	}
	if s, _ := ctx.Value(slotKey{}).(*slot); s != nil {
		return s.p.Load()
	}
	return nil
}

type slotKey struct{}

type slot struct{ p atomic.Pointer[Principal] }

// WithSlot makes room for the principal of a caller who signs in during an operation, so that the rest of the answer is
// theirs to see.
func WithSlot(ctx context.Context) context.Context { return context.WithValue(ctx, slotKey{}, &slot{}) }

// SignIn fills the slot. It has no effect on a context that has a principal already.
func SignIn(ctx context.Context, p *Principal) {
	if s, _ := ctx.Value(slotKey{}).(*slot); s != nil {
		s.p.Store(p)
	}
}

// Anonymous drops the context's principal and the slot of one who signed in earlier in the operation.
func Anonymous(ctx context.Context) context.Context {
	return context.WithValue(With(ctx, nil), slotKey{}, (*slot)(nil))
}

// Signed gives the context's principal or UNAUTHENTICATED.
func Signed(ctx context.Context) (*Principal, error) {
	if p := From(ctx); p != nil {
		return p, nil
	}
	return nil, errs.New(errs.Unauthenticated, "Sign in first.")
}

// Require gives the context's principal if it has the permission: UNAUTHENTICATED without a principal, FORBIDDEN
// without the permission, in whose place stands what Pending says.
func Require(ctx context.Context, resource, action string) (*Principal, error) {
	p, err := Signed(ctx)
	if err != nil {
		return nil, err
	}
	if name := resource + ":" + action; !p.Can(name) {
		if err := p.Pending(); err != nil {
			return nil, err
		}
		return nil, errs.New(errs.Forbidden, "This needs the permission %s. Ask an administrator for a role that holds it.", name)
	}
	return p, nil
}

// Pending is why p has no rights yet although their roles give some: MFA_REQUIRED until they enrol a second factor,
// STEP_UP_REQUIRED until they give it in this login session; nil.
func (p *Principal) Pending() error {
	switch {
	case p.MustEnrol:
		return errs.InState(errs.MFARequired, "ENROLLMENT", "Your role demands a second factor. Enrol one with enrollTotp and confirmTotp first.")
	case p.MustStepUp:
		return errs.New(errs.StepUpRequired, "Your role demands a second factor, which was not given in this session. Call stepUp first.")
	}
	return nil
}

// Request is what is known of the request being served; it goes into audit rows.
type Request struct {
	ID        string
	IP        string
	UserAgent string
	Arrived   time.Time // before its token is judged; zero where nobody noted it
}

type requestKey struct{}

// RequestContext is the context of a request: its facts and, once its token was judged, its caller, in one piece.
type RequestContext struct {
	context.Context
	request   Request
	principal *Principal
}

// NewRequestContext puts the request's facts in a context.
func NewRequestContext(ctx context.Context, r Request) *RequestContext {
	return &RequestContext{Context: ctx, request: r}
}

// Identify sets the caller, before the context is handed on.
func (c *RequestContext) Identify(p *Principal) { c.principal = p }

// Value finds the facts and the caller.
func (c *RequestContext) Value(key any) any {
	switch key.(type) {
	case requestKey:
		return &c.request
	case principalKey:
		if c.principal != nil {
			return c.principal
		}
	}
	return c.Context.Value(key)
}

// WithRequest puts the request's facts in the context.
func WithRequest(ctx context.Context, r Request) context.Context { return NewRequestContext(ctx, r) }

// RequestFrom gives the request's facts, empty in background work.
func RequestFrom(ctx context.Context) Request {
	if r, _ := ctx.Value(requestKey{}).(*Request); r != nil {
		return *r
	}
	return Request{}
}

// Networks within which an address counts as the same place: what providers give a household or an office.
const (
	sameBits4 = 24
	sameBits6 = 56
)

// NetworkOf is the network of an address, as text. What is no address shares one, "".
func NetworkOf(ip string) string {
	n, ok := Network(ip)
	if !ok {
		return ""
	}
	return n.String()
}

// Network is the network of an address that counts as one place; false for what is no address.
func Network(ip string) (netip.Prefix, bool) {
	if ip == "" { // without the error that parsing would make
		return netip.Prefix{}, false
	}
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return netip.Prefix{}, false
	}
	a = a.Unmap().WithZone("")
	bits := sameBits6
	if a.Is4() {
		bits = sameBits4
	}
	return netip.PrefixFrom(a, bits).Masked(), true
}

// The named principals of background work.
var (
	// Indexer processes uploaded documents.
	Indexer = NewSystem("system:indexer", "documents:read", "documents:write", "models:read")
	// Dispatcher reads rows to deliver events to subscribers who were judged one by one.
	Dispatcher = NewSystem("system:dispatcher", "chat:read", "tools:read", "approvals:read", "documents:read")
	// Sweeper ends what ran out of time.
	Sweeper = NewSystem("system:sweeper", "chat:read", "tools:read", "approvals:read")
	// ToolRunner takes tool calls from state to state; it runs nothing and reads no conversation.
	ToolRunner = NewSystem("system:tools", "tools:read", "approvals:read", "system:tools")
	// Authenticator reads and writes accounts and sessions to tell who calls.
	Authenticator = NewSystem("system:authenticator", "users:read", "system:register", "roles:read")
	// Seeder writes roles, permissions, built-in tools and models at start.
	Seeder = NewSystem("system:seeder", "users:read", "users:write", "roles:read", "roles:write", "tools:read", "tools:manage", "models:read", "models:manage")
	// Agent runs turns; whatever it does for a user it does as that user.
	Agent = NewSystem("system:agent", "chat:read", "chat:write", "tools:read", "approvals:read")
)

// Workers lists the named principals of background work.
func Workers() []*Principal {
	return []*Principal{Indexer, Dispatcher, Sweeper, ToolRunner, Authenticator, Seeder, Agent}
}
