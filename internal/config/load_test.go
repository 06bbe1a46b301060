package config

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/enum"
)

func key(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return base64.StdEncoding.EncodeToString(b)
}

func production(extra ...string) []string {
	return append([]string{
		"PATH=/bin", "CDSA_ENV=production", "DATABASE_URL=postgres://app:hunter2@db/cdsa", "CDSA_SIGNING_KEY=" + key(32), "CDSA_CURSOR_KEY=" + key(64), "CDSA_AUDIT_KEY=" + key(32), "CDSA_IDENTITY_KEY=" + key(32), "CDSA_BUS_KEY=" + key(32),
	}, extra...)
}

func TestLoad_Defaults(t *testing.T) {
	c, err := Load([]string{"HOME=/", "TERM=x", "CDSA_LOG_LEVEL="})
	require.NoError(t, err)
	require.Equal(t, Dev, c.Env)
	require.Equal(t, "127.0.0.1:8080", c.Server.ListenAddr)
	require.Equal(t, ".data", c.Server.DataDir)
	require.Equal(t, "open", string(c.Identity.Registration))
	require.Equal(t, 15*time.Minute, c.Identity.AccessTokenTTL)
	require.Equal(t, Bytes(19<<20), c.Identity.Argon2Memory)
	require.Equal(t, Bytes(2<<20), c.Limits.Body)
	require.Equal(t, 30, c.Limits.Depth)
	require.Equal(t, slog.LevelInfo, c.Log.Level)
	require.Equal(t, enum.SensitivityRestricted, c.LLM.SensitivityCeiling)
	require.False(t, c.Database.URL.IsSet())
}

func TestLoad_Production(t *testing.T) {
	c, err := Load(production())
	require.NoError(t, err)
	require.Equal(t, RegistrationClosed, c.Identity.Registration)
	require.Equal(t, "json", c.Log.Format)
	require.Empty(t, c.Identity.AdminEmail)
	require.Equal(t, c.Database.URL, c.Database.MigrateURL)
	c, err = Load(production("CDSA_REGISTRATION=invite"))
	require.NoError(t, err)
	require.Equal(t, RegistrationInvite, c.Identity.Registration)

	_, err = Load([]string{"CDSA_ENV=production"})
	var p Problems
	require.ErrorAs(t, err, &p)
	for _, name := range []string{"DATABASE_URL", "CDSA_SIGNING_KEY", "CDSA_CURSOR_KEY", "CDSA_AUDIT_KEY", "CDSA_IDENTITY_KEY", "CDSA_BUS_KEY"} {
		require.Contains(t, err.Error(), name+" must be set in production")
	}
	require.Len(t, p, 6, "all at once")
}

func TestLoad_Values(t *testing.T) {
	c, err := Load([]string{
		"CDSA_ALLOWED_ORIGINS=https://a.example, http://localhost:3000,", "CDSA_TRUSTED_PROXIES=10.1.2.3/8,::1, 192.0.2.7", "CDSA_HTTP_TOOL_ALLOW=127.0.0.1:9000,[::1]:80",
		"CDSA_MAX_BODY=512KiB", "CDSA_MAX_UPLOAD=1 GiB", "CDSA_APPROVAL_TTL=90m", "CDSA_LOG_LEVEL=WARN", "CDSA_PPROF=true", "CDSA_MAX_DEPTH=12",
		"CDSA_LLM_PROVIDER=openai", "CDSA_LLM_MODEL=m", "CDSA_LLM_BASE_URL=http://localhost:4010/v1", "NATS_URL=nats://a:4222,nats://b:4222", "CDSA_ADMIN_PASSWORD= a=b ",
		"DATABASE_URL=postgres://app@db/x", "CDSA_MIGRATE_URL=postgresql://owner@db/x", "CDSA_SETUP_PRIVATE=1",
	})
	require.NoError(t, err)
	require.Equal(t, []string{"https://a.example", "http://localhost:3000"}, c.Server.AllowedOrigins)
	require.Equal(t, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("192.0.2.7/32")}, c.Server.TrustedProxies)
	require.Equal(t, Bytes(512<<10), c.Limits.Body)
	require.Equal(t, Bytes(1<<30), c.Limits.Upload)
	require.Equal(t, 90*time.Minute, c.Tools.ApprovalTTL)
	require.Equal(t, slog.LevelWarn, c.Log.Level)
	require.True(t, c.Log.PProf)
	require.Equal(t, " a=b ", c.Identity.AdminPassword.Reveal(), "a password is not trimmed")
	require.Equal(t, enum.SensitivityInternal, c.LLM.SensitivityCeiling)
	require.Equal(t, "postgresql://owner@db/x", c.Database.MigrateURL.Reveal())
}

