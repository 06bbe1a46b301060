package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go/jetstream"
)

// store is the folder of the embedded server. Beside NATS's own files it has a lock, so that no second server opens it, and
// a marker that tells at the next start whether sequences may have been lost, because a sequence used twice would make
// old cursors skip events.
type store struct {
	dir  string
	lock *os.File
	mark marker
	had  bool // a marker was found
}

// marker is what was known of the stream when it was opened or closed.
type marker struct {
	Incarnation uint64 `json:"incarnation"` // stream creation, Unix ns
	Last        uint64 `json:"last"`        // last sequence, valid when Clean
	Clean       bool   `json:"clean"`
	Boot        string `json:"boot"`
}

func openStore(dir string) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("event: make the event store's folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("event: open the event store's lock: %w", err)
	}
	if err := flock(lock); err != nil {
		return nil, errors.Join(fmt.Errorf("event: another server uses this event store: %w", err), lock.Close())
	}
	s := &store{dir: dir, lock: lock}
	b, err := os.ReadFile(s.markerPath())
	switch {
	case err == nil:
		s.had = json.Unmarshal(b, &s.mark) == nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, errors.Join(fmt.Errorf("event: read the event store's marker: %w", err), lock.Close())
	}
	return s, nil
}

func (s *store) markerPath() string { return filepath.Join(s.dir, "marker.json") }

func (s *store) natsDir() string { return filepath.Join(s.dir, "nats") }

// suspect says, before the server starts, why the files cannot be trusted; empty when they can, or there are none.
func (s *store) suspect() string {
	if _, err := os.Stat(s.natsDir()); err != nil {
		return ""
	}
	if !s.had {
		return "its marker is missing or unreadable"
	}
	if boot := bootID(); !s.mark.Clean && (boot == "" || boot != s.mark.Boot) {
		return "the machine stopped while it was open, so its last writes may be lost"
	}
	return ""
}

// damage says, once the server has recovered the stream (nil when it found none), what is wrong with it.
func (s *store) damage(info *jetstream.StreamInfo) string {
	switch {
	case !s.had && info == nil:
		return ""
	case info == nil:
		return "its stream could not be recovered"
	case uint64(info.Created.UnixNano()) != s.mark.Incarnation:
		return "its stream is not the one the marker names"
	case s.mark.Clean && info.State.LastSeq != s.mark.Last:
		return "messages at its end are missing"
	case info.State.NumDeleted > 0:
		return "messages in its middle are missing"
	}
	return ""
}

// wipe removes the stream's files; a fresh stream is a new incarnation.
func (s *store) wipe() error {
	if err := os.RemoveAll(s.natsDir()); err != nil {
		return fmt.Errorf("event: remove a damaged event store: %w", err)
	}
	s.mark, s.had = marker{}, false
	return s.removeMarker()
}

func (s *store) removeMarker() error {
	if err := os.Remove(s.markerPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("event: remove the event store's marker: %w", err)
	}
	return nil
}

// write replaces the marker whole.
func (s *store) write(m marker) error {
	m.Boot = bootID()
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	tmp := s.markerPath() + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("event: write the event store's marker: %w", err)
	}
	if err := os.Rename(tmp, s.markerPath()); err != nil {
		return fmt.Errorf("event: write the event store's marker: %w", err)
	}
	s.mark, s.had = m, true
	return nil
}

func (s *store) close() error { return s.lock.Close() }
