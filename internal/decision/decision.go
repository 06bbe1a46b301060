// Package decision is one approver's decision on an approval request, as stored with the request.
package decision

import (
	"time"

	"github.com/google/uuid"
)

// Decision is immutable once stored; each approver makes one at most.
type Decision struct {
	ApproverID uuid.UUID  `json:"approverId"`
	Approved   bool       `json:"approved"`
	Comment    string     `json:"comment,omitempty"`
	At         time.Time  `json:"at"`
	MFAAt      *time.Time `json:"mfaAt,omitempty"`    // when the approver last gave a second factor
	Enrolled   bool       `json:"enrolled,omitempty"` // whether the approver had a second factor
}
