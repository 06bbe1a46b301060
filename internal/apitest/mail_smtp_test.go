//go:build unix

package apitest

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/pgtest"
)

// postOffice is an SMTP server that knows nobody called gone and takes mails for later another time.
type postOffice struct {
	mu    sync.Mutex
	taken map[string]string // by recipient
}

func (p *postOffice) NewSession(*smtp.Conn) (smtp.Session, error) { return &counter{office: p}, nil }

type counter struct {
	office *postOffice
	to     string
}

func (*counter) Mail(string, *smtp.MailOptions) error { return nil }
func (c *counter) Rcpt(to string, _ *smtp.RcptOptions) error {
	c.to = to
	switch {
	case strings.HasPrefix(to, "gone."):
		return &smtp.SMTPError{Code: 550, Message: "no mailbox " + to}
	case strings.HasPrefix(to, "later."):
		return &smtp.SMTPError{Code: 451, Message: "come back later with mail for " + to}
	}
	return nil
}

func (c *counter) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	c.office.mu.Lock()
	defer c.office.mu.Unlock()
	c.office.taken[c.to] = string(b)
	return err
}
func (*counter) Reset()        {}
func (*counter) Logout() error { return nil }

// TestMail_SMTP: what the server takes is done, what it puts off is tried again, what it refuses is not, and neither
// the queue nor the log has its words, which name the recipient.
func TestMail_SMTP(t *testing.T) {
	office := &postOffice{taken: map[string]string{}}
	srv := smtp.NewServer(office)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	t.Cleanup(func() {
		require.NoError(t, srv.Close())
		<-ended
	})
	s := startReplica(t, pgtest.New(t), "CDSA_SMTP_ADDR="+ln.Addr().String(), "CDSA_SMTP_TLS=none")
	for name, state := range map[string]string{"there": "completed", "gone": "cancelled", "later": "retryable"} {
		x := s.newPerson(t, name, "analyst")
		eventually(t, name+" is "+state, func() bool {
			return s.text(t, `SELECT (count(*) = 1)::text FROM river_job j JOIN mailed_tokens m ON m.id = (j.args->>'id')::uuid WHERE m.user_id = $1 AND j.state = $2::river_job_state`, x.id, state) == "true"
		})
		office.mu.Lock()
		require.Equal(t, name == "there", strings.Contains(office.taken[x.email], "To: <"+x.email+">"))
		office.mu.Unlock()
	}
	require.Equal(t, "0", s.text(t, `SELECT count(*)::text FROM river_job j WHERE j::text LIKE '%example.org%' OR j::text LIKE '%cdsa_ev_%'`))
	require.Contains(t, s.text(t, `SELECT errors::text FROM river_job WHERE state = 'cancelled'`), "the server answered 550")
}
