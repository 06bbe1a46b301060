package document

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/document"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// maxFile is the largest file taken in, in bytes; the transport's limit for an upload.
const maxFile = 100 << 20

// intakeSlots bounds the files that are in memory at once.
const intakeSlots = 4

// Input is a document to be created: its bytes are File's, or Content when File is nil.
type Input struct {
	Title       string
	Content     string
	File        io.Reader
	Filename    string // of File; its extension tells the format
	ContentType string // of File, as declared; may be empty
	Source      string // file name or address it came from; Filename when empty
	SourceType  enum.DocumentSourceType
	Tags        []string
	IsPublic    bool
	// RequiredPermission opens the document to the permission's holders; the caller must be one.
	RequiredPermission *string
	Sensitivity        *enum.Sensitivity // INTERNAL when nil
	Metadata           map[string]any
}

// Create stores a document of the caller's and begins its processing, which documentEvents follow. Any bytes are taken;
// what cannot be read ends FAILED. The same bytes by the same owner give the document that is already there, unchanged,
// and begin its processing again, by the new name and type, if that had failed. Needs documents:write: UNAUTHENTICATED, FORBIDDEN, BAD_USER_INPUT,
// RESOURCE_EXHAUSTED for a file that is too large. Audited as DOCUMENT_UPLOADED.
func (s *Service) Create(ctx context.Context, in Input) (*ent.Document, error) {
	p, err := authz.Require(ctx, "documents", "write")
	if err != nil {
		return nil, err
	}
	if err := in.normalise(p); err != nil {
		return nil, err
	}
	data, done, err := s.bytes(ctx, in)
	if err != nil {
		return nil, err
	}
	defer done()
	sum := sha256.Sum256(data)
	hash := hex.EncodeToString(sum[:])
	id, err := s.store(ctx, p, in, data, hash)
	if uow.IsDuplicate(err) { // another upload of the same bytes was first: now it is there
		id, err = s.store(ctx, p, in, data, hash)
	}
	if err != nil {
		return nil, err
	}
	return s.read(ctx, id)
}

