// Package enum holds the enumerations that ent columns, GraphQL and services share. A value's text is the
// same in Postgres, in JSON and in GraphQL: SCREAMING_SNAKE_CASE. The comments of types and values are their descriptions
// in GraphQL.
package enum

import (
	"fmt"
	"io"
	"slices"
	"strconv"
)

func marshal[E ~string](w io.Writer, e E) { _, _ = io.WriteString(w, strconv.Quote(string(e))) }

func unmarshal[E interface {
	~string
	Values() []string
}](e *E, name string, v any) error {
	s, ok := v.(string)
	if !ok || !slices.Contains((*e).Values(), s) {
		return fmt.Errorf("not a value of %s", name)
	}
	*e = E(s)
	return nil
}

func rank[E interface {
	~string
	Values() []string
}](e E) int {
	return slices.Index(e.Values(), string(e))
}

// MessageRole says who wrote a chat message.
type MessageRole string

// The values of MessageRole.
const (
	MessageRoleUser      MessageRole = "USER"      // The person.
	MessageRoleAssistant MessageRole = "ASSISTANT" // The model.
	MessageRoleSystem    MessageRole = "SYSTEM"    // The server, as instructions to the model.
	MessageRoleTool      MessageRole = "TOOL"      // A tool: the result of a call the model asked for.
)

// Values lists every MessageRole, in order.
func (MessageRole) Values() []string {
	return []string{"USER", "ASSISTANT", "SYSTEM", "TOOL"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e MessageRole) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *MessageRole) UnmarshalGQL(v any) error { return unmarshal(e, "MessageRole", v) }

// MessageStatus says how far a chat message has come; see docs/states.md.
type MessageStatus string

// The values of MessageStatus.
const (
	MessageStatusPending   MessageStatus = "PENDING"   // Stored; no worker has begun.
	MessageStatusStreaming MessageStatus = "STREAMING" // Being written, or waiting for a tool call.
	MessageStatusCompleted MessageStatus = "COMPLETED" // Whole.
	MessageStatusFailed    MessageStatus = "FAILED"    // Ended by an error; errorCode says which.
	MessageStatusCancelled MessageStatus = "CANCELLED" // Stopped before it was whole; what was written stays.
)

// Values lists every MessageStatus, in order.
func (MessageStatus) Values() []string {
	return []string{"PENDING", "STREAMING", "COMPLETED", "FAILED", "CANCELLED"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e MessageStatus) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *MessageStatus) UnmarshalGQL(v any) error { return unmarshal(e, "MessageStatus", v) }

// ContextStrategy says how a conversation is fitted into the model's window.
type ContextStrategy string

// The values of ContextStrategy.
const (
	ContextStrategySlidingWindow   ContextStrategy = "SLIDING_WINDOW"    // Drops the oldest messages; keeps pinned ones and instructions.
	ContextStrategySummarize       ContextStrategy = "SUMMARIZE"         // Puts a summary in place of the oldest messages.
	ContextStrategyPruneToolOutput ContextStrategy = "PRUNE_TOOL_OUTPUT" // Clears old results of tools first.
	ContextStrategyHybrid          ContextStrategy = "HYBRID"            // Prunes, then summarises, then drops.
)

// Values lists every ContextStrategy, in order.
func (ContextStrategy) Values() []string {
	return []string{"SLIDING_WINDOW", "SUMMARIZE", "PRUNE_TOOL_OUTPUT", "HYBRID"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e ContextStrategy) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *ContextStrategy) UnmarshalGQL(v any) error { return unmarshal(e, "ContextStrategy", v) }

// ToolCategory says what kind of work a tool does.
type ToolCategory string

// The values of ToolCategory.
const (
	ToolCategoryDataAccess      ToolCategory = "DATA_ACCESS"      // Reads data.
	ToolCategoryDataAnalysis    ToolCategory = "DATA_ANALYSIS"    // Computes on data.
	ToolCategoryApiCalls        ToolCategory = "API_CALLS"        // Calls another service.
	ToolCategoryFileOperations  ToolCategory = "FILE_OPERATIONS"  // Reads or writes files.
	ToolCategoryCodeExecution   ToolCategory = "CODE_EXECUTION"   // Runs code.
	ToolCategoryKnowledgeSearch ToolCategory = "KNOWLEDGE_SEARCH" // Searches documents.
	ToolCategoryCommunication   ToolCategory = "COMMUNICATION"    // Sends messages to people.
	ToolCategorySystemAdmin     ToolCategory = "SYSTEM_ADMIN"     // Changes the system itself.
)

// Values lists every ToolCategory, in order.
func (ToolCategory) Values() []string {
	return []string{"DATA_ACCESS", "DATA_ANALYSIS", "API_CALLS", "FILE_OPERATIONS", "CODE_EXECUTION", "KNOWLEDGE_SEARCH", "COMMUNICATION", "SYSTEM_ADMIN"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e ToolCategory) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *ToolCategory) UnmarshalGQL(v any) error { return unmarshal(e, "ToolCategory", v) }

