package e2e

import (
	"testing"
	"time"
)

// TestMainJob is what CDSA is for, as three people do it.
func TestMainJob(t *testing.T) {
	address, url, hits := outside(t)
	s := startServer(t, "CDSA_HTTP_TOOL_ALLOW="+address)
	with := s.settings()
	with.Document, with.ToolURL = document(t), url
	runClient(t, "mainjob.mjs", 3*time.Minute, with, map[string]func() any{"hits": func() any { return hits.Load() }})
}

// TestMainJob_Killed does it while the server is killed during the answer, and between an approval and its call.
func TestMainJob_Killed(t *testing.T) {
	address, url, hits := outside(t)
	s := startServer(t, "CDSA_HTTP_TOOL_ALLOW="+address, "CDSA_LLM_OFFLINE_DELAY=50ms")
	with := s.settings()
	with.Document, with.ToolURL = document(t), url
	runClient(t, "faults.mjs", 4*time.Minute, with, map[string]func() any{
		"hits": func() any { return hits.Load() },
		"kill": func() any {
			s.kill(t)
			s.start(t)
			return nil
		},
	})
}

// TestClients shares one server among what does not disturb the others.
func TestClients(t *testing.T) {
	s := startServer(t)
	t.Run("HTTPAudits", func(t *testing.T) { runClient(t, "audits.mjs", time.Minute, s.settings(), nil) })
	t.Run("EventStream", func(t *testing.T) { runClient(t, "sse.mjs", time.Minute, s.settings(), nil) })
	t.Run("Browser", func(t *testing.T) {
		with := s.settings()
		with.Chromium = browser(t)
		runClient(t, "browser.mjs", 2*time.Minute, with, nil)
	})
}
