package rule

import (
	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/pgarray"
)

// entityRule is one row of the data model's table "who sees what", and who may write.
type entityRule struct {
	read       func(p *authz.Principal) Scope
	create     []string // any of these permissions allows creation
	write      []string // any of these allows change within change's rows
	change     func(p *authz.Principal) Scope
	owner      string // column that must name the creator, unless a system principal creates
	appendOnly bool
	deletable  bool // rows may go; what compliance needs is kept, and users, tools and secrets are deactivated
}

func own(column string) func(p *authz.Principal) Scope {
	return func(p *authz.Principal) Scope { return ownRows(p, column) }
}

func ownRows(p *authz.Principal, column string) Scope {
	return when(p.UserID != uuid.Nil, where("{"+column+"} = ?", p.UserID))
}

func holders(permission string) func(p *authz.Principal) Scope {
	return func(p *authz.Principal) Scope { return when(p.Can(permission), everything) }
}

func anyRow(*authz.Principal) Scope { return everything }

// changes limits people to their own rows; system principals were given the write permission for the whole table.
func changes(column string, alsoHolders ...string) func(p *authz.Principal) Scope {
	return func(p *authz.Principal) Scope {
		if p.IsSystem() {
			return everything
		}
		for _, perm := range alsoHolders {
			if p.Can(perm) {
				return everything
			}
		}
		return ownRows(p, column)
	}
}

// Readable is the documents, or chunks with the copied columns, whose content p may read.
func Readable(p *authz.Principal, ownerColumn string) Scope {
	if p == nil {
		return nothing
	}
	perms := pgarray.Strings(p.Permissions())
	return or(
		ownRows(p, ownerColumn),
		when(p.UserID != uuid.Nil, where("{is_public}")),
		when(len(perms) > 0 && p.UserID != uuid.Nil, where("{required_permission} = ANY(?::text[])", perms)),
		when(p == authz.Indexer || p == authz.Dispatcher, everything),
	)
}

// ofOwnChat is the rows of p's own conversations.
func ofOwnChat(p *authz.Principal) Scope {
	return when(p.UserID != uuid.Nil, where("EXISTS (SELECT 1 FROM chat_sessions s WHERE s.id = {session_id} AND s.user_id = ?)", p.UserID))
}