// RiskLevel says how much harm a call of a tool can do, rising.
type RiskLevel string

// The values of RiskLevel.
const (
	RiskLevelLow      RiskLevel = "LOW"      // The permission is enough.
	RiskLevelMedium   RiskLevel = "MEDIUM"   // The permission is enough, until the conversation is CONFIDENTIAL and the tool reaches out: then as HIGH.
	RiskLevelHigh     RiskLevel = "HIGH"     // Another person must approve.
	RiskLevelCritical RiskLevel = "CRITICAL" // Two people must approve, one of them holding approvals:decide_elevated; a justification is needed.
)

// Values lists every RiskLevel, in order.
func (RiskLevel) Values() []string {
	return []string{"LOW", "MEDIUM", "HIGH", "CRITICAL"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e RiskLevel) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *RiskLevel) UnmarshalGQL(v any) error { return unmarshal(e, "RiskLevel", v) }

// ToolExecutor says what runs a tool.
type ToolExecutor string

// The values of ToolExecutor.
const (
	ToolExecutorBuiltin ToolExecutor = "BUILTIN" // Part of the server.
	ToolExecutorHttp    ToolExecutor = "HTTP"    // A request to an HTTP endpoint.
	ToolExecutorMcp     ToolExecutor = "MCP"     // A server of the Model Context Protocol.
	ToolExecutorWasm    ToolExecutor = "WASM"    // A WebAssembly module in a sandbox.
	ToolExecutorScript  ToolExecutor = "SCRIPT"  // A script in a sandbox.
	ToolExecutorSql     ToolExecutor = "SQL"     // A statement to a database.
)

// Values lists every ToolExecutor, in order.
func (ToolExecutor) Values() []string {
	return []string{"BUILTIN", "HTTP", "MCP", "WASM", "SCRIPT", "SQL"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e ToolExecutor) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *ToolExecutor) UnmarshalGQL(v any) error { return unmarshal(e, "ToolExecutor", v) }

// ToolExecutionStatus says where a tool call stands; see docs/states.md.
type ToolExecutionStatus string

// The values of ToolExecutionStatus.
const (
	ToolExecutionStatusAwaitingApproval ToolExecutionStatus = "AWAITING_APPROVAL" // Stopped until people have decided.
	ToolExecutionStatusPending          ToolExecutionStatus = "PENDING"           // Cleared; waits for a worker.
	ToolExecutionStatusRunning          ToolExecutionStatus = "RUNNING"           // A worker runs it.
	ToolExecutionStatusCompleted        ToolExecutionStatus = "COMPLETED"         // Ended with a result.
	ToolExecutionStatusFailed           ToolExecutionStatus = "FAILED"            // Ended with an error; errorCode says which.
	ToolExecutionStatusRejected         ToolExecutionStatus = "REJECTED"          // Refused by policy or by an approver; reasonCode says which.
	ToolExecutionStatusCancelled        ToolExecutionStatus = "CANCELLED"         // Stopped before it had a result; reasonCode says why.
)

// Values lists every ToolExecutionStatus, in order.
func (ToolExecutionStatus) Values() []string {
	return []string{"AWAITING_APPROVAL", "PENDING", "RUNNING", "COMPLETED", "FAILED", "REJECTED", "CANCELLED"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e ToolExecutionStatus) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *ToolExecutionStatus) UnmarshalGQL(v any) error {
	return unmarshal(e, "ToolExecutionStatus", v)
}

// ToolErrorCode says why a tool call failed.
type ToolErrorCode string

// The values of ToolErrorCode.
const (
	ToolErrorCodeToolError             ToolErrorCode = "TOOL_ERROR"             // The tool reported an error.
	ToolErrorCodeTimeout               ToolErrorCode = "TIMEOUT"                // It took longer than the tool may.
	ToolErrorCodeInvalidResult         ToolErrorCode = "INVALID_RESULT"         // The result does not fit the tool's output schema.
	ToolErrorCodeWorkerLost            ToolErrorCode = "WORKER_LOST"            // The server that ran it was lost, and it may not be run twice.
	ToolErrorCodeDependencyUnavailable ToolErrorCode = "DEPENDENCY_UNAVAILABLE" // Something the tool needs did not answer.
)

// Values lists every ToolErrorCode, in order.
func (ToolErrorCode) Values() []string {
	return []string{"TOOL_ERROR", "TIMEOUT", "INVALID_RESULT", "WORKER_LOST", "DEPENDENCY_UNAVAILABLE"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e ToolErrorCode) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *ToolErrorCode) UnmarshalGQL(v any) error { return unmarshal(e, "ToolErrorCode", v) }

// ToolReasonCode says why a tool call was rejected or cancelled.
type ToolReasonCode string

