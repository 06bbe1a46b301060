// Package job names the background jobs and their arguments. A job is added in the transaction that makes it necessary
// and may run more than once: workers claim the row it names and do nothing when it is not theirs to do.
package job

import (
	"github.com/google/uuid"
	"github.com/riverqueue/river"
)

// Queues: answers must not wait behind indexing.
const (
	QueueTurns      = "turns"
	QueueTools      = "tools"
	QueueIndex      = "index"
	QueueIndexSmall = "index_small" // small documents do not wait behind large ones
)

// Turn goes on with an answer.
type Turn struct {
	Reply uuid.UUID `json:"reply"`
}

// Kind of Turn.
func (Turn) Kind() string { return "turn" }

// InsertOpts of Turn: the lease sweeper, not the queue, tries again.
func (Turn) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: QueueTurns, MaxAttempts: 1} }

// RunTool runs a cleared tool call.
type RunTool struct {
	Execution uuid.UUID `json:"execution"`
}

// Kind of RunTool.
func (RunTool) Kind() string { return "run_tool" }

// InsertOpts of RunTool: the sweeper tries again.
func (RunTool) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueTools, MaxAttempts: 1}
}

// Index processes a document.
type Index struct {
	Document uuid.UUID `json:"document"`
	Small    bool      `json:"small,omitempty"`
}

// Kind of Index.
func (Index) Kind() string { return "index" }

// InsertOpts of Index: the sweeper tries again.
func (i Index) InsertOpts() river.InsertOpts {
	if i.Small {
		return river.InsertOpts{Queue: QueueIndexSmall, MaxAttempts: 1}
	}
	return river.InsertOpts{Queue: QueueIndex, MaxAttempts: 1}
}
