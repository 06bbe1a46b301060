package rule

import (
	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/pgarray"
)

// entityRule is one row of the data model's table "who sees what", and who may write. Nothing in it may be left out by
// mistake: For refuses an entity without needs and read at start.
type entityRule struct {
	needs      string // the permission to see any row at all, on top of which read decides; openTo where read alone does
	read       func(p *authz.Principal) Scope
	besides    func(p *authz.Principal) Scope // rows that are seen without needs; nil for none
	fetch      func(p *authz.Principal) Scope // rows that may be fetched by id, where they are fewer than read's; nil: all of them
	through    string                         // join table of an edge that lists rows which nothing seen names: fetch's alone are
	watched    bool                           // that rows were read is itself recorded
	create     []string                       // any of these permissions allows creation
	write      []string                       // any of these allows change within change's rows
	change     func(p *authz.Principal) Scope
	owner      string // column that must name the creator, unless a system principal creates
	appendOnly bool
	deletable  bool // rows may go; what compliance needs is kept, and users, tools and secrets are deactivated
}

// openTo is the needs of an entity of which everyone who signed in may see some rows.
const openTo = "-"

func own(column string) func(p *authz.Principal) Scope {
	return func(p *authz.Principal) Scope { return ownRows(p, column) }
}

func ownRows(p *authz.Principal, column string) Scope {
	return when(p.UserID != uuid.Nil, where(whyOwn, "{"+column+"} = ?", p.UserID))
}

const whyOwn = "owns it"

// inPerson opens rows of somebody's account to themselves. A program is not its owner: their sessions, roles and history
// take the permissions that another's take, which its API token may have been given.
func inPerson(p *authz.Principal, s Scope) Scope { return when(!p.APIToken, s) }

func anyRow(*authz.Principal) Scope { return every("") }

// worker gives all rows to background work with the permission.
func worker(p *authz.Principal, permission string) Scope {
	return when(systemWith(p, permission), every(""))
}

// changes limits people to their own rows; system principals were given the write permission for the whole table.
func changes(column string, alsoHolders ...string) func(p *authz.Principal) Scope {
	return func(p *authz.Principal) Scope {
		if p.IsSystem() {
			return every("")
		}
		s := ownRows(p, column)
		for _, perm := range alsoHolders {
			s = or(s, holding(p, perm, every("")))
		}
		return s
	}
}

// Readable is the documents, or chunks with the copied columns, whose content p may read. What a search finds is
// narrowed by it too, so a search takes documents:read besides its own permission.
func Readable(p *authz.Principal, ownerColumn string) Scope {
	if p == nil || !p.Can(needDocuments) {
		return Scope{}
	}
	return readers(p, ownerColumn).needing(needDocuments)
}

const needDocuments = "documents:read"

// readers are those whom a document's own columns name.
func readers(p *authz.Principal, ownerColumn string) Scope {
	perms := pgarray.Strings(p.Permissions())
	return or(
		ownRows(p, ownerColumn),
		when(p.UserID != uuid.Nil, where("it is public to all who hold that permission", "{is_public}")),
		when(len(perms) > 0 && p.UserID != uuid.Nil, where("holds the permission that it is open to", "{required_permission} = ANY(?::text[])", perms)),
		when(p == authz.Indexer || p == authz.Dispatcher, every("")),
	)
}

// ofOwnChat is the rows of p's own conversations.
func ofOwnChat(p *authz.Principal) Scope {
	return when(p.UserID != uuid.Nil, where("owns the conversation", "EXISTS (SELECT 1 FROM chat_sessions s WHERE s.id = {session_id} AND s.user_id = ?)", p.UserID))
}

// Permissions of single background workers, held by no role.
const (
	sysAgent   = "chat:write"
	sysTool    = "system:tools"
	sysAudit   = "system:audit"
	sysIndexer = "documents:write"
)

