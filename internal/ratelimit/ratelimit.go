// Package ratelimit keeps how much of their request budget callers have left: a token bucket a caller, counted in
// points. A person has one budget whatever they sign in with, an API token one of its own, and all anonymous callers of
// a network (/24, or /56 of IPv6) share one. It decides nothing about permissions and measures no time: it charges what
// a document was judged to cost, before anything of it runs, and what it took to refuse a request, afterwards.
//
// Precision. A bucket is exact on its replica. Twice a second each replica tells the others what its callers spent, as
// soon as that is more than a hundredth of a full budget, and they debit it, into debt of up to one full budget. So a
// caller who spreads over n replicas gets at most n full budgets at first and what flows back in half a second, and from
// then on, in the long run, what one replica would have given, but for a hundredth of a budget a replica. When the bus
// is silent each replica counts alone: n times as much. The messages hold ids and keyed hashes of networks only.
//
// Memory is bounded: two generations of buckets, of which the older goes when the younger is full. Who is forgotten has
// a full budget again; signed-in callers are never forgotten for anonymous ones. A charge is O(1), takes one of many
// short locks and allocates nothing unless it refuses. A Limiter is safe for concurrent use.
package ratelimit

import (
	"context"
	"crypto/sha256"
	"errors"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
)

// What one point pays, beyond the first point of every request: each takes about as long as a query by id. Of a request
// that is refused, text of the densest tokens or of JSON is read, and names like an unknown one are sought.
const (
	CostPerPoint   = 100     // of a document that runs
	BytesPerPoint  = 2 << 10 // of a text that is refused
	ErrorsPerPoint = 10      // validation errors
)

// noteEvery is the least time between two notes of refusals of one caller.
const noteEvery = time.Minute

// Config of a Limiter.
type Config struct {
	Points int // a full budget
	Refill int // points a second that flow back
	// Secret hides networks in what other replicas are told: 32 bytes, the same on every replica.
	Secret []byte
	// Tell sends a message to the other replicas, which give it to Heard; it may be lost. Nil: there are none.
	Tell func(message []byte)
	// Record writes a refusal down, outside of any request.
	Record func(ctx context.Context, n Note) error
	Keys   int              // budgets remembered of signed-in callers, and as many of anonymous ones; default 50,000
	Now    func() time.Time // nil: the clock
}

// Note is a refused caller.
type Note struct {
	Principal *authz.Principal // nil: anonymous
	Request   authz.Request
	Refused   int // operations since the last note, this one with them
}

// Limiter holds the budgets of this replica.
type Limiter struct {
	cfg      Config
	capacity float64
	rate     float64 // points a second
	least    float64 // points worth telling
	secret   [sha256.Size]byte
	self     uuid.UUID // of this replica's messages
	began    time.Time
	tables   [tableCount][shardCount]shard

	telling sync.Mutex
	from    int // the shard to begin telling with

	notesMu sync.Mutex
	notes   []Note
}