// The values of ToolReasonCode.
const (
	ToolReasonCodeApproverRejected  ToolReasonCode = "APPROVER_REJECTED"  // An approver rejected it.
	ToolReasonCodePolicyDenied      ToolReasonCode = "POLICY_DENIED"      // Policy does not allow it.
	ToolReasonCodeByRequester       ToolReasonCode = "BY_REQUESTER"       // Whoever asked for it took it back.
	ToolReasonCodeByAdmin           ToolReasonCode = "BY_ADMIN"           // An administrator stopped it.
	ToolReasonCodeApprovalExpired   ToolReasonCode = "APPROVAL_EXPIRED"   // Nobody decided in time.
	ToolReasonCodeGrantLapsed       ToolReasonCode = "GRANT_LAPSED"       // It was approved but did not start in time.
	ToolReasonCodeAuthorizationLost ToolReasonCode = "AUTHORIZATION_LOST" // Whoever asked for it may no longer do so.
	ToolReasonCodeToolChanged       ToolReasonCode = "TOOL_CHANGED"       // The tool was changed or disabled meanwhile.
	ToolReasonCodeSessionDeleted    ToolReasonCode = "SESSION_DELETED"    // Its conversation was deleted.
	ToolReasonCodeQueueTimeout      ToolReasonCode = "QUEUE_TIMEOUT"      // It waited too long for a worker.
)

// Values lists every ToolReasonCode, in order.
func (ToolReasonCode) Values() []string {
	return []string{"APPROVER_REJECTED", "POLICY_DENIED", "BY_REQUESTER", "BY_ADMIN", "APPROVAL_EXPIRED", "GRANT_LAPSED", "AUTHORIZATION_LOST", "TOOL_CHANGED", "SESSION_DELETED", "QUEUE_TIMEOUT"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e ToolReasonCode) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *ToolReasonCode) UnmarshalGQL(v any) error { return unmarshal(e, "ToolReasonCode", v) }

// ApprovalState says where an approval request stands; see docs/states.md.
type ApprovalState string

// The values of ApprovalState.
const (
	ApprovalStatePending           ApprovalState = "PENDING"            // Nobody has decided yet.
	ApprovalStatePartiallyApproved ApprovalState = "PARTIALLY_APPROVED" // Approved by some, not yet by as many as are needed.
	ApprovalStateApproved          ApprovalState = "APPROVED"           // Approved; the call may start until useBy.
	ApprovalStateRejected          ApprovalState = "REJECTED"           // Rejected by an approver.
	ApprovalStateExpired           ApprovalState = "EXPIRED"            // Not decided, or not used, in time.
	ApprovalStateWithdrawn         ApprovalState = "WITHDRAWN"          // Taken back by whoever asked.
	ApprovalStateConsumed          ApprovalState = "CONSUMED"           // Used: the call has started.
)

// Values lists every ApprovalState, in order.
func (ApprovalState) Values() []string {
	return []string{"PENDING", "PARTIALLY_APPROVED", "APPROVED", "REJECTED", "EXPIRED", "WITHDRAWN", "CONSUMED"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e ApprovalState) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *ApprovalState) UnmarshalGQL(v any) error { return unmarshal(e, "ApprovalState", v) }

// AuditAction says what an audit row records, verb last.
type AuditAction string

