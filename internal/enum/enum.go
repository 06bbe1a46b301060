// Package enum holds the enumerations that ent columns, GraphQL and services share. A value's text is the
// same in Postgres, in JSON and in GraphQL: SCREAMING_SNAKE_CASE.
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
	MessageRoleUser      MessageRole = "USER"
	MessageRoleAssistant MessageRole = "ASSISTANT"
	MessageRoleSystem    MessageRole = "SYSTEM"
	MessageRoleTool      MessageRole = "TOOL"
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
	MessageStatusPending   MessageStatus = "PENDING"
	MessageStatusStreaming MessageStatus = "STREAMING"
	MessageStatusCompleted MessageStatus = "COMPLETED"
	MessageStatusFailed    MessageStatus = "FAILED"
	MessageStatusCancelled MessageStatus = "CANCELLED"
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
	ContextStrategySlidingWindow   ContextStrategy = "SLIDING_WINDOW"
	ContextStrategySummarize       ContextStrategy = "SUMMARIZE"
	ContextStrategyPruneToolOutput ContextStrategy = "PRUNE_TOOL_OUTPUT"
	ContextStrategyHybrid          ContextStrategy = "HYBRID"
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
	ToolCategoryDataAccess      ToolCategory = "DATA_ACCESS"
	ToolCategoryDataAnalysis    ToolCategory = "DATA_ANALYSIS"
	ToolCategoryApiCalls        ToolCategory = "API_CALLS"
	ToolCategoryFileOperations  ToolCategory = "FILE_OPERATIONS"
	ToolCategoryCodeExecution   ToolCategory = "CODE_EXECUTION"
	ToolCategoryKnowledgeSearch ToolCategory = "KNOWLEDGE_SEARCH"
	ToolCategoryCommunication   ToolCategory = "COMMUNICATION"
	ToolCategorySystemAdmin     ToolCategory = "SYSTEM_ADMIN"
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
	RiskLevelLow      RiskLevel = "LOW"
	RiskLevelMedium   RiskLevel = "MEDIUM"
	RiskLevelHigh     RiskLevel = "HIGH"
	RiskLevelCritical RiskLevel = "CRITICAL"
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
	ToolExecutorBuiltin ToolExecutor = "BUILTIN"
	ToolExecutorHttp    ToolExecutor = "HTTP"
	ToolExecutorMcp     ToolExecutor = "MCP"
	ToolExecutorWasm    ToolExecutor = "WASM"
	ToolExecutorScript  ToolExecutor = "SCRIPT"
	ToolExecutorSql     ToolExecutor = "SQL"
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
	ToolExecutionStatusAwaitingApproval ToolExecutionStatus = "AWAITING_APPROVAL"
	ToolExecutionStatusPending          ToolExecutionStatus = "PENDING"
	ToolExecutionStatusRunning          ToolExecutionStatus = "RUNNING"
	ToolExecutionStatusCompleted        ToolExecutionStatus = "COMPLETED"
	ToolExecutionStatusFailed           ToolExecutionStatus = "FAILED"
	ToolExecutionStatusRejected         ToolExecutionStatus = "REJECTED"
	ToolExecutionStatusCancelled        ToolExecutionStatus = "CANCELLED"
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
	ToolErrorCodeToolError             ToolErrorCode = "TOOL_ERROR"
	ToolErrorCodeTimeout               ToolErrorCode = "TIMEOUT"
	ToolErrorCodeInvalidResult         ToolErrorCode = "INVALID_RESULT"
	ToolErrorCodeWorkerLost            ToolErrorCode = "WORKER_LOST"
	ToolErrorCodeDependencyUnavailable ToolErrorCode = "DEPENDENCY_UNAVAILABLE"
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
	ToolReasonCodeApproverRejected  ToolReasonCode = "APPROVER_REJECTED"
	ToolReasonCodePolicyDenied      ToolReasonCode = "POLICY_DENIED"
	ToolReasonCodeByRequester       ToolReasonCode = "BY_REQUESTER"
	ToolReasonCodeByAdmin           ToolReasonCode = "BY_ADMIN"
	ToolReasonCodeApprovalExpired   ToolReasonCode = "APPROVAL_EXPIRED"
	ToolReasonCodeGrantLapsed       ToolReasonCode = "GRANT_LAPSED"
	ToolReasonCodeAuthorizationLost ToolReasonCode = "AUTHORIZATION_LOST"
	ToolReasonCodeToolChanged       ToolReasonCode = "TOOL_CHANGED"
	ToolReasonCodeSessionDeleted    ToolReasonCode = "SESSION_DELETED"
	ToolReasonCodeQueueTimeout      ToolReasonCode = "QUEUE_TIMEOUT"
)

