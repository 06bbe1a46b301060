//go:build unix

package apitest

import (
	"maps"
	"testing"
	"time"

	"cdsa.dev/cdsa/internal/authz"
)

func init() {
	maps.Copy(operations, map[string]operation{
		"Mutation.createApiToken": {
			query: `mutation($in: CreateApiTokenInput!) { createApiToken(input: $in) { token session { id } } }`,
			vars: func(_ testing.TB, _ *world, x *person) map[string]any {
				permission := "chat:read" // refused where no role gives it
				for _, p := range authz.Permissions {
					if !x.superuser && x.can(p.Name()) {
						permission = p.Name()
						break
					}
				}
				return map[string]any{"in": tokenInput(x, time.Hour, permission)}
			},
		},
	})
}

func tokenInput(x *person, life time.Duration, permissions ...string) map[string]any {
	return map[string]any{"name": "Nightly report", "permissions": permissions, "expiresAt": time.Now().Add(life).UTC().Format(time.RFC3339Nano), "password": x.password}
}
