package account

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/job"
	"cdsa.dev/cdsa/internal/mail"
	"cdsa.dev/cdsa/internal/uow"
)

// mailedKind is a kind of mail with a token. Its secret is stored nowhere: the token is a row's id with a code of
// the server's key, so that a copy of the database opens nothing and the job that mails it holds an id only.
type mailedKind struct {
	name   string // in the table
	prefix string // of the token, for secret scanners
	life   time.Duration
	mail   mail.Kind
	link   string           // of the page, before the token: a fragment, which no server logs and no Referer carries
	does   enum.AuditAction // what a token that is refused was to do
}

var (
	resetToken  = mailedKind{"RESET", "cdsa_rs_", 30 * time.Minute, mail.Reset, "/#reset=", enum.AuditActionPasswordResetCompleted}
	verifyToken = mailedKind{"VERIFY", "cdsa_ev_", 24 * time.Hour, mail.Verify, "/#verify=", enum.AuditActionEmailVerified}
	inviteToken = mailedKind{"INVITE", "cdsa_in_", 7 * 24 * time.Hour, mail.Invite, "/#invite=", ""}

	// changeNotice has no token: it tells a former address that the account has another one.
	changeNotice = mailedKind{"NOTICE", "", 24 * time.Hour, mail.Notice, "/", ""}

	mailedKinds = map[string]mailedKind{resetToken.name: resetToken, verifyToken.name: verifyToken, inviteToken.name: inviteToken}
)

// Bounds on mails that somebody can have sent to somebody else, in the last hour: by the account that they are about,
// and by the network of those who need not be signed in to ask.
const (
	mailWindow    = time.Hour
	maxResets     = 3  // an account, asked for from one network
	maxAllResets  = 10 // an account; networks that it was signed in from lately are not kept from their maxResets by it
	maxVerifies   = 5  // an account
	maxNotices    = 5  // an account
	maxForNetwork = 30 // of any kind; requests at the same instant may pass it by a few
)

// mailedKept is how long a row stays after its token expired.
const mailedKept = 24 * time.Hour

const mailedSweepEvery = time.Minute

func (s *Service) code(k mailedKind, id uuid.UUID) []byte {
	m := hmac.New(sha256.New, s.mailKey)
	m.Write([]byte(k.name))
	m.Write(id[:])
	return m.Sum(nil)
}

// mailedToken makes the token of a row.
func (s *Service) mailedToken(k mailedKind, id uuid.UUID) string {
	return k.prefix + base64.RawURLEncoding.EncodeToString(append(id[:], s.code(k, id)...))
}

// parseMailed gives the row of a token that this server made for k, and false for any other text, without asking the
// database.
func (s *Service) parseMailed(k mailedKind, token string) (uuid.UUID, bool) {
	const size = len(uuid.UUID{}) + sha256.Size
	body, ok := strings.CutPrefix(token, k.prefix)
	if !ok || len(body) != base64.RawURLEncoding.EncodedLen(size) || strings.ContainsAny(body, "\r\n") { // which Strict still skips
		return uuid.Nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil || len(b) != size {
		return uuid.Nil, false
	}
	id := uuid.UUID(b[:len(uuid.UUID{})])
	return id, hmac.Equal(b[len(id):], s.code(k, id))
}

// badMailed is the one answer to a token that is unknown, used, expired, revoked or made up, and to one whose account
// is gone.
func badMailed() error {
	return errs.New(errs.Expired, "This link is not valid or was used already. Ask for a new one.")
}

// withLink does what a token is for. One that this server made and that does not stand is a failed attempt of its
// account, and audited as such: somebody has an old mail of theirs.
func (s *Service) withLink(ctx context.Context, k mailedKind, token string, do func(id uuid.UUID) error) error {
	id, ok := s.parseMailed(k, token)
	if !ok {
		s.strays.add(ctx, strings.ToLower(k.name))
		return badMailed()
	}
	err := do(id)
	if !errs.Is(err, errs.Expired) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout) // leaving early does not hide the attempt
	defer cancel()
	var (
		who addressee
		why string
	)
	qerr := s.cfg.Pool.QueryRow(ctx, `SELECT u.id, u.username::text, CASE WHEN m.used_at IS NOT NULL THEN 'used' WHEN m.revoked_at IS NOT NULL THEN 'revoked'
		WHEN m.expires_at <= $3 THEN 'expired' ELSE 'account' END FROM mailed_tokens m JOIN users u ON u.id = m.user_id WHERE m.id = $1 AND m.kind = $2`,
		id, k.name, s.now()).Scan(&who.id, &who.username, &why)
	if errors.Is(qerr, pgx.ErrNoRows) { // deleted since
		s.strays.add(ctx, strings.ToLower(k.name))
		return err
	}
	if qerr != nil {
		return fmt.Errorf("read whose a link is: %w", qerr)
	}
	qerr = s.cfg.Audit.Record(ctx, audit.Entry{
		Action: k.does, Resource: "User", ResourceID: who.id, ActorID: who.id, ActorName: who.username,
		Failed: true, Error: string(errs.Expired), Details: map[string]any{"reason": why},
	})
	if qerr != nil {
		return errors.Join(qerr, err)
	}
	return err
}

