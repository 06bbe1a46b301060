-- Create "system_metrics" table
CREATE TABLE "system_metrics" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "metric_name" text NOT NULL, "metric_value" double precision NOT NULL, "metric_unit" text NOT NULL DEFAULT '1', "component" text NOT NULL DEFAULT '', "tags" jsonb NULL, PRIMARY KEY ("id"));
-- Create index "systemmetric_component" to table: "system_metrics"
CREATE INDEX "systemmetric_component" ON "system_metrics" ("component");
-- Create index "systemmetric_created_at" to table: "system_metrics"
CREATE INDEX "systemmetric_created_at" ON "system_metrics" ("created_at");
-- Create index "systemmetric_metric_name_created_at" to table: "system_metrics"
CREATE INDEX "systemmetric_metric_name_created_at" ON "system_metrics" ("metric_name", "created_at");
-- Create "users" table
CREATE TABLE "users" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "updated_at" timestamptz NOT NULL, "email" citext NOT NULL, "username" citext NOT NULL, "hashed_password" text NOT NULL, "full_name" text NOT NULL DEFAULT '', "is_active" boolean NOT NULL DEFAULT true, "is_superuser" boolean NOT NULL DEFAULT false, "is_verified" boolean NOT NULL DEFAULT false, "last_login" timestamptz NULL, "totp_secret" bytea NULL, "totp_enabled_at" timestamptz NULL, "recovery_codes" jsonb NULL, "failed_login_count" bigint NOT NULL DEFAULT 0, "locked_until" timestamptz NULL, "password_changed_at" timestamptz NULL, "tokens_valid_after" timestamptz NULL, "oidc_issuer" text NULL, "oidc_subject" text NULL, "erased_at" timestamptz NULL, PRIMARY KEY ("id"));
-- Create index "user_created_at" to table: "users"
CREATE INDEX "user_created_at" ON "users" ("created_at");
-- Create index "user_is_active" to table: "users"
CREATE INDEX "user_is_active" ON "users" ("is_active");
-- Create index "user_oidc_issuer_oidc_subject" to table: "users"
CREATE UNIQUE INDEX "user_oidc_issuer_oidc_subject" ON "users" ("oidc_issuer", "oidc_subject");
-- Create index "users_email_key" to table: "users"
CREATE UNIQUE INDEX "users_email_key" ON "users" ("email");
-- Create index "users_username_key" to table: "users"
CREATE UNIQUE INDEX "users_username_key" ON "users" ("username");
-- Create "chat_sessions" table
CREATE TABLE "chat_sessions" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "updated_at" timestamptz NOT NULL, "title" text NOT NULL DEFAULT '', "context_window_size" bigint NOT NULL DEFAULT 8192, "model" text NOT NULL DEFAULT '', "temperature" double precision NOT NULL DEFAULT 0.2, "is_active" boolean NOT NULL DEFAULT true, "last_message_at" timestamptz NULL, "system_prompt" text NOT NULL DEFAULT '', "sensitivity" text NOT NULL DEFAULT 'PUBLIC', "archived_at" timestamptz NULL, "forked_from" uuid NULL, "user_id" uuid NOT NULL, PRIMARY KEY ("id"), CONSTRAINT "chat_sessions_chat_sessions_forks" FOREIGN KEY ("forked_from") REFERENCES "chat_sessions" ("id") ON UPDATE NO ACTION ON DELETE SET NULL, CONSTRAINT "chat_sessions_users_chat_sessions" FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON UPDATE NO ACTION ON DELETE CASCADE, CONSTRAINT "chat_sessions_sensitivity_73833fb1" CHECK (sensitivity = ANY (ARRAY['PUBLIC'::text, 'INTERNAL'::text, 'CONFIDENTIAL'::text, 'RESTRICTED'::text])));
-- Create index "chatsession_created_at" to table: "chat_sessions"
CREATE INDEX "chatsession_created_at" ON "chat_sessions" ("created_at");
-- Create index "chatsession_forked_from" to table: "chat_sessions"
CREATE INDEX "chatsession_forked_from" ON "chat_sessions" ("forked_from");
-- Create index "chatsession_is_active" to table: "chat_sessions"
CREATE INDEX "chatsession_is_active" ON "chat_sessions" ("is_active");
-- Create index "chatsession_title" to table: "chat_sessions"
CREATE INDEX "chatsession_title" ON "chat_sessions" USING gin ("title" gin_trgm_ops);
-- Create index "chatsession_user_id_created_at" to table: "chat_sessions"
CREATE INDEX "chatsession_user_id_created_at" ON "chat_sessions" ("user_id", "created_at");
-- Create index "chatsession_user_id_last_message_at" to table: "chat_sessions"
CREATE INDEX "chatsession_user_id_last_message_at" ON "chat_sessions" ("user_id", "last_message_at");
-- Create "tools" table
CREATE TABLE "tools" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "updated_at" timestamptz NOT NULL, "name" text NOT NULL, "display_name" text NOT NULL, "description" text NOT NULL DEFAULT '', "category" text NOT NULL, "schema" jsonb NOT NULL, "output_schema" jsonb NULL, "requires_approval" boolean NOT NULL DEFAULT false, "risk_level" text NOT NULL, "required_permission" text NULL, "is_active" boolean NOT NULL DEFAULT true, "is_system" boolean NOT NULL DEFAULT false, "max_concurrent_executions" bigint NOT NULL DEFAULT 4, "timeout_seconds" bigint NOT NULL DEFAULT 30, "executor" text NOT NULL, "executor_config" jsonb NULL, "hints" jsonb NULL, "version" bigint NOT NULL DEFAULT 1, "cache_ttl_seconds" bigint NOT NULL DEFAULT 0, PRIMARY KEY ("id"), CONSTRAINT "tools_category_896d7314" CHECK (category = ANY (ARRAY['DATA_ACCESS'::text, 'DATA_ANALYSIS'::text, 'API_CALLS'::text, 'FILE_OPERATIONS'::text, 'CODE_EXECUTION'::text, 'KNOWLEDGE_SEARCH'::text, 'COMMUNICATION'::text, 'SYSTEM_ADMIN'::text])), CONSTRAINT "tools_executor_e2d5d1e8" CHECK (executor = ANY (ARRAY['BUILTIN'::text, 'HTTP'::text, 'MCP'::text, 'WASM'::text, 'SCRIPT'::text, 'SQL'::text])), CONSTRAINT "tools_risk_level_94cd625e" CHECK (risk_level = ANY (ARRAY['LOW'::text, 'MEDIUM'::text, 'HIGH'::text, 'CRITICAL'::text])));
-- Create index "tool_category" to table: "tools"
CREATE INDEX "tool_category" ON "tools" ("category");
-- Create index "tool_created_at" to table: "tools"
CREATE INDEX "tool_created_at" ON "tools" ("created_at");
-- Create index "tool_display_name" to table: "tools"
CREATE INDEX "tool_display_name" ON "tools" USING gin ("display_name" gin_trgm_ops);
-- Create index "tool_is_active" to table: "tools"
CREATE INDEX "tool_is_active" ON "tools" ("is_active");
-- Create index "tools_name_key" to table: "tools"
CREATE UNIQUE INDEX "tools_name_key" ON "tools" ("name");
-- Create "tool_caches" table
CREATE TABLE "tool_caches" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "updated_at" timestamptz NOT NULL, "cache_key" text NOT NULL, "parameters" jsonb NULL, "result" jsonb NULL, "hit_count" bigint NOT NULL DEFAULT 0, "last_hit_at" timestamptz NULL, "expires_at" timestamptz NOT NULL, "tool_id" uuid NOT NULL, PRIMARY KEY ("id"), CONSTRAINT "tool_caches_tools_cache_entries" FOREIGN KEY ("tool_id") REFERENCES "tools" ("id") ON UPDATE NO ACTION ON DELETE CASCADE);
-- Create index "toolcache_expires_at" to table: "tool_caches"
CREATE INDEX "toolcache_expires_at" ON "tool_caches" ("expires_at");
-- Create index "toolcache_tool_id_cache_key" to table: "tool_caches"
CREATE UNIQUE INDEX "toolcache_tool_id_cache_key" ON "tool_caches" ("tool_id", "cache_key");
-- Create "tool_executions" table
CREATE TABLE "tool_executions" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "updated_at" timestamptz NOT NULL, "status" text NOT NULL, "parameters" jsonb NULL, "result" jsonb NULL, "error" text NULL, "error_code" text NULL, "reason_code" text NULL, "execution_time_ms" bigint NULL, "cached" boolean NOT NULL DEFAULT false, "cache_key" text NULL, "requires_approval" boolean NOT NULL DEFAULT false, "started_at" timestamptz NULL, "completed_at" timestamptz NULL, "tool_version" bigint NOT NULL, "args_hash" text NOT NULL, "effective_risk" text NOT NULL, "lease_expires_at" timestamptz NULL, "call_id" text NULL, "reply_id" uuid NULL, "idempotency_key" text NULL, "result_sensitivity" text NULL, "session_id" uuid NULL, "tool_id" uuid NOT NULL, "cache_entry_id" uuid NULL, "retry_of" uuid NULL, "user_id" uuid NOT NULL, PRIMARY KEY ("id"), CONSTRAINT "tool_executions_chat_sessions_tool_executions" FOREIGN KEY ("session_id") REFERENCES "chat_sessions" ("id") ON UPDATE NO ACTION ON DELETE SET NULL, CONSTRAINT "tool_executions_tool_caches_hits" FOREIGN KEY ("cache_entry_id") REFERENCES "tool_caches" ("id") ON UPDATE NO ACTION ON DELETE SET NULL, CONSTRAINT "tool_executions_tool_executions_retries" FOREIGN KEY ("retry_of") REFERENCES "tool_executions" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT, CONSTRAINT "tool_executions_tools_executions" FOREIGN KEY ("tool_id") REFERENCES "tools" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT, CONSTRAINT "tool_executions_users_tool_executions" FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT, CONSTRAINT "tool_executions_effective_risk_94cd625e" CHECK (effective_risk = ANY (ARRAY['LOW'::text, 'MEDIUM'::text, 'HIGH'::text, 'CRITICAL'::text])), CONSTRAINT "tool_executions_error_code_0b2debe9" CHECK (error_code = ANY (ARRAY['TOOL_ERROR'::text, 'TIMEOUT'::text, 'INVALID_RESULT'::text, 'WORKER_LOST'::text, 'DEPENDENCY_UNAVAILABLE'::text])), CONSTRAINT "tool_executions_reason_code_012f5557" CHECK (reason_code = ANY (ARRAY['APPROVER_REJECTED'::text, 'POLICY_DENIED'::text, 'BY_REQUESTER'::text, 'BY_ADMIN'::text, 'APPROVAL_EXPIRED'::text, 'GRANT_LAPSED'::text, 'AUTHORIZATION_LOST'::text, 'TOOL_CHANGED'::text, 'SESSION_DELETED'::text, 'QUEUE_TIMEOUT'::text])), CONSTRAINT "tool_executions_result_sensitivity_73833fb1" CHECK (result_sensitivity = ANY (ARRAY['PUBLIC'::text, 'INTERNAL'::text, 'CONFIDENTIAL'::text, 'RESTRICTED'::text])), CONSTRAINT "tool_executions_status_19daa12e" CHECK (status = ANY (ARRAY['AWAITING_APPROVAL'::text, 'PENDING'::text, 'RUNNING'::text, 'COMPLETED'::text, 'FAILED'::text, 'REJECTED'::text, 'CANCELLED'::text])));
-- Create index "toolexecution_cache_entry_id" to table: "tool_executions"
CREATE INDEX "toolexecution_cache_entry_id" ON "tool_executions" ("cache_entry_id");
-- Create index "toolexecution_lease_expires_at" to table: "tool_executions"
CREATE INDEX "toolexecution_lease_expires_at" ON "tool_executions" ("lease_expires_at") WHERE (status = 'RUNNING'::text);
-- Create index "toolexecution_reply_id" to table: "tool_executions"
CREATE INDEX "toolexecution_reply_id" ON "tool_executions" ("reply_id");
-- Create index "toolexecution_reply_id_call_id" to table: "tool_executions"
CREATE UNIQUE INDEX "toolexecution_reply_id_call_id" ON "tool_executions" ("reply_id", "call_id");
-- Create index "toolexecution_retry_of" to table: "tool_executions"
CREATE INDEX "toolexecution_retry_of" ON "tool_executions" ("retry_of");
-- Create index "toolexecution_session_id_created_at" to table: "tool_executions"
CREATE INDEX "toolexecution_session_id_created_at" ON "tool_executions" ("session_id", "created_at");
-- Create index "toolexecution_status_created_at" to table: "tool_executions"
CREATE INDEX "toolexecution_status_created_at" ON "tool_executions" ("status", "created_at");
-- Create index "toolexecution_tool_id_created_at" to table: "tool_executions"
CREATE INDEX "toolexecution_tool_id_created_at" ON "tool_executions" ("tool_id", "created_at");
-- Create index "toolexecution_tool_id_status" to table: "tool_executions"
CREATE INDEX "toolexecution_tool_id_status" ON "tool_executions" ("tool_id", "status") WHERE (status = ANY (ARRAY['PENDING'::text, 'RUNNING'::text]));
-- Create index "toolexecution_user_id_created_at" to table: "tool_executions"
CREATE INDEX "toolexecution_user_id_created_at" ON "tool_executions" ("user_id", "created_at");
-- Create index "toolexecution_user_id_idempotency_key" to table: "tool_executions"
CREATE UNIQUE INDEX "toolexecution_user_id_idempotency_key" ON "tool_executions" ("user_id", "idempotency_key");
-- Create "audit_logs" table
CREATE TABLE "audit_logs" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "username" bytea NULL, "action" text NOT NULL, "resource_type" text NOT NULL DEFAULT '', "resource_id" uuid NULL, "ip_address" bytea NULL, "user_agent" bytea NULL, "session_id" uuid NULL, "details" jsonb NULL, "changes" jsonb NULL, "success" boolean NOT NULL, "error_message" text NULL, "sensitive_data" boolean NOT NULL DEFAULT false, "retention_days" bigint NOT NULL DEFAULT 365, "request_id" text NOT NULL DEFAULT '', "actor_kind" text NOT NULL, "tool_execution_id" uuid NULL, "user_id" uuid NULL, PRIMARY KEY ("id"), CONSTRAINT "audit_logs_tool_executions_audit_logs" FOREIGN KEY ("tool_execution_id") REFERENCES "tool_executions" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT, CONSTRAINT "audit_logs_users_audit_logs" FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT, CONSTRAINT "audit_logs_action_50d19dd3" CHECK (action = ANY (ARRAY['LOGIN_SUCCEEDED'::text, 'LOGIN_FAILED'::text, 'LOGOUT'::text, 'TOKEN_REFRESHED'::text, 'TOKEN_REUSE_DETECTED'::text, 'SESSION_REVOKED'::text, 'PASSWORD_CHANGED'::text, 'PASSWORD_RESET_REQUESTED'::text, 'PASSWORD_RESET_COMPLETED'::text, 'EMAIL_VERIFIED'::text, 'MFA_ENROLLED'::text, 'MFA_REMOVED'::text, 'MFA_CHALLENGE_FAILED'::text, 'STEP_UP_COMPLETED'::text, 'ACCOUNT_LOCKED'::text, 'ACCOUNT_UNLOCKED'::text, 'PERMISSION_DENIED'::text, 'SUPERUSER_BYPASS_USED'::text, 'BREAK_GLASS_USED'::text, 'USER_CREATED'::text, 'USER_UPDATED'::text, 'USER_DEACTIVATED'::text, 'USER_REACTIVATED'::text, 'USER_DELETED'::text, 'ROLE_CREATED'::text, 'ROLE_UPDATED'::text, 'ROLE_DELETED'::text, 'ROLE_ASSIGNED'::text, 'ROLE_UNASSIGNED'::text, 'PERMISSION_GRANTED'::text, 'PERMISSION_REVOKED'::text, 'CHAT_SESSION_CREATED'::text, 'CHAT_SESSION_UPDATED'::text, 'CHAT_SESSION_DELETED'::text, 'CHAT_MESSAGE_SENT'::text, 'CHAT_GENERATION_CANCELLED'::text, 'CHAT_EXPORTED'::text, 'CHAT_ACCESSED_BY_OTHER'::text, 'TOOL_CREATED'::text, 'TOOL_UPDATED'::text, 'TOOL_DEACTIVATED'::text, 'TOOL_EXECUTION_REQUESTED'::text, 'TOOL_EXECUTION_BLOCKED'::text, 'TOOL_EXECUTION_STARTED'::text, 'TOOL_EXECUTION_COMPLETED'::text, 'TOOL_EXECUTION_FAILED'::text, 'TOOL_EXECUTION_CANCELLED'::text, 'TOOL_CACHE_INVALIDATED'::text, 'APPROVAL_REQUESTED'::text, 'APPROVAL_DECISION_RECORDED'::text, 'APPROVAL_GRANTED'::text, 'APPROVAL_REJECTED'::text, 'APPROVAL_EXPIRED'::text, 'APPROVAL_WITHDRAWN'::text, 'APPROVAL_ESCALATED'::text, 'APPROVAL_CONSUMED'::text, 'SECRET_CREATED'::text, 'SECRET_UPDATED'::text, 'SECRET_READ'::text, 'SECRET_USED'::text, 'SECRET_ACCESS_DENIED'::text, 'SECRET_ROTATION_STARTED'::text, 'SECRET_ROTATED'::text, 'SECRET_ROTATION_FAILED'::text, 'SECRET_VERSION_RESTORED'::text, 'SECRET_VERSION_DESTROYED'::text, 'SECRET_DELETED'::text, 'ENCRYPTION_KEY_ROTATED'::text, 'DOCUMENT_UPLOADED'::text, 'DOCUMENT_UPDATED'::text, 'DOCUMENT_READ'::text, 'DOCUMENT_DOWNLOADED'::text, 'DOCUMENT_DELETED'::text, 'DOCUMENT_ACCESS_CHANGED'::text, 'DOCUMENT_PROCESSED'::text, 'DOCUMENT_PROCESSING_FAILED'::text, 'DOCUMENT_SEARCHED'::text, 'SEARCH_FEEDBACK_RECORDED'::text, 'EMBEDDING_MODEL_CHANGED'::text, 'AUDIT_LOG_VIEWED'::text, 'AUDIT_LOG_EXPORTED'::text, 'AUDIT_CHAIN_VERIFIED'::text, 'AUDIT_RETENTION_CHANGED'::text, 'AUDIT_RECORDS_PURGED'::text, 'LEGAL_HOLD_PLACED'::text, 'LEGAL_HOLD_RELEASED'::text, 'DATA_SUBJECT_EXPORTED'::text, 'DATA_SUBJECT_ERASED'::text, 'SYSTEM_CONFIG_CHANGED'::text, 'AUDIT_SINK_FAILED'::text, 'RATE_LIMIT_EXCEEDED'::text])), CONSTRAINT "audit_logs_actor_kind_555ac5b3" CHECK (actor_kind = ANY (ARRAY['USER'::text, 'AGENT'::text, 'SYSTEM'::text])));
-- Create index "auditlog_action_created_at" to table: "audit_logs"
CREATE INDEX "auditlog_action_created_at" ON "audit_logs" ("action", "created_at");
-- Create index "auditlog_created_at" to table: "audit_logs"
CREATE INDEX "auditlog_created_at" ON "audit_logs" ("created_at");
-- Create index "auditlog_request_id" to table: "audit_logs"
CREATE INDEX "auditlog_request_id" ON "audit_logs" ("request_id");
-- Create index "auditlog_resource_type_resource_id" to table: "audit_logs"
CREATE INDEX "auditlog_resource_type_resource_id" ON "audit_logs" ("resource_type", "resource_id");
-- Create index "auditlog_session_id" to table: "audit_logs"
CREATE INDEX "auditlog_session_id" ON "audit_logs" ("session_id");
-- Create index "auditlog_tool_execution_id" to table: "audit_logs"
CREATE INDEX "auditlog_tool_execution_id" ON "audit_logs" ("tool_execution_id");
-- Create index "auditlog_user_id_created_at" to table: "audit_logs"
CREATE INDEX "auditlog_user_id_created_at" ON "audit_logs" ("user_id", "created_at");
-- Create "chat_messages" table
CREATE TABLE "chat_messages" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "updated_at" timestamptz NOT NULL, "role" text NOT NULL, "status" text NOT NULL DEFAULT 'PENDING', "content" text NOT NULL DEFAULT '', "tokens" bigint NOT NULL DEFAULT 0, "model" text NOT NULL DEFAULT '', "metadata" jsonb NULL, "finish_reason" text NULL, "input_tokens" bigint NOT NULL DEFAULT 0, "output_tokens" bigint NOT NULL DEFAULT 0, "citations" jsonb NULL, "tool_calls" jsonb NULL, "is_pinned" boolean NOT NULL DEFAULT false, "error_code" text NULL, "idempotency_key" text NULL, "attempt" bigint NOT NULL DEFAULT 0, "lease_expires_at" timestamptz NULL, "stream_position" bigint NOT NULL DEFAULT 0, "cancel_requested" boolean NOT NULL DEFAULT false, "parent_id" uuid NULL, "session_id" uuid NOT NULL, "tool_execution_id" uuid NULL, "user_id" uuid NULL, PRIMARY KEY ("id"), CONSTRAINT "chat_messages_chat_messages_children" FOREIGN KEY ("parent_id") REFERENCES "chat_messages" ("id") ON UPDATE NO ACTION ON DELETE SET NULL, CONSTRAINT "chat_messages_chat_sessions_messages" FOREIGN KEY ("session_id") REFERENCES "chat_sessions" ("id") ON UPDATE NO ACTION ON DELETE CASCADE, CONSTRAINT "chat_messages_tool_executions_chat_messages" FOREIGN KEY ("tool_execution_id") REFERENCES "tool_executions" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT, CONSTRAINT "chat_messages_users_chat_messages" FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT, CONSTRAINT "chat_messages_role_b7683aa8" CHECK (role = ANY (ARRAY['USER'::text, 'ASSISTANT'::text, 'SYSTEM'::text, 'TOOL'::text])), CONSTRAINT "chat_messages_status_94b6813f" CHECK (status = ANY (ARRAY['PENDING'::text, 'STREAMING'::text, 'COMPLETED'::text, 'FAILED'::text, 'CANCELLED'::text])));
-- Create index "chatmessage_parent_id" to table: "chat_messages"
CREATE INDEX "chatmessage_parent_id" ON "chat_messages" ("parent_id");
-- Create index "chatmessage_session_id_created_at" to table: "chat_messages"
CREATE INDEX "chatmessage_session_id_created_at" ON "chat_messages" ("session_id", "created_at");
-- Create index "chatmessage_session_id_idempotency_key" to table: "chat_messages"
CREATE UNIQUE INDEX "chatmessage_session_id_idempotency_key" ON "chat_messages" ("session_id", "idempotency_key");
-- Create index "chatmessage_status_lease_expires_at" to table: "chat_messages"
CREATE INDEX "chatmessage_status_lease_expires_at" ON "chat_messages" ("status", "lease_expires_at") WHERE (status = ANY (ARRAY['PENDING'::text, 'STREAMING'::text]));
-- Create index "chatmessage_tool_execution_id" to table: "chat_messages"
CREATE INDEX "chatmessage_tool_execution_id" ON "chat_messages" ("tool_execution_id");
-- Create index "chatmessage_user_id_created_at" to table: "chat_messages"
CREATE INDEX "chatmessage_user_id_created_at" ON "chat_messages" ("user_id", "created_at");
-- Create "context_windows" table
CREATE TABLE "context_windows" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "updated_at" timestamptz NOT NULL, "total_tokens" bigint NOT NULL DEFAULT 0, "max_tokens" bigint NOT NULL DEFAULT 8192, "included_message_ids" jsonb NULL, "strategy" text NOT NULL DEFAULT 'SLIDING_WINDOW', "summary" text NOT NULL DEFAULT '', "summary_until_message_id" uuid NULL, "decisions" jsonb NULL, "session_id" uuid NOT NULL, PRIMARY KEY ("id"), CONSTRAINT "context_windows_chat_sessions_context_window" FOREIGN KEY ("session_id") REFERENCES "chat_sessions" ("id") ON UPDATE NO ACTION ON DELETE CASCADE, CONSTRAINT "context_windows_strategy_ba34ad15" CHECK (strategy = ANY (ARRAY['SLIDING_WINDOW'::text, 'SUMMARIZE'::text, 'PRUNE_TOOL_OUTPUT'::text, 'HYBRID'::text])));
-- Create index "context_windows_session_id_key" to table: "context_windows"
CREATE UNIQUE INDEX "context_windows_session_id_key" ON "context_windows" ("session_id");
-- Create "documents" table
CREATE TABLE "documents" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "updated_at" timestamptz NOT NULL, "title" text NOT NULL, "source" text NOT NULL DEFAULT '', "source_type" text NOT NULL, "content" text NULL, "original" bytea NULL, "content_hash" text NOT NULL, "metadata" jsonb NULL, "tags" text[] NOT NULL DEFAULT '{}', "file_type" text NOT NULL DEFAULT '', "file_size" bigint NOT NULL DEFAULT 0, "is_processed" boolean NOT NULL DEFAULT false, "is_indexed" boolean NOT NULL DEFAULT false, "processing_error" text NULL, "is_public" boolean NOT NULL DEFAULT false, "required_permission" text NULL, "last_accessed" timestamptz NULL, "status" text NOT NULL DEFAULT 'UPLOADED', "sensitivity" text NOT NULL DEFAULT 'INTERNAL', "language" text NOT NULL DEFAULT '', "page_count" bigint NULL, "generation" bigint NOT NULL DEFAULT 0, "lease_expires_at" timestamptz NULL, "uploaded_by" uuid NOT NULL, PRIMARY KEY ("id"), CONSTRAINT "documents_users_documents" FOREIGN KEY ("uploaded_by") REFERENCES "users" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT, CONSTRAINT "documents_sensitivity_73833fb1" CHECK (sensitivity = ANY (ARRAY['PUBLIC'::text, 'INTERNAL'::text, 'CONFIDENTIAL'::text, 'RESTRICTED'::text])), CONSTRAINT "documents_source_type_a5fff1a0" CHECK (source_type = ANY (ARRAY['UPLOAD'::text, 'WEB'::text, 'CONNECTOR'::text, 'API'::text, 'CHAT_ATTACHMENT'::text, 'TOOL_OUTPUT'::text])), CONSTRAINT "documents_status_a1295e0f" CHECK (status = ANY (ARRAY['UPLOADED'::text, 'EXTRACTING'::text, 'CHUNKING'::text, 'EMBEDDING'::text, 'INDEXED'::text, 'FAILED'::text])));
-- Create index "document_created_at" to table: "documents"
CREATE INDEX "document_created_at" ON "documents" ("created_at");
-- Create index "document_is_public" to table: "documents"
CREATE INDEX "document_is_public" ON "documents" ("is_public");
-- Create index "document_required_permission" to table: "documents"
CREATE INDEX "document_required_permission" ON "documents" ("required_permission");
-- Create index "document_status" to table: "documents"
CREATE INDEX "document_status" ON "documents" ("status");
-- Create index "document_title" to table: "documents"
CREATE INDEX "document_title" ON "documents" USING gin ("title" gin_trgm_ops);
-- Create index "document_uploaded_by_content_hash" to table: "documents"
CREATE UNIQUE INDEX "document_uploaded_by_content_hash" ON "documents" ("uploaded_by", "content_hash");
-- Create index "document_uploaded_by_created_at" to table: "documents"
CREATE INDEX "document_uploaded_by_created_at" ON "documents" ("uploaded_by", "created_at");
-- Create "embedding_models" table
CREATE TABLE "embedding_models" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "updated_at" timestamptz NOT NULL, "name" text NOT NULL, "display_name" text NOT NULL, "provider" text NOT NULL, "model_id" text NOT NULL, "dimension" bigint NOT NULL, "max_tokens" bigint NOT NULL DEFAULT 512, "cost_per_1k_tokens" double precision NOT NULL DEFAULT 0, "is_active" boolean NOT NULL DEFAULT true, "is_default" boolean NOT NULL DEFAULT false, "avg_latency_ms" double precision NULL, PRIMARY KEY ("id"), CONSTRAINT "embedding_models_provider_96e593bd" CHECK (provider = ANY (ARRAY['LOCAL'::text, 'OPENAI'::text])));
-- Create index "embedding_models_name_key" to table: "embedding_models"
CREATE UNIQUE INDEX "embedding_models_name_key" ON "embedding_models" ("name");
-- Create index "embeddingmodel_is_active" to table: "embedding_models"
CREATE INDEX "embeddingmodel_is_active" ON "embedding_models" ("is_active");
-- Create index "embeddingmodel_is_default" to table: "embedding_models"
CREATE UNIQUE INDEX "embeddingmodel_is_default" ON "embedding_models" ("is_default") WHERE is_default;
-- Create "document_chunks" table
CREATE TABLE "document_chunks" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "chunk_index" bigint NOT NULL, "content" text NOT NULL, "embedding" vector(1536) NULL, "token_count" bigint NOT NULL DEFAULT 0, "char_count" bigint NOT NULL DEFAULT 0, "metadata" jsonb NULL, "search_keywords" text[] NOT NULL DEFAULT '{}', "generation" bigint NOT NULL DEFAULT 1, "start_offset" bigint NOT NULL DEFAULT 0, "end_offset" bigint NOT NULL DEFAULT 0, "page" bigint NULL, "heading" text NULL, "language" text NOT NULL DEFAULT '', "owner_id" uuid NOT NULL, "is_public" boolean NOT NULL DEFAULT false, "required_permission" text NULL, "sensitivity" text NOT NULL DEFAULT 'INTERNAL', "search_vector" tsvector NULL GENERATED ALWAYS AS (CASE language WHEN 'en' THEN to_tsvector('english'::regconfig, content) WHEN 'de' THEN to_tsvector('german'::regconfig, content) WHEN 'fr' THEN to_tsvector('french'::regconfig, content) WHEN 'es' THEN to_tsvector('spanish'::regconfig, content) ELSE to_tsvector('simple'::regconfig, content) END) STORED, "document_id" uuid NOT NULL, "embedding_model_id" uuid NOT NULL, PRIMARY KEY ("id"), CONSTRAINT "document_chunks_documents_chunks" FOREIGN KEY ("document_id") REFERENCES "documents" ("id") ON UPDATE NO ACTION ON DELETE CASCADE, CONSTRAINT "document_chunks_embedding_models_chunks" FOREIGN KEY ("embedding_model_id") REFERENCES "embedding_models" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT, CONSTRAINT "document_chunks_sensitivity_73833fb1" CHECK (sensitivity = ANY (ARRAY['PUBLIC'::text, 'INTERNAL'::text, 'CONFIDENTIAL'::text, 'RESTRICTED'::text])));
-- Create index "documentchunk_created_at" to table: "document_chunks"
CREATE INDEX "documentchunk_created_at" ON "document_chunks" ("created_at");
-- Create index "documentchunk_document_id_gene_c744bd9ce960202b770a2ae99eb58862" to table: "document_chunks"
CREATE UNIQUE INDEX "documentchunk_document_id_gene_c744bd9ce960202b770a2ae99eb58862" ON "document_chunks" ("document_id", "generation", "embedding_model_id", "chunk_index");
-- Create index "documentchunk_embedding" to table: "document_chunks"
CREATE INDEX "documentchunk_embedding" ON "document_chunks" USING hnsw ("embedding" vector_cosine_ops);
-- Create index "documentchunk_embedding_model_id" to table: "document_chunks"
CREATE INDEX "documentchunk_embedding_model_id" ON "document_chunks" ("embedding_model_id");
-- Create index "documentchunk_owner_id" to table: "document_chunks"
CREATE INDEX "documentchunk_owner_id" ON "document_chunks" ("owner_id");
-- Create index "documentchunk_search_vector" to table: "document_chunks"
CREATE INDEX "documentchunk_search_vector" ON "document_chunks" USING gin ("search_vector");
-- Create "permissions" table
CREATE TABLE "permissions" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "name" text NOT NULL, "description" text NOT NULL DEFAULT '', "resource" text NOT NULL, "action" text NOT NULL, PRIMARY KEY ("id"));
-- Create index "permission_resource_action" to table: "permissions"
CREATE UNIQUE INDEX "permission_resource_action" ON "permissions" ("resource", "action");
-- Create index "permissions_name_key" to table: "permissions"
CREATE UNIQUE INDEX "permissions_name_key" ON "permissions" ("name");
-- Create "roles" table
CREATE TABLE "roles" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "updated_at" timestamptz NOT NULL, "name" text NOT NULL, "description" text NOT NULL DEFAULT '', "is_system" boolean NOT NULL DEFAULT false, PRIMARY KEY ("id"));
-- Create index "roles_name_key" to table: "roles"
CREATE UNIQUE INDEX "roles_name_key" ON "roles" ("name");
-- Create "role_permissions" table
CREATE TABLE "role_permissions" ("role_id" uuid NOT NULL, "permission_id" uuid NOT NULL, PRIMARY KEY ("role_id", "permission_id"), CONSTRAINT "role_permissions_permission_id" FOREIGN KEY ("permission_id") REFERENCES "permissions" ("id") ON UPDATE NO ACTION ON DELETE CASCADE, CONSTRAINT "role_permissions_role_id" FOREIGN KEY ("role_id") REFERENCES "roles" ("id") ON UPDATE NO ACTION ON DELETE CASCADE);
-- Create "search_results" table
CREATE TABLE "search_results" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "query" text NOT NULL, "query_embedding" vector(1536) NULL, "relevance_score" double precision NOT NULL, "rank" bigint NOT NULL, "search_type" text NOT NULL, "filters_applied" jsonb NULL, "was_helpful" boolean NULL, "search_id" uuid NOT NULL, "document_id" uuid NOT NULL, "start_offset" bigint NOT NULL DEFAULT 0, "end_offset" bigint NOT NULL DEFAULT 0, "session_id" uuid NULL, "chunk_id" uuid NULL, "user_id" uuid NOT NULL, PRIMARY KEY ("id"), CONSTRAINT "search_results_chat_sessions_search_results" FOREIGN KEY ("session_id") REFERENCES "chat_sessions" ("id") ON UPDATE NO ACTION ON DELETE SET NULL, CONSTRAINT "search_results_document_chunks_search_results" FOREIGN KEY ("chunk_id") REFERENCES "document_chunks" ("id") ON UPDATE NO ACTION ON DELETE SET NULL, CONSTRAINT "search_results_users_search_results" FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT, CONSTRAINT "search_results_search_type_9e746dbf" CHECK (search_type = ANY (ARRAY['SEMANTIC'::text, 'KEYWORD'::text, 'HYBRID'::text])));
-- Create index "searchresult_chunk_id" to table: "search_results"
CREATE INDEX "searchresult_chunk_id" ON "search_results" ("chunk_id");
-- Create index "searchresult_document_id" to table: "search_results"
CREATE INDEX "searchresult_document_id" ON "search_results" ("document_id");
-- Create index "searchresult_search_id" to table: "search_results"
CREATE INDEX "searchresult_search_id" ON "search_results" ("search_id");
-- Create index "searchresult_session_id" to table: "search_results"
CREATE INDEX "searchresult_session_id" ON "search_results" ("session_id");
-- Create index "searchresult_user_id_created_at" to table: "search_results"
CREATE INDEX "searchresult_user_id_created_at" ON "search_results" ("user_id", "created_at");
-- Create "secrets" table
CREATE TABLE "secrets" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "updated_at" timestamptz NOT NULL, "name" text NOT NULL, "display_name" text NOT NULL DEFAULT '', "description" text NOT NULL DEFAULT '', "secret_type" text NOT NULL, "encrypted_value" bytea NOT NULL, "encryption_key_id" text NOT NULL, "metadata" jsonb NULL, "tags" text[] NOT NULL DEFAULT '{}', "required_permission" text NULL, "is_active" boolean NOT NULL DEFAULT true, "is_rotatable" boolean NOT NULL DEFAULT true, "rotation_enabled" boolean NOT NULL DEFAULT false, "rotation_days" bigint NULL, "last_rotated" timestamptz NULL, "next_rotation" timestamptz NULL, "expires_at" timestamptz NULL, "last_accessed" timestamptz NULL, "sensitivity" text NOT NULL DEFAULT 'RESTRICTED', "rotation_state" text NOT NULL DEFAULT 'IDLE', "rotation_error" text NULL, "current_version" bigint NOT NULL DEFAULT 1, "allowed_tools" text[] NOT NULL DEFAULT '{}', "allowed_hosts" text[] NOT NULL DEFAULT '{}', "owner_id" uuid NOT NULL, PRIMARY KEY ("id"), CONSTRAINT "secrets_users_secrets" FOREIGN KEY ("owner_id") REFERENCES "users" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT, CONSTRAINT "secrets_rotation_state_9bd2883a" CHECK (rotation_state = ANY (ARRAY['IDLE'::text, 'CREATE'::text, 'SET'::text, 'TEST'::text, 'FINISH'::text, 'FAILED'::text])), CONSTRAINT "secrets_secret_type_a040a71d" CHECK (secret_type = ANY (ARRAY['API_KEY'::text, 'PASSWORD'::text, 'DATABASE_CREDENTIAL'::text, 'OAUTH_CREDENTIAL'::text, 'SSH_KEY'::text, 'CERTIFICATE'::text, 'GENERIC'::text])), CONSTRAINT "secrets_sensitivity_73833fb1" CHECK (sensitivity = ANY (ARRAY['PUBLIC'::text, 'INTERNAL'::text, 'CONFIDENTIAL'::text, 'RESTRICTED'::text])));
-- Create index "secret_created_at" to table: "secrets"
CREATE INDEX "secret_created_at" ON "secrets" ("created_at");
-- Create index "secret_expires_at" to table: "secrets"
CREATE INDEX "secret_expires_at" ON "secrets" ("expires_at");
-- Create index "secret_is_active" to table: "secrets"
CREATE INDEX "secret_is_active" ON "secrets" ("is_active");
-- Create index "secret_next_rotation" to table: "secrets"
CREATE INDEX "secret_next_rotation" ON "secrets" ("next_rotation");
-- Create index "secret_owner_id" to table: "secrets"
CREATE INDEX "secret_owner_id" ON "secrets" ("owner_id");
-- Create index "secret_rotation_state" to table: "secrets"
CREATE INDEX "secret_rotation_state" ON "secrets" ("rotation_state");
-- Create index "secrets_name_key" to table: "secrets"
CREATE UNIQUE INDEX "secrets_name_key" ON "secrets" ("name");
-- Create "secret_access_logs" table
CREATE TABLE "secret_access_logs" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "access_type" text NOT NULL, "success" boolean NOT NULL, "ip_address" text NULL, "user_agent" text NULL, "accessed_at" timestamptz NOT NULL, "secret_version" bigint NULL, "reason" text NOT NULL DEFAULT '', "secret_id" uuid NOT NULL, "tool_id" uuid NULL, "tool_execution_id" uuid NULL, "user_id" uuid NOT NULL, PRIMARY KEY ("id"), CONSTRAINT "secret_access_logs_secrets_access_logs" FOREIGN KEY ("secret_id") REFERENCES "secrets" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT, CONSTRAINT "secret_access_logs_tool_executions_secret_access_logs" FOREIGN KEY ("tool_execution_id") REFERENCES "tool_executions" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT, CONSTRAINT "secret_access_logs_tools_secret_access_logs" FOREIGN KEY ("tool_id") REFERENCES "tools" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT, CONSTRAINT "secret_access_logs_users_secret_access_logs" FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT, CONSTRAINT "secret_access_logs_access_type_62b781b2" CHECK (access_type = ANY (ARRAY['READ'::text, 'USE'::text, 'WRITE'::text, 'ROTATE'::text, 'RESTORE'::text, 'DELETE'::text, 'DESTROY'::text])));
-- Create index "secretaccesslog_accessed_at" to table: "secret_access_logs"
CREATE INDEX "secretaccesslog_accessed_at" ON "secret_access_logs" ("accessed_at");
-- Create index "secretaccesslog_secret_id_accessed_at" to table: "secret_access_logs"
CREATE INDEX "secretaccesslog_secret_id_accessed_at" ON "secret_access_logs" ("secret_id", "accessed_at");
-- Create index "secretaccesslog_tool_execution_id" to table: "secret_access_logs"
CREATE INDEX "secretaccesslog_tool_execution_id" ON "secret_access_logs" ("tool_execution_id");
-- Create index "secretaccesslog_tool_id" to table: "secret_access_logs"
CREATE INDEX "secretaccesslog_tool_id" ON "secret_access_logs" ("tool_id");
-- Create index "secretaccesslog_user_id_accessed_at" to table: "secret_access_logs"
CREATE INDEX "secretaccesslog_user_id_accessed_at" ON "secret_access_logs" ("user_id", "accessed_at");
-- Create "secret_versions" table
CREATE TABLE "secret_versions" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "version_number" bigint NOT NULL, "encrypted_value" bytea NOT NULL, "encryption_key_id" text NOT NULL, "wrapped_key" bytea NULL, "rotation_reason" text NOT NULL DEFAULT '', "is_active" boolean NOT NULL DEFAULT true, "stage" text NOT NULL, "secret_id" uuid NOT NULL, "created_by" uuid NULL, PRIMARY KEY ("id"), CONSTRAINT "secret_versions_secrets_versions" FOREIGN KEY ("secret_id") REFERENCES "secrets" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT, CONSTRAINT "secret_versions_users_created_secret_versions" FOREIGN KEY ("created_by") REFERENCES "users" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT, CONSTRAINT "secret_versions_stage_fde1a7f9" CHECK (stage = ANY (ARRAY['PENDING'::text, 'CURRENT'::text, 'PREVIOUS'::text, 'DEPRECATED'::text, 'DESTROYED'::text])));
-- Create index "secretversion_created_by" to table: "secret_versions"
CREATE INDEX "secretversion_created_by" ON "secret_versions" ("created_by");
-- Create index "secretversion_secret_id_version_number" to table: "secret_versions"
CREATE UNIQUE INDEX "secretversion_secret_id_version_number" ON "secret_versions" ("secret_id", "version_number");
-- Create index "secretversion_stage" to table: "secret_versions"
CREATE INDEX "secretversion_stage" ON "secret_versions" ("stage");
-- Create "sessions" table
CREATE TABLE "sessions" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "token" text NOT NULL, "refresh_token" text NULL, "ip_address" text NULL, "user_agent" text NULL, "is_active" boolean NOT NULL DEFAULT true, "expires_at" timestamptz NOT NULL, "last_activity" timestamptz NULL, "kind" text NOT NULL DEFAULT 'INTERACTIVE', "name" text NULL, "scopes" text[] NOT NULL DEFAULT '{}', "family_id" uuid NOT NULL, "replaced_by" uuid NULL, "mfa_at" timestamptz NULL, "revoked_at" timestamptz NULL, "revoke_reason" text NULL, "user_id" uuid NOT NULL, PRIMARY KEY ("id"), CONSTRAINT "sessions_users_sessions" FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON UPDATE NO ACTION ON DELETE CASCADE, CONSTRAINT "sessions_kind_6904d5eb" CHECK (kind = ANY (ARRAY['INTERACTIVE'::text, 'API_TOKEN'::text])));
-- Create index "session_family_id" to table: "sessions"
CREATE INDEX "session_family_id" ON "sessions" ("family_id");
-- Create index "session_is_active_expires_at" to table: "sessions"
CREATE INDEX "session_is_active_expires_at" ON "sessions" ("is_active", "expires_at");
-- Create index "session_replaced_by" to table: "sessions"
CREATE INDEX "session_replaced_by" ON "sessions" ("replaced_by");
-- Create index "session_user_id_created_at" to table: "sessions"
CREATE INDEX "session_user_id_created_at" ON "sessions" ("user_id", "created_at");
-- Create index "sessions_refresh_token_key" to table: "sessions"
CREATE UNIQUE INDEX "sessions_refresh_token_key" ON "sessions" ("refresh_token");
-- Create "tool_approvals" table
CREATE TABLE "tool_approvals" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "updated_at" timestamptz NOT NULL, "is_approved" boolean NULL, "approval_comment" text NULL, "rejection_reason" text NULL, "risk_assessment" jsonb NULL, "requires_elevated_approval" boolean NOT NULL DEFAULT false, "requested_at" timestamptz NOT NULL, "responded_at" timestamptz NULL, "expires_at" timestamptz NOT NULL, "required_approvals" bigint NOT NULL DEFAULT 1, "decisions" jsonb NULL, "args_hash" text NOT NULL, "policy_version" text NOT NULL, "use_by" timestamptz NULL, "consumed_at" timestamptz NULL, "withdrawn_at" timestamptz NULL, "justification" text NULL, "execution_id" uuid NOT NULL, "user_id" uuid NOT NULL, "approver_id" uuid NULL, PRIMARY KEY ("id"), CONSTRAINT "tool_approvals_tool_executions_approval" FOREIGN KEY ("execution_id") REFERENCES "tool_executions" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT, CONSTRAINT "tool_approvals_users_decided_approvals" FOREIGN KEY ("approver_id") REFERENCES "users" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT, CONSTRAINT "tool_approvals_users_tool_approvals" FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT);
-- Create index "tool_approvals_execution_id_key" to table: "tool_approvals"
CREATE UNIQUE INDEX "tool_approvals_execution_id_key" ON "tool_approvals" ("execution_id");
-- Create index "toolapproval_approver_id" to table: "tool_approvals"
CREATE INDEX "toolapproval_approver_id" ON "tool_approvals" ("approver_id");
-- Create index "toolapproval_created_at" to table: "tool_approvals"
CREATE INDEX "toolapproval_created_at" ON "tool_approvals" ("created_at");
-- Create index "toolapproval_expires_at" to table: "tool_approvals"
CREATE INDEX "toolapproval_expires_at" ON "tool_approvals" ("expires_at") WHERE ((responded_at IS NULL) AND (withdrawn_at IS NULL));
-- Create index "toolapproval_requested_at" to table: "tool_approvals"
CREATE INDEX "toolapproval_requested_at" ON "tool_approvals" ("requested_at");
-- Create index "toolapproval_use_by" to table: "tool_approvals"
CREATE INDEX "toolapproval_use_by" ON "tool_approvals" ("use_by") WHERE (is_approved AND (consumed_at IS NULL));
-- Create index "toolapproval_user_id_requested_at" to table: "tool_approvals"
CREATE INDEX "toolapproval_user_id_requested_at" ON "tool_approvals" ("user_id", "requested_at");
-- Create "user_roles" table
CREATE TABLE "user_roles" ("user_id" uuid NOT NULL, "role_id" uuid NOT NULL, PRIMARY KEY ("user_id", "role_id"), CONSTRAINT "user_roles_role_id" FOREIGN KEY ("role_id") REFERENCES "roles" ("id") ON UPDATE NO ACTION ON DELETE CASCADE, CONSTRAINT "user_roles_user_id" FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON UPDATE NO ACTION ON DELETE CASCADE);
