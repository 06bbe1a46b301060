package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"log/slog"
	"slices"
	"time"

	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/config"
)

// keyInterval is how often the signing keyring's file is looked at: well within the minute that a new key waits.
const keyInterval = time.Second

// RotateSigningKey adds a new key to the signing keyring's file, or puts it in the place of the old ones when they are
// compromised. It needs no database: the servers that use the file record what they do with it.
func RotateSigningKey(cfg *config.Config, compromised bool) (r auth.Rotation, err error) {
	change := auth.Rotate
	if compromised {
		change = auth.Replace
	}
	err = cfg.RewriteSigningKey(func(material []byte) ([]byte, error) {
		r, err = change(material, time.Now())
		return r.Material, err
	})
	return r, err
}

// keyWatch keeps the server's keys those of the file. It is for one goroutine.
type keyWatch struct {
	read   func() ([]byte, error) // nil: the keys are not in a file and stay
	tokens *auth.Tokens
	note   func(ctx context.Context, kid string) error // a key begins to sign
	ended  func()                                      // a key went before its time: nothing it opened may go on
	log    *slog.Logger

	seen   [sha256.Size]byte // of the file as it was last taken or refused
	failed string            // why it could not be read the last time
	noted  string            // kid of the signer that is on record
}

func (a *App) watchKeys(material []byte) *keyWatch {
	w := &keyWatch{tokens: a.tokens, note: a.accounts.NoteSigningKey, log: a.log, seen: sha256.Sum256(bytes.TrimRight(material, "\r\n")), ended: func() {
		if a.streams != nil {
			a.streams.Distrust()
		}
	}}
	if a.cfg.SigningKeyFile() != "" {
		w.read = a.cfg.ReadSigningKey
	}
	return w
}

// sweep takes what is new in the file and records a new signer. Content that is no keyring is logged once, and the
// present keys stay.
func (w *keyWatch) sweep(ctx context.Context) error {
	if w.read != nil {
		w.reload(ctx)
	}
	kid := w.tokens.Keyring().SigningKeyID(time.Now())
	if kid == "" || kid == w.noted {
		return nil
	}
	if err := w.note(ctx, kid); err != nil {
		return err
	}
	w.noted = kid
	return nil
}

func (w *keyWatch) reload(ctx context.Context) {
	material, err := w.read()
	if err != nil {
		if w.failed != err.Error() {
			w.failed = err.Error()
			w.log.WarnContext(ctx, "the signing keys cannot be read again; the present ones stay", "error", err)
		}
		return
	}
	w.failed = ""
	sum := sha256.Sum256(bytes.TrimRight(material, "\r\n"))
	if sum == w.seen {
		return
	}
	w.seen = sum
	now := time.Now()
	was := w.tokens.Keyring().KeyIDs(now)
	ring, err := auth.ParseKeyring(material)
	if err == nil {
		err = w.tokens.SetKeyring(ring)
	}
	if err != nil {
		w.log.WarnContext(ctx, "the signing keys were changed to what cannot be used; the present ones stay", "error", err)
		return
	}
	w.log.InfoContext(ctx, "the signing keys were read again", "accepted", len(ring.KeyIDs(now)), "signer", ring.SigningKeyID(now))
	if slices.ContainsFunc(was, func(kid string) bool { return !slices.Contains(ring.KeyIDs(now), kid) }) {
		w.log.WarnContext(ctx, "a signing key was taken away before its time; everything that is open is ended")
		w.ended()
	}
}
