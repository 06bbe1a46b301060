package auth

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/errs"
)

// crowd lets callers of networks come to turns one after the other and notes who is served and who is sent away.
type crowd struct {
	*turns
	mu           sync.Mutex
	served, sent []string
}

func (c *crowd) comes(ctx context.Context, network string) {
	go func() {
		done, err := c.take(ctx, network)
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case err == nil:
			c.served = append(c.served, network)
			defer done()
		case errs.Is(err, errs.RateLimited):
			c.sent = append(c.sent, network)
		}
	}()
	synctest.Wait()
}

// TestTurns_OneNetwork: a network that sends more than there is room for keeps out nobody else, and nobody else waits
// for more than one of its callers at a time.
func TestTurns_OneNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{turns: newTurns(1, 8)}
		release, err := c.take(t.Context(), "flood")
		require.NoError(t, err)
		for range 50 {
			c.comes(t.Context(), "flood")
		}
		require.Len(t, c.sent, 42, "it has all the places while nobody else wants one")
		for _, network := range []string{"home", "office", "office"} {
			c.comes(t.Context(), network)
		}
		require.Len(t, c.sent, 45)
		require.NotContains(t, c.sent, "home")
		require.NotContains(t, c.sent, "office")
		for range 50 {
			c.comes(t.Context(), "flood")
		}
		release()
		synctest.Wait()
		require.Equal(t, []string{"flood", "home", "office", "flood", "office", "flood", "flood", "flood"}, c.served)
		require.Len(t, c.sent, 95)
		require.Equal(t, 8, c.places)
		require.Equal(t, 1, c.free)
		require.Empty(t, c.waiting)
	})
}

// TestTurns_EqualShares: between networks that all want more than there is, each has its share of the places.
func TestTurns_EqualShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{turns: newTurns(1, 12)}
		release, err := c.take(t.Context(), "a")
		require.NoError(t, err)
		for n := range 4 {
			for range 30 {
				c.comes(t.Context(), fmt.Sprint(n))
			}
		}
		for _, l := range c.waiting {
			require.Len(t, l.callers, 3)
		}
		release()
		synctest.Wait()
		require.Len(t, c.served, 12)
	})
}

// TestTurns_Leave: who gives up waiting gives the place back, and a turn that came at that instant.
func TestTurns_Leave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{turns: newTurns(1, 2)}
		release, err := c.take(t.Context(), "a")
		require.NoError(t, err)
		ctx, leave := context.WithCancel(t.Context())
		c.comes(ctx, "a")
		c.comes(ctx, "b")
		leave()
		synctest.Wait()
		require.Equal(t, 2, c.places)
		require.Empty(t, c.waiting)
		release()
		require.Equal(t, 1, c.free)
		_, err = c.take(ctx, "a")
		require.ErrorIs(t, err, context.Canceled)

		for range 1000 { // both at once, in either order
			release, err := c.take(t.Context(), "a")
			require.NoError(t, err)
			ctx, leave := context.WithCancel(t.Context())
			c.comes(ctx, "a")
			go leave()
			go release()
			synctest.Wait()
			require.Equal(t, 1, c.free)
			require.Equal(t, 2, c.places)
		}
		require.Empty(t, c.sent)
	})
}