// Values lists every ToolReasonCode, in order.
func (ToolReasonCode) Values() []string {
	return []string{"APPROVER_REJECTED", "POLICY_DENIED", "BY_REQUESTER", "BY_ADMIN", "APPROVAL_EXPIRED", "GRANT_LAPSED", "AUTHORIZATION_LOST", "TOOL_CHANGED", "SESSION_DELETED", "QUEUE_TIMEOUT"}
}

// MarshalGQL writes the value as a GraphQL enum.
func (e ToolReasonCode) MarshalGQL(w io.Writer) { marshal(w, e) }

// UnmarshalGQL reads a GraphQL enum.
func (e *ToolReasonCode) UnmarshalGQL(v any) error { return unmarshal(e, "ToolReasonCode", v) }

// ApprovalState says the derived state of an approval request; see docs/states.md.
type ApprovalState string

// The values of ApprovalState.
const (
	ApprovalStatePending           ApprovalState = "PENDING"
	ApprovalStatePartiallyApproved ApprovalState = "PARTIALLY_APPROVED"
	ApprovalStateApproved          ApprovalState = "APPROVED"
	ApprovalStateRejected          ApprovalState = "REJECTED"
	ApprovalStateExpired           ApprovalState = "EXPIRED"
	ApprovalStateWithdrawn         ApprovalState = "WITHDRAWN"
	ApprovalStateConsumed          ApprovalState = "CONSUMED"
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
	AuditActionLoginSucceeded             AuditAction = "LOGIN_SUCCEEDED"
	AuditActionLoginFailed                AuditAction = "LOGIN_FAILED"
	AuditActionLogout                     AuditAction = "LOGOUT"
	AuditActionTokenRefreshed             AuditAction = "TOKEN_REFRESHED"
	AuditActionTokenReuseDetected         AuditAction = "TOKEN_REUSE_DETECTED"
	AuditActionSessionRevoked             AuditAction = "SESSION_REVOKED"
	AuditActionPasswordChanged            AuditAction = "PASSWORD_CHANGED"
	AuditActionPasswordResetRequested     AuditAction = "PASSWORD_RESET_REQUESTED"
	AuditActionPasswordResetCompleted     AuditAction = "PASSWORD_RESET_COMPLETED"
	AuditActionEmailVerified              AuditAction = "EMAIL_VERIFIED"
	AuditActionMfaEnrolled                AuditAction = "MFA_ENROLLED"
	AuditActionMfaRemoved                 AuditAction = "MFA_REMOVED"
	AuditActionMfaChallengeFailed         AuditAction = "MFA_CHALLENGE_FAILED"
	AuditActionStepUpCompleted            AuditAction = "STEP_UP_COMPLETED"
	AuditActionAccountLocked              AuditAction = "ACCOUNT_LOCKED"
	AuditActionAccountUnlocked            AuditAction = "ACCOUNT_UNLOCKED"
	AuditActionPermissionDenied           AuditAction = "PERMISSION_DENIED"
	AuditActionSuperuserBypassUsed        AuditAction = "SUPERUSER_BYPASS_USED"
	AuditActionBreakGlassUsed             AuditAction = "BREAK_GLASS_USED"
	AuditActionUserCreated                AuditAction = "USER_CREATED"
	AuditActionUserUpdated                AuditAction = "USER_UPDATED"
	AuditActionUserDeactivated            AuditAction = "USER_DEACTIVATED"
	AuditActionUserReactivated            AuditAction = "USER_REACTIVATED"
	AuditActionUserDeleted                AuditAction = "USER_DELETED"
	AuditActionRoleCreated                AuditAction = "ROLE_CREATED"
	AuditActionRoleUpdated                AuditAction = "ROLE_UPDATED"
	AuditActionRoleDeleted                AuditAction = "ROLE_DELETED"
	AuditActionRoleAssigned               AuditAction = "ROLE_ASSIGNED"
	AuditActionRoleUnassigned             AuditAction = "ROLE_UNASSIGNED"
	AuditActionPermissionGranted          AuditAction = "PERMISSION_GRANTED"
	AuditActionPermissionRevoked          AuditAction = "PERMISSION_REVOKED"
	AuditActionChatSessionCreated         AuditAction = "CHAT_SESSION_CREATED"
	AuditActionChatSessionUpdated         AuditAction = "CHAT_SESSION_UPDATED"
	AuditActionChatSessionDeleted         AuditAction = "CHAT_SESSION_DELETED"
	AuditActionChatMessageSent            AuditAction = "CHAT_MESSAGE_SENT"
	AuditActionChatGenerationCancelled    AuditAction = "CHAT_GENERATION_CANCELLED"
	AuditActionChatExported               AuditAction = "CHAT_EXPORTED"
	AuditActionChatAccessedByOther        AuditAction = "CHAT_ACCESSED_BY_OTHER"
	AuditActionToolCreated                AuditAction = "TOOL_CREATED"
	AuditActionToolUpdated                AuditAction = "TOOL_UPDATED"
	AuditActionToolDeactivated            AuditAction = "TOOL_DEACTIVATED"
	AuditActionToolExecutionRequested     AuditAction = "TOOL_EXECUTION_REQUESTED"
	AuditActionToolExecutionBlocked       AuditAction = "TOOL_EXECUTION_BLOCKED"
	AuditActionToolExecutionStarted       AuditAction = "TOOL_EXECUTION_STARTED"
	AuditActionToolExecutionCompleted     AuditAction = "TOOL_EXECUTION_COMPLETED"
	AuditActionToolExecutionFailed        AuditAction = "TOOL_EXECUTION_FAILED"
	AuditActionToolExecutionCancelled     AuditAction = "TOOL_EXECUTION_CANCELLED"
	AuditActionToolCacheInvalidated       AuditAction = "TOOL_CACHE_INVALIDATED"
	AuditActionApprovalRequested          AuditAction = "APPROVAL_REQUESTED"
	AuditActionApprovalDecisionRecorded   AuditAction = "APPROVAL_DECISION_RECORDED"
	AuditActionApprovalGranted            AuditAction = "APPROVAL_GRANTED"
	AuditActionApprovalRejected           AuditAction = "APPROVAL_REJECTED"
	AuditActionApprovalExpired            AuditAction = "APPROVAL_EXPIRED"
	AuditActionApprovalWithdrawn          AuditAction = "APPROVAL_WITHDRAWN"
	AuditActionApprovalEscalated          AuditAction = "APPROVAL_ESCALATED"
	AuditActionApprovalConsumed           AuditAction = "APPROVAL_CONSUMED"
	AuditActionSecretCreated              AuditAction = "SECRET_CREATED"
	AuditActionSecretUpdated              AuditAction = "SECRET_UPDATED"
	AuditActionSecretRead                 AuditAction = "SECRET_READ"
	AuditActionSecretUsed                 AuditAction = "SECRET_USED"
	AuditActionSecretAccessDenied         AuditAction = "SECRET_ACCESS_DENIED"
	AuditActionSecretRotationStarted      AuditAction = "SECRET_ROTATION_STARTED"
	AuditActionSecretRotated              AuditAction = "SECRET_ROTATED"
	AuditActionSecretRotationFailed       AuditAction = "SECRET_ROTATION_FAILED"
	AuditActionSecretVersionRestored      AuditAction = "SECRET_VERSION_RESTORED"
	AuditActionSecretVersionDestroyed     AuditAction = "SECRET_VERSION_DESTROYED"
	AuditActionSecretDeleted              AuditAction = "SECRET_DELETED"
	AuditActionEncryptionKeyRotated       AuditAction = "ENCRYPTION_KEY_ROTATED"
	AuditActionDocumentUploaded           AuditAction = "DOCUMENT_UPLOADED"
	AuditActionDocumentUpdated            AuditAction = "DOCUMENT_UPDATED"
	AuditActionDocumentRead               AuditAction = "DOCUMENT_READ"
	AuditActionDocumentDownloaded         AuditAction = "DOCUMENT_DOWNLOADED"
	AuditActionDocumentDeleted            AuditAction = "DOCUMENT_DELETED"
	AuditActionDocumentAccessChanged      AuditAction = "DOCUMENT_ACCESS_CHANGED"
	AuditActionDocumentProcessed          AuditAction = "DOCUMENT_PROCESSED"
	AuditActionDocumentProcessingFailed   AuditAction = "DOCUMENT_PROCESSING_FAILED"
	AuditActionDocumentSearched           AuditAction = "DOCUMENT_SEARCHED"
	AuditActionSearchFeedbackRecorded     AuditAction = "SEARCH_FEEDBACK_RECORDED"
	AuditActionEmbeddingModelChanged      AuditAction = "EMBEDDING_MODEL_CHANGED"
	AuditActionAuditLogViewed             AuditAction = "AUDIT_LOG_VIEWED"
	AuditActionAuditLogExported           AuditAction = "AUDIT_LOG_EXPORTED"
	AuditActionAuditChainVerified         AuditAction = "AUDIT_CHAIN_VERIFIED"
	AuditActionAuditRetentionChanged      AuditAction = "AUDIT_RETENTION_CHANGED"
	AuditActionAuditRecordsPurged         AuditAction = "AUDIT_RECORDS_PURGED"
	AuditActionLegalHoldPlaced            AuditAction = "LEGAL_HOLD_PLACED"
	AuditActionLegalHoldReleased          AuditAction = "LEGAL_HOLD_RELEASED"
	AuditActionDataSubjectExported        AuditAction = "DATA_SUBJECT_EXPORTED"
	AuditActionDataSubjectErased          AuditAction = "DATA_SUBJECT_ERASED"
	AuditActionSystemConfigChanged        AuditAction = "SYSTEM_CONFIG_CHANGED"
	AuditActionAuditSinkFailed            AuditAction = "AUDIT_SINK_FAILED"
	AuditActionRateLimitExceeded          AuditAction = "RATE_LIMIT_EXCEEDED"
	AuditActionAccessSimulated            AuditAction = "ACCESS_SIMULATED"
	AuditActionApiTokenCreated            AuditAction = "API_TOKEN_CREATED"
	AuditActionEmailVerificationRequested AuditAction = "EMAIL_VERIFICATION_REQUESTED"
	AuditActionInvitationRevoked          AuditAction = "INVITATION_REVOKED"
	AuditActionMfaEnrollmentStarted       AuditAction = "MFA_ENROLLMENT_STARTED"
	AuditActionOidcLinked                 AuditAction = "OIDC_LINKED"
	AuditActionRecoveryCodeUsed           AuditAction = "RECOVERY_CODE_USED"
	AuditActionUserInvited                AuditAction = "USER_INVITED"
	AuditActionSigningKeyRotated          AuditAction = "SIGNING_KEY_ROTATED"
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
	ActorKindUser   ActorKind = "USER"
	ActorKindAgent  ActorKind = "AGENT"
	ActorKindSystem ActorKind = "SYSTEM"
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
	SessionKindInteractive SessionKind = "INTERACTIVE"
	SessionKindApiToken    SessionKind = "API_TOKEN"
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
	SecretTypeApiKey             SecretType = "API_KEY"
	SecretTypePassword           SecretType = "PASSWORD"
	SecretTypeDatabaseCredential SecretType = "DATABASE_CREDENTIAL"
	SecretTypeOauthCredential    SecretType = "OAUTH_CREDENTIAL"
	SecretTypeSshKey             SecretType = "SSH_KEY"
	SecretTypeCertificate        SecretType = "CERTIFICATE"
	SecretTypeGeneric            SecretType = "GENERIC"
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
	SecretRotationStateIdle   SecretRotationState = "IDLE"
	SecretRotationStateCreate SecretRotationState = "CREATE"
	SecretRotationStateSet    SecretRotationState = "SET"
	SecretRotationStateTest   SecretRotationState = "TEST"
	SecretRotationStateFinish SecretRotationState = "FINISH"
	SecretRotationStateFailed SecretRotationState = "FAILED"
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
	SecretVersionStagePending    SecretVersionStage = "PENDING"
	SecretVersionStageCurrent    SecretVersionStage = "CURRENT"
	SecretVersionStagePrevious   SecretVersionStage = "PREVIOUS"
	SecretVersionStageDeprecated SecretVersionStage = "DEPRECATED"
	SecretVersionStageDestroyed  SecretVersionStage = "DESTROYED"
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
	SecretAccessTypeRead    SecretAccessType = "READ"
	SecretAccessTypeUse     SecretAccessType = "USE"
	SecretAccessTypeWrite   SecretAccessType = "WRITE"
	SecretAccessTypeRotate  SecretAccessType = "ROTATE"
	SecretAccessTypeRestore SecretAccessType = "RESTORE"
	SecretAccessTypeDelete  SecretAccessType = "DELETE"
	SecretAccessTypeDestroy SecretAccessType = "DESTROY"
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
	SensitivityPublic       Sensitivity = "PUBLIC"
	SensitivityInternal     Sensitivity = "INTERNAL"
	SensitivityConfidential Sensitivity = "CONFIDENTIAL"
	SensitivityRestricted   Sensitivity = "RESTRICTED"
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
	DocumentStatusUploaded   DocumentStatus = "UPLOADED"
	DocumentStatusExtracting DocumentStatus = "EXTRACTING"
	DocumentStatusChunking   DocumentStatus = "CHUNKING"
	DocumentStatusEmbedding  DocumentStatus = "EMBEDDING"
	DocumentStatusIndexed    DocumentStatus = "INDEXED"
	DocumentStatusFailed     DocumentStatus = "FAILED"
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
	DocumentSourceTypeUpload         DocumentSourceType = "UPLOAD"
	DocumentSourceTypeWeb            DocumentSourceType = "WEB"
	DocumentSourceTypeConnector      DocumentSourceType = "CONNECTOR"
	DocumentSourceTypeApi            DocumentSourceType = "API"
	DocumentSourceTypeChatAttachment DocumentSourceType = "CHAT_ATTACHMENT"
	DocumentSourceTypeToolOutput     DocumentSourceType = "TOOL_OUTPUT"
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
	SearchTypeSemantic SearchType = "SEMANTIC"
	SearchTypeKeyword  SearchType = "KEYWORD"
	SearchTypeHybrid   SearchType = "HYBRID"
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
	EmbeddingProviderLocal  EmbeddingProvider = "LOCAL"
	EmbeddingProviderOpenai EmbeddingProvider = "OPENAI"
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
