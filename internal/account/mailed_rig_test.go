//go:build unix

package account_test

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/mail"
)

// mailRig is a rig whose mails are kept.
type mailRig struct {
	*rig
	mu      sync.Mutex
	letters []mail.Message
	fail    error
}

// Send keeps a letter, or fails.
func (r *mailRig) Send(_ context.Context, m mail.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail == nil {
		r.letters = append(r.letters, m)
	}
	return r.fail
}

func newMailRig(t *testing.T) *mailRig {
	t.Helper()
	r := &mailRig{rig: newRig(t)}
	r.config.Mail = r
	r.config.Settings.PublicURL = "https://cdsa.example.org"
	r.remake(t)
	return r
}

func (r *mailRig) remake(t *testing.T) {
	t.Helper()
	var err error
	r.Service, err = account.New(r.config)
	require.NoError(t, err)
}

// work does the mail jobs there are and gives what was mailed by them.
func (r *mailRig) work(t *testing.T) []mail.Message {
	t.Helper()
	ctx := context.Background()
	rows, err := r.DB.Pool.Query(ctx, `DELETE FROM river_job WHERE kind = 'send_mail' RETURNING (args->>'id')::uuid, args::text, queue`)
	require.NoError(t, err)
	var ids []uuid.UUID
	for rows.Next() {
		var (
			id          uuid.UUID
			args, queue string
		)
		require.NoError(t, rows.Scan(&id, &args, &queue))
		require.Equal(t, "mail", queue)
		require.JSONEq(t, `{"id": "`+id.String()+`"}`, args, "a job holds an id and nothing else")
		ids = append(ids, id)
	}
	require.NoError(t, rows.Err())
	r.letters = nil
	for _, id := range ids {
		require.NoError(t, r.SendMailed(ctx, id))
	}
	return r.letters
}

var inLink = regexp.MustCompile(`https://cdsa\.example\.org/#(reset|verify|invite)=(cdsa_(?:rs|ev|in)_[A-Za-z0-9_-]{64})\n`)

// token of a letter.
func token(t *testing.T, m mail.Message) string {
	t.Helper()
	found := inLink.FindStringSubmatch(m.Text)
	require.NotNil(t, found, "%s", m.Text)
	require.Equal(t, string(m.Kind), found[1])
	return found[2]
}

// asks has a reset mailed and gives its token.
func (r *mailRig) asks(t *testing.T, email string) string {
	t.Helper()
	require.NoError(t, r.RequestPasswordReset(laptop, email))
	l := r.work(t)
	require.Len(t, l, 1)
	require.Equal(t, mail.Reset, l[0].Kind)
	return token(t, l[0])
}

// forge makes a token as the server does, with a given key.
func forge(t *testing.T, key []byte, prefix, kind string, id uuid.UUID) string {
	t.Helper()
	k, err := hkdf.Key(sha256.New, key, nil, "cdsa mailed token", sha256.Size)
	require.NoError(t, err)
	m := hmac.New(sha256.New, k)
	m.Write([]byte(kind))
	m.Write(id[:])
	return prefix + base64.RawURLEncoding.EncodeToString(append(id[:], m.Sum(nil)...))
}

// signsIn says whether a password opens an account.
func (r *mailRig) signsIn(t *testing.T, username, with string) bool {
	t.Helper()
	_, err := r.Login(laptop, account.LoginInput{Login: username, Password: with})
	if err != nil {
		requireCode(t, errs.Unauthenticated, err)
	}
	return err == nil
}
