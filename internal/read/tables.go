package read

import (
	"time"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/cite"
	enums "cdsa.dev/cdsa/internal/enum"
)

// The columns and fields of the tables. A field that is not named here is not covered; a test holds them against the
// GraphQL schema. Fields under a directive bring what the directive judges: @selfOr the owner, @redacted the requester
// and whether approval is needed.

type (
	session   = ent.ChatSession
	message   = ent.ChatMessage
	execution = ent.ToolExecution
	tool      = ent.Tool
	auditRow  = ent.AuditLog
)

var sessions = newTable(`id, createdAt: created_at, updatedAt: updated_at, userId: user_id, title: title, contextWindowSize: context_window_size,
	model: model, temperature: temperature, isActive: is_active, lastMessageAt: last_message_at, systemPrompt: system_prompt user_id,
	sensitivity: sensitivity, archivedAt: archived_at, forkedFrom: forked_from, eventCursor`,
	id("id", func(x *session) *uuid.UUID { return &x.ID }),
	moment("created_at", func(x *session) *time.Time { return &x.CreatedAt }),
	moment("updated_at", func(x *session) *time.Time { return &x.UpdatedAt }),
	id("user_id", func(x *session) *uuid.UUID { return &x.UserID }),
	text("title", func(x *session) *string { return &x.Title }),
	integer("context_window_size", func(x *session) *int { return &x.ContextWindowSize }),
	text("model", func(x *session) *string { return &x.Model }),
	float("temperature", func(x *session) *float64 { return &x.Temperature }),
	boolean("is_active", func(x *session) *bool { return &x.IsActive }),
	momentOrNull("last_message_at", func(x *session) **time.Time { return &x.LastMessageAt }),
	moment("activity_at", func(x *session) *time.Time { return &x.ActivityAt }),
	text("system_prompt", func(x *session) *string { return &x.SystemPrompt }),
	enum("sensitivity", func(x *session) *enums.Sensitivity { return &x.Sensitivity }),
	momentOrNull("archived_at", func(x *session) **time.Time { return &x.ArchivedAt }),
	idOrNull("forked_from", func(x *session) **uuid.UUID { return &x.ForkedFrom }),
)

var messages = newTable(`id, createdAt: created_at, updatedAt: updated_at, sessionId: session_id, userId: user_id, toolExecutionId: tool_execution_id,
	parentId: parent_id, role: role, status: status, content: content, tokens: tokens, model: model, metadata: metadata,
	finishReason: finish_reason, inputTokens: input_tokens, outputTokens: output_tokens, isPinned: is_pinned, errorCode: error_code,
	attempt: attempt, citations: citations, toolCalls: tool_calls`,
	id("id", func(x *message) *uuid.UUID { return &x.ID }),
	moment("created_at", func(x *message) *time.Time { return &x.CreatedAt }),
	moment("updated_at", func(x *message) *time.Time { return &x.UpdatedAt }),
	id("session_id", func(x *message) *uuid.UUID { return &x.SessionID }),
	idOrNull("user_id", func(x *message) **uuid.UUID { return &x.UserID }),
	idOrNull("tool_execution_id", func(x *message) **uuid.UUID { return &x.ToolExecutionID }),
	idOrNull("parent_id", func(x *message) **uuid.UUID { return &x.ParentID }),
	enum("role", func(x *message) *enums.MessageRole { return &x.Role }),
	enum("status", func(x *message) *enums.MessageStatus { return &x.Status }),
	text("content", func(x *message) *string { return &x.Content }),
	integer("tokens", func(x *message) *int { return &x.Tokens }),
	text("model", func(x *message) *string { return &x.Model }),
	mapOrNull("metadata", func(x *message) *map[string]any { return &x.Metadata }),
	textOrNull("finish_reason", func(x *message) **string { return &x.FinishReason }),
	integer("input_tokens", func(x *message) *int { return &x.InputTokens }),
	integer("output_tokens", func(x *message) *int { return &x.OutputTokens }),
	boolean("is_pinned", func(x *message) *bool { return &x.IsPinned }),
	textOrNull("error_code", func(x *message) **string { return &x.ErrorCode }),
	integer("attempt", func(x *message) *int { return &x.Attempt }),
	jsonOf("citations", func(x *message) *[]cite.Citation { return &x.Citations }),
	jsonOf("tool_calls", func(x *message) *[]map[string]any { return &x.ToolCalls }),
)

