// Package fact names the subjects of the event stream and the payloads on them. Payloads are ids and states, never row
// contents: whoever receives an event loads the row as someone who may see it. Token deltas are the exception; they go
// to the subject of one conversation, whose subscribers were judged when they joined.
package fact

import (
	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/enum"
)

// Subjects shared by everyone; subscribers are filtered event by event.
const (
	Approvals = "approval"
	Tools     = "tool"
	Documents = "document"
	// Revoked is a signal, not an event: a user's or session's rights changed. Its payload is the uuid's text.
	Revoked = "revoked"
	// Cancel is a signal: the payload is the id of an answer or a tool call to stop.
	Cancel = "cancel"
	// Spent is a signal between replicas: what callers spent of their request budgets. Package ratelimit has its form.
	Spent = "spent"
)

// ChatSubject is the subject of one conversation.
func ChatSubject(sessionID uuid.UUID) string { return "chat." + sessionID.String() }

// MessageKind is what happened to a chat message.
type MessageKind string

// The kinds of message events, as in GraphQL.
const (
	Created   MessageKind = "CREATED"
	Started   MessageKind = "STARTED"
	Completed MessageKind = "COMPLETED"
	Failed    MessageKind = "FAILED"
	Cancelled MessageKind = "CANCELLED"
)

// Chat is an event of one conversation: exactly one of Delta, Message, Execution and Deleted is set.
type Chat struct {
	Delta     *Delta      `json:"d,omitempty"`
	Kind      MessageKind `json:"k,omitempty"` // with Message
	Message   uuid.UUID   `json:"m,omitzero"`
	Execution uuid.UUID   `json:"x,omitzero"`
	Deleted   bool        `json:"g,omitempty"` // the conversation is gone: its last event
}

// Delta is a piece of an answer's text. Offset counts UTF-16 code units of the message and attempt sent before.
type Delta struct {
	Message uuid.UUID `json:"m"`
	Attempt int       `json:"a"`
	Offset  int       `json:"o"`
	Text    string    `json:"t"`
}

// ApprovalKind is what happened to an approval request.
type ApprovalKind string

// The kinds of approval events, as in GraphQL.
const (
	Requested        ApprovalKind = "REQUESTED"
	Decided          ApprovalKind = "DECIDED"
	Approved         ApprovalKind = "APPROVED"
	Rejected         ApprovalKind = "REJECTED"
	Expired          ApprovalKind = "EXPIRED"
	Withdrawn        ApprovalKind = "WITHDRAWN"
	ApprovalConsumed ApprovalKind = "CONSUMED"
)

// Approval is an event of an approval request.
type Approval struct {
	Kind      ApprovalKind `json:"k"`
	Approval  uuid.UUID    `json:"a"`
	Execution uuid.UUID    `json:"x"`
	Requester uuid.UUID    `json:"u"`
}

// Tool is an event of a tool call.
type Tool struct {
	Status        enum.ToolExecutionStatus `json:"s"`
	Execution     uuid.UUID                `json:"x"`
	Requester     uuid.UUID                `json:"u"`
	NeedsApproval bool                     `json:"n,omitempty"`
}

// Document is an event of a document. Progress is 0..1 of the whole processing.
type Document struct {
	Status   enum.DocumentStatus `json:"s"`
	Document uuid.UUID           `json:"d"`
	Progress float64             `json:"p"`
	Deleted  *Readers            `json:"g,omitempty"` // it is gone; by then no row says who could read it
}

// Readers are what the readers of a document are judged by.
type Readers struct {
	Owner      uuid.UUID `json:"u"`
	Public     bool      `json:"p,omitempty"`
	Permission *string   `json:"r,omitempty"`
}
