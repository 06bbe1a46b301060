package job

import (
	"github.com/google/uuid"
	"github.com/riverqueue/river"
)

// QueueMail is apart: an SMTP server that does not answer holds up nothing else.
const QueueMail = "mail"

// SendMail mails what a row of mailed_tokens stands for. It holds no secret: the worker makes the token anew.
type SendMail struct {
	ID uuid.UUID `json:"id"`
}

// Kind of SendMail.
func (SendMail) Kind() string { return "send_mail" }

// InsertOpts of SendMail: six attempts by the queue's own pauses take a quarter of an hour, half of the life of the
// shortest token.
func (SendMail) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueMail, MaxAttempts: 6}
}
