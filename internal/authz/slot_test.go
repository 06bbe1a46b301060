package authz

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestAnonymous(t *testing.T) {
	alice := NewUser(uuid.New(), "alice", uuid.New(), true, time.Now(), "a:b")
	bob := NewUser(uuid.New(), "bob", uuid.New(), false, time.Now())

	ctx := WithSlot(context.Background())
	require.Nil(t, From(ctx))
	SignIn(ctx, alice)
	require.Equal(t, alice, From(ctx))
	inside := Anonymous(ctx)
	require.Nil(t, From(inside), "who signed in earlier in the operation is nobody to the next sign-in")
	SignIn(inside, bob)
	require.Nil(t, From(inside))
	require.Equal(t, alice, From(ctx))
	require.Nil(t, From(Anonymous(With(context.Background(), bob))))
	require.Equal(t, bob, From(With(inside, bob)))
}
