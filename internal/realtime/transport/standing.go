package transport

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
)

const (
	// checkLimit is how long a peer stays open while what its principal may do now cannot be read. With the half second
	// that a revocation may take to be heard of it stays below 2 s.
	checkLimit = 1200 * time.Millisecond
	checkPause = 50 * time.Millisecond // between tries to read
	// checkBatch bounds the sessions of one read.
	checkBatch = 1000
	// adoptTries bounds how often a peer that is being judged is judged again because of one more revocation.
	adoptTries = 3
	// remember is how long a revocation outlives its moment: longer than any judging of a connection takes.
	remember = time.Minute
)

// doubt is a peer whose principal's rights may have changed.
type doubt struct {
	peer      peer
	principal *authz.Principal
	since     time.Time
}

// Revoke ends what login sessions have open, and what they are opening, unless Config.Standing finds that nothing has
// changed for them. To be called after the change is committed and after it was told to what Config.Init relies on, on
// every replica; twice does no harm. It does not wait.
func (s *Server) Revoke(sessions ...uuid.UUID) {
	s.doubtful(func(now time.Time) func(*authz.Principal) bool {
		for _, id := range sessions {
			s.sessions[id] = now
		}
		return func(p *authz.Principal) bool { return slices.Contains(sessions, p.SessionID) }
	})
}

// RevokeUser is Revoke for all that users have open. Whoever may still come back does so with the new rights.
func (s *Server) RevokeUser(users ...uuid.UUID) {
	s.doubtful(func(now time.Time) func(*authz.Principal) bool {
		for _, id := range users {
			s.users[id] = now
		}
		return func(p *authz.Principal) bool { return slices.Contains(users, p.UserID) }
	})
}

// RevokeAll is Revoke for everyone: a role allows something else now, or revocations may have been missed.
func (s *Server) RevokeAll() {
	s.doubtful(func(now time.Time) func(*authz.Principal) bool {
		s.everyone = now
		return func(*authz.Principal) bool { return true }
	})
}

// Distrust ends what anybody who is known has open, whatever their rights are: no credential that was taken until now may
// be relied on. To be called after it stopped being taken. Whoever may still come back does so. It does not wait.
func (s *Server) Distrust() {
	s.mu.Lock()
	s.distrust = time.Now()
	s.mu.Unlock()
	s.each(peer.revoke)
}

func (s *Server) distrusts(arrived time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !arrived.After(s.distrust)
}

// Suspend ends everything that is open for somebody, in a way after which clients come back: it is not known any more
// what they may do. What anonymous peers may do does not change. It does not wait.
func (s *Server) Suspend() { s.each(peer.suspend) }

// each does something to every peer that is somebody's.
func (s *Server) each(do func(peer)) {
	s.mu.Lock()
	var known []peer
	for c, p := range s.peers {
		if p != nil {
			known = append(known, c)
		}
	}
	s.mu.Unlock()
	for _, c := range known {
		do(c)
	}
}

// doubtful has every open peer that mark's answer matches checked. mark is called under mu.
func (s *Server) doubtful(mark func(now time.Time) func(*authz.Principal) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	match := mark(now)
	for c, p := range s.peers {
		if p != nil && match(p) && !s.pending[c] { // who is in doubt already will be checked on what is read later than now
			s.pending[c] = true
			s.doubts = append(s.doubts, doubt{c, p, now})
		}
	}
	if len(s.doubts) > 0 {
		select {
		case s.doubted <- struct{}{}:
		default: // it is awake
		}
	}
}

// inquire checks who is in doubt, one goroutine for all peers, the oldest doubts first.
func (s *Server) inquire() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.doubted:
		}
		s.mu.Lock()
		all := s.doubts
		s.doubts = nil
		clear(s.pending)
		s.mu.Unlock()
		for batch := range slices.Chunk(all, checkBatch) {
			s.check(batch)
		}
	}
}

// check ends the peers of the batch whose principal no longer holds. Those of whom that cannot be told in time are told
// to come back.
func (s *Server) check(batch []doubt) {
	ctx, cancel := context.WithDeadline(s.ctx, batch[0].since.Add(checkLimit))
	defer cancel()
	ids := make([]uuid.UUID, 0, len(batch))
	for _, d := range batch {
		ids = append(ids, d.principal.SessionID)
	}
	for {
		now, err := s.standing(ctx, ids)
		if err == nil {
			for _, d := range batch {
				if !d.principal.SameRights(now[d.principal.SessionID]) {
					d.peer.revoke()
				}
			}
			return
		}
		select {
		case <-time.After(checkPause):
		case <-ctx.Done():
			if s.ctx.Err() == nil { // else Close ends them
				s.cfg.Log.Warn("what open connections may do could not be read: they are ended", "connections", len(batch), "error", err)
			}
			for _, d := range batch {
				d.peer.suspend()
			}
			return
		}
	}
}

// standing asks Config.Standing; a panic is an error like any other.
func (s *Server) standing(ctx context.Context, sessions []uuid.UUID) (m map[uuid.UUID]*authz.Principal, err error) {
	defer func() {
		if v := recover(); v != nil {
			m, err = nil, fmt.Errorf("panic of type %T", v)
		}
	}()
	return s.cfg.Standing(ctx, sessions)
}

var errUnsettled = errors.New("rights keep changing")

// adopt makes p the peer's principal; judged is when the judging of p began. false: p's rights were changed meanwhile.
// UPSTREAM_UNAVAILABLE: whether they were cannot be told.
func (s *Server) adopt(ctx context.Context, c peer, p *authz.Principal, judged time.Time) (bool, error) {
	if p == nil {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	arrived := judged
	for i := range adoptTries {
		if s.adopted(c, p, arrived, judged, i > 0) {
			return true, nil
		}
		if s.distrusts(arrived) {
			return false, nil
		}
		judged = time.Now()
		now, err := s.standing(ctx, []uuid.UUID{p.SessionID})
		if err != nil {
			return false, errs.Wrap(err, errs.UpstreamUnavailable, "%s", unsure)
		}
		if !p.SameRights(now[p.SessionID]) {
			return false, nil
		}
	}
	return false, errs.Wrap(errUnsettled, errs.UpstreamUnavailable, "%s", unsure)
}

// adopted makes p the peer's principal unless p may have been judged on what was revoked since. That a session was
// named lately is reason enough to look, whenever p was judged.
func (s *Server) adopted(c peer, p *authz.Principal, arrived, judged time.Time, looked bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !arrived.After(s.distrust) {
		return false
	}
	if at, named := s.sessions[p.SessionID]; named && (!looked || !judged.After(at)) {
		return false
	}
	if at, named := s.users[p.UserID]; named && !judged.After(at) {
		return false
	}
	if !judged.After(s.everyone) {
		return false
	}
	if _, open := s.peers[c]; open {
		s.peers[c] = p
	}
	return true
}