func TestLoad_Refuses(t *testing.T) {
	for name, c := range map[string]struct {
		env  []string
		want string
	}{
		"NoTypo":            {[]string{"CDSA_FOO=1"}, "CDSA_FOO is not a setting"},
		"Typo":              {[]string{"CDSA_LISTEN_ADDRESS=:1"}, "did you mean CDSA_LISTEN_ADDR?"},
		"Unknown":           {[]string{"CDSA_SOMETHING_ELSE_ENTIRELY=1"}, "is not a setting; docs/config.md"},
		"UnknownEmpty":      {[]string{"CDSA_SOMETHING_ELSE_ENTIRELY="}, "is not a setting"},
		"FileOfNoSecret":    {[]string{"CDSA_ENV_FILE=/x"}, "CDSA_ENV_FILE is not a setting"},
		"Environment":       {[]string{"CDSA_ENV=prod"}, `CDSA_ENV: "prod" is not one of dev, production.`},
		"Listen":            {[]string{"CDSA_LISTEN_ADDR=8080"}, "is not host:port"},
		"ListenPort":        {[]string{"CDSA_LISTEN_ADDR=:99999"}, "port number"},
		"StarOrigin":        {[]string{"CDSA_ALLOWED_ORIGINS=*"}, "a star is not accepted"},
		"OriginWithPath":    {[]string{"CDSA_ALLOWED_ORIGINS=https://a.example/"}, "without a path"},
		"OriginNull":        {[]string{"CDSA_ALLOWED_ORIGINS=null"}, "not an origin"},
		"Proxy":             {[]string{"CDSA_TRUSTED_PROXIES=proxy.example"}, "not a network"},
		"Duration":          {[]string{"CDSA_APPROVAL_TTL=15"}, "is not a duration"},
		"DurationNegative":  {[]string{"CDSA_APPROVAL_TTL=-1h"}, "is not between 1s and 720h"},
		"RevocationTooSlow": {[]string{"CDSA_PRINCIPAL_TTL=5s"}, "is not between"},
		"Size":              {[]string{"CDSA_MAX_BODY=2MB"}, "is not a size"},
		"SizeOverflow":      {[]string{"CDSA_MAX_BODY=9223372036854775807GiB"}, "is not a size"},
		"SizeTooLarge":      {[]string{"CDSA_MAX_BODY=1GiB"}, "is not between 1KiB and 64MiB"},
		"UploadBelowBody":   {[]string{"CDSA_MAX_UPLOAD=1MiB"}, "CDSA_MAX_UPLOAD is smaller"},
		"Number":            {[]string{"CDSA_MAX_DEPTH=deep"}, "is not a whole number"},
		"Bool":              {[]string{"CDSA_PPROF=maybe"}, "is not true or false"},
		"Level":             {[]string{"CDSA_LOG_LEVEL=loud"}, "is not one of debug"},
		"Sensitivity":       {[]string{"CDSA_LLM_SENSITIVITY_CEILING=SECRET"}, "is not one of PUBLIC, INTERNAL, CONFIDENTIAL, RESTRICTED"},
		"ModelMissing":      {[]string{"CDSA_LLM_PROVIDER=openai"}, "CDSA_LLM_MODEL must be set"},
		"Email":             {[]string{"CDSA_ADMIN_EMAIL=admin"}, "is not an e-mail address"},
		"DatabaseURL":       {[]string{"DATABASE_URL=mysql://root:hunter2@db/x"}, "DATABASE_URL: its value is not a URL"},
		"DatabaseURLBroken": {[]string{"DATABASE_URL=postgres://app:hunter2@db:port/x"}, "DATABASE_URL: its value"},
		"NATSURL":           {[]string{"NATS_URL=http://x"}, "NATS_URL: its value"},
		"MigrateAlone":      {[]string{"CDSA_MIGRATE_URL=postgres://owner@db/x"}, "needs DATABASE_URL"},
		"CursorKeyShort":    {[]string{"CDSA_CURSOR_KEY=" + key(32)}, "is not 64 bytes in base64"},
		"CursorKeyZero":     {[]string{"CDSA_CURSOR_KEY=" + base64.StdEncoding.EncodeToString(make([]byte, 64))}, "one byte over and over"},
		"KeyNotBase64":      {[]string{"CDSA_BUS_KEY=hunter2!"}, "is not 32 bytes in base64"},
		"WeakHash":          {[]string{"CDSA_ARGON2_MEMORY=7MiB"}, "OWASP"},
		"FileMissing":       {[]string{"CDSA_BUS_KEY_FILE=/nowhere/hunter2"}, "CDSA_BUS_KEY_FILE: the file cannot be read"},
		"BothGiven":         {[]string{"CDSA_BUS_KEY=" + key(32), "CDSA_BUS_KEY_FILE=/nowhere"}, "are both set"},
		"ClearMail":         {[]string{"CDSA_SMTP_ADDR=smtp.example.org:25", "CDSA_SMTP_TLS=none"}, "sent in clear"},
		"MailSender":        {[]string{"CDSA_MAIL_FROM=a@b.example, c@d.example"}, "is not a sender"},
		"MailSenderBreaks":  {[]string{"CDSA_MAIL_FROM=a@b.example\r\nBcc: c@d.example"}, "is not a sender"},
		"MailSenderMissing": {production("CDSA_SMTP_ADDR=smtp.example.org:587", "CDSA_PUBLIC_URL=https://cdsa.example.org"), "CDSA_MAIL_FROM must be set"},
		"MailHalfSignedIn":  {[]string{"CDSA_SMTP_ADDR=smtp.example.org:587", "CDSA_SMTP_PASSWORD=hunter2"}, "go together"},
		"MailWithoutLinks":  {production("CDSA_SMTP_ADDR=smtp.example.org:587", "CDSA_MAIL_FROM=a@b.example"), "CDSA_PUBLIC_URL must be set"},
		"MailClearLinks":    {production("CDSA_SMTP_ADDR=smtp.example.org:587", "CDSA_MAIL_FROM=a@b.example", "CDSA_PUBLIC_URL=http://cdsa.example.org"), "line in clear"},
		"AllProxies":        {production("CDSA_TRUSTED_PROXIES=0.0.0.0/0"), "trusts every address"},
		"ClearModel":        {production("CDSA_LLM_PROVIDER=openai", "CDSA_LLM_MODEL=m", "CDSA_LLM_API_KEY=k", "CDSA_LLM_BASE_URL=http://models.example/v1"), "in clear"},
		"KeylessModel":      {production("CDSA_LLM_PROVIDER=openai", "CDSA_LLM_MODEL=m"), "CDSA_LLM_API_KEY must be set"},
		"AdminWithoutEmail": {production("CDSA_ADMIN_PASSWORD=hunter2-hunter2"), "CDSA_ADMIN_EMAIL must be set"},
		"AdminShort":        {production("CDSA_ADMIN_EMAIL=a@b", "CDSA_ADMIN_PASSWORD=hunter2"), "shorter than 12"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Load(c.env)
			require.Nil(t, got)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "hunter2", "no secret in an error")
		})
	}
}