var executions = newTable(`id, createdAt: created_at, updatedAt: updated_at, toolId: tool_id, userId: user_id, sessionId: session_id, status: status,
	parameters: parameters user_id requires_approval, result: result user_id requires_approval, error: error user_id requires_approval,
	errorCode: error_code, reasonCode: reason_code, executionTimeMs: execution_time_ms, cached: cached, cacheEntryId: cache_entry_id,
	requiresApproval: requires_approval, startedAt: started_at, completedAt: completed_at, toolVersion: tool_version,
	argsHash: args_hash, effectiveRisk: effective_risk, retryOf: retry_of, callId: call_id, replyId: reply_id,
	resultSensitivity: result_sensitivity, approvalId: requires_approval, isPending: status, isRunning: status, isComplete: status`,
	id("id", func(x *execution) *uuid.UUID { return &x.ID }),
	moment("created_at", func(x *execution) *time.Time { return &x.CreatedAt }),
	moment("updated_at", func(x *execution) *time.Time { return &x.UpdatedAt }),
	id("tool_id", func(x *execution) *uuid.UUID { return &x.ToolID }),
	id("user_id", func(x *execution) *uuid.UUID { return &x.UserID }),
	idOrNull("session_id", func(x *execution) **uuid.UUID { return &x.SessionID }),
	enum("status", func(x *execution) *enums.ToolExecutionStatus { return &x.Status }),
	mapOrNull("parameters", func(x *execution) *map[string]any { return &x.Parameters }),
	jsonOf("result", func(x *execution) *any { return &x.Result }),
	textOrNull("error", func(x *execution) **string { return &x.Error }),
	textOrNull("error_code", func(x *execution) **enums.ToolErrorCode { return &x.ErrorCode }),
	textOrNull("reason_code", func(x *execution) **enums.ToolReasonCode { return &x.ReasonCode }),
	integerOrNull("execution_time_ms", func(x *execution) **int { return &x.ExecutionTimeMs }),
	boolean("cached", func(x *execution) *bool { return &x.Cached }),
	idOrNull("cache_entry_id", func(x *execution) **uuid.UUID { return &x.CacheEntryID }),
	boolean("requires_approval", func(x *execution) *bool { return &x.RequiresApproval }),
	momentOrNull("started_at", func(x *execution) **time.Time { return &x.StartedAt }),
	momentOrNull("completed_at", func(x *execution) **time.Time { return &x.CompletedAt }),
	integer("tool_version", func(x *execution) *int { return &x.ToolVersion }),
	text("args_hash", func(x *execution) *string { return &x.ArgsHash }),
	enum("effective_risk", func(x *execution) *enums.RiskLevel { return &x.EffectiveRisk }),
	idOrNull("retry_of", func(x *execution) **uuid.UUID { return &x.RetryOf }),
	textOrNull("call_id", func(x *execution) **string { return &x.CallID }),
	idOrNull("reply_id", func(x *execution) **uuid.UUID { return &x.ReplyID }),
	textOrNull("result_sensitivity", func(x *execution) **enums.Sensitivity { return &x.ResultSensitivity }),
)

