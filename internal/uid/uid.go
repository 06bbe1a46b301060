// Package uid makes the ids of all entities: UUIDv7, whose last byte is the tag of the entity, so that an id
// alone tells its table.
package uid

import (
	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/errs"
)

// Tag is an entity's number in docs/data-model order, 1..20.
type Tag byte

// The entities in the order of the data model.
const (
	User Tag = 1 + iota
	Role
	Permission
	Session
	ChatSession
	ChatMessage
	ContextWindow
	Tool
	ToolExecution
	ToolApproval
	ToolCache
	AuditLog
	SystemMetric
	Secret
	SecretVersion
	SecretAccessLog
	Document
	DocumentChunk
	SearchResult
	EmbeddingModel
)

// Tables maps a tag to its table.
var Tables = map[Tag]string{
	User: "users", Role: "roles", Permission: "permissions", Session: "sessions",
	ChatSession: "chat_sessions", ChatMessage: "chat_messages", ContextWindow: "context_windows",
	Tool: "tools", ToolExecution: "tool_executions", ToolApproval: "tool_approvals", ToolCache: "tool_caches",
	AuditLog: "audit_logs", SystemMetric: "system_metrics",
	Secret: "secrets", SecretVersion: "secret_versions", SecretAccessLog: "secret_access_logs",
	Document: "documents", DocumentChunk: "document_chunks", SearchResult: "search_results", EmbeddingModel: "embedding_models",
}

// Types maps a tag to its GraphQL type.
var Types = map[Tag]string{
	User: "User", Role: "Role", Permission: "Permission", Session: "Session",
	ChatSession: "ChatSession", ChatMessage: "ChatMessage", ContextWindow: "ContextWindow",
	Tool: "Tool", ToolExecution: "ToolExecution", ToolApproval: "ToolApproval", ToolCache: "ToolCache",
	AuditLog: "AuditLog", SystemMetric: "SystemMetric",
	Secret: "Secret", SecretVersion: "SecretVersion", SecretAccessLog: "SecretAccessLog",
	Document: "Document", DocumentChunk: "DocumentChunk", SearchResult: "SearchResult", EmbeddingModel: "EmbeddingModel",
}

// New makes an id of the tag's entity. It panics only when the system has no randomness.
func New(t Tag) uuid.UUID {
	u := uuid.Must(uuid.NewV7())
	u[15] = byte(t)
	return u
}

// Maker is New for a default of an ent field.
func Maker(t Tag) func() uuid.UUID { return func() uuid.UUID { return New(t) } }

// Of gives the tag of an id, and false for an id this system cannot have made.
func Of(id uuid.UUID) (Tag, bool) {
	t := Tag(id[15])
	_, ok := Tables[t]
	return t, ok && id.Version() == 7
}

// Check refuses an id of another entity with BAD_USER_INPUT on field.
func Check(id uuid.UUID, want Tag, field string) error {
	if t, ok := Of(id); !ok || t != want {
		return errs.Input(field, "This is not the id of a %s.", Types[want])
	}
	return nil
}