func TestLoad_Mail(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:25", "[::1]:25", "localhost:25"} {
		c, err := Load([]string{"CDSA_SMTP_ADDR=" + addr, "CDSA_SMTP_TLS=none"})
		require.NoError(t, err, addr)
		require.Equal(t, "http://127.0.0.1:8080", c.Mail.PublicURL)
	}
	_, err := Load(production("CDSA_SMTP_ADDR=smtp.example.org:587", "CDSA_MAIL_FROM=CDSA <cdsa@example.org>", "CDSA_PUBLIC_URL=https://cdsa.example.org", "CDSA_SMTP_USERNAME=u", "CDSA_SMTP_PASSWORD=p"))
	require.NoError(t, err)
	_, err = Load(production()) // mails nothing
	require.NoError(t, err)
}

func TestLoad_AllProblemsTogether(t *testing.T) {
	_, err := Load([]string{"CDSA_TYPO=1", "CDSA_MAX_DEPTH=x", "CDSA_PPROF=y", "CDSA_LISTEN_ADDR=z"})
	var p Problems
	require.ErrorAs(t, err, &p)
	require.Len(t, p, 4)
	require.IsIncreasing(t, []string(p))
}

func TestLoad_SecretFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	c, err := Load([]string{"CDSA_CURSOR_KEY_FILE=" + write("cursor", key(64)+"\n"), "DATABASE_URL_FILE=" + write("db", "postgres://a@b/c\r\n")})
	require.NoError(t, err)
	require.Equal(t, key(64), c.Keys.Cursor.Reveal())
	require.Equal(t, "postgres://a@b/c", c.Database.URL.Reveal())
	for name, path := range map[string]string{"empty": write("e", "\n"), "larger": write("l", strings.Repeat("a", maxFileSize+1)), "cannot be read": dir} {
		_, err := Load([]string{"CDSA_SIGNING_KEY_FILE=" + path})
		require.ErrorContains(t, err, name)
	}
}

