package e2e

import (
	"testing"
	"time"
)

// TestAccountInBrowser does in the playground what people do with their accounts, with mails read from the folder of a
// developer's server. Go test's flag -artifacts keeps the pictures it takes.
func TestAccountInBrowser(t *testing.T) {
	s := startServer(t)
	with := s.settings()
	with.Chromium, with.Pictures = browser(t), t.ArtifactDir()
	with.Mails = s.mails()
	runClient(t, "account.mjs", 3*time.Minute, with, nil)
}
