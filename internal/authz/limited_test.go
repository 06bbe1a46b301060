package authz

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestPrincipal_Limited(t *testing.T) {
	for name, c := range map[string]struct {
		superuser, stillSuperuser bool
		has, given, want          []string
		wantSuperuser             bool
	}{
		"Both":            {has: []string{"a:b", "c:d"}, given: []string{"c:d", "e:f"}, want: []string{"c:d"}},
		"Nothing":         {has: []string{"a:b"}},
		"NoGain":          {stillSuperuser: true, given: []string{"a:b"}},
		"Superuser":       {superuser: true, stillSuperuser: true, given: []string{"a:b"}, wantSuperuser: true},
		"FormerSuperuser": {superuser: true, has: []string{"a:b"}, given: []string{"a:b"}, want: []string{"a:b"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewUser(uuid.New(), "alice", uuid.New(), c.superuser, time.Now(), c.has...)
			p.APIToken = true
			q := p.Limited(c.stillSuperuser, c.given...)
			require.ElementsMatch(t, c.want, q.Permissions())
			require.Equal(t, c.wantSuperuser, q.Superuser)
			require.Equal(t, p.SessionID, q.SessionID)
			require.True(t, q.APIToken)
			require.ElementsMatch(t, c.has, p.Permissions(), "p stays as it is")
		})
	}
}
