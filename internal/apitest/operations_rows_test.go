//go:build unix

package apitest

import (
	"maps"
	"testing"
)

func init() {
	maps.Copy(operations, map[string]operation{
		"Query.simulateAccess": {happy: "admin", query: simulate, vars: func(_ testing.TB, w *world, _ *person) map[string]any {
			return map[string]any{"user": w.other.id, "node": w.public}
		}},
	})
}

const simulate = `query($user: ID!, $node: ID!) { simulateAccess(userId: $user, nodeId: $node) { allowed reasons } }`
