package authz

import (
	"context"
	"sync"
)

// Bypass is what a superuser gets past the permissions their roles give: rows or fields of an entity, which holders of
// Permissions get.
type Bypass struct {
	Entity      string
	Permissions []string
}

// keys are what is remembered of it: whoever was recorded to pass a permission for an entity is not recorded again.
func (b Bypass) keys() []string {
	l := make([]string, len(b.Permissions))
	for i, p := range b.Permissions {
		l[i] = b.Entity + " " + p
	}
	return l
}

// Scribe writes down what a Witness sees. Its methods are called one at a time for one Witness.
type Scribe interface {
	// Bypassed records a superuser's bypass; what is being done fails when it cannot.
	Bypassed(ctx context.Context, b Bypass) error
	// Viewed records that rows whose reading is itself recorded are read. done says that no more of this kind needs to be.
	Viewed(ctx context.Context, entity string) (done bool, err error)
	// Place names what is being resolved, for the record; "" when nothing is.
	Place(ctx context.Context) string
}

// Witness has each superuser bypass of one operation recorded once, before what it gives is given. Where there is no
// witness a superuser has no bypass: background work, which nobody asked for at that moment, acts with what roles give.
// A Witness is safe for concurrent use.
type Witness struct {
	scribe Scribe
	mu     sync.Mutex
	seen   map[string]bool
}

// NewWitness makes the witness of an operation.
func NewWitness(s Scribe) *Witness { return &Witness{scribe: s} }

// WitnessKey is the context key under which a Witness is found.
type WitnessKey struct{}

// WithWitness puts the witness in the context of an operation or a unit of work.
func WithWitness(ctx context.Context, w *Witness) context.Context {
	return context.WithValue(ctx, WitnessKey{}, w)
}

// WitnessFrom gives the context's witness, nil when there is none.
func WitnessFrom(ctx context.Context) *Witness {
	w, _ := ctx.Value(WitnessKey{}).(*Witness)
	return w
}

// Bypass has b recorded, unless it was, and says whether the bypass counts: never without a witness, and not when the
// record fails.
func (w *Witness) Bypass(ctx context.Context, b Bypass) (bool, error) {
	if w == nil {
		return false, nil
	}
	err := w.once(b.keys(), func() (bool, error) { return true, w.scribe.Bypassed(ctx, b) })
	return err == nil, err
}

// Knows says whether b was recorded.
func (w *Witness) Knows(b Bypass) bool {
	if w == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.knows(b.keys())
}

// Note remembers that b was recorded elsewhere.
func (w *Witness) Note(b Bypass) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(b.keys())
}

// View has the reading of an entity's rows recorded, unless it was. Without a witness nothing is: no one is looking.
func (w *Witness) View(ctx context.Context, entity string) error {
	if w == nil {
		return nil
	}
	return w.once([]string{"viewed " + entity}, func() (bool, error) { return w.scribe.Viewed(ctx, entity) })
}

// Place names what the operation is resolving.
func (w *Witness) Place(ctx context.Context) string {
	if w == nil {
		return ""
	}
	return w.scribe.Place(ctx)
}

// once does what was not done yet. Others who need the same wait for it.
func (w *Witness) once(keys []string, do func() (done bool, err error)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.knows(keys) {
		return nil
	}
	done, err := do()
	if err != nil || !done {
		return err
	}
	w.note(keys)
	return nil
}

func (w *Witness) knows(keys []string) bool {
	for _, k := range keys {
		if !w.seen[k] {
			return false
		}
	}
	return true
}

func (w *Witness) note(keys []string) {
	if w.seen == nil {
		w.seen = map[string]bool{}
	}
	for _, k := range keys {
		w.seen[k] = true
	}
}

// May says whether the context's principal has a permission, for what it gives of an entity. A superuser has what they
// do not hold only where it can be recorded; an error means that it could not be.
func May(ctx context.Context, entity, permission string) (bool, error) {
	p := From(ctx)
	if p.Holds(permission) || !p.Can(permission) {
		return p.Holds(permission), nil
	}
	return WitnessFrom(ctx).Bypass(ctx, Bypass{Entity: entity, Permissions: []string{permission}})
}

// Plain is p without the superuser bypass: what p's roles alone allow.
func (p *Principal) Plain() *Principal {
	if p == nil || !p.Superuser {
		return p
	}
	q := *p
	q.Superuser = false
	return &q
}