// New makes a limiter. It fails when something is missing.
func New(c Config) (*Limiter, error) {
	if c.Points <= 0 || c.Refill <= 0 || len(c.Secret) != sha256.Size || c.Record == nil {
		return nil, errors.New("ratelimit: a budget, its refill, a secret of 32 bytes and a recorder are needed")
	}
	if c.Keys <= 0 {
		c.Keys = 50_000
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	self, err := uuid.NewRandom()
	if err != nil {
		return nil, err
	}
	l := &Limiter{cfg: c, capacity: float64(c.Points), rate: float64(c.Refill), least: float64(c.Points) / 100, self: self, began: c.Now()}
	copy(l.secret[:], c.Secret)
	for t := range l.tables {
		for i := range l.tables[t] {
			l.tables[t][i].half = max(1, c.Keys/shardCount/2)
		}
	}
	return l, nil
}

// Points is what an operation of a document cost takes.
func Points(documentCost int) int { return 1 + max(0, documentCost)/CostPerPoint }

// RefusedPoints is the price of a request that is refused for what it holds: of the bytes that were read to find out, and
// of the validation errors among them.
func RefusedPoints(bytes, validationErrors int) int {
	return 1 + bytes/BytesPerPoint + validationErrors/ErrorsPerPoint
}

// Admit refuses the context's caller as Charge does when not one point is left, before anything is read. It takes nothing.
func (l *Limiter) Admit(ctx context.Context) error {
	p := authz.From(ctx)
	k := l.keyOf(ctx, p)
	at := l.cfg.Now().Sub(l.began)
	s := l.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	b := l.current(s, k, at)
	if b.level >= 1 {
		return nil
	}
	l.refuse(ctx, p, &b, at)
	s.store(k, b)
	return l.usedUp(1 - b.level)
}

// Debit takes the points of a request that was refused from the budget of the context's caller, into debt of up to one
// full budget: the work is done.
func (l *Limiter) Debit(ctx context.Context, points int) {
	k := l.keyOf(ctx, authz.From(ctx))
	at := l.cfg.Now().Sub(l.began)
	s := l.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	b := l.current(s, k, at)
	paid := min(float64(points), b.level+l.capacity)
	b.level -= paid
	l.owe(s, k, &b, paid)
	s.store(k, b)
}

// Charge takes the points of an operation from the budget of the context's caller and says what is left. RATE_LIMITED
// when there is not enough; that takes nothing, and is noted for Record once a minute a caller. An operation that costs
// more than a full budget takes a full one.
func (l *Limiter) Charge(ctx context.Context, documentCost int) (Budget, error) {
	p := authz.From(ctx)
	k := l.keyOf(ctx, p)
	cost := min(Points(documentCost), l.cfg.Points)
	now := l.cfg.Now()
	at := now.Sub(l.began)
	s := l.shard(k)
	s.mu.Lock()
	b := l.current(s, k, at)
	lack := float64(cost) - b.level
	if lack > 0 {
		l.refuse(ctx, p, &b, at)
	} else {
		b.level -= float64(cost)
		l.owe(s, k, &b, float64(cost))
	}
	s.store(k, b)
	s.mu.Unlock()
	left := Budget{
		Limit: l.cfg.Points, Cost: cost, Remaining: max(0, int(b.level)),
		ResetAt: now.UTC().Add(l.inflow(l.capacity - b.level)).Truncate(time.Millisecond).Add(time.Millisecond),
	}
	if lack <= 0 {
		return left, nil
	}
	left.Cost = 0
	return left, l.usedUp(lack)
}

// usedUp is the refusal of a caller who lacks so many points.
func (l *Limiter) usedUp(lack float64) error {
	e := errs.New(errs.RateLimited, "You have used up your request budget. Wait for extensions.retryAfterMs, or ask for less at once.")
	e.RetryAfter = max(time.Millisecond, l.inflow(lack))
	return e
}

// inflow is how long points take to flow back, in whole milliseconds.
func (l *Limiter) inflow(points float64) time.Duration {
	return time.Duration(math.Ceil(points/l.rate*1000)) * time.Millisecond
}

// current is a bucket with what flowed back until now.
func (l *Limiter) current(s *shard, k key, at time.Duration) bucket {
	b, ok := s.load(k)
	if !ok {
		return bucket{level: l.capacity, at: at}
	}
	if at > b.at {
		b.level = min(l.capacity, b.level+(at-b.at).Seconds()*l.rate)
		b.at = at
	}
	return b
}

// refuse counts a refusal and notes it when it is time to. One that finds the notes full is tried again with the next.
func (l *Limiter) refuse(ctx context.Context, p *authz.Principal, b *bucket, at time.Duration) {
	b.refused++
	if b.noted && at-b.notedAt < noteEvery {
		return
	}
	l.notesMu.Lock()
	defer l.notesMu.Unlock()
	if len(l.notes) < maxNotes {
		l.notes = append(l.notes, Note{p, authz.RequestFrom(ctx), int(b.refused)})
		b.noted, b.notedAt, b.refused = true, at, 0
	}
}

// maxNotes bounds what waits for Record.
const maxNotes = 1000

// Record writes the noted refusals down, as the callers that were refused. What it cannot write is kept for the next
// call. Call it often, and once when no more requests come.
func (l *Limiter) Record(ctx context.Context) error {
	l.notesMu.Lock()
	notes := l.notes
	l.notes = nil
	l.notesMu.Unlock()
	for i, n := range notes {
		if err := l.cfg.Record(authz.WithRequest(authz.With(ctx, n.Principal), n.Request), n); err != nil {
			l.notesMu.Lock()
			l.notes = append(notes[i:], l.notes...)
			l.notesMu.Unlock()
			return err
		}
	}
	return nil
}

// keyOf is whose budget it is.
func (l *Limiter) keyOf(ctx context.Context, p *authz.Principal) key {
	switch {
	case p == nil:
		return key{kindNetwork, l.network(authz.RequestFrom(ctx).IP)}
	case p.APIToken:
		return key{kindToken, p.SessionID}
	default:
		return key{kindUser, p.UserID}
	}
}

// network is a keyed hash of an address's network. The input is of one length, which leaves nothing to extend.
func (l *Limiter) network(ip string) (id [16]byte) {
	var in [sha256.Size + 16]byte
	copy(in[:], l.secret[:])
	if n, ok := authz.Network(ip); ok { // what is no address shares the network of none
		b := n.Addr().As16()
		copy(in[sha256.Size:], b[:])
	}
	sum := sha256.Sum256(in[:])
	copy(id[:], sum[:])
	return id
}

// Budget is what a caller has left.
type Budget struct {
	Limit     int       // points of a full budget
	Cost      int       // points the operation took
	Remaining int       // points left
	ResetAt   time.Time // when it is full again if nothing more is asked; UTC, ms
}

// AppendJSON appends the budget as a JSON object.
func (b *Budget) AppendJSON(to []byte) []byte {
	to = strconv.AppendInt(append(to, `{"limit":`...), int64(b.Limit), 10)
	to = strconv.AppendInt(append(to, `,"cost":`...), int64(b.Cost), 10)
	to = strconv.AppendInt(append(to, `,"remaining":`...), int64(b.Remaining), 10)
	to = b.ResetAt.AppendFormat(append(to, `,"resetAt":"`...), time.RFC3339Nano)
	return append(to, '"', '}')
}

// MarshalJSON is AppendJSON for encoding/json.
func (b *Budget) MarshalJSON() ([]byte, error) { return b.AppendJSON(nil), nil }
