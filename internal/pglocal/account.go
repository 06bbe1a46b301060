//go:build unix

package pglocal

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account returns whom postgres runs as; nil is ourselves. Root drops to the
// owner of the cluster's files, else of the nearest folder above them, else to
// the system account postgres. mine tells that dir belongs to that account, so
// that its owner can also use it without root.
func account(dir string) (cred *syscall.Credential, mine bool, err error) {
	if os.Geteuid() != 0 {
		return nil, false, nil
	}
	first := filepath.Join(dir, "data")
	if !exists(first) {
		first = filepath.Dir(dir)
	}
	for d := first; ; d = filepath.Dir(d) {
		info, err := os.Stat(d)
		if errors.Is(err, os.ErrNotExist) {
			continue // ends at "/", which exists
		}
		if err != nil {
			return nil, false, fmt.Errorf("look at the database folder: %w", err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
			pg, lookupErr := systemAccount()
			return &syscall.Credential{Uid: st.Uid, Gid: st.Gid}, lookupErr != nil || pg.Uid != st.Uid, nil
		}
		break
	}
	cred, err = systemAccount()
	return cred, false, err
}

func systemAccount() (*syscall.Credential, error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, errors.New("PostgreSQL refuses to run as root and this machine has no account named postgres: run as an ordinary user, or create the account with: useradd --system postgres")
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("uid of the account postgres: %w", err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("gid of the account postgres: %w", err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// chown gives path to the account; nothing to do when that is ourselves.
func chown(path string, cred *syscall.Credential) error {
	if cred == nil {
		return nil
	}
	return os.Lchown(path, int(cred.Uid), int(cred.Gid))
}

// private makes the folder, for the account alone.
func private(path string, cred *syscall.Credential) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o700); err != nil { //nolint:gosec // a folder needs its x
		return err
	}
	return chown(path, cred)
}
