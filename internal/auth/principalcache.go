package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
)

// LoadFunc reads who a login session belongs to and what their roles give, or UNAUTHENTICATED when the session is
// revoked, expired or gone or its user may not sign in. Any other error is a fault and refuses the call too.
type LoadFunc func(ctx context.Context, sessionID uuid.UUID) (*authz.Principal, error)

// PrincipalCacheConfig sets the bounds. Zero values take the defaults.
type PrincipalCacheConfig struct {
	TTL     time.Duration // default 1 s: revocation takes effect within 2 s even when the bus is down
	Size    int           // sessions remembered, default 10,000
	Timeout time.Duration // of one load, default 5 s
}

// PrincipalCache answers who a session is without a database query per request. An answer is never older than TTL
// counted from the moment its load began; Forget and its siblings make it younger. Concurrent callers of one session
// share one load. A load that was under way when its session was forgotten still answers those who waited for it
// before, but is not kept and not joined any more.
type PrincipalCache struct {
	load LoadFunc
	cfg  PrincipalCacheConfig

	mu sync.Mutex
	// Two generations: what is young becomes old when a TTL has passed or half the size is reached, and the old
	// entries, dead by then or too many, go at once.
	young, old map[uuid.UUID]principalEntry
	turned     time.Time
	flights    map[uuid.UUID]*flight
}

type principalEntry struct {
	principal *authz.Principal
	err       error // UNAUTHENTICATED or nil
	until     time.Time
}

type flight struct {
	began     time.Time
	done      chan struct{}
	principal *authz.Principal
	err       error
}

// NewPrincipalCache makes an empty cache over load.
func NewPrincipalCache(load LoadFunc, c PrincipalCacheConfig) *PrincipalCache {
	c.TTL, c.Size, c.Timeout = or(c.TTL, time.Second), or(c.Size, 10_000), or(c.Timeout, 5*time.Second)
	return &PrincipalCache{load: load, cfg: c, young: map[uuid.UUID]principalEntry{}, old: map[uuid.UUID]principalEntry{}, flights: map[uuid.UUID]*flight{}}
}

// Principal gives who the session is, never nil without an error. UNAUTHENTICATED when it does not stand;
// UPSTREAM_UNAVAILABLE (retryable) when the store did not answer; ctx's error.
func (c *PrincipalCache) Principal(ctx context.Context, sessionID uuid.UUID) (*authz.Principal, error) {
	now := time.Now()
	c.mu.Lock()
	if e, ok := c.find(sessionID); ok && now.Before(e.until) {
		c.mu.Unlock()
		return e.principal, e.err
	}
	f, joined := c.flights[sessionID]
	if joined && now.Sub(f.began) >= c.cfg.TTL {
		joined = false // a slow load may have read what is stale for this caller
	}
	if !joined {
		f = &flight{began: now, done: make(chan struct{})}
		c.flights[sessionID] = f
	}
	c.mu.Unlock()
	if !joined {
		// Its own goroutine: the load serves everyone who waits, so one caller's leaving must not end it.
		go c.fly(context.WithoutCancel(ctx), sessionID, f)
	}
	select {
	case <-f.done:
		return f.principal, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *PrincipalCache) fly(ctx context.Context, sessionID uuid.UUID, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	// Background identity: no caller's principal leaks into a load that others share.
	p, err := c.guardedLoad(authz.With(ctx, authz.Authenticator), sessionID)
	f.principal, f.err = verdict(p, err, sessionID)
	c.mu.Lock()
	if c.flights[sessionID] == f {
		delete(c.flights, sessionID)
		if f.err == nil || errs.Is(f.err, errs.Unauthenticated) {
			c.keep(sessionID, principalEntry{principal: f.principal, err: f.err, until: f.began.Add(c.cfg.TTL)})
		}
	}
	c.mu.Unlock()
	close(f.done)
}

func (c *PrincipalCache) guardedLoad(ctx context.Context, id uuid.UUID) (p *authz.Principal, err error) {
	defer func() {
		if v := recover(); v != nil {
			p, err = nil, fmt.Errorf("load a login session: panic of type %T", v)
		}
	}()
	return c.load(ctx, id)
}

// verdict turns whatever a load said into a usable principal or an error a client may see.
func verdict(p *authz.Principal, err error, sessionID uuid.UUID) (*authz.Principal, error) {
	switch {
	case errs.Is(err, errs.Unauthenticated):
		return nil, err
	case err == nil && p != nil && p.SessionID == sessionID && p.UserID != uuid.Nil:
		return p, nil
	case err == nil:
		err = errors.New("the load of a login session gave no or another principal")
	}
	e := errs.Wrap(err, errs.UpstreamUnavailable, "Your session cannot be checked at this moment. Try again shortly.")
	e.Retryable = true
	return nil, e
}

func (c *PrincipalCache) find(id uuid.UUID) (principalEntry, bool) {
	if e, ok := c.young[id]; ok {
		return e, true
	}
	e, ok := c.old[id]
	return e, ok
}

func (c *PrincipalCache) keep(id uuid.UUID, e principalEntry) {
	if now := time.Now(); len(c.young) >= max(1, c.cfg.Size/2) || now.Sub(c.turned) >= c.cfg.TTL {
		clear(c.old)
		c.old, c.young, c.turned = c.young, c.old, now
	}
	c.young[id] = e
}

// Forget drops one session: call it after its revocation is committed, here and on every replica.
func (c *PrincipalCache) Forget(sessionID uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, sessionID)
	delete(c.old, sessionID)
	delete(c.flights, sessionID)
}

// ForgetUser drops every session of a user: deactivated, another role, another password. Whose the loads under way
// are is not known yet, so none of them is kept.
func (c *PrincipalCache) ForgetUser(userID uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	theirs := func(_ uuid.UUID, e principalEntry) bool { return e.principal == nil || e.principal.UserID == userID }
	maps.DeleteFunc(c.young, theirs)
	maps.DeleteFunc(c.old, theirs)
	clear(c.flights)
}

// ForgetAll drops everything: a role's permissions changed, or events may have been missed.
func (c *PrincipalCache) ForgetAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.young)
	clear(c.old)
	clear(c.flights)
}
