package app

import (
	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/uid"
)

// revoked makes this replica forget what it knows of users, login sessions and roles whose rights have changed, and
// ends what they have open or under way. It hears of each change twice, from the bus and from the database: the second time finds
// those who came back with their new rights, and leaves them.
func (a *App) revoked(ids ...uuid.UUID) {
	var sessions, users []uuid.UUID
	for _, id := range ids {
		switch tag, _ := uid.Of(id); tag {
		case uid.Session:
			sessions = append(sessions, id)
		case uid.User:
			users = append(users, id)
		default: // a role: whose it is, is not known here
			a.revokedAny()
			return
		}
	}
	// First what is remembered, then what is open: who is judged in between is judged anew.
	for _, id := range sessions {
		a.principals.Forget(id)
	}
	for _, id := range users {
		a.principals.ForgetUser(id)
	}
	if a.turns != nil { // nil while the server is being opened, as streams
		a.turns.Rejudge(ids...)
		a.executions.Rejudge(ids...)
	}
	if a.streams == nil {
		return
	}
	if len(sessions) > 0 {
		a.streams.Revoke(sessions...)
	}
	if len(users) > 0 {
		a.streams.RevokeUser(users...)
	}
}

// revokedAny is revoked for everyone.
func (a *App) revokedAny() {
	a.principals.ForgetAll()
	if a.turns != nil {
		a.turns.Rejudge()
		a.executions.Rejudge()
	}
	if a.streams != nil {
		a.streams.RevokeAll()
	}
}