// mailed is a row to be made.
type mailed struct {
	kind        mailedKind
	user        uuid.UUID // nil: there is none, and nothing is mailed
	email       string    // that of the account, or the invited one; the mail goes nowhere else
	roles       []string
	by          uuid.UUID
	expires     time.Time // zero: after the kind's life
	fromNetwork []byte    // nil: whoever asked is signed in
}

// post inserts the row and the job that mails it once the unit of work is committed.
func (s *Service) post(ctx context.Context, tx *uow.Tx, m mailed) (id uuid.UUID, created, expires time.Time, err error) {
	id, created = uuid.New(), s.now()
	if expires = m.expires; expires.IsZero() {
		expires = created.Add(m.kind.life)
	}
	if m.roles == nil {
		m.roles = []string{}
	}
	_, err = tx.PG.Exec(ctx, `INSERT INTO mailed_tokens (id, kind, user_id, email, roles, invited_by, created_at, expires_at, network) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		id, m.kind.name, orNull(m.user), optional(m.email), m.roles, orNull(m.by), created, expires, m.fromNetwork)
	if err != nil {
		return id, created, expires, fmt.Errorf("note a mail: %w", err)
	}
	tx.Job(job.SendMail{ID: id}, nil)
	return id, created, expires, nil
}

func orNull(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}

// asked counts the mails of a kind that an account asked for lately; none for no account. Callers hold the lock on it.
func (s *Service) asked(ctx context.Context, tx *uow.Tx, k mailedKind, user uuid.UUID) (n int, err error) {
	err = tx.PG.QueryRow(ctx, `SELECT count(*) FROM mailed_tokens WHERE user_id = $1 AND kind = $2 AND created_at > $3`, user, k.name, s.now().Add(-mailWindow)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count mails of an account: %w", err)
	}
	return n, nil
}

// resets says whether a reset of an account may be mailed for one more request from a network, of which key is the hash.
// What others ask for elsewhere does not use up what the rightful person may have where they usually are. Callers hold the
// lock on the account.
func (s *Service) resets(ctx context.Context, tx *uow.Tx, user uuid.UUID, key []byte) (bool, error) {
	var here, all int
	now := s.now()
	err := tx.PG.QueryRow(ctx, `SELECT count(*) FILTER (WHERE network = $3), count(*) FROM mailed_tokens WHERE user_id = $1 AND kind = 'RESET' AND created_at > $2`,
		user, now.Add(-mailWindow), key).Scan(&here, &all)
	if err != nil {
		return false, fmt.Errorf("count mails of an account: %w", err)
	}
	known, err := s.knows(ctx, tx.PG, user, authz.NetworkOf(deviceOf(ctx).ip), now) // asked in any case: every account takes the same statements
	return here < maxResets && (known || all < maxAllResets), err
}

// network is where a mail is asked for from, as a keyed hash, and whether that place has asked for all it may.
func (s *Service) network(ctx context.Context, tx *uow.Tx) (key []byte, full bool, err error) {
	m := hmac.New(sha256.New, s.throttleKey)
	m.Write([]byte("mail from " + authz.NetworkOf(authz.RequestFrom(ctx).IP)))
	key = m.Sum(nil)
	var n int
	err = tx.PG.QueryRow(ctx, `SELECT count(*) FROM mailed_tokens WHERE network = $1 AND created_at > $2`, key, s.now().Add(-mailWindow)).Scan(&n)
	if err != nil {
		return nil, false, fmt.Errorf("count mails of a network: %w", err)
	}
	return key, n >= maxForNetwork, nil
}

// voidMailed takes back the tokens of some kinds that an account has not used.
func (s *Service) voidMailed(ctx context.Context, tx *uow.Tx, user uuid.UUID, kinds ...mailedKind) error {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	_, err := tx.PG.Exec(ctx, `UPDATE mailed_tokens SET revoked_at = $3 WHERE user_id = $1 AND kind = ANY($2) AND used_at IS NULL AND revoked_at IS NULL`, user, names, s.now())
	if err != nil {
		return fmt.Errorf("take links back: %w", err)
	}
	return nil
}

// useMailed spends a token. EXPIRED when somebody was first or it does not stand any more: of callers at the same
// instant, one passes.
func (s *Service) useMailed(ctx context.Context, tx *uow.Tx, id uuid.UUID) error {
	now := s.now()
	tag, err := tx.PG.Exec(ctx, `UPDATE mailed_tokens SET used_at = $2 WHERE id = $1 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > $2`, id, now)
	if err != nil {
		return fmt.Errorf("spend a link: %w", err)
	}
	if tag.RowsAffected() != 1 {
		return badMailed()
	}
	return nil
}

// addressee is the account of a token that stands.
type addressee struct {
	id                        uuid.UUID
	email, username, fullName string
	verified                  bool
}

// addressee reads the account of a token: of one that is neither used, revoked nor expired, was sent to the address the
// account has now, and whose account may sign in. EXPIRED for any other.
func (s *Service) addressee(ctx context.Context, q querier, k mailedKind, id uuid.UUID) (a addressee, err error) {
	err = q.QueryRow(ctx, `SELECT u.id, u.email::text, u.username::text, u.full_name, u.is_verified FROM mailed_tokens m JOIN users u ON u.id = m.user_id AND u.email = m.email
		WHERE m.id = $1 AND m.kind = $2 AND m.used_at IS NULL AND m.revoked_at IS NULL AND m.expires_at > $3 AND u.is_active AND u.erased_at IS NULL`, id, k.name, s.now()).
		Scan(&a.id, &a.email, &a.username, &a.fullName, &a.verified)
	if errors.Is(err, pgx.ErrNoRows) {
		return a, badMailed()
	}
	if err != nil {
		return a, fmt.Errorf("read a link: %w", err)
	}
	return a, nil
}

// SendMailed mails the link of a row to whom it is for now: it is the worker of job.SendMail. It does nothing for a row
// that is used, revoked, expired or without an account, and where mails are off. An error is the mail's: the queue
// tries again.
func (s *Service) SendMailed(ctx context.Context, id uuid.UUID) error {
	if s.cfg.Mail == nil {
		return nil
	}
	var (
		name, email      string
		created, expires time.Time
	)
	err := s.cfg.Pool.QueryRow(ctx, `SELECT kind, coalesce(email::text, ''), created_at, expires_at FROM mailed_tokens WHERE id = $1 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > $2`, id, s.now()).
		Scan(&name, &email, &created, &expires)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read a mail to send: %w", err)
	}
	to := mail.Recipient{Address: email}
	if name == changeNotice.name {
		return s.send(ctx, changeNotice, id, to, "", created)
	}
	k, ok := mailedKinds[name]
	if !ok {
		return fmt.Errorf("a mail of the unknown kind %q", name)
	}
	if k.name != inviteToken.name {
		a, err := s.addressee(ctx, s.cfg.Pool, k, id)
		if errs.Is(err, errs.Expired) || err == nil && k.name == verifyToken.name && a.verified {
			return nil
		}
		if err != nil {
			return err
		}
		if to.Address = a.email; a.verified {
			to.Name = a.fullName
		}
	}
	return s.send(ctx, k, id, to, s.mailedToken(k, id), expires)
}

func (s *Service) send(ctx context.Context, k mailedKind, id uuid.UUID, to mail.Recipient, token string, at time.Time) error {
	letter, err := mail.Letter(k.mail, id, to, s.cfg.Settings.PublicURL+k.link+token, at)
	if err != nil {
		return err
	}
	return s.cfg.Mail.Send(ctx, letter)
}

// sweepMailed deletes, at most once a minute, rows whose token expired a day ago.
func (s *Service) sweepMailed(ctx context.Context) error {
	now, last := s.now(), s.mailSwept.Load()
	if now.Unix()-last < int64(mailedSweepEvery/time.Second) || !s.mailSwept.CompareAndSwap(last, now.Unix()) {
		return nil
	}
	return s.cfg.Store.Do(asSystem(ctx), func(ctx context.Context, tx *uow.Tx) error {
		if _, err := tx.PG.Exec(ctx, `DELETE FROM mailed_tokens WHERE expires_at < $1`, now.Add(-mailedKept)); err != nil {
			return fmt.Errorf("delete old links: %w", err)
		}
		return nil
	})
}
