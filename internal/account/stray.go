package account

import (
	"context"
	"sync"
	"time"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
)

const (
	// maxStrayNetworks bounds how many networks are told apart between two rows; the others share one.
	maxStrayNetworks = 1000
	// strayRows bounds the audit rows of one sweep.
	strayRows = 20
)

// strays counts tokens that this server never gave, or has forgotten, by the network they came from. Nobody's account is
// concerned and anyone can send any number of them, so they are written down outside the request and together: one row a
// network and minute on each replica. A crash loses at most a minute of it.
type strays struct {
	mu       sync.Mutex
	networks map[string]*stray
}

type stray struct {
	from   authz.Request // that brought the last one; empty of networks that share a row
	counts map[string]int
	noted  time.Time
}

func newStrays() strays { return strays{networks: map[string]*stray{}} }

func (t *strays) add(ctx context.Context, kind string) {
	from := authz.RequestFrom(ctx)
	key := "network " + authz.NetworkOf(from.IP)
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.networks[key]
	if n == nil && len(t.networks) >= maxStrayNetworks {
		key, from = "others", authz.Request{}
		n = t.networks[key]
	}
	if n == nil {
		n = &stray{counts: map[string]int{}}
		t.networks[key] = n
	}
	n.from = from
	n.counts[kind]++
}

// take hands over what is due to be written, and forgets networks that were quiet since their last row.
func (t *strays) take(now time.Time) (due map[string]stray) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, n := range t.networks {
		switch {
		case now.Sub(n.noted) < noteEvery:
		case len(n.counts) == 0:
			delete(t.networks, key)
		case len(due) < strayRows:
			if due == nil {
				due = map[string]stray{}
			}
			due[key] = *n
			n.counts, n.noted = map[string]int{}, now
		}
	}
	return due
}

// back takes again what could not be written.
func (t *strays) back(key string, d stray) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.networks[key]; n != nil {
		n.noted = d.noted
		for kind, count := range d.counts {
			n.counts[kind] += count
		}
	}
}

func (s *Service) sweepStrays(ctx context.Context) error {
	var failed error
	for key, d := range s.strays.take(s.now()) {
		if failed == nil {
			details := map[string]any{"reason": "unknown_token"}
			for kind, count := range d.counts {
				details[kind] = count
			}
			failed = s.cfg.Audit.Record(authz.WithRequest(anonymous(ctx), d.from), audit.Entry{
				Action: enum.AuditActionLoginFailed, Failed: true, Error: string(errs.Unauthenticated), Details: details,
			})
		}
		if failed != nil {
			s.strays.back(key, d)
		}
	}
	return failed
}
