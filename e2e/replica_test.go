package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/pgtest"
	"cdsa.dev/cdsa/internal/testkit/process"
)

// replicaEnv is what replicas have in common: a database, a NATS server in a process of its own, and keys.
func replicaEnv(t *testing.T) []string {
	t.Helper()
	db := pgtest.New(t)
	return []string{
		"DATABASE_URL=" + db.URL, "CDSA_MIGRATE_URL=" + db.OwnerURL, "NATS_URL=" + process.StartNATS(t).URL,
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
