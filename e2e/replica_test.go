package e2e

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/pgtest"
)

// replicaEnv is what replicas have in common: a database, a NATS server in a process of its own, and keys.
func replicaEnv(t *testing.T) []string {
	t.Helper()
	db := pgtest.New(t)
	return []string{
		"DATABASE_URL=" + db.URL, "CDSA_MIGRATE_URL=" + db.OwnerURL, "NATS_URL=nats://" + startNATS(t),
		"CDSA_SIGNING_KEY=" + key(t, 32), "CDSA_CURSOR_KEY=" + key(t, 64), "CDSA_AUDIT_KEY=" + key(t, 32), "CDSA_IDENTITY_KEY=" + key(t, 32),
	}
}

func key(t *testing.T, bytes int) string {
	t.Helper()
	b := make([]byte, bytes)
	_, err := rand.Read(b)
	require.NoError(t, err)
	return base64.StdEncoding.EncodeToString(b)
}

// startNATS builds and runs nats-server with JetStream, of the version that go.mod names.
func startNATS(t *testing.T) (address string) {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "nats-server")
	ctx, cancel := context.WithTimeout(t.Context(), buildLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", bin, "github.com/nats-io/nats-server/v2").CombinedOutput()
	require.NoError(t, err, "%s", out)

	address = freeAddr(t)
	host, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	log, err := os.Create(filepath.Join(dir, "nats.log"))
	require.NoError(t, err)
	defer log.Close()
	cmd := exec.Command(bin, "-a", host, "-p", port, "-js", "-sd", filepath.Join(dir, "store"))
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, startWithParent(cmd))
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended; its exit code is of no interest
		_ = cmd.Wait()
	})
	require.Eventually(t, func() bool {
		c, err := net.DialTimeout("tcp", address, time.Second)
		return err == nil && c.Close() == nil
	}, stopLimit, 20*time.Millisecond, "nats-server does not listen")
	return address
}
