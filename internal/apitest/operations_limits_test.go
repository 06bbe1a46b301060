//go:build unix

package apitest

import (
	"maps"

	"cdsa.dev/cdsa/internal/uid"
)

func init() {
	maps.Copy(operations, map[string]operation{
		"Query.rateLimit":     {query: `{ rateLimit { limit cost remaining resetAt } }`},
		"Mutation.unlockUser": {happy: "admin", query: `mutation($id: ID!) { unlockUser(id: $id) { id lockedUntil failedLoginCount } }`, vars: byID(newcomer)},
	})
	row := identifiers[0]
	row.operation, row.path, row.tag, row.others = "Mutation.unlockUser", "id", uid.User, nil
	identifiers = append(identifiers, row)
}
