// Package audit writes the audit log. An entry is written in the transaction of what it records, or, for denials and
// failures whose transaction is rolled back, in one of its own; when it cannot be written the operation fails. Personal
// fields are encrypted under a key of their subject, so that erasing the key erases them without touching a row.
package audit

import (
	"strings"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/enum"
)

// Entry is one act. Details and Changes hold no secrets and no personal data.
type Entry struct {
	Action      enum.AuditAction
	Resource    string    // GraphQL type of what it was done to
	ResourceID  uuid.UUID // zero when there is none
	SessionID   uuid.UUID // login or chat session, as the action has it; zero: the principal's login session
	ExecutionID uuid.UUID // the tool call it belongs to
	Details     map[string]any
	Changes     map[string]any
	Failed      bool
	Error       string    // why it failed: a sentence or a code
	Sensitive   bool      // confidential data was touched
	ActorID     uuid.UUID // who acted when the context has no principal yet, as at login
	ActorName   string
}

// RetentionDays is how long rows of an action are kept at least, in days: seven years for what auditors of SOC 2 and
// financial records ask for, two for access control, one for the rest.
func RetentionDays(a enum.AuditAction) int {
	s := string(a)
	switch {
	case hasPrefix(s, "APPROVAL_", "SECRET_", "ENCRYPTION_", "TOOL_", "BREAK_GLASS", "AUDIT_", "LEGAL_", "DATA_SUBJECT"):
		return 7 * 365
	case hasPrefix(s, "USER_", "ROLE_", "PERMISSION_", "SUPERUSER_", "MFA_", "PASSWORD_", "ACCOUNT_", "CHAT_ACCESSED"):
		return 2 * 365
	}
	return 365
}

func hasPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