var tools = newTable(`id, createdAt: created_at, updatedAt: updated_at, name: name, displayName: display_name, description: description,
	category: category, schema: schema, outputSchema: output_schema, requiresApproval: requires_approval, riskLevel: risk_level,
	requiredPermission: required_permission, isActive: is_active, isSystem: is_system, maxConcurrentExecutions: max_concurrent_executions,
	timeoutSeconds: timeout_seconds, executor: executor, hints: hints, version: version, cacheTtlSeconds: cache_ttl_seconds`,
	id("id", func(x *tool) *uuid.UUID { return &x.ID }),
	moment("created_at", func(x *tool) *time.Time { return &x.CreatedAt }),
	moment("updated_at", func(x *tool) *time.Time { return &x.UpdatedAt }),
	text("name", func(x *tool) *string { return &x.Name }),
	text("display_name", func(x *tool) *string { return &x.DisplayName }),
	text("description", func(x *tool) *string { return &x.Description }),
	enum("category", func(x *tool) *enums.ToolCategory { return &x.Category }),
	jsonOf("schema", func(x *tool) *map[string]any { return &x.Schema }),
	mapOrNull("output_schema", func(x *tool) *map[string]any { return &x.OutputSchema }),
	boolean("requires_approval", func(x *tool) *bool { return &x.RequiresApproval }),
	enum("risk_level", func(x *tool) *enums.RiskLevel { return &x.RiskLevel }),
	textOrNull("required_permission", func(x *tool) **string { return &x.RequiredPermission }),
	boolean("is_active", func(x *tool) *bool { return &x.IsActive }),
	boolean("is_system", func(x *tool) *bool { return &x.IsSystem }),
	integer("max_concurrent_executions", func(x *tool) *int { return &x.MaxConcurrentExecutions }),
	integer("timeout_seconds", func(x *tool) *int { return &x.TimeoutSeconds }),
	enum("executor", func(x *tool) *enums.ToolExecutor { return &x.Executor }),
	mapOrNull("hints", func(x *tool) *map[string]any { return &x.Hints }),
	integer("version", func(x *tool) *int { return &x.Version }),
	integer("cache_ttl_seconds", func(x *tool) *int { return &x.CacheTTLSeconds }),
)

var auditRows = newTable(`id, createdAt: created_at, userId: user_id, action: action, resourceType: resource_type, resourceId: resource_id,
	sessionId: session_id, details: details, changes: changes, success: success, errorMessage: error_message,
	toolExecutionId: tool_execution_id, sensitiveData: sensitive_data, retentionDays: retention_days, requestId: request_id,
	actorKind: actor_kind, username: user_id username ip_address user_agent, ipAddress: user_id username ip_address user_agent,
	userAgent: user_id username ip_address user_agent, ageDays: created_at, shouldBeRetained: created_at retention_days`,
	id("id", func(x *auditRow) *uuid.UUID { return &x.ID }),
	moment("created_at", func(x *auditRow) *time.Time { return &x.CreatedAt }),
	idOrNull("user_id", func(x *auditRow) **uuid.UUID { return &x.UserID }),
	octets("username", func(x *auditRow) *[]byte { return &x.Username }),
	enum("action", func(x *auditRow) *enums.AuditAction { return &x.Action }),
	text("resource_type", func(x *auditRow) *string { return &x.ResourceType }),
	idOrNull("resource_id", func(x *auditRow) **uuid.UUID { return &x.ResourceID }),
	octets("ip_address", func(x *auditRow) *[]byte { return &x.IPAddress }),
	octets("user_agent", func(x *auditRow) *[]byte { return &x.UserAgent }),
	idOrNull("session_id", func(x *auditRow) **uuid.UUID { return &x.SessionID }),
	mapOrNull("details", func(x *auditRow) *map[string]any { return &x.Details }),
	mapOrNull("changes", func(x *auditRow) *map[string]any { return &x.Changes }),
	boolean("success", func(x *auditRow) *bool { return &x.Success }),
	textOrNull("error_message", func(x *auditRow) **string { return &x.ErrorMessage }),
	idOrNull("tool_execution_id", func(x *auditRow) **uuid.UUID { return &x.ToolExecutionID }),
	boolean("sensitive_data", func(x *auditRow) *bool { return &x.SensitiveData }),
	integer("retention_days", func(x *auditRow) *int { return &x.RetentionDays }),
	text("request_id", func(x *auditRow) *string { return &x.RequestID }),
	enum("actor_kind", func(x *auditRow) *enums.ActorKind { return &x.ActorKind }),
)