// bytes gives the document's bytes; done lets others have the memory.
func (s *Service) bytes(ctx context.Context, in Input) (data []byte, done func(), err error) {
	if in.File == nil {
		return []byte(in.Content), func() {}, nil
	}
	s.once.Do(func() { s.intake = make(chan struct{}, intakeSlots) })
	select {
	case s.intake <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	done = func() { <-s.intake }
	if data, err = readAll(in.File); err != nil {
		done()
		return nil, nil, err
	}
	return data, done, nil
}

func readAll(r io.Reader) ([]byte, error) {
	tooLarge := errs.New(errs.ResourceExhausted, "A file may have at most %d MB. Split it into smaller ones.", maxFile>>20)
	var b bytes.Buffer
	if f, ok := r.(io.Seeker); ok { // its size is known: no growing in steps
		size, err := f.Seek(0, io.SeekEnd)
		if err == nil {
			_, err = f.Seek(0, io.SeekStart)
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("read the upload: %w", err)
		case size > maxFile:
			return nil, tooLarge
		}
		b.Grow(int(size) + bytes.MinRead)
	}
	n, err := b.ReadFrom(io.LimitReader(r, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the upload: %w", err)
	case n > maxFile:
		return nil, tooLarge
	}
	return b.Bytes(), nil
}

// store finds the owner's document of these bytes or makes it.
func (s *Service) store(ctx context.Context, p *authz.Principal, in Input, data []byte, hash string) (uuid.UUID, error) {
	return uow.Value(ctx, s.Store, func(ctx context.Context, tx *uow.Tx) (uuid.UUID, error) {
		q := tx.Document.Query().Where(document.UploadedBy(p.UserID), document.ContentHash(hash))
		q.Select(columns(false)...)
		d, err := q.Only(ctx)
		if err == nil {
			return d.ID, again(ctx, tx, d, in)
		}
		if !ent.IsNotFound(err) {
			return uuid.Nil, err
		}
		if perm := in.RequiredPermission; perm != nil { // a superuser hands out what they do not hold: it is recorded
			switch may, err := authz.May(ctx, "Document", *perm); {
			case err != nil:
				return uuid.Nil, err
			case !may:
				return uuid.Nil, errs.New(errs.Forbidden, "Only a permission that you hold yourself can open a document.")
			}
		}
		c := tx.Document.Create().SetTitle(in.Title).SetSource(in.Source).SetSourceType(in.SourceType).SetOriginal(data).SetContentHash(hash).
			SetMetadata(in.Metadata).SetTags(in.Tags).SetFileType(in.ContentType).SetFileSize(int64(len(data))).SetUploadedBy(p.UserID).
			SetIsPublic(in.IsPublic).SetNillableRequiredPermission(in.RequiredPermission).SetNillableSensitivity(in.Sensitivity).
			SetLeaseExpiresAt(time.Now().UTC().Add(pickupTime))
		if d, err = c.Save(ctx); err != nil {
			return uuid.Nil, err
		}
		details := map[string]any{"bytes": len(data), "public": d.IsPublic, "sensitivity": d.Sensitivity}
		if d.RequiredPermission != nil {
			details["requiredPermission"] = *d.RequiredPermission
		}
		tx.Audit(audit.Entry{Action: enum.AuditActionDocumentUploaded, Resource: "Document", ResourceID: d.ID, Details: details, Sensitive: atLeastConfidential(d.Sensitivity)})
		begin(tx, d.ID, d.FileSize)
		return d.ID, nil
	})
}

// again records that the bytes were there already, and gives a failed document another try, by the name and type it has now:
// they may be why it failed.
func again(ctx context.Context, tx *uow.Tx, d *ent.Document, in Input) error {
	n, err := tx.Document.Update().Where(document.ID(d.ID), document.StatusEQ(enum.DocumentStatusFailed)).SetStatus(enum.DocumentStatusUploaded).
		SetIsProcessed(false).ClearProcessingError().SetSource(in.Source).SetFileType(in.ContentType).SetLeaseExpiresAt(time.Now().UTC().Add(pickupTime)).Save(ctx)
	if err != nil {
		return err
	}
	tx.Audit(audit.Entry{Action: enum.AuditActionDocumentUploaded, Resource: "Document", ResourceID: d.ID, Details: map[string]any{"existing": true, "retry": n > 0}})
	if n > 0 {
		begin(tx, d.ID, d.FileSize)
	}
	return nil
}

// begin sets off the processing of a document that is UPLOADED.
func begin(tx *uow.Tx, id uuid.UUID, size int64) {
	tx.Event(fact.Documents, fact.Document{Status: enum.DocumentStatusUploaded, Document: id})
	enqueue(tx, id, size)
}

// Delete removes the caller's document and its passages. Results of earlier searches keep the document's id and offsets.
// NOT_FOUND, FORBIDDEN on another's document. Audited as DOCUMENT_DELETED.
func (s *Service) Delete(ctx context.Context, id uuid.UUID) error {
	p, err := authz.Require(ctx, "documents", "write")
	if err != nil {
		return err
	}
	if err := uid.Check(id, uid.Document, "id"); err != nil {
		return err
	}
	err = s.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		q := tx.Document.Query().Where(document.ID(id)).ForUpdate()
		q.Select(columns(false)...)
		d, err := q.Only(ctx)
		if ent.IsNotFound(err) {
			return errs.Missing("document")
		}
		if err != nil {
			return err
		}
		if d.UploadedBy != p.UserID {
			return errs.New(errs.Forbidden, "This is another person's document. Only its owner can delete it.")
		}
		if err := tx.Document.DeleteOneID(id).Exec(ctx); err != nil { // the chunks go with it
			return err
		}
		tx.Event(fact.Documents, fact.Document{Status: d.Status, Document: id, Deleted: &fact.Readers{Owner: d.UploadedBy, Public: d.IsPublic, Permission: d.RequiredPermission}})
		tx.Audit(audit.Entry{Action: enum.AuditActionDocumentDeleted, Resource: "Document", ResourceID: id,
			Details: map[string]any{"bytes": d.FileSize}, Sensitive: atLeastConfidential(d.Sensitivity)})
		return nil
	})
	if errs.Is(err, errs.Forbidden) {
		e := audit.Entry{Action: enum.AuditActionPermissionDenied, Resource: "Document", ResourceID: id, Failed: true, Error: string(errs.Forbidden)}
		if rec := s.Store.Audit.Record(ctx, e); rec != nil {
			return fmt.Errorf("record a refusal: %w", rec)
		}
	}
	return err
}
