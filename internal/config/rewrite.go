package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// RewriteSigningKey replaces the content of the signing keyring's file by what change makes of it, whole or not at all:
// whoever reads it meanwhile finds the old content or the new. The file keeps its owner and its mode. One process does so
// at a time. Errors never hold the content.
func (c *Config) RewriteSigningKey(change func(material []byte) ([]byte, error)) (err error) {
	path := c.SigningKeyFile()
	if path == "" {
		return errors.New("the signing key was given in CDSA_SIGNING_KEY itself; put it into a file and name that in CDSA_SIGNING_KEY_FILE, so that servers can read it again")
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return fmt.Errorf("find the signing key's file: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("open the signing key's folder: %w", err)
	}
	defer func() { err = errors.Join(err, dir.Close()) }() // ends the lock
	if err := flock(dir); err != nil {
		return errors.New("another process is changing the signing key; try again when it has ended")
	}
	material, err := c.ReadSigningKey()
	if err != nil {
		return err
	}
	if material, err = change(material); err != nil {
		return err
	}
	if err := replace(dir.Name(), path, material); err != nil {
		return fmt.Errorf("write the signing key's file: %w", err)
	}
	return dir.Sync()
}

// replace writes b to a temporary file, down to the disk, and renames it to path.
func replace(dir, path string, b []byte) (err error) {
	was, err := os.Stat(path)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	if _, err = tmp.Write(b); err == nil {
		err = tmp.Sync()
	}
	if err == nil {
		err = sameOwner(tmp, was)
	}
	if err == nil {
		err = tmp.Chmod(was.Mode().Perm())
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
