package config

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// SigningKey gives the material of the access tokens' keys: what is set, else in dev a file of the data folder that
// generate fills once.
func (c *Config) SigningKey(generate func() ([]byte, error)) ([]byte, error) {
	if c.Keys.Signing.IsSet() {
		return []byte(c.Keys.Signing.Reveal()), nil
	}
	return c.generated(signingFile, generate)
}

const signingFile = "signing.pem" // in the folder of keys

// SigningKeyFile is the file that holds the signing keyring: what CDSA_SIGNING_KEY_FILE names, else in dev the one in
// the data folder. "" when the keyring was given in the environment itself and cannot change while the server runs.
func (c *Config) SigningKeyFile() string {
	switch s := c.Keys.Signing; {
	case s.IsSet():
		return s.file
	case c.InProduction():
		return ""
	}
	return filepath.Join(c.Server.DataDir, "keys", signingFile)
}

// ReadSigningKey reads the file of SigningKeyFile as it is now.
func (c *Config) ReadSigningKey() ([]byte, error) {
	switch path := c.SigningKeyFile(); {
	case path == "":
		return nil, errors.New("the signing key is not in a file")
	case c.Keys.Signing.IsSet():
		text, err := readSecret(path)
		return []byte(text), err
	default:
		return readKey(path)
	}
}

// CursorKey gives the 64 bytes that seal cursors; in dev made once in the data folder.
func (c *Config) CursorKey() ([]byte, error) { return c.randomKey(c.Keys.Cursor, "cursor.key", 64) }

// AuditKey gives the 32 bytes that wrap the subjects' keys of the audit log; in dev made once in the data folder.
func (c *Config) AuditKey() ([]byte, error) { return c.randomKey(c.Keys.Audit, "audit.key", 32) }

// IdentityKey gives the 32 bytes behind TOTP secrets, mailed tokens and refresh tokens' successors; in dev made once in
// the data folder.
func (c *Config) IdentityKey() ([]byte, error) {
	return c.randomKey(c.Keys.Identity, "identity.key", 32)
}

// BusKey gives the 32 bytes that encrypt the embedded bus's store; in dev made once in the data folder.
func (c *Config) BusKey() ([]byte, error) { return c.randomKey(c.Keys.Bus, "bus.key", 32) }

func (c *Config) randomKey(given Secret, name string, size int) ([]byte, error) {
	what := name
	if !given.IsSet() {
		what = filepath.Join(c.Server.DataDir, "keys", name)
		text, err := c.generated(name, func() ([]byte, error) {
			b := make([]byte, size)
			if _, err := rand.Read(b); err != nil {
				return nil, fmt.Errorf("no randomness: %w", err)
			}
			return []byte(base64.StdEncoding.EncodeToString(b)), nil
		})
		if err != nil {
			return nil, err
		}
		given = Secret{text: string(text)}
	}
	b, err := given.Key()
	if err != nil || len(b) != size {
		return nil, fmt.Errorf("the key %s is not %d bytes in base64: put the former one back; what it protects opens with no other", what, size)
	}
	return b, nil
}

func (c *Config) generated(name string, generate func() ([]byte, error)) ([]byte, error) {
	if c.InProduction() {
		return nil, fmt.Errorf("production does not make the key %s by itself", name)
	}
	return KeyFile(filepath.Join(c.Server.DataDir, "keys"), name, generate)
}

// KeyFile gives the content of dir/name, made by generate on first use. Of any number of processes that come at
// once all get the same content: the file appears whole, by a hard link that only one of them can make. A key that
// others may read is refused: it may have been copied. Errors never hold the content.
func KeyFile(dir, name string, generate func() ([]byte, error)) ([]byte, error) {
	path := filepath.Join(dir, name)
	b, err := readKey(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the key folder: %w; choose another place with CDSA_DATA_DIR", err)
	}
	if b, err = generate(); err != nil {
		return nil, fmt.Errorf("make the key %s: %w", name, err)
	}
	if err := publish(dir, path, b); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("store the key %s: %w", name, err)
	}
	return readKey(path) // the winner's, perhaps not ours
}

func readKey(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("read a key: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the key %s must be a plain file that only its owner can read (mode 0600)", filepath.Base(path))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read a key: %w", err)
	}
	if len(b) == 0 {
		return nil, fmt.Errorf("the key %s is empty", filepath.Base(path))
	}
	return b, nil
}

// publish writes b to a temporary file, down to the disk, and links it to path; fs.ErrExist when path is there.
func publish(dir, path string, b []byte) (err error) {
	tmp, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(tmp.Name())) }()
	if _, err = tmp.Write(b); err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err = os.Link(tmp.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