// The values of AuditAction.
const (
	AuditActionLoginSucceeded             AuditAction = "LOGIN_SUCCEEDED"              // Somebody signed in.
	AuditActionLoginFailed                AuditAction = "LOGIN_FAILED"                 // A sign-in was refused.
	AuditActionLogout                     AuditAction = "LOGOUT"                       // A session was ended by its user.
	AuditActionTokenRefreshed             AuditAction = "TOKEN_REFRESHED"              // A refresh token was traded for new tokens.
	AuditActionTokenReuseDetected         AuditAction = "TOKEN_REUSE_DETECTED"         // A refresh token was used a second time; its family of sessions was ended.
	AuditActionSessionRevoked             AuditAction = "SESSION_REVOKED"              // Sessions were ended by their user or an administrator.
	AuditActionPasswordChanged            AuditAction = "PASSWORD_CHANGED"             // A password was changed.
	AuditActionPasswordResetRequested     AuditAction = "PASSWORD_RESET_REQUESTED"     // A link to set a new password was asked for.
	AuditActionPasswordResetCompleted     AuditAction = "PASSWORD_RESET_COMPLETED"     // A new password was set with a mailed link.
	AuditActionEmailVerified              AuditAction = "EMAIL_VERIFIED"               // An e-mail address was confirmed.
	AuditActionMfaEnrolled                AuditAction = "MFA_ENROLLED"                 // A second factor was set up.
	AuditActionMfaRemoved                 AuditAction = "MFA_REMOVED"                  // A second factor was removed.
	AuditActionMfaChallengeFailed         AuditAction = "MFA_CHALLENGE_FAILED"         // A wrong second factor was given.
	AuditActionStepUpCompleted            AuditAction = "STEP_UP_COMPLETED"            // A fresh second factor was given in a session.
	AuditActionAccountLocked              AuditAction = "ACCOUNT_LOCKED"               // Sign-ins to an account were paused after failures.
	AuditActionAccountUnlocked            AuditAction = "ACCOUNT_UNLOCKED"             // Such a pause was lifted.
	AuditActionPermissionDenied           AuditAction = "PERMISSION_DENIED"            // Something was refused for lack of a right.
	AuditActionSuperuserBypassUsed        AuditAction = "SUPERUSER_BYPASS_USED"        // A superuser went past a missing permission.
	AuditActionBreakGlassUsed             AuditAction = "BREAK_GLASS_USED"             // An approval was replaced in an emergency.
	AuditActionUserCreated                AuditAction = "USER_CREATED"                 // An account was opened.
	AuditActionUserUpdated                AuditAction = "USER_UPDATED"                 // An account was changed.
	AuditActionUserDeactivated            AuditAction = "USER_DEACTIVATED"             // An account was deactivated.
	AuditActionUserReactivated            AuditAction = "USER_REACTIVATED"             // An account was reactivated.
	AuditActionUserDeleted                AuditAction = "USER_DELETED"                 // An account was removed.
	AuditActionRoleCreated                AuditAction = "ROLE_CREATED"                 // A role was made.
	AuditActionRoleUpdated                AuditAction = "ROLE_UPDATED"                 // A role was renamed or described.
	AuditActionRoleDeleted                AuditAction = "ROLE_DELETED"                 // A role was deleted.
	AuditActionRoleAssigned               AuditAction = "ROLE_ASSIGNED"                // A role was given to a user.
	AuditActionRoleUnassigned             AuditAction = "ROLE_UNASSIGNED"              // A role was taken from a user.
	AuditActionPermissionGranted          AuditAction = "PERMISSION_GRANTED"           // Permissions were added to a role.
	AuditActionPermissionRevoked          AuditAction = "PERMISSION_REVOKED"           // Permissions were taken from a role.
	AuditActionChatSessionCreated         AuditAction = "CHAT_SESSION_CREATED"         // A conversation was started.
	AuditActionChatSessionUpdated         AuditAction = "CHAT_SESSION_UPDATED"         // A conversation's settings were changed.
	AuditActionChatSessionDeleted         AuditAction = "CHAT_SESSION_DELETED"         // A conversation was deleted.
	AuditActionChatMessageSent            AuditAction = "CHAT_MESSAGE_SENT"            // A message was sent.
	AuditActionChatGenerationCancelled    AuditAction = "CHAT_GENERATION_CANCELLED"    // An answer being written was stopped.
	AuditActionChatExported               AuditAction = "CHAT_EXPORTED"                // A conversation was exported.
	AuditActionChatAccessedByOther        AuditAction = "CHAT_ACCESSED_BY_OTHER"       // Somebody opened another's conversation.
	AuditActionToolCreated                AuditAction = "TOOL_CREATED"                 // A tool was added.
	AuditActionToolUpdated                AuditAction = "TOOL_UPDATED"                 // A tool was changed.
	AuditActionToolDeactivated            AuditAction = "TOOL_DEACTIVATED"             // A tool was disabled.
	AuditActionToolExecutionRequested     AuditAction = "TOOL_EXECUTION_REQUESTED"     // A tool call was asked for.
	AuditActionToolExecutionBlocked       AuditAction = "TOOL_EXECUTION_BLOCKED"       // A tool call was refused.
	AuditActionToolExecutionStarted       AuditAction = "TOOL_EXECUTION_STARTED"       // A tool call began to run.
	AuditActionToolExecutionCompleted     AuditAction = "TOOL_EXECUTION_COMPLETED"     // A tool call ended with a result.
	AuditActionToolExecutionFailed        AuditAction = "TOOL_EXECUTION_FAILED"        // A tool call ended with an error.
	AuditActionToolExecutionCancelled     AuditAction = "TOOL_EXECUTION_CANCELLED"     // A tool call was stopped.
	AuditActionToolCacheInvalidated       AuditAction = "TOOL_CACHE_INVALIDATED"       // Kept results of tools were dropped.
	AuditActionApprovalRequested          AuditAction = "APPROVAL_REQUESTED"           // An approval was asked for.
	AuditActionApprovalDecisionRecorded   AuditAction = "APPROVAL_DECISION_RECORDED"   // An approver decided.
	AuditActionApprovalGranted            AuditAction = "APPROVAL_GRANTED"             // A request had all approvals it needs.
	AuditActionApprovalRejected           AuditAction = "APPROVAL_REJECTED"            // A request was rejected.
	AuditActionApprovalExpired            AuditAction = "APPROVAL_EXPIRED"             // A request was not decided, or a grant not used, in time.
	AuditActionApprovalWithdrawn          AuditAction = "APPROVAL_WITHDRAWN"           // A request was taken back.
	AuditActionApprovalEscalated          AuditAction = "APPROVAL_ESCALATED"           // A request was passed on to others.
	AuditActionApprovalConsumed           AuditAction = "APPROVAL_CONSUMED"            // An approved call started.
	AuditActionSecretCreated              AuditAction = "SECRET_CREATED"               // A secret was stored.
	AuditActionSecretUpdated              AuditAction = "SECRET_UPDATED"               // A secret's description was changed.
	AuditActionSecretRead                 AuditAction = "SECRET_READ"                  // A secret's value was shown.
	AuditActionSecretUsed                 AuditAction = "SECRET_USED"                  // A secret was given to a tool.
	AuditActionSecretAccessDenied         AuditAction = "SECRET_ACCESS_DENIED"         // Access to a secret was refused.
	AuditActionSecretRotationStarted      AuditAction = "SECRET_ROTATION_STARTED"      // The rotation of a secret began.
	AuditActionSecretRotated              AuditAction = "SECRET_ROTATED"               // A secret got a new value.
	AuditActionSecretRotationFailed       AuditAction = "SECRET_ROTATION_FAILED"       // The rotation of a secret failed.
	AuditActionSecretVersionRestored      AuditAction = "SECRET_VERSION_RESTORED"      // An earlier value of a secret was restored.
	AuditActionSecretVersionDestroyed     AuditAction = "SECRET_VERSION_DESTROYED"     // A value of a secret was destroyed.
	AuditActionSecretDeleted              AuditAction = "SECRET_DELETED"               // A secret was deleted.
	AuditActionEncryptionKeyRotated       AuditAction = "ENCRYPTION_KEY_ROTATED"       // A key that encrypts secrets was replaced.
	AuditActionDocumentUploaded           AuditAction = "DOCUMENT_UPLOADED"            // A document was stored.
	AuditActionDocumentUpdated            AuditAction = "DOCUMENT_UPDATED"             // A document was changed.
	AuditActionDocumentRead               AuditAction = "DOCUMENT_READ"                // A document's text was read.
	AuditActionDocumentDownloaded         AuditAction = "DOCUMENT_DOWNLOADED"          // A document's bytes were downloaded.
	AuditActionDocumentDeleted            AuditAction = "DOCUMENT_DELETED"             // A document was deleted.
	AuditActionDocumentAccessChanged      AuditAction = "DOCUMENT_ACCESS_CHANGED"      // Who may read a document was changed.
	AuditActionDocumentProcessed          AuditAction = "DOCUMENT_PROCESSED"           // A document was indexed.
	AuditActionDocumentProcessingFailed   AuditAction = "DOCUMENT_PROCESSING_FAILED"   // A document could not be indexed.
	AuditActionDocumentSearched           AuditAction = "DOCUMENT_SEARCHED"            // Documents were searched.
	AuditActionSearchFeedbackRecorded     AuditAction = "SEARCH_FEEDBACK_RECORDED"     // Somebody said whether a hit helped.
	AuditActionEmbeddingModelChanged      AuditAction = "EMBEDDING_MODEL_CHANGED"      // Another embedding model was chosen or added.
	AuditActionAuditLogViewed             AuditAction = "AUDIT_LOG_VIEWED"             // The audit log was read.
	AuditActionAuditLogExported           AuditAction = "AUDIT_LOG_EXPORTED"           // The audit log was exported.
	AuditActionAuditChainVerified         AuditAction = "AUDIT_CHAIN_VERIFIED"         // The audit log's integrity was checked.
	AuditActionAuditRetentionChanged      AuditAction = "AUDIT_RETENTION_CHANGED"      // How long audit rows are kept was changed.
	AuditActionAuditRecordsPurged         AuditAction = "AUDIT_RECORDS_PURGED"         // Expired audit rows were removed.
	AuditActionLegalHoldPlaced            AuditAction = "LEGAL_HOLD_PLACED"            // Rows were held for legal reasons.
	AuditActionLegalHoldReleased          AuditAction = "LEGAL_HOLD_RELEASED"          // Such a hold was released.
	AuditActionDataSubjectExported        AuditAction = "DATA_SUBJECT_EXPORTED"        // A person's data was exported.
	AuditActionDataSubjectErased          AuditAction = "DATA_SUBJECT_ERASED"          // A person's data was erased.
	AuditActionSystemConfigChanged        AuditAction = "SYSTEM_CONFIG_CHANGED"        // The server's configuration was changed.
	AuditActionAuditSinkFailed            AuditAction = "AUDIT_SINK_FAILED"            // Audit rows could not be passed on.
	AuditActionRateLimitExceeded          AuditAction = "RATE_LIMIT_EXCEEDED"          // Somebody asked for more than a limit allows.
	AuditActionAccessSimulated            AuditAction = "ACCESS_SIMULATED"             // Somebody asked whether a user may read an object.
	AuditActionApiTokenCreated            AuditAction = "API_TOKEN_CREATED"            // A token for programs was made.
	AuditActionEmailVerificationRequested AuditAction = "EMAIL_VERIFICATION_REQUESTED" // The link that confirms an e-mail address was asked for again.
	AuditActionInvitationRevoked          AuditAction = "INVITATION_REVOKED"           // An invitation was taken back.
	AuditActionMfaEnrollmentStarted       AuditAction = "MFA_ENROLLMENT_STARTED"       // The set-up of a second factor began.
	AuditActionOidcLinked                 AuditAction = "OIDC_LINKED"                  // An OpenID Connect identity was linked to an account.
	AuditActionRecoveryCodeUsed           AuditAction = "RECOVERY_CODE_USED"           // A recovery code was used in place of a second factor.
	AuditActionUserInvited                AuditAction = "USER_INVITED"                 // Somebody was invited to register.
	AuditActionSigningKeyRotated          AuditAction = "SIGNING_KEY_ROTATED"          // The key that signs access tokens was replaced.
)

