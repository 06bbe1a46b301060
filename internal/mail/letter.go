package mail

import (
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Recipient is whom a letter is for. Name is empty unless the address is known to be theirs: what a stranger typed is
// not put before the eyes of somebody else.
type Recipient struct{ Address, Name string }

// letters are the texts by kind: subject, and body with the link and its last moment, or the moment of what is told.
var letters = map[Kind]struct{ subject, text string }{
	Reset: {"Set a new password", `Somebody, hopefully you, asked to set a new password for the account of this address.

Open this link to choose one. It works once, until %[2]s:

%[1]s

If it was not you, do nothing: your password stays as it is. Nobody who did not get this mail can change it.
`},
	Verify: {"Confirm your e-mail address", `This address was given for an account.

Open this link to confirm that it is yours. It works once, until %[2]s:

%[1]s

If you have no such account, do nothing.
`},
	Invite: {"You are invited", `You are invited to make an account.

Open this link to register with this address. It works once, until %[2]s:

%[1]s

If you did not expect an invitation, do nothing.
`},
	Notice: {"Your e-mail address was changed", `The account that had this address has another one since %[2]s. It is an account at

%[1]s

If you know of the change, do nothing. If not, tell an administrator at once: somebody else can take over the account.
`},
}

// Letter writes the message of a kind around a link that works until a time; a Notice tells what was done at that time.
func Letter(kind Kind, id uuid.UUID, to Recipient, link string, at time.Time) (Message, error) {
	l, ok := letters[kind]
	if !ok {
		return Message{}, refuse("there is no letter of its kind")
	}
	return Message{
		ID: id, Kind: kind, To: to.Address, Name: to.Name, Subject: l.subject,
		Text: fmt.Sprintf(l.text, link, at.UTC().Format("2 January 2006 15:04 UTC")),
	}, nil
}
