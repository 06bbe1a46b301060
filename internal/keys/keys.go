// Package keys derives every symmetric key of the server from one master key, by HKDF-SHA-256 (RFC 5869) with a label,
// so that an operator keeps one secret and no key is used for two things.
package keys

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Size is the master key's size in bytes.
const Size = 32

// Master is the master key.
type Master [Size]byte

// Parse reads a master key from base64 (standard or URL alphabet, padding optional).
func Parse(s string) (Master, error) {
	var m Master
	s = strings.TrimRight(strings.TrimSpace(s), "=")
	s = strings.NewReplacer("-", "+", "_", "/").Replace(s)
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil || len(b) != Size {
		return m, fmt.Errorf("the master key must be %d bytes in base64, as made by: openssl rand -base64 %d", Size, Size)
	}
	return Master(b), nil
}

// Load reads the master key of a development data folder and makes it the first time. Any number of processes may call
// it at once: all get the same key.
func Load(dir string) (Master, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Master{}, fmt.Errorf("make the key folder: %w", err)
	}
	path := filepath.Join(dir, "master.key")
	var fresh Master
	if _, err := rand.Read(fresh[:]); err != nil {
		return Master{}, err
	}
	tmp, err := os.CreateTemp(dir, ".master-*")
	if err != nil {
		return Master{}, fmt.Errorf("write the master key: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(base64.StdEncoding.EncodeToString(fresh[:]) + "\n")
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return Master{}, fmt.Errorf("write the master key: %w", err)
	}
	// Link, unlike rename, fails when another process was first: whoever was first wins.
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		return Master{}, fmt.Errorf("keep the master key: %w", err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Master{}, fmt.Errorf("read the master key: %w", err)
	}
	return Parse(string(b))
}

// Derive gives n bytes for one purpose; the same label gives the same bytes.
func (m Master) Derive(label string, n int) []byte {
	b, err := hkdf.Key(sha256.New, m[:], nil, "cdsa/"+label, n)
	if err != nil {
		panic(err) // only for n beyond 255 hashes
	}
	return b
}