// Values lists every AuditAction, in order.
func (AuditAction) Values() []string {
	return []string{"LOGIN_SUCCEEDED", "LOGIN_FAILED", "LOGOUT", "TOKEN_REFRESHED", "TOKEN_REUSE_DETECTED", "SESSION_REVOKED", "PASSWORD_CHANGED", "PASSWORD_RESET_REQUESTED", "PASSWORD_RESET_COMPLETED", "EMAIL_VERIFIED", "MFA_ENROLLED", "MFA_REMOVED", "MFA_CHALLENGE_FAILED", "STEP_UP_COMPLETED", "ACCOUNT_LOCKED", "ACCOUNT_UNLOCKED", "PERMISSION_DENIED", "SUPERUSER_BYPASS_USED", "BREAK_GLASS_USED", "USER_CREATED", "USER_UPDATED", "USER_DEACTIVATED", "USER_REACTIVATED", "USER_DELETED", "ROLE_CREATED", "ROLE_UPDATED", "ROLE_DELETED", "ROLE_ASSIGNED", "ROLE_UNASSIGNED", "PERMISSION_GRANTED", "PERMISSION_REVOKED", "CHAT_SESSION_CREATED", "CHAT_SESSION_UPDATED", "CHAT_SESSION_DELETED", "CHAT_MESSAGE_SENT", "CHAT_GENERATION_CANCELLED", "CHAT_EXPORTED", "CHAT_ACCESSED_BY_OTHER", "TOOL_CREATED", "TOOL_UPDATED", "TOOL_DEACTIVATED", "TOOL_EXECUTION_REQUESTED", "TOOL_EXECUTION_BLOCKED", "TOOL_EXECUTION_STARTED", "TOOL_EXECUTION_COMPLETED", "TOOL_EXECUTION_FAILED", "TOOL_EXECUTION_CANCELLED", "TOOL_CACHE_INVALIDATED", "APPROVAL_REQUESTED", "APPROVAL_DECISION_RECORDED", "APPROVAL_GRANTED", "APPROVAL_REJECTED", "APPROVAL_EXPIRED", "APPROVAL_WITHDRAWN", "APPROVAL_ESCALATED", "APPROVAL_CONSUMED", "SECRET_CREATED", "SECRET_UPDATED", "SECRET_READ", "SECRET_USED", "SECRET_ACCESS_DENIED", "SECRET_ROTATION_STARTED", "SECRET_ROTATED", "SECRET_ROTATION_FAILED", "SECRET_VERSION_RESTORED", "SECRET_VERSION_DESTROYED", "SECRET_DELETED", "ENCRYPTION_KEY_ROTATED", "DOCUMENT_UPLOADED", "DOCUMENT_UPDATED", "DOCUMENT_READ", "DOCUMENT_DOWNLOADED", "DOCUMENT_DELETED", "DOCUMENT_ACCESS_CHANGED", "DOCUMENT_PROCESSED", "DOCUMENT_PROCESSING_FAILED", "DOCUMENT_SEARCHED", "SEARCH_FEEDBACK_RECORDED", "EMBEDDING_MODEL_CHANGED", "AUDIT_LOG_VIEWED", "AUDIT_LOG_EXPORTED", "AUDIT_CHAIN_VERIFIED", "AUDIT_RETENTION_CHANGED", "AUDIT_RECORDS_PURGED", "LEGAL_HOLD_PLACED", "LEGAL_HOLD_RELEASED", "DATA_SUBJECT_EXPORTED", "DATA_SUBJECT_ERASED", "SYSTEM_CONFIG_CHANGED", "AUDIT_SINK_FAILED", "RATE_LIMIT_EXCEEDED", "ACCESS_SIMULATED", "API_TOKEN_CREATED", "EMAIL_VERIFICATION_REQUESTED", "INVITATION_REVOKED", "MFA_ENROLLMENT_STARTED", "OIDC_LINKED", "RECOVERY_CODE_USED", "USER_INVITED", "SIGNING_KEY_ROTATED"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e AuditAction) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *AuditAction) UnmarshalGQL(v any) error { return unmarshal(e, "AuditAction", v) }

