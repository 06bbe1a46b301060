package mail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/mail"
	"os"
	"path/filepath"
	"time"
)

// Folder writes each message to a file of its own, which appears whole and is for its owner's eyes only.
type Folder struct {
	dir  string
	from *mail.Address
	log  *slog.Logger
}

var _ Sender = (*Folder)(nil)

// NewFolder makes the folder when it is missing.
func NewFolder(dir, from string, log *slog.Logger) (*Folder, error) {
	a, err := ParseSender(from)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the mail folder: %w", err)
	}
	return &Folder{dir, a, log}, nil
}

// Send writes the file and logs its name and the message's kind.
func (f *Folder) Send(ctx context.Context, m Message) error {
	at := time.Now().UTC()
	g, err := m.build(f.from, at)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(f.dir, ".new-*") // mode 0600
	if err != nil {
		return &Error{Step: "make a file", cause: err}
	}
	_, err = g.WriteTo(tmp)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return &Error{Step: "write a file", cause: errors.Join(err, os.Remove(tmp.Name()))}
	}
	name := fmt.Sprintf("%s-%s-%s.eml", at.Format("20060102T150405.000000Z"), m.Kind, m.ID)
	if err := os.Rename(tmp.Name(), filepath.Join(f.dir, name)); err != nil {
		return &Error{Step: "name a file", cause: errors.Join(err, os.Remove(tmp.Name()))}
	}
	f.log.InfoContext(ctx, "a mail was written to a file", "kind", m.Kind, "file", filepath.Join(f.dir, name))
	return nil
}
