package authz

// Permission is one row of the permission table; its name is resource:action.
type Permission struct {
	Resource, Action, Description string
}

// Name is resource:action.
func (p Permission) Name() string { return p.Resource + ":" + p.Action }

// Permissions lists every permission of the system. It is compared with the SDL and with the seeded rows by tests.
var Permissions = []Permission{
	{"users", "read", "See every user's account and login sessions."},
	{"users", "write", "Create, change, deactivate and unlock users."},
	{"users", "erase", "Erase a user's personal data."},
	{"roles", "read", "See roles and permissions."},
	{"roles", "write", "Change roles and who holds them."},
	{"chat", "read", "Read one's own conversations."},
	{"chat", "write", "Start conversations and send messages."},
	{"chat", "read_any", "Open another's conversation for a stated reason."},
	{"tools", "read", "See tools and one's own tool calls."},
	{"tools", "execute", "Call tools."},
	{"tools", "manage", "Create and change tools."},
	{"approvals", "read", "See approval requests."},
	{"approvals", "decide", "Approve or reject requests of others."},
	{"approvals", "decide_elevated", "Give the elevated approval that a CRITICAL call needs."},
	{"approvals", "break_glass", "Replace a quorum in an emergency."},
	{"audit", "read", "Read the audit log."},
	{"audit", "export", "Export the audit log and reports."},
	{"audit", "verify", "Fetch proofs of the audit log."},
	{"audit", "hold", "Place legal holds and set retention."},
	{"metrics", "read", "See metrics and the dashboard."},
	{"secrets", "read", "See secrets' metadata."},
	{"secrets", "write", "Create and change secrets."},
	{"secrets", "rotate", "Rotate and restore secrets."},
	{"secrets", "use", "Have tools use secrets."},
	{"secrets", "reveal", "See a secret's value."},
	{"secrets", "destroy", "Delete secrets and destroy versions."},
	{"documents", "read", "Read documents one has access to."},
	{"documents", "write", "Upload and change one's documents."},
	{"search", "execute", "Search documents."},
	{"models", "read", "See embedding models."},
	{"models", "manage", "Configure embedding models."},
}

// Role is a seeded role and what it holds.
type Role struct {
	Name, Description string
	Holds             []string
}

// AdminRole holds every permission.
const AdminRole = "admin"

// DefaultRole is given at registration.
const DefaultRole = "analyst"

// Roles are the seeded roles. An operator's own changes to what a seeded role holds survive a restart.
var Roles = []Role{
	{AdminRole, "Runs the system.", allNames()},
	{"steward", "Looks after documents, secrets, tools and models.", []string{
		"documents:read", "documents:write", "secrets:read", "secrets:write", "secrets:rotate", "secrets:use",
		"tools:read", "tools:manage", "approvals:read", "approvals:decide", "search:execute", "models:read", "models:manage", "metrics:read",
	}},
	{"approver", "Decides on sensitive tool calls.", []string{"approvals:read", "approvals:decide", "approvals:decide_elevated", "tools:read"}},
	{DefaultRole, "Works with the assistant.", []string{
		"chat:read", "chat:write", "tools:read", "tools:execute", "documents:read", "documents:write",
		"search:execute", "secrets:read", "secrets:use", "approvals:read", "models:read",
	}},
	{"auditor", "Reads everything that was done.", []string{
		"users:read", "roles:read", "chat:read", "tools:read", "approvals:read", "secrets:read", "documents:read",
		"models:read", "audit:read", "audit:export", "audit:verify", "metrics:read",
	}},
}

// Known says whether name is a permission of the table.
func Known(name string) bool { return known[name] }

var known = func() map[string]bool {
	m := map[string]bool{}
	for _, p := range Permissions {
		m[p.Name()] = true
	}
	return m
}()

func allNames() []string {
	var s []string
	for _, p := range Permissions {
		s = append(s, p.Name())
	}
	return s
}
