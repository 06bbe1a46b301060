package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/textproto"
	"strconv"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// How a connection to an SMTP server is secured.
const (
	StartTLS = "starttls" // begun in clear, then TLS or nothing
	Implicit = "implicit" // TLS from the first byte
	Clear    = "none"     // to this machine only
)

// dialog bounds the delivery of one message, from dialling to the server's last word.
const dialog = 30 * time.Second

// SMTPConfig is where and how messages are handed over.
type SMTPConfig struct {
	Addr               string // host:port
	TLS                string // StartTLS, Implicit or Clear
	Username, Password string // no username: no authentication
	From               string
	Roots              *x509.CertPool // nil: the system's
	Timeout            time.Duration  // of a whole delivery; 0: half a minute
}

// SMTP hands messages to a server, each over a connection of its own.
type SMTP struct {
	host    string
	from    *mail.Address
	tls     *tls.Config
	mode    string
	timeout time.Duration
	options []gomail.Option
}

var _ Sender = (*SMTP)(nil)

// NewSMTP checks the settings; it does not dial. Clear text is refused to any machine but this one.
func NewSMTP(c SMTPConfig) (*SMTP, error) {
	from, err := ParseSender(c.From)
	if err != nil {
		return nil, err
	}
	host, text, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return nil, errors.New("mail: the SMTP server is not host:port")
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, errors.New("mail: the SMTP server's port is not a number")
	}
	s := &SMTP{host: host, from: from, mode: c.TLS, timeout: c.Timeout, tls: &tls.Config{ServerName: host, RootCAs: c.Roots, MinVersion: tls.VersionTLS12}}
	if s.timeout <= 0 {
		s.timeout = dialog
	}
	policy := gomail.NoTLS
	switch c.TLS {
	case StartTLS:
		policy = gomail.TLSMandatory
	case Implicit: // the connection is TLS when the library gets it
	case Clear:
		if !loopback(host) {
			return nil, errors.New("mail: clear text is for an SMTP server on this machine")
		}
	default:
		return nil, fmt.Errorf("mail: there is no way %q to secure SMTP", c.TLS)
	}
	s.options = []gomail.Option{gomail.WithPort(port), gomail.WithTimeout(s.timeout), gomail.WithTLSPolicy(policy), gomail.WithTLSConfig(s.tls), gomail.WithoutSMTPUTF8(), gomail.WithoutNoop()}
	if c.Username != "" {
		s.options = append(s.options, gomail.WithUsername(c.Username), gomail.WithPassword(c.Password),
			gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin))
	}
	if _, err := gomail.NewClient(host, s.options...); err != nil {
		return nil, errors.New("mail: the settings of the SMTP server are not accepted") // the cause may quote them
	}
	return s, nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// Send delivers the message to the server. It ends when ctx does.
func (s *SMTP) Send(ctx context.Context, m Message) error {
	g, err := m.build(s.from, time.Now().UTC())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	line := &wire{smtp: s, ctx: ctx}
	defer line.close()
	client, err := gomail.NewClient(s.host, append(s.options[:len(s.options):len(s.options)], gomail.WithDialContextFunc(line.dial))...)
	if err != nil {
		return &Error{Step: "prepare a connection"}
	}
	if err := client.DialWithContext(ctx); err != nil {
		return failed(ctx, "connect", err)
	}
	err = client.Send(g)
	if g.IsDelivered() { // what went wrong after the server took it is no failure of the message
		_ = client.Close()
		return nil
	}
	return failed(ctx, "deliver", err)
}

// wire is the connection of one delivery. The library neither watches a context once it has dialled nor closes a
// connection that it gave up on.
type wire struct {
	smtp *SMTP
	ctx  context.Context //nolint:containedctx // lives as long as the call it is of
	conn net.Conn
	stop func() bool
}

func (w *wire) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var err error
	if w.smtp.mode == Implicit {
		w.conn, err = (&tls.Dialer{Config: w.smtp.tls}).DialContext(ctx, network, addr)
	} else {
		w.conn, err = (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	if err != nil {
		return nil, err
	}
	conn := w.conn
	w.stop = context.AfterFunc(w.ctx, func() { _ = conn.Close() })
	return conn, nil
}

func (w *wire) close() {
	if w.stop != nil {
		w.stop()
		_ = w.conn.Close() // often closed by the library already
	}
}

// failed keeps of an error what holds no address: its number, or the network's own words from before there was one.
func failed(ctx context.Context, step string, err error) error {
	e := &Error{Step: step}
	var (
		sent  *gomail.SendError
		reply *textproto.Error
	)
	switch {
	case ctx.Err() != nil:
		e.cause = ctx.Err()
	case errors.As(err, &sent):
		e.Step, e.Code = sent.Reason.String(), sent.ErrorCode()
		e.final = e.Code >= 500 && e.Code < 600
	case errors.As(err, &reply):
		e.Code = reply.Code
	default:
		e.cause = network(err)
	}
	return e
}

// network lets the network's and TLS's own errors through, and no others.
func network(err error) error {
	var (
		op       *net.OpError
		verify   *tls.CertificateVerificationError
		hostname x509.HostnameError
	)
	switch {
	case errors.As(err, &op):
		return op
	case errors.As(err, &hostname):
		return errors.New("the certificate is not the server's")
	case errors.As(err, &verify):
		return errors.New("the certificate is not trusted")
	}
	return errors.New("the server does not offer what is needed, or broke off")
}
