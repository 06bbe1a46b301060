package account

import "context"

// DummyEvery is how long a replica relies on what it knows of how passwords are hashed.
const DummyEvery = dummyEvery

// DummyFor is the hash that is verified for a login without one.
func (s *Service) DummyFor(ctx context.Context, login string) (string, error) {
	return s.dummyFor(ctx, login)
}
