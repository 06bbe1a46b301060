package mail_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/mail"
)

const from = "The Café <cdsa@example.org>"

// server is a real SMTP server in this process.
type server struct {
	addr  string
	roots *x509.CertPool

	mu       sync.Mutex
	mails    []string // headers and bodies, with the envelope before them
	refuse   *smtp.SMTPError
	secure   []bool // whether each mail came over TLS
	sessions int
	hold     chan struct{} // closed: goes on with the greeting of a session
}

type session struct {
	s      *server
	c      *smtp.Conn
	auth   bool
	signed bool
	env    string
}

func (s *server) NewSession(c *smtp.Conn) (smtp.Session, error) {
	s.mu.Lock()
	s.sessions++
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		<-hold
	}
	return &session{s: s, c: c, auth: true}, nil
}

func (x *session) AuthMechanisms() []string { return []string{sasl.Plain} }
func (x *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, pass string) error {
		if user != "mailer" || pass != "a secret for the post" {
			return errors.New("no")
		}
		x.signed = true
		return nil
	}), nil
}

func (x *session) Mail(from string, _ *smtp.MailOptions) error {
	if !x.signed {
		return smtp.ErrAuthRequired
	}
	x.env = "MAIL " + from + "\n"
	return nil
}

func (x *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if x.s.refuse != nil {
		e := *x.s.refuse
		e.Message += " <" + to + ">"
		return &e
	}
	x.env += "RCPT " + to + "\n"
	return nil
}

func (x *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	_, secure := x.c.TLSConnectionState()
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	x.s.mails = append(x.s.mails, x.env+"\n"+string(b))
	x.s.secure = append(x.s.secure, secure)
	return nil
}
func (x *session) Reset()        {}
func (x *session) Logout() error { return nil }