// ActorKind says what kind of principal acted.
type ActorKind string

// The values of ActorKind.
const (
	ActorKindUser   ActorKind = "USER"   // A person, or their program.
	ActorKindAgent  ActorKind = "AGENT"  // The assistant, for a person.
	ActorKindSystem ActorKind = "SYSTEM" // The server itself.
)

// Values lists every ActorKind, in order.
func (ActorKind) Values() []string {
	return []string{"USER", "AGENT", "SYSTEM"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e ActorKind) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *ActorKind) UnmarshalGQL(v any) error { return unmarshal(e, "ActorKind", v) }

// SessionKind says how a login session is used.
type SessionKind string

// The values of SessionKind.
const (
	SessionKindInteractive SessionKind = "INTERACTIVE" // A person who signed in; refreshed from time to time.
	SessionKindApiToken    SessionKind = "API_TOKEN"   // A token for programs; never refreshed.
)

// Values lists every SessionKind, in order.
func (SessionKind) Values() []string {
	return []string{"INTERACTIVE", "API_TOKEN"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e SessionKind) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *SessionKind) UnmarshalGQL(v any) error { return unmarshal(e, "SessionKind", v) }

// SecretType says what a secret is.
type SecretType string

// The values of SecretType.
const (
	SecretTypeApiKey             SecretType = "API_KEY"             // A key of a service.
	SecretTypePassword           SecretType = "PASSWORD"            // A password.
	SecretTypeDatabaseCredential SecretType = "DATABASE_CREDENTIAL" // What opens a database.
	SecretTypeOauthCredential    SecretType = "OAUTH_CREDENTIAL"    // A client or token of OAuth.
	SecretTypeSshKey             SecretType = "SSH_KEY"             // A private SSH key.
	SecretTypeCertificate        SecretType = "CERTIFICATE"         // A certificate with its private key.
	SecretTypeGeneric            SecretType = "GENERIC"             // Anything else.
)

