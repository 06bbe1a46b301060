//go:build unix

package apitest

import (
	"maps"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/uid"
)

// newRole is a role that is not seeded and allows permissions.
func (s *server) newRole(tb testing.TB, permissions ...string) uuid.UUID {
	tb.Helper()
	var d struct{ CreateRole struct{ ID uuid.UUID } }
	s.root(tb).ok(tb, operations["Mutation.createRole"].query, map[string]any{"in": map[string]any{"name": "role " + uuid.NewString(), "permissions": permissions}}, &d)
	require.NotEqual(tb, uuid.Nil, d.CreateRole.ID)
	return d.CreateRole.ID
}

func anyRole(tb testing.TB, w *world, _ *person) uuid.UUID { return w.newRole(tb, "tools:read") }

func init() {
	maps.Copy(operations, map[string]operation{
		"Mutation.updateUser": {happy: "admin", query: `mutation($id: ID!, $in: UpdateUserInput!) { updateUser(id: $id, input: $in) { id fullName } }`, vars: func(_ testing.TB, w *world, x *person) map[string]any {
			id := x.id // one's own
			if x.token == "" {
				id = w.other.id
			}
			return map[string]any{"id": id, "in": map[string]any{"fullName": "Person " + uuid.NewString()}}
		}},
		"Mutation.setUserActive": {happy: "admin", query: `mutation($id: ID!) { setUserActive(id: $id, active: false) { id isActive } }`, vars: byID(newcomer)},
		"Mutation.createRole": {happy: "admin", query: `mutation($in: CreateRoleInput!) { createRole(input: $in) { id name } }`, vars: func(testing.TB, *world, *person) map[string]any {
			return map[string]any{"in": map[string]any{"name": "role " + uuid.NewString(), "description": "Made by a test.", "permissions": []string{"tools:read"}}}
		}},
		"Mutation.updateRole":         {happy: "admin", query: `mutation($id: ID!) { updateRole(id: $id, input: {description: "Described."}) { id description } }`, vars: byID(anyRole)},
		"Mutation.deleteRole":         {happy: "admin", query: `mutation($id: ID!) { deleteRole(id: $id) }`, vars: byID(anyRole)},
		"Mutation.setRolePermissions": {happy: "admin", query: `mutation($id: ID!) { setRolePermissions(roleId: $id, permissions: ["models:read"]) { id } }`, vars: byID(anyRole)},
	})
	for name, tag := range map[string]uid.Tag{
		"Mutation.updateUser": uid.User, "Mutation.setUserActive": uid.User,
		"Mutation.updateRole": uid.Role, "Mutation.deleteRole": uid.Role, "Mutation.setRolePermissions": uid.Role,
	} {
		identifiers = append(identifiers, struct {
			operation string
			path      string
			tag       uid.Tag
			others    func(w *world) uuid.UUID
			hidden    string
		}{operation: name, path: "id", tag: tag})
	}
}
