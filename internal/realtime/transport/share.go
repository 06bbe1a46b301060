package transport

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/realtime"
)

// sharing lets the subscriptions of one login session with one set of rights and one operation execute once for an event:
// a person's tabs, or a dashboard's panels. Whatever a resolver, directive or policy reads of its caller is the same for
// all of them, so the answer is. Answers with errors are never shared: they name requests.
type sharing struct {
	mu      sync.Mutex
	classes map[string]*class
}

// class is the last answers of the operations that share. One that has nobody to share with keeps none.
type class struct {
	key   string
	users atomic.Int32 // changed under sharing.mu

	mu   sync.Mutex
	kept []kept // by seq modulo keptAnswers
}

type kept struct {
	topic  string
	seq    uint64
	answer *graphql.Response
}

// keptAnswers is as many as the hub hands a subscription at once, or nearly: each has its turn with all of them.
const keptAnswers = 64

// join finds the class of an operation; nil when it has none to share with: anonymous callers and system principals.
func (s *sharing) join(p *authz.Principal, oc *graphql.OperationContext) *class {
	if p == nil || p.SessionID == uuid.Nil || p.UserID == uuid.Nil {
		return nil
	}
	vars, err := json.Marshal(oc.Variables)
	if err != nil {
		return nil
	}
	super := "-"
	if p.Superuser {
		super = "+"
	}
	key := strings.Join([]string{p.UserID.String(), p.SessionID.String(), super + strings.Join(p.Permissions(), ","), oc.OperationName, string(vars), oc.RawQuery}, "\x00")
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.classes[key]
	if c == nil {
		c = &class{key: key}
		if s.classes == nil {
			s.classes = map[string]*class{}
		}
		s.classes[key] = c
	}
	c.users.Add(1)
	return c
}

func (s *sharing) leave(c *class) {
	if c == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.users.Add(-1) == 0 {
		delete(s.classes, c.key)
	}
}

// step is execution.step, once for all of the class.
func (c *class) step(x *execution, e realtime.Event) (r *graphql.Response, over bool) {
	if c == nil || e.Seq == 0 || c.users.Load() < 2 { // an unnumbered event cannot be told from another
		return x.step(e)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil {
		c.kept = make([]kept, keptAnswers)
	}
	k := &c.kept[e.Seq%keptAnswers]
	if k.seq == e.Seq && k.topic == e.Topic {
		return k.answer, false
	}
	r, over = x.step(e)
	if over || r == nil || len(r.Errors) > 0 || len(r.Extensions) > 0 || r.HasNext != nil || len(r.Data) == 0 {
		return r, over // none at all may mean that this operation has just ended: others ask for themselves
	}
	r = &graphql.Response{Data: bytes.Clone(r.Data)} // the executor's buffer is used again
	*k = kept{e.Topic, e.Seq, r}
	return r, false
}