// Values lists every SecretType, in order.
func (SecretType) Values() []string {
	return []string{"API_KEY", "PASSWORD", "DATABASE_CREDENTIAL", "OAUTH_CREDENTIAL", "SSH_KEY", "CERTIFICATE", "GENERIC"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e SecretType) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *SecretType) UnmarshalGQL(v any) error { return unmarshal(e, "SecretType", v) }

// SecretRotationState says the step a rotation has reached.
type SecretRotationState string

// The values of SecretRotationState.
const (
	SecretRotationStateIdle   SecretRotationState = "IDLE"   // No rotation is under way.
	SecretRotationStateCreate SecretRotationState = "CREATE" // A new value is being made.
	SecretRotationStateSet    SecretRotationState = "SET"    // The new value is being set where it is used.
	SecretRotationStateTest   SecretRotationState = "TEST"   // The new value is being tried.
	SecretRotationStateFinish SecretRotationState = "FINISH" // The new value is becoming the current one.
	SecretRotationStateFailed SecretRotationState = "FAILED" // The last rotation failed; the current value stays.
)

// Values lists every SecretRotationState, in order.
func (SecretRotationState) Values() []string {
	return []string{"IDLE", "CREATE", "SET", "TEST", "FINISH", "FAILED"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e SecretRotationState) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *SecretRotationState) UnmarshalGQL(v any) error {
	return unmarshal(e, "SecretRotationState", v)
}

// SecretVersionStage says where a version stands in its life.
type SecretVersionStage string

// The values of SecretVersionStage.
const (
	SecretVersionStagePending    SecretVersionStage = "PENDING"    // Made, not yet in use.
	SecretVersionStageCurrent    SecretVersionStage = "CURRENT"    // In use.
	SecretVersionStagePrevious   SecretVersionStage = "PREVIOUS"   // The one in use before; may be restored.
	SecretVersionStageDeprecated SecretVersionStage = "DEPRECATED" // Older than the previous one.
	SecretVersionStageDestroyed  SecretVersionStage = "DESTROYED"  // Its value is gone for good.
)

// Values lists every SecretVersionStage, in order.
func (SecretVersionStage) Values() []string {
	return []string{"PENDING", "CURRENT", "PREVIOUS", "DEPRECATED", "DESTROYED"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e SecretVersionStage) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *SecretVersionStage) UnmarshalGQL(v any) error { return unmarshal(e, "SecretVersionStage", v) }

// SecretAccessType says what was done with a secret.
type SecretAccessType string

// The values of SecretAccessType.
const (
	SecretAccessTypeRead    SecretAccessType = "READ"    // The value was shown.
	SecretAccessTypeUse     SecretAccessType = "USE"     // The value was given to a tool, not shown.
	SecretAccessTypeWrite   SecretAccessType = "WRITE"   // A value was stored.
	SecretAccessTypeRotate  SecretAccessType = "ROTATE"  // A new value took the place of the old.
	SecretAccessTypeRestore SecretAccessType = "RESTORE" // An earlier value was restored.
	SecretAccessTypeDelete  SecretAccessType = "DELETE"  // The secret was deleted.
	SecretAccessTypeDestroy SecretAccessType = "DESTROY" // A value was destroyed.
)

// Values lists every SecretAccessType, in order.
func (SecretAccessType) Values() []string {
	return []string{"READ", "USE", "WRITE", "ROTATE", "RESTORE", "DELETE", "DESTROY"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e SecretAccessType) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *SecretAccessType) UnmarshalGQL(v any) error { return unmarshal(e, "SecretAccessType", v) }

