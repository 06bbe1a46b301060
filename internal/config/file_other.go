//go:build !unix

package config

import (
	"io/fs"
	"os"
)

// flock has no equivalent here: the operator rotates once at a time.
func flock(*os.File) error { return nil }

// sameOwner has nothing to do: a new file belongs to the folder's readers.
func sameOwner(*os.File, fs.FileInfo) error { return nil }
