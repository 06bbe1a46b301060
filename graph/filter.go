package graph

import (
	"time"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/session"
	service "cdsa.dev/cdsa/internal/document"
)

// endedSessions narrows a filter to sessions that have ended, or to those that have not.
func endedSessions(where *ent.SessionWhereInput, ended *bool) error {
	if ended == nil {
		return nil
	}
	p := session.And(session.IsActive(true), session.RevokedAtIsNil(), session.ExpiresAtGT(time.Now()))
	if *ended {
		p = session.Not(p)
	}
	where.AddPredicates(p)
	return nil
}

// taggedDocuments narrows a filter to documents with all of these tags.
func taggedDocuments(where *ent.DocumentWhereInput, tags []string) error {
	if tags == nil { // an empty list is a condition that all meet
		return nil
	}
	p, err := service.Tagged(tags)
	if err != nil {
		return err
	}
	where.AddPredicates(p)
	return nil
}
