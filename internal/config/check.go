package config

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"cdsa.dev/cdsa/internal/enum"
)

// checks are what the tag check names. Their errors never quote the value: some are secret.
var checks = map[string]func(string) error{
	"listen":   func(s string) error { return hostPort(s, true) },
	"hostport": func(s string) error { return hostPort(s, false) },
	"origin":   origin,
	"http":     func(s string) error { return scheme(s, "http", "https") },
	"postgres": func(s string) error { return scheme(s, "postgres", "postgresql") },
	"nats":     natsURLs,
	"email":    email,
	"mailbox":  mailbox,
}

func hostPort(s string, anyHost bool) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New("is not host:port")
	}
	if host == "" && !anyHost {
		return errors.New("lacks the host before the port")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 && !anyHost {
		return errors.New("has no port number between 1 and 65535")
	}
	return nil
}

// origin takes the serialised form of RFC 6454: what a browser sends, so that comparing text is enough.
func origin(s string) error {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.Scheme+"://"+u.Host != s || s != strings.ToLower(s) {
		return errors.New("holds what is not an origin such as https://app.example.org, in lower case and without a path; a star is not accepted")
	}
	return nil
}

func scheme(s string, allowed ...string) error {
	u, err := url.Parse(s)
	if err != nil || !slices.Contains(allowed, u.Scheme) {
		return fmt.Errorf("is not a URL that begins with %s://", strings.Join(allowed, ":// or "))
	}
	if u.Host == "" && strings.HasPrefix(u.Scheme, "http") {
		return errors.New("is a URL without a host")
	}
	return nil
}

func natsURLs(s string) error {
	for item := range strings.SplitSeq(s, ",") {
		u, err := url.Parse(strings.TrimSpace(item))
		if err != nil || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) || u.Host == "" {
			return errors.New("is not a URL that begins with nats:// or tls://")
		}
	}
	return nil
}

// email is only a first look; the account's own rules come when the administrator is made.
func email(s string) error {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || domain == "" || strings.ContainsAny(s, " \t\r\n,;<>") || strings.Contains(domain, "@") {
		return errors.New("is not an e-mail address")
	}
	return nil
}

// mailbox is an address with or without a name: CDSA <cdsa@example.org>.
func mailbox(s string) error {
	if _, err := mail.ParseAddress(s); err != nil || strings.ContainsAny(s, "\r\n") {
		return errors.New("is not a sender such as CDSA <cdsa@example.org>")
	}
	return nil
}

func checkSecret(f field, text string) error {
	if check, ok := checks[f.tag("check")]; ok {
		if err := check(text); err != nil {
			return err
		}
	}
	want := f.tag("bytes")
	if want == "" {
		return nil
	}
	b, err := Secret{text: text}.Key()
	if err != nil || strconv.Itoa(len(b)) != want {
		return fmt.Errorf("is not %s bytes in base64", want)
	}
	if len(slices.Compact(slices.Clone(b))) == 1 {
		return errors.New("is one byte over and over, not a key")
	}
	return nil
}

// relations checks and completes what depends on more than one variable.
func (l *loader) relations(c *Config) {
	if !c.Database.MigrateURL.IsSet() {
		c.Database.MigrateURL = c.Database.URL
	} else if !c.Database.URL.IsSet() {
		l.problem("CDSA_MIGRATE_URL needs DATABASE_URL as well: one is for the owner's role, the other for the server's.")
	}
	if c.LLM.Provider == "openai" && c.LLM.Model == "" {
		l.problem("CDSA_LLM_MODEL must be set when CDSA_LLM_PROVIDER is openai.")
	}
	if c.LLM.SensitivityCeiling == "" {
		c.LLM.SensitivityCeiling = enum.SensitivityInternal
		if c.LLM.Provider == "offline" { // nothing leaves the machine
			c.LLM.SensitivityCeiling = enum.SensitivityRestricted
		}
	}
	if c.Limits.Upload < c.Limits.Body {
		l.problem("CDSA_MAX_UPLOAD is smaller than CDSA_MAX_BODY.")
	}
	if weak := uint64(c.Identity.Argon2Memory>>10) * uint64(c.Identity.Argon2Iterations); weak > 0 && weak < 35*1024 {
		l.problem("CDSA_ARGON2_MEMORY times CDSA_ARGON2_ITERATIONS is below OWASP's least of 7 MiB five times.")
	}
	if c.Identity.SessionTTL > c.Identity.SessionMaxAge {
		l.problem("CDSA_SESSION_TTL is longer than CDSA_SESSION_MAX_AGE.")
	}
	if c.Identity.LockoutBase > c.Identity.LockoutMax {
		l.problem("CDSA_LOCKOUT_BASE is longer than CDSA_LOCKOUT_MAX.")
	}
	if slices.Contains(c.Identity.MFARequired, "none") {
		if len(c.Identity.MFARequired) > 1 {
			l.problem("CDSA_MFA_REQUIRED_FOR names none and something else.")
		}
		c.Identity.MFARequired = nil
	}
	l.mail(c)
	if c.InProduction() {
		l.production(c)
	}
}