func TestSecret_NeverPrinted(t *testing.T) {
	c, err := Load(production("CDSA_LLM_API_KEY=hunter2"))
	require.NoError(t, err)
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("config", "config", c, "key", c.LLM.APIKey)
	slog.New(slog.NewTextHandler(&out, nil)).Info("config", "config", *c, "key", c.LLM.APIKey)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb, *c, c.LLM.APIKey)
	}
	b, err := json.Marshal(c)
	require.NoError(t, err)
	out.Write(b)
	require.Contains(t, out.String(), redacted)
	for _, leak := range []string{"hunter2", key(32), fmt.Sprintf("%x", "hunter2")} {
		require.NotContains(t, out.String(), leak)
	}
}

// Every field is usable: it has a variable and a doc of its own, a readable default and readable bounds.
func TestFields(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range fieldsOf(&Config{}) {
		require.NotEmpty(t, f.name, "%s", f.value.Type())
		require.False(t, seen[f.name], f.name)
		seen[f.name] = true
		require.True(t, strings.HasPrefix(f.name, prefix) || f.name == "DATABASE_URL" || f.name == "NATS_URL", f.name)
		require.Regexp(t, `^[A-Za-z].*[.]$`, f.tag("doc"), f.name)
		if check := f.tag("check"); check != "" {
			require.Contains(t, checks, check, f.name)
		}
		for _, k := range []string{"default", "production", "min", "max"} {
			if text := f.tag(k); text != "" {
				require.NoError(t, set(f, text), "%s %s", f.name, k)
			}
		}
	}
	require.Greater(t, len(seen), 40)
}

func TestBytes(t *testing.T) {
	for in, want := range map[string]Bytes{"0": 0, "1024": 1024, "1KiB": 1024, "2 MiB": 2 << 20, "3GiB": 3 << 30} {
		got, err := ParseBytes(in)
		require.NoError(t, err)
		require.Equal(t, want, got)
		again, err := ParseBytes(got.String())
		require.NoError(t, err)
		require.Equal(t, got, again)
	}
	for _, in := range []string{"", "-1", "1.5MiB", "MiB", "1kb", "1MiBMiB"} {
		_, err := ParseBytes(in)
		require.Error(t, err, in)
	}
}

// The committed page is the one the code writes.
func TestWriteDoc(t *testing.T) {
	var a, b bytes.Buffer
	require.NoError(t, WriteDoc(&a))
	require.NoError(t, WriteDoc(&b))
	require.Equal(t, a.String(), b.String())
	for _, f := range fieldsOf(&Config{}) {
		require.Contains(t, a.String(), "| `"+f.name+"`")
	}
	committed, err := os.ReadFile("../../docs/config.md")
	require.NoError(t, err)
	require.Equal(t, a.String(), string(committed), "run go run ./internal/config/gendoc")
}
