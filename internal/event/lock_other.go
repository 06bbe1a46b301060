//go:build !unix

package event

import "os"

// flock has no equivalent here: the operator keeps two servers out of one folder.
func flock(*os.File) error { return nil }