// Sensitivity says how confidential data is, rising.
type Sensitivity string

// The values of Sensitivity.
const (
	SensitivityPublic       Sensitivity = "PUBLIC"       // For anyone.
	SensitivityInternal     Sensitivity = "INTERNAL"     // For the organisation.
	SensitivityConfidential Sensitivity = "CONFIDENTIAL" // For some within the organisation.
	SensitivityRestricted   Sensitivity = "RESTRICTED"   // For few; the highest.
)

// Values lists every Sensitivity, in order.
func (Sensitivity) Values() []string {
	return []string{"PUBLIC", "INTERNAL", "CONFIDENTIAL", "RESTRICTED"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e Sensitivity) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *Sensitivity) UnmarshalGQL(v any) error { return unmarshal(e, "Sensitivity", v) }

// DocumentStatus says how far a document has been processed; see docs/states.md.
type DocumentStatus string

// The values of DocumentStatus.
const (
	DocumentStatusUploaded   DocumentStatus = "UPLOADED"   // Stored; waits for a worker.
	DocumentStatusExtracting DocumentStatus = "EXTRACTING" // Its text is being read.
	DocumentStatusChunking   DocumentStatus = "CHUNKING"   // Its text is being split into passages.
	DocumentStatusEmbedding  DocumentStatus = "EMBEDDING"  // Its passages are being given vectors.
	DocumentStatusIndexed    DocumentStatus = "INDEXED"    // It can be searched.
	DocumentStatusFailed     DocumentStatus = "FAILED"     // It cannot be searched; processingError says why.
)

// Values lists every DocumentStatus, in order.
func (DocumentStatus) Values() []string {
	return []string{"UPLOADED", "EXTRACTING", "CHUNKING", "EMBEDDING", "INDEXED", "FAILED"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e DocumentStatus) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *DocumentStatus) UnmarshalGQL(v any) error { return unmarshal(e, "DocumentStatus", v) }

// DocumentSourceType says where a document came from.
type DocumentSourceType string

// The values of DocumentSourceType.
const (
	DocumentSourceTypeUpload         DocumentSourceType = "UPLOAD"          // A file that was uploaded.
	DocumentSourceTypeWeb            DocumentSourceType = "WEB"             // A page of the web.
	DocumentSourceTypeConnector      DocumentSourceType = "CONNECTOR"       // A connected system.
	DocumentSourceTypeApi            DocumentSourceType = "API"             // A text in a call of the API.
	DocumentSourceTypeChatAttachment DocumentSourceType = "CHAT_ATTACHMENT" // A file sent with a message.
	DocumentSourceTypeToolOutput     DocumentSourceType = "TOOL_OUTPUT"     // The result of a tool.
)

// Values lists every DocumentSourceType, in order.
func (DocumentSourceType) Values() []string {
	return []string{"UPLOAD", "WEB", "CONNECTOR", "API", "CHAT_ATTACHMENT", "TOOL_OUTPUT"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e DocumentSourceType) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *DocumentSourceType) UnmarshalGQL(v any) error { return unmarshal(e, "DocumentSourceType", v) }

// SearchType says how a search ranks.
type SearchType string

// The values of SearchType.
const (
	SearchTypeSemantic SearchType = "SEMANTIC" // By meaning: distance of vectors.
	SearchTypeKeyword  SearchType = "KEYWORD"  // By words.
	SearchTypeHybrid   SearchType = "HYBRID"   // By both, joined by reciprocal rank fusion.
)

// Values lists every SearchType, in order.
func (SearchType) Values() []string {
	return []string{"SEMANTIC", "KEYWORD", "HYBRID"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e SearchType) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *SearchType) UnmarshalGQL(v any) error { return unmarshal(e, "SearchType", v) }

// EmbeddingProvider says what computes embeddings.
type EmbeddingProvider string

// The values of EmbeddingProvider.
const (
	EmbeddingProviderLocal  EmbeddingProvider = "LOCAL"  // The server itself, offline.
	EmbeddingProviderOpenai EmbeddingProvider = "OPENAI" // Any server that speaks the OpenAI API.
)

// Values lists every EmbeddingProvider, in order.
func (EmbeddingProvider) Values() []string {
	return []string{"LOCAL", "OPENAI"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e EmbeddingProvider) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *EmbeddingProvider) UnmarshalGQL(v any) error { return unmarshal(e, "EmbeddingProvider", v) }

// AtLeast says whether r is as risky as o or more.
func (e RiskLevel) AtLeast(o RiskLevel) bool { return rank(e) >= rank(o) }

// AtLeast says whether e is as confidential as o or more.
func (e Sensitivity) AtLeast(o Sensitivity) bool { return rank(e) >= rank(o) }

// Max is the more confidential of the two.
func (e Sensitivity) Max(o Sensitivity) Sensitivity {
	if o.AtLeast(e) {
		return o
	}
	return e
}