// mail completes the public address and refuses to send mail in clear to another machine.
func (l *loader) mail(c *Config) {
	m := &c.Mail
	if m.SMTPAddr != "" {
		if m.SMTPTLS == "none" && !loopbackURL("//"+m.SMTPAddr) {
			l.problem("CDSA_SMTP_TLS is none, but CDSA_SMTP_ADDR is on another machine: passwords and links would be sent in clear.")
		}
		if m.From == "" {
			l.problem("CDSA_MAIL_FROM must be set when CDSA_SMTP_ADDR is.")
		}
		switch {
		case !c.InProduction():
		case m.PublicURL == "":
			l.problem("CDSA_PUBLIC_URL must be set in production when CDSA_SMTP_ADDR is: mails hold links to it.")
		case strings.HasPrefix(m.PublicURL, "http://") && !loopbackURL(m.PublicURL):
			l.problem("CDSA_PUBLIC_URL begins with http://: links that set passwords would lead people over a line in clear.")
		}
	}
	if (m.SMTPUsername != "") != m.SMTPPassword.IsSet() {
		l.problem("CDSA_SMTP_USERNAME and CDSA_SMTP_PASSWORD go together.")
	}
	if m.PublicURL == "" {
		m.PublicURL = publicURL(c.Server.ListenAddr)
	}
}

// ListenOn moves the server to another address, and with it the public one unless that was chosen.
func (c *Config) ListenOn(addr string) {
	if c.Mail.PublicURL == publicURL(c.Server.ListenAddr) {
		c.Mail.PublicURL = publicURL(addr)
	}
	c.Server.ListenAddr = addr
}

func publicURL(listen string) string { return "http://" + reachable(listen) }

// reachable is a listen address as a client on this machine dials it.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

func (l *loader) production(c *Config) {
	if !c.Bus.URL.IsSet() && !c.Keys.Bus.IsSet() {
		l.problem("CDSA_BUS_KEY must be set in production when NATS_URL is empty.")
	}
	if c.Identity.AdminPassword.IsSet() && c.Identity.AdminEmail == "" {
		l.problem("CDSA_ADMIN_EMAIL must be set when CDSA_ADMIN_PASSWORD is.")
	}
	if p := c.Identity.AdminPassword.Reveal(); p != "" && len(p) < 12 {
		l.problem("CDSA_ADMIN_PASSWORD is shorter than 12 characters.")
	}
	if c.LLM.Provider == "openai" && !loopbackURL(c.LLM.BaseURL) {
		if strings.HasPrefix(c.LLM.BaseURL, "http://") {
			l.problem("CDSA_LLM_BASE_URL sends conversations in clear; production needs https:// to another machine.")
		}
		if !c.LLM.APIKey.IsSet() {
			l.problem("CDSA_LLM_API_KEY must be set in production for a provider on another machine.")
		}
	}
	for _, p := range c.Server.TrustedProxies {
		if p.Bits() == 0 {
			l.problem("CDSA_TRUSTED_PROXIES trusts every address; name the proxies' own networks.")
		}
	}
}

func loopbackURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && a.IsLoopback()
}