var table = map[string]entityRule{
	"User": {
		// Whoever may see a row that names a user may see that user's name; every other field is guarded one by one, and
		// an account is fetched by its owner and by holders of users:read only. A role names nobody: whoever holds it may
		// know it, and would have the list of all who do.
		needs: openTo, read: anyRow, through: "user_roles",
		fetch: func(p *authz.Principal) Scope {
			return or(when(p.UserID != uuid.Nil, where("is this user", "{id} = ?", p.UserID)), holding(p, "users:read", every("")))
		},
		create: []string{"users:write", "system:register"}, write: []string{"users:write", "system:register"}, change: changes("id", "users:write"),
	},
	"Session": {
		needs: openTo,
		read: func(p *authz.Principal) Scope {
			return or(inPerson(p, ownRows(p, "user_id")), when(p.APIToken, where("is this API token", "{id} = ?", p.SessionID)), holding(p, "users:read", every("")))
		},
		create: []string{"users:write", "system:register"}, write: []string{"users:write", "system:register"}, change: anyRow,
	},
	"Role": {
		needs: "roles:read", read: anyRow, besides: ownRoles,
		create: []string{"roles:write"}, write: []string{"roles:write"}, change: anyRow, deletable: true,
	},
	"Permission": {
		needs: "roles:read", read: anyRow, besides: ownPermissions,
		create: []string{"roles:write"}, write: []string{"roles:write"}, change: anyRow, deletable: true,
	},
	"ChatSession": {
		needs: "chat:read",
		read: func(p *authz.Principal) Scope {
			return or(ownRows(p, "user_id"), holding(p, "audit:read", every("")), worker(p, "chat:read"))
		},
		create: []string{"chat:write"}, write: []string{"chat:write"}, change: changes("user_id"), owner: "user_id", deletable: true,
	},
	"ChatMessage": {
		needs: "chat:read", read: chatContent,
		create: []string{"chat:write"}, write: []string{"chat:write"}, change: changes("user_id"), owner: "user_id",
	},
	"ContextWindow": {
		needs: "chat:read",
		read: func(p *authz.Principal) Scope {
			return or(ofOwnChat(p), worker(p, "chat:read"))
		},
		create: []string{"chat:write"}, write: []string{"chat:write"}, change: func(p *authz.Principal) Scope {
			return or(ofOwnChat(p), when(p.IsSystem(), every("")))
		},
	},
	"Tool": {needs: "tools:read", read: anyRow, create: []string{"tools:manage"}, write: []string{"tools:manage"}, change: anyRow},
	"ToolExecution": {
		needs: needExecutions, read: executions,
		create: []string{"tools:execute"}, write: []string{"tools:execute", "approvals:decide", "approvals:break_glass", "tools:manage", sysTool},
		change: func(p *authz.Principal) Scope {
			return or(changes("user_id", "approvals:break_glass", "tools:manage")(p), holding(p, "approvals:decide", where("", "{requires_approval}")))
		}, owner: "user_id",
	},
	"ToolApproval": {
		needs: needApprovals, read: approvals,
		create: []string{"tools:execute"}, write: []string{"tools:execute", "approvals:decide", "approvals:break_glass", sysTool},
		change: changes("user_id", "approvals:decide", "approvals:break_glass"), owner: "user_id",
	},
	"ToolCache": {
		needs: "tools:read",
		read: func(p *authz.Principal) Scope {
			return or(holding(p, "tools:manage", every("")), worker(p, sysTool))
		},
		create: []string{sysTool}, write: []string{sysTool, "tools:manage"}, change: anyRow, deletable: true,
	},
	"AuditLog": {
		needs: openTo, watched: true,
		read: func(p *authz.Principal) Scope {
			return or(inPerson(p, when(p.UserID != uuid.Nil, where("is who did it", "{user_id} = ?", p.UserID))), holding(p, "audit:read", every("")))
		},
		create: []string{sysAudit}, appendOnly: true,
	},
	"SystemMetric": {needs: "metrics:read", read: anyRow, create: []string{"system:metrics"}, appendOnly: true},
	"Secret": {
		needs: "secrets:read",
		read: func(p *authz.Principal) Scope {
			return or(
				ownRows(p, "owner_id"),
				where(whySecret, "{required_permission} = ANY(?::text[])", pgarray.Strings(p.Permissions())),
				holding(p, "secrets:write", every("")), holding(p, "audit:read", every("")))
		},
		create: []string{"secrets:write"}, write: []string{"secrets:write", "secrets:rotate", "secrets:destroy"}, change: changes("owner_id", "secrets:write", "secrets:destroy"), owner: "owner_id",
	},
	"SecretVersion": {
		needs: "secrets:read",
		read: func(p *authz.Principal) Scope {
			return or(
				where("owns the secret", "EXISTS (SELECT 1 FROM secrets s WHERE s.id = {secret_id} AND s.owner_id = ?)", p.UserID),
				where(whySecret, "EXISTS (SELECT 1 FROM secrets s WHERE s.id = {secret_id} AND s.required_permission = ANY(?::text[]))", pgarray.Strings(p.Permissions())),
				holding(p, "secrets:write", every("")), holding(p, "audit:read", every("")))
		},
		create: []string{"secrets:write", "secrets:rotate"}, write: []string{"secrets:write", "secrets:rotate", "secrets:destroy"}, change: anyRow,
	},
	"SecretAccessLog": {
		needs: "secrets:read",
		read: func(p *authz.Principal) Scope {
			return or(
				where("owns the secret", "EXISTS (SELECT 1 FROM secrets s WHERE s.id = {secret_id} AND s.owner_id = ?)", p.UserID),
				holding(p, "audit:read", every("")))
		},
		create: []string{sysAudit}, appendOnly: true,
	},
	"Document": {
		needs: needDocuments,
		read: func(p *authz.Principal) Scope {
			return or(readers(p, "uploaded_by"), holding(p, "audit:read", every("")))
		},
		create: []string{"documents:write"}, write: []string{sysIndexer}, change: changes("uploaded_by"), owner: "uploaded_by", deletable: true,
	},
	"DocumentChunk": {
		needs: needDocuments, read: func(p *authz.Principal) Scope { return readers(p, "owner_id") },
		create: []string{sysIndexer}, write: []string{sysIndexer}, change: changes("owner_id"), owner: "owner_id", deletable: true,
	},
	"SearchResult": {
		needs: "search:execute", read: own("user_id"),
		create: []string{"search:execute"}, write: []string{"search:execute"}, change: changes("user_id"), owner: "user_id",
	},
	"EmbeddingModel": {needs: "models:read", read: anyRow, create: []string{"models:manage"}, write: []string{"models:manage"}, change: anyRow},
}

