package mail_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/mail"
)

// TestSMTP_Refuses: no password and no mail goes over a line that is not as it was asked for, and no error tells whom a
// mail was for.
func TestSMTP_Refuses(t *testing.T) {
	for name, c := range map[string]struct {
		server, mode string
		change       func(*mail.SMTPConfig, *server)
		permanent    bool
		says         string
	}{
		"NoStartTLS":      {server: "plain", mode: mail.StartTLS},
		"PlainNotTLS":     {server: "plain", mode: mail.Implicit},
		"UnknownIssuer":   {server: mail.StartTLS, mode: mail.StartTLS, change: func(c *mail.SMTPConfig, _ *server) { c.Roots = nil }, says: "not trusted"},
		"UnknownIssuer2":  {server: mail.Implicit, mode: mail.Implicit, change: func(c *mail.SMTPConfig, _ *server) { c.Roots = nil }, says: "not trusted"},
		"OtherHost":       {server: mail.StartTLS, mode: mail.StartTLS, change: func(c *mail.SMTPConfig, _ *server) { _, p, _ := net.SplitHostPort(c.Addr); c.Addr = "localhost:" + p }, says: "not the server's"},
		"WrongPassword":   {server: mail.StartTLS, mode: mail.StartTLS, change: func(c *mail.SMTPConfig, _ *server) { c.Password = "wrong" }, says: "454"},
		"NotSignedIn":     {server: mail.StartTLS, mode: mail.StartTLS, change: func(c *mail.SMTPConfig, _ *server) { c.Username = "" }, permanent: true, says: "502"},
		"UnknownMailbox":  {server: mail.StartTLS, mode: mail.StartTLS, change: func(_ *mail.SMTPConfig, s *server) { s.refuse = &smtp.SMTPError{Code: 550, Message: "no mailbox"} }, permanent: true, says: "550"},
		"Greylisted":      {server: mail.StartTLS, mode: mail.StartTLS, change: func(_ *mail.SMTPConfig, s *server) { s.refuse = &smtp.SMTPError{Code: 451, Message: "later"} }, says: "451"},
		"NobodyListening": {server: mail.StartTLS, mode: mail.StartTLS, change: func(c *mail.SMTPConfig, _ *server) { c.Addr = "127.0.0.1:1" }, says: "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, c.server)
			conf := s.config(c.mode)
			conf.Timeout = 5 * time.Second
			if c.change != nil {
				c.change(&conf, s)
			}
			x, err := mail.NewSMTP(conf)
			require.NoError(t, err)
			err = x.Send(context.Background(), message())
			require.Error(t, err)
			require.Equal(t, c.permanent, mail.Permanent(err), "%v", err)
			require.Contains(t, err.Error(), c.says)
			for _, secret := range []string{"otto", "Otto", "cdsa_rs_", conf.Password, "mailer"} {
				require.NotContains(t, err.Error(), secret)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			require.Empty(t, s.mails)
		})
	}
}

func TestNewSMTP(t *testing.T) {
	ok := mail.SMTPConfig{Addr: "smtp.example.org:587", TLS: mail.StartTLS, From: from}
	_, err := mail.NewSMTP(ok)
	require.NoError(t, err)
	for name, change := range map[string]func(*mail.SMTPConfig){
		"ClearElsewhere": func(c *mail.SMTPConfig) { c.TLS = mail.Clear },
		"ClearByName":    func(c *mail.SMTPConfig) { c.TLS, c.Addr = mail.Clear, "localhost.example.org:25" },
		"UnknownMode":    func(c *mail.SMTPConfig) { c.TLS = "opportunistic" },
		"NoMode":         func(c *mail.SMTPConfig) { c.TLS = "" },
		"NoPort":         func(c *mail.SMTPConfig) { c.Addr = "smtp.example.org" },
		"PortZero":       func(c *mail.SMTPConfig) { c.Addr = "smtp.example.org:0" },
		"PortName":       func(c *mail.SMTPConfig) { c.Addr = "smtp.example.org:smtp" },
		"NoHost":         func(c *mail.SMTPConfig) { c.Addr = ":25" },
		"NoSender":       func(c *mail.SMTPConfig) { c.From = "" },
		"TwoSenders":     func(c *mail.SMTPConfig) { c.From = "a@example.org, b@example.org" },
		"SenderBreaks":   func(c *mail.SMTPConfig) { c.From = "a@example.org\r\nBcc: b@example.org" },
	} {
		t.Run(name, func(t *testing.T) {
			c := ok
			change(&c)
			_, err := mail.NewSMTP(c)
			require.Error(t, err)
		})
	}
	for _, addr := range []string{"127.0.0.1:25", "[::1]:25", "localhost:25"} {
		_, err := mail.NewSMTP(mail.SMTPConfig{Addr: addr, TLS: mail.Clear, From: from})
		require.NoError(t, err, addr)
	}
}

func TestLetter(t *testing.T) {
	until := time.Date(2026, 11, 27, 9, 30, 0, 0, time.UTC)
	for _, k := range []mail.Kind{mail.Reset, mail.Verify, mail.Invite, mail.Notice} {
		m, err := mail.Letter(k, uuid.New(), mail.Recipient{Address: "otto@example.org", Name: "Otto"}, "https://cdsa.example.org/#x=y", until)
		require.NoError(t, err)
		require.Contains(t, m.Text, "\nhttps://cdsa.example.org/#x=y\n")
		require.Regexp(t, "(until|since) 27 November 2026 09:30 UTC", m.Text)
		require.NotContains(t, m.Text, "Otto")
		require.NotContains(t, m.Text, "%!")
	}
	_, err := mail.Letter("other", uuid.New(), mail.Recipient{}, "", until)
	require.True(t, mail.Permanent(err))
}
