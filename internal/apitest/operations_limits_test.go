//go:build unix

package apitest

import "maps"

func init() {
	maps.Copy(operations, map[string]operation{
		"Query.rateLimit":     {query: `{ rateLimit { limit cost remaining resetAt } }`},
		"Mutation.unlockUser": {happy: "admin", query: `mutation($id: ID!) { unlockUser(id: $id) { id lockedUntil failedLoginCount } }`, vars: byID(newcomer)},
	})
}