const (
	needExecutions = "tools:read"
	needApprovals  = "approvals:read"
	whySecret      = "holds the permission that the secret is open to"
)

func executions(p *authz.Principal) Scope {
	return or(
		ownRows(p, "user_id"),
		holding(p, "approvals:decide", where("it needs a decision", "{requires_approval}")),
		holding(p, "audit:read", every("")), worker(p, needExecutions))
}

func approvals(p *authz.Principal) Scope {
	return or(ownRows(p, "user_id"), holding(p, "approvals:decide", every("")), holding(p, "audit:read", every("")), worker(p, needApprovals))
}

// ownRoles are the roles p holds, and ownPermissions what they hold: people may know what they are.
func ownRoles(p *authz.Principal) Scope {
	return inPerson(p, when(p.UserID != uuid.Nil, where("holds this role", "EXISTS (SELECT 1 FROM user_roles ur WHERE ur.role_id = {id} AND ur.user_id = ?)", p.UserID)))
}

func ownPermissions(p *authz.Principal) Scope {
	return inPerson(p, when(p.UserID != uuid.Nil, where("holds a role with this permission",
		"EXISTS (SELECT 1 FROM role_permissions rp JOIN user_roles ur ON ur.role_id = rp.role_id WHERE rp.permission_id = {id} AND ur.user_id = ?)", p.UserID)))
}

// chatContent: a conversation's text belongs to its owner alone; even a superuser opens another's only through openChat.
func chatContent(p *authz.Principal) Scope {
	return or(ownRows(p, "user_id"), worker(p, "chat:read"))
}

func systemWith(p *authz.Principal, permission string) bool {
	return p.IsSystem() && p.Holds(permission)
}