func secretRows(p *authz.Principal) Scope {
	return or(
		ownRows(p, "owner_id"),
		where("{required_permission} = ANY(?::text[])", pgarray.Strings(p.Permissions())),
		when(p.Can("secrets:write") || p.Can("audit:read"), everything),
	)
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
		// Whoever may see a row that names a user may see that user's name; every other field is guarded one by one.
		read: anyRow, create: []string{"users:write", "system:register"}, write: []string{"users:write", "system:register"}, change: changes("id", "users:write"),
	},
	"Session": {
		read: func(p *authz.Principal) Scope {
			return or(ownRows(p, "user_id"), when(p.Can("users:read"), everything))
		},
		create: []string{"users:write", "system:register"}, write: []string{"users:write", "system:register"}, change: anyRow,
	},
	"Role":       {read: holders("roles:read"), create: []string{"roles:write"}, write: []string{"roles:write"}, change: anyRow, deletable: true},
	"Permission": {read: holders("roles:read"), create: []string{"roles:write"}, write: []string{"roles:write"}, change: anyRow, deletable: true},
	"ChatSession": {
		read: func(p *authz.Principal) Scope {
			return or(ownRows(p, "user_id"), when(p.Can("audit:read") || systemWith(p, "chat:read"), everything))
		},
		create: []string{"chat:write"}, write: []string{"chat:write"}, change: changes("user_id"), owner: "user_id", deletable: true,
	},
	"ChatMessage": {
		read:   chatContent,
		create: []string{"chat:write"}, write: []string{"chat:write"}, change: changes("user_id"), owner: "user_id",
	},
	"ContextWindow": {
		read: func(p *authz.Principal) Scope {
			return or(
				ofOwnChat(p),
				when(systemWith(p, "chat:read"), everything))
		},
		create: []string{"chat:write"}, write: []string{"chat:write"}, change: func(p *authz.Principal) Scope {
			return or(ofOwnChat(p), when(p.IsSystem(), everything))
		},
	},
	"Tool": {read: holders("tools:read"), create: []string{"tools:manage"}, write: []string{"tools:manage"}, change: anyRow},
	"ToolExecution": {
		read: func(p *authz.Principal) Scope {
			return or(ownRows(p, "user_id"),
				when(p.Can("approvals:decide"), where("{requires_approval}")),
				when(p.Can("audit:read") || systemWith(p, "tools:read"), everything))
		},
		create: []string{"tools:execute"}, write: []string{"tools:execute", "approvals:decide", "approvals:break_glass", "tools:manage", sysTool},
		change: func(p *authz.Principal) Scope {
			return or(changes("user_id", "approvals:break_glass", "tools:manage")(p), when(p.Can("approvals:decide"), where("{requires_approval}")))
		}, owner: "user_id",
	},
	"ToolApproval": {
		read: func(p *authz.Principal) Scope {
			return or(ownRows(p, "user_id"), when(p.Can("approvals:decide") || p.Can("audit:read") || systemWith(p, "approvals:read"), everything))
		},
		create: []string{"tools:execute"}, write: []string{"tools:execute", "approvals:decide", "approvals:break_glass", sysTool},
		change: changes("user_id", "approvals:decide", "approvals:break_glass"), owner: "user_id",
	},
	"ToolCache": {
		read: func(p *authz.Principal) Scope {
			return when(p.Can("tools:manage") || systemWith(p, sysTool), everything)
		},
		create: []string{sysTool}, write: []string{sysTool, "tools:manage"}, change: anyRow, deletable: true,
	},
	"AuditLog": {
		read: func(p *authz.Principal) Scope {
			return or(ownRows(p, "user_id"), when(p.Can("audit:read"), everything))
		},
		create: []string{sysAudit}, appendOnly: true,
	},
	"SystemMetric": {read: holders("metrics:read"), create: []string{"system:metrics"}, appendOnly: true},
	"Secret": {
		read:   secretRows,
		create: []string{"secrets:write"}, write: []string{"secrets:write", "secrets:rotate", "secrets:destroy"}, change: changes("owner_id", "secrets:write", "secrets:destroy"), owner: "owner_id",
	},
	"SecretVersion": {
		read: func(p *authz.Principal) Scope {
			return or(
				where("EXISTS (SELECT 1 FROM secrets s WHERE s.id = {secret_id} AND (s.owner_id = ? OR s.required_permission = ANY(?::text[])))", p.UserID, pgarray.Strings(p.Permissions())),
				when(p.Can("secrets:write") || p.Can("audit:read"), everything))
		},
		create: []string{"secrets:write", "secrets:rotate"}, write: []string{"secrets:write", "secrets:rotate", "secrets:destroy"}, change: anyRow,
	},
	"SecretAccessLog": {
		read: func(p *authz.Principal) Scope {
			return or(
				where("EXISTS (SELECT 1 FROM secrets s WHERE s.id = {secret_id} AND s.owner_id = ?)", p.UserID),
				when(p.Can("audit:read"), everything))
		},
		create: []string{sysAudit}, appendOnly: true,
	},
	"Document": {
		read: func(p *authz.Principal) Scope {
			return or(Readable(p, "uploaded_by"), when(p.Can("audit:read"), everything))
		},
		create: []string{"documents:write"}, write: []string{sysIndexer}, change: changes("uploaded_by"), owner: "uploaded_by", deletable: true,
	},
	"DocumentChunk": {
		read:   func(p *authz.Principal) Scope { return Readable(p, "owner_id") },
		create: []string{sysIndexer}, write: []string{sysIndexer}, change: changes("owner_id"), owner: "owner_id", deletable: true,
	},
	"SearchResult": {
		read:   own("user_id"),
		create: []string{"search:execute"}, write: []string{"search:execute"}, change: changes("user_id"), owner: "user_id",
	},
	"EmbeddingModel": {read: holders("models:read"), create: []string{"models:manage"}, write: []string{"models:manage"}, change: anyRow},
}

// chatContent: a conversation's text belongs to its owner alone; even a superuser opens another's only through openChat.
func chatContent(p *authz.Principal) Scope {
	return or(ownRows(p, "user_id"), when(systemWith(p, "chat:read"), everything))
}

func systemWith(p *authz.Principal, permission string) bool {
	return p.IsSystem() && p.Holds(permission)
}
