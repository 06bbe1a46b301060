package hashproc

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain is also the children: they have no environment, so the first argument tells which.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || children[os.Args[1]] == nil {
		goleak.VerifyTestMain(m)
		return
	}
	if err := children[os.Args[1]](); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

var children = map[string]func() error{
	"child-right": func() error { return Serve(os.Stdin, os.Stdout) },
	"child-quits": func() error { return fmt.Errorf("out of\nluck") },
	"child-garbage": func() error {
		_, _ = os.Stdout.WriteString("HTTP/1.1 400 Bad Request\r\n\r\n")
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	},
	"child-mute":     func() error { _, err := io.Copy(io.Discard, os.Stdin); return err },
	"child-stubborn": func() error { time.Sleep(time.Hour); return nil }, // does not even see the end of its input
	"child-short":    func() error { return answering(0, 31) },
	"child-long":     func() error { return answering(0, 64) },
	"child-stranger": func() error { return answering(1<<40, 32) },
	"child-closes": func() error {
		if err := os.Stdout.Close(); err != nil {
			return err
		}
		time.Sleep(time.Hour)
		return nil
	},
}

// answering answers with a key of n zeros for the id asked for and some more.
func answering(more uint64, n int) error {
	for {
		b, err := readFrame(os.Stdin, maxRequest)
		if err != nil {
			return nil
		}
		if _, err := os.Stdout.Write(encodeAnswer(binary.BigEndian.Uint64(b)+more, make([]byte, n))); err != nil {
			return err
		}
	}
}
