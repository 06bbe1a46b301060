package e2e

import (
	"testing"
	"time"
)

// TestMainJob is what CDSA is for, as three people do it.
func TestMainJob(t *testing.T) {
	out := startOutside(t)
	s := startServer(t, out.allow())
	with := s.settings()
	with.Document, with.ToolURL = document(t), out.URL
	runClient(t, "mainjob.mjs", 3*time.Minute, with, out.asked(t))
}

// TestMainJob_Killed does it while the server is killed during the answer, between an approval and its call, and
// during the call.
func TestMainJob_Killed(t *testing.T) {
	out := startOutside(t)
	s := startServer(t, out.allow(), slowly)
	with := s.settings()
	with.Document, with.ToolURL = document(t), out.URL
	asked := out.asked(t)
	asked["kill"] = func() any {
		s.kill(t)
		s.start(t)
		return nil
	}
	runClient(t, "faults.mjs", 4*time.Minute, with, asked)
}

// TestReplicas has two servers on one database and one NATS process serve one conversation, until one is killed.
func TestReplicas(t *testing.T) {
	out := startOutside(t)
	shared := append(replicaEnv(t), out.allow(), slowly)
	first, second := startServer(t, shared...), startServer(t, shared...)
	with := first.settings()
	with.OtherURL, with.ToolURL = second.url, out.URL
	asked := out.asked(t)
	asked["killFirst"] = func() any { first.kill(t); return nil }
	runClient(t, "replicas.mjs", 3*time.Minute, with, asked)
}

// TestClients shares one server among what does not disturb the others.
func TestClients(t *testing.T) {
	s := startServer(t, slowly)
	t.Run("HTTPAudits", func(t *testing.T) { runClient(t, "audits.mjs", time.Minute, s.settings(), nil) })
	t.Run("EventStream", func(t *testing.T) { runClient(t, "sse.mjs", time.Minute, s.settings(), nil) })
	t.Run("ApolloResumes", func(t *testing.T) { runClient(t, "apollo.mjs", 2*time.Minute, s.settings(), nil) })
}

// TestBrowser opens the playground. Access tokens end within seconds, so that it renews them, for its socket too. The
// server is killed under it and comes back.
func TestBrowser(t *testing.T) {
	s := startServer(t, "CDSA_ACCESS_TOKEN_TTL=3s")
	with := s.settings()
	with.Chromium = browser(t)
	runClient(t, "browser.mjs", 3*time.Minute, with, map[string]func() any{
		"kill":  func() any { s.kill(t); return nil },
		"start": func() any { s.start(t); return nil },
	})
}

// TestIdentity does what people and administrators do with accounts, roles and tokens, by Apollo Client.
func TestIdentity(t *testing.T) {
	s := startServer(t)
	with := s.settings()
	with.Mails = s.mails()
	runClient(t, "identity.mjs", 2*time.Minute, with, nil)
}

// TestSecondFactor enrols, signs in and steps up with codes of another implementation than the server's.
func TestSecondFactor(t *testing.T) {
	s := startServer(t, "CDSA_MFA_REQUIRED_FOR=change_roles")
	runClient(t, "secondfactor.mjs", time.Minute, s.settings(), nil)
}