// serve starts a server; mode is one of mail's, or plain for one that has no TLS at all.
func serve(t *testing.T, mode string) *server {
	t.Helper()
	s := &server{roots: x509.NewCertPool()}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "post"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	s.roots.AddCert(cert)
	srv := smtp.NewServer(s)
	srv.Domain, srv.AllowInsecureAuth = "localhost", mode == mail.Clear || mode == "plain"
	srv.ErrorLog = discard{}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.addr = ln.Addr().String()
	conf := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	switch mode {
	case mail.StartTLS:
		srv.TLSConfig = conf
	case mail.Implicit:
		ln = tls.NewListener(ln, conf)
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	t.Cleanup(func() {
		require.NoError(t, srv.Close())
		<-ended
	})
	return s
}

type discard struct{}

func (discard) Printf(string, ...any) {}
func (discard) Println(...any)        {}

func (s *server) config(mode string) mail.SMTPConfig {
	return mail.SMTPConfig{Addr: s.addr, TLS: mode, Username: "mailer", Password: "a secret for the post", From: from, Roots: s.roots, Timeout: 20 * time.Second}
}

// outbox is a sender and what came of it.
type outbox struct {
	mail.Sender
	received func(t *testing.T) []string
}

// senders are the implementations, SMTP in each of its ways.
func senders(t *testing.T) map[string]outbox {
	t.Helper()
	m := map[string]outbox{}
	for _, mode := range []string{mail.StartTLS, mail.Implicit, mail.Clear} {
		s := serve(t, mode)
		c, err := mail.NewSMTP(s.config(mode))
		require.NoError(t, err)
		m[mode] = outbox{c, func(t *testing.T) []string {
			s.mu.Lock()
			defer s.mu.Unlock()
			var l []string
			for i, text := range s.mails {
				env, text, ok := strings.Cut(text, "\n\n")
				require.True(t, ok)
				require.Equal(t, "MAIL cdsa@example.org\nRCPT otto@example.org", env)
				require.Equal(t, mode != mail.Clear, s.secure[i])
				l = append(l, text)
			}
			return l
		}}
	}
	dir := filepath.Join(t.TempDir(), "data", "mail")
	f, err := mail.NewFolder(dir, from, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	m["folder"] = outbox{f, func(t *testing.T) []string { return files(t, dir) }}
	return m
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var l []string
	for _, e := range entries {
		require.True(t, strings.HasSuffix(e.Name(), ".eml"), e.Name())
		info, err := e.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		l = append(l, string(b))
	}
	return l
}

// parsed is a mail as another program reads it.
type parsed struct {
	header netmail.Header
	text   string
}

func parse(t *testing.T, raw string) parsed {
	t.Helper()
	m, err := netmail.ReadMessage(strings.NewReader(raw))
	require.NoError(t, err)
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "text/plain", kind)
	require.Equal(t, "UTF-8", params["charset"])
	body := m.Body
	switch encoding := m.Header.Get("Content-Transfer-Encoding"); encoding {
	case "quoted-printable":
		body = quotedprintable.NewReader(m.Body)
	default:
		require.Equal(t, "8bit", encoding)
	}
	b, err := io.ReadAll(body)
	require.NoError(t, err)
	return parsed{m.Header, strings.TrimRight(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n")}
}

func message() mail.Message {
	return mail.Message{
		ID: uuid.MustParse("3b4cdb3c-6a5e-4a6e-9d0a-1f3a2a9a6f11"), Kind: mail.Reset, To: "otto@example.org", Name: "Otto Öhm", Subject: "Über the moon",
		Text: "Grüße.\n.\n..dots at the beginning\nFrom here\n" + strings.Repeat("long ", 400) + "\nhttps://cdsa.example.org/#reset=cdsa_rs_" + strings.Repeat("aA-_", 16) + "\n",
	}
}

func TestSenders_Deliver(t *testing.T) {
	for name, o := range senders(t) {
		t.Run(name, func(t *testing.T) {
			m := message()
			require.NoError(t, o.Send(context.Background(), m))
			got := o.received(t)
			require.Len(t, got, 1)
			p := parse(t, got[0])
			require.Equal(t, strings.TrimRight(m.Text, "\n"), p.text)
			to, err := p.header.AddressList("To")
			require.NoError(t, err)
			require.Equal(t, []*netmail.Address{{Name: "Otto Öhm", Address: "otto@example.org"}}, to)
			sender, err := p.header.AddressList("From")
			require.NoError(t, err)
			require.Equal(t, []*netmail.Address{{Name: "The Café", Address: "cdsa@example.org"}}, sender)
			subject, err := new(mime.WordDecoder).DecodeHeader(p.header.Get("Subject"))
			require.NoError(t, err)
			require.Equal(t, m.Subject, subject)
			require.Equal(t, "<"+m.ID.String()+"@example.org>", p.header.Get("Message-Id"))
			require.Equal(t, "auto-generated", p.header.Get("Auto-Submitted"))
			at, err := p.header.Date()
			require.NoError(t, err)
			require.WithinDuration(t, time.Now(), at, time.Minute)
			require.Empty(t, p.header.Get("X-Mailer")+p.header.Get("User-Agent"))
			host, err := os.Hostname()
			require.NoError(t, err)
			if host != "localhost" {
				require.NotContains(t, got[0], host, "the machine's name is nobody's business")
			}
		})
	}
}

// TestSenders_Plain: what needs no encoding has none, so that a link can be copied from the raw message.
func TestSenders_Plain(t *testing.T) {
	link := "https://cdsa.example.org/#reset=cdsa_rs_" + strings.Repeat("aA-_", 16)
	for name, o := range senders(t) {
		t.Run(name, func(t *testing.T) {
			for i, c := range []struct{ text, encoding string }{
				{"Open this:\n.\n..dots\nFrom here\n\n" + link + "\n\nIf not, do nothing. a=3D\n", "8bit"},
				{strings.Repeat("a", 998) + "\n", "8bit"},
				{strings.Repeat("a", 999) + "\n", "quoted-printable"},
				{"Grüße\n" + link + "\n", "quoted-printable"},
			} {
				m := message()
				m.ID, m.Text = uuid.New(), c.text
				require.NoError(t, o.Send(context.Background(), m))
				got := o.received(t)
				require.Len(t, got, i+1)
				p := parse(t, got[i])
				require.Equal(t, c.encoding, p.header.Get("Content-Transfer-Encoding"))
				require.Equal(t, strings.TrimRight(c.text, "\n"), p.text)
				require.NotContains(t, strings.ReplaceAll(got[i], "\r\n", ""), "\n", "lines end in CRLF")
				if i == 0 {
					require.Contains(t, got[i], "\r\n"+link+"\r\n")
				}
				for line := range strings.SplitSeq(got[i], "\r\n") {
					require.LessOrEqual(t, len(line), 998)
				}
			}
		})
	}
}

func TestSenders_AtOnce(t *testing.T) {
	for name, o := range senders(t) {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			failed := make(chan error, 20)
			for range 20 {
				wg.Go(func() {
					m := message()
					m.ID = uuid.New()
					failed <- o.Send(context.Background(), m)
				})
			}
			wg.Wait()
			for range 20 {
				require.NoError(t, <-failed)
			}
			seen := map[string]bool{}
			for _, raw := range o.received(t) {
				seen[parse(t, raw).header.Get("Message-Id")] = true
			}
			require.Len(t, seen, 20)
		})
	}
}

// Names that would begin a header, end one, or look like one to a sloppy reader.
var hostileNames = []string{
	"Otto\r\nBcc: all@example.org", "Otto\nX-A: b", "Otto\rX-A: b", "a\x00b", "\u2028Bcc: all@example.org", "a\u0085b", "\x7f", "\xff\xfe", strings.Repeat("x", 500),
}

var quotedNames = []string{
	`Otto" <all@example.org>, "`, `=?utf-8?q?a=0D=0ABcc:_all@example.org?=`, "Otto <all@example.org>", "Otto, Öhm; (a comment) : group", `back\slash "quotes"`,
	strings.Repeat("Ö", 200), strings.Repeat("x y", 66), "李 四", "🦦 otter",
}

func TestSenders_Hostile(t *testing.T) {
	for name, o := range senders(t) {
		t.Run(name, func(t *testing.T) {
			refused := func(what string, change func(*mail.Message)) {
				m := message()
				change(&m)
				err := o.Send(context.Background(), m)
				require.Error(t, err, "%s", what)
				require.True(t, mail.Permanent(err), "%v", err)
				require.NotContains(t, err.Error(), "example.org")
			}
			for _, n := range hostileNames {
				refused("name "+n, func(m *mail.Message) { m.Name = n })
				if len(n) < 400 {
					refused("subject "+n, func(m *mail.Message) { m.Subject = n })
				}
			}
			for _, a := range []string{
				"", "otto", "otto@example.org\r\nRCPT TO:<all@example.org>", "otto@example.org\n", "otto@example.org, all@example.org", "Otto <otto@example.org>", "<otto@example.org>",
				`"otto smith"@example.org`, `"a\"b"@example.org`, "otto@[192.0.2.1]", "ötto@example.org", "otto@exämple.org", "otto@example.org>", "otto @example.org", "(c)otto@example.org",
				"otto@example.org\x00", strings.Repeat("a", 250) + "@example.org", "@example.org:otto@example.org", "all:otto@example.org;",
			} {
				refused("address "+a, func(m *mail.Message) { m.To = a })
			}
			refused("no text", func(m *mail.Message) { m.Text = "" })
			refused("carriage return", func(m *mail.Message) { m.Text = "a\r\n.\r\nMAIL FROM:<x@example.org>" })
			refused("not text", func(m *mail.Message) { m.Text = "\xff" })
			refused("much text", func(m *mail.Message) { m.Text = strings.Repeat("a", 1<<20) })
			refused("no id", func(m *mail.Message) { m.ID = uuid.Nil })
			require.Empty(t, o.received(t))

			for i, n := range quotedNames {
				m := message()
				m.ID, m.Name = uuid.New(), n
				require.NoError(t, o.Send(context.Background(), m), n)
				got := o.received(t)
				require.Len(t, got, i+1)
				p := parse(t, got[i])
				to, err := p.header.AddressList("To")
				require.NoError(t, err, "%s", p.header["To"])
				require.Equal(t, []*netmail.Address{{Name: n, Address: "otto@example.org"}}, to)
				require.Empty(t, p.header.Get("Bcc"))
				require.Len(t, p.header, 9, "%v", p.header)
				for line := range strings.SplitSeq(got[i], "\r\n") {
					require.LessOrEqual(t, len(line), 998, "RFC 5322 section 2.1.1")
					require.NotContains(t, line, "\r")
				}
			}
		})
	}
}

func TestSenders_EndedContext(t *testing.T) {
	s := serve(t, mail.StartTLS)
	c, err := mail.NewSMTP(s.config(mail.StartTLS))
	require.NoError(t, err)
	s.hold = make(chan struct{})
	defer close(s.hold)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Send(ctx, message()) }()
	require.Eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.sessions > 0 }, 10*time.Second, time.Millisecond)
	cancel() // in the midst of the dialog
	err = <-done
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, mail.Permanent(err))
}

func TestFolder_Log(t *testing.T) {
	var b bytes.Buffer
	dir := t.TempDir()
	f, err := mail.NewFolder(dir, from, slog.New(slog.NewTextHandler(&b, nil)))
	require.NoError(t, err)
	require.NoError(t, f.Send(context.Background(), message()))
	require.Contains(t, b.String(), "kind=reset")
	require.Contains(t, b.String(), dir)
	for _, secret := range []string{"otto", "Otto", "cdsa_rs_", "http"} {
		require.NotContains(t, b.String(), secret)
	}
}
