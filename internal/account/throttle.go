package account

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// Failed sign-ins are counted three times: for the name from the network, for the network at all names, for the name
// from everywhere. Each counter that is full pauses what it counts, twice as long with every further failure, up to
// LockoutMax. A refused attempt counts nowhere, so a pause ends LockoutMax after the last attempt that was judged, at
// the latest. A name that no account has is counted like one that exists.
const (
	byPair = iota
	byNetwork
	byName
	counterKinds
)

const (
	// wideFactor is how many times as many failures the two wide counters take.
	wideFactor = 5
	// knownNetwork is how long an account's successful sign-in exempts its network from the pause of the name alone:
	// guesses from elsewhere never keep the rightful person out where they usually are.
	knownNetwork = 30 * 24 * time.Hour
	// maxKnownAddresses bounds the addresses looked at for that.
	maxKnownAddresses = 1000
	// remembered is how long a counter outlives the longest pause without a further failure.
	remembered = time.Hour
	// noteEvery is the least time between two audit rows of refusals by one counter.
	noteEvery = time.Minute
	// maxDoublings keeps the pause a number.
	maxDoublings = 40
)

// counterNames are for the audit log.
var counterNames = [counterKinds]string{"name_and_network", "network", "name"}

// counters are the keys of one sign-in's counters: keyed hashes, from which neither name nor address can be told.
type counters struct {
	keys    [counterKinds][]byte
	subject []byte // of those that UnlockUser lifts
	network string
}

// atProvider is the login of a sign-in that a provider judges. It names nobody here: the network alone is counted.
const atProvider = "\x00provider"

// ofAccount is the login of a guess by somebody who is signed in. They can change their name, so the account is counted.
const ofAccount = "\x00account"

// countersOf gives the counters of a login, by the name that was typed: were the address and the username of an account
// counted together, a pause of one would tell that the other belongs to it. The subject is the account, for lifting all.
func (s *Service) countersOf(ctx context.Context, login string, userID uuid.UUID) counters {
	net := authz.NetworkOf(deviceOf(ctx).ip)
	if login == atProvider {
		return counters{keys: [counterKinds][]byte{byNetwork: s.throttleHash("network", net)}, network: net}
	}
	name, _, ok := auth.NormalizeLogin(login)
	if !ok {
		name = strings.ToLower(strings.TrimSpace(login))
	}
	who := "as|" + name
	if userID != uuid.Nil {
		who = "id|" + userID.String()
	}
	if login == ofAccount {
		name = "\x00" + who // which nobody can type
	}
	return counters{
		keys:    [counterKinds][]byte{s.throttleHash("pair", net+"|"+name), s.throttleHash("network", net), s.throttleHash("name", name)},
		subject: s.throttleHash("subject", who), network: net,
	}
}

// kind is which of the counters has the key, one of theirs.
func (c counters) kind(key []byte) int {
	return slices.IndexFunc(c.keys[:], func(k []byte) bool { return bytes.Equal(k, key) })
}

func (s *Service) throttleHash(kind, value string) []byte {
	m := hmac.New(sha256.New, s.throttleKey)
	m.Write([]byte(kind + "|" + value))
	return m.Sum(nil)
}

// threshold is how many failures fill a counter.
func (s *Service) threshold(kind int) int {
	if kind == byPair {
		return s.cfg.Settings.LockoutFailures
	}
	return wideFactor * s.cfg.Settings.LockoutFailures
}

// pause is how long a counter that has counted so many failures pauses.
func (s *Service) pause(kind, failures int) time.Duration {
	over := failures - s.threshold(kind)
	if over < 0 {
		return 0
	}
	d, most := s.cfg.Settings.LockoutBase, s.cfg.Settings.LockoutMax
	for range min(over, maxDoublings) {
		if d >= most {
			break
		}
		d *= 2
	}
	return min(d, most)
}

// forgottenBefore is since when a counter must have counted nothing to be forgotten.
func (s *Service) forgottenBefore(now time.Time) time.Time {
	return now.Add(-s.cfg.Settings.LockoutMax - remembered)
}

// guessTurns is in how many groups people wait for each other's guesses to be judged.
const guessTurns = 256

// turn lets one guess at a name at a time be judged on this replica: until done the next one waits, and is refused
// when a pause has begun by then. Guesses that are sent at once must not all be judged before the first is counted.
// RATE_LIMITED; ctx's error.
func (s *Service) turn(ctx context.Context, login string, who person) (done func(), err error) {
	turn := s.guesses[s.countersOf(ctx, login, who.id).keys[byName][0]]
	select {
	case turn <- struct{}{}:
		done = func() { <-turn }
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := s.admitted(ctx, login, who); err != nil {
		done()
		return nil, err
	}
	return done, nil
}

// admitted refuses a sign-in while it is paused: RATE_LIMITED, in the same words and with the same time for a name that
// no account has. The refusal is audited as RATE_LIMIT_EXCEEDED, once a minute.
func (s *Service) admitted(ctx context.Context, login string, who person) error {
	now := s.now()
	c := s.countersOf(ctx, login, who.id)
	rows, err := s.cfg.Pool.Query(ctx, `SELECT key, blocked_until, coalesce(noted_at <= $3, TRUE) FROM login_throttles WHERE key = ANY($1) AND blocked_until > $2`,
		c.keys[:], now, now.Add(-noteEvery))
	if err != nil {
		return fmt.Errorf("read the counters of failed sign-ins: %w", err)
	}
	type pause struct {
		kind  int
		until time.Time
		note  bool // the audit log is due
	}
	pauses, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p pause, err error) {
		var key []byte
		err = row.Scan(&key, &p.until, &p.note)
		p.kind = c.kind(key)
		return p, err
	})
	if err != nil {
		return fmt.Errorf("read the counters of failed sign-ins: %w", err)
	}
	if i := slices.IndexFunc(pauses, func(p pause) bool { return p.kind == byName }); i >= 0 {
		known, err := s.knows(ctx, s.cfg.Pool, who.id, c.network, now)
		if err != nil {
			return err
		}
		if known {
			pauses = slices.Delete(pauses, i, i+1)
		}
	}
	if len(pauses) == 0 {
		return nil
	}
	longest := slices.MaxFunc(pauses, func(a, b pause) int { return cmp.Compare(a.until.UnixNano(), b.until.UnixNano()) })
	if longest.note {
		if err := s.noteRefusal(ctx, c.keys[longest.kind], counterNames[longest.kind], who); err != nil {
			return err
		}
	}
	e := errs.New(errs.RateLimited, "There were too many failed sign-ins. Wait for extensions.retryAfterMs, then try again.")
	e.RetryAfter = max(longest.until.Sub(now), time.Millisecond)
	return e
}

// knows says whether the account was signed in to from the network lately.
func (s *Service) knows(ctx context.Context, db interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, userID uuid.UUID, network string, now time.Time,
) (bool, error) {
	if network == "" {
		return false, nil
	}
	rows, err := db.Query(ctx, `SELECT DISTINCT ip_address FROM sessions
		WHERE user_id = $1 AND created_at > $2 AND kind = 'INTERACTIVE' AND family_id = id AND ip_address IS NOT NULL LIMIT $3`,
		userID, now.Add(-knownNetwork), maxKnownAddresses)
	if err != nil {
		return false, fmt.Errorf("read the networks of an account: %w", err)
	}
	addresses, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return false, fmt.Errorf("read the networks of an account: %w", err)
	}
	return slices.ContainsFunc(addresses, func(ip string) bool { return authz.NetworkOf(ip) == network }), nil
}

// noteRefusal audits a refusal unless another was, on any replica, less than a minute ago.
func (s *Service) noteRefusal(ctx context.Context, key []byte, counter string, who person) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := s.prepareAudit(ctx, who.id); err != nil {
		return err
	}
	return s.cfg.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		now := s.now()
		tag, err := tx.PG.Exec(ctx, `UPDATE login_throttles SET noted_at = $2 WHERE key = $1 AND coalesce(noted_at <= $3, TRUE)`, key, now, now.Add(-noteEvery))
		if err != nil {
			return fmt.Errorf("note a refused sign-in: %w", err)
		}
		if tag.RowsAffected() > 0 {
			tx.Audit(audit.Entry{
				Action: enum.AuditActionRateLimitExceeded, Resource: "User", ResourceID: who.id, ActorID: who.id, ActorName: who.username,
				Failed: true, Error: string(errs.RateLimited), Details: map[string]any{"of": "sign_in", "counter": counter},
			})
		}
		return nil
	})
}

// failed counts a failed sign-in. When that begins a pause of the name and an account has it, the account shows it and
// ACCOUNT_LOCKED is audited. The account is locked first, as in every change of a user: counters come after it.
func (s *Service) failed(ctx context.Context, tx *uow.Tx, login string, who person) error {
	if _, err := lock(ctx, tx, who.id); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("lock an account: %w", err)
	}
	now := s.now()
	counted, err := s.count(ctx, tx, s.countersOf(ctx, login, who.id), now)
	if err != nil {
		return err
	}
	name := counted[byName]
	if name.until.IsZero() || name.before.After(now) {
		return nil // no pause, or none that begins
	}
	tag, err := tx.PG.Exec(ctx, `UPDATE users SET locked_until = $2, failed_login_count = $3 WHERE id = $1`, who.id, name.until, name.failures)
	if err != nil {
		return fmt.Errorf("show a pause: %w", err)
	}
	if tag.RowsAffected() > 0 {
		tx.Audit(audit.Entry{
			Action: enum.AuditActionAccountLocked, Resource: "User", ResourceID: who.id, ActorID: who.id, ActorName: who.username,
			Details: map[string]any{"failures": name.failures, "pauseMs": name.until.Sub(now).Milliseconds()},
		})
	}
	return nil
}

// counter is one after a failure was counted.
type counter struct {
	failures int
	before   time.Time // until when it paused before
	until    time.Time // until when it pauses now; zero: not
}

// count adds a failure to each counter and pauses those that are full.
func (s *Service) count(ctx context.Context, tx *uow.Tx, c counters, now time.Time) (counted [counterKinds]counter, err error) {
	// In the order of the keys, which keeps failures that share counters from waiting for each other in a circle.
	rows, err := tx.PG.Query(ctx, `INSERT INTO login_throttles AS t (key, subject, failures, last_at, blocked_until)
		SELECT v.key, v.subject, 1, $3, $3 FROM unnest($1::bytea[], $2::bytea[]) v(key, subject) WHERE v.key IS NOT NULL ORDER BY v.key
		ON CONFLICT (key) DO UPDATE SET subject = excluded.subject, last_at = greatest(t.last_at, excluded.last_at), failures = CASE WHEN t.last_at < $4 THEN 1 ELSE least(t.failures + 1, 1000000) END
		RETURNING key, failures, blocked_until`,
		c.keys[:], [][]byte{c.subject, nil, c.subject}, now, s.forgottenBefore(now))
	if err != nil {
		return counted, fmt.Errorf("count a failed sign-in: %w", err)
	}
	var (
		full   [][]byte
		untils []time.Time
		key    []byte
		row    counter
	)
	_, err = pgx.ForEachRow(rows, []any{&key, &row.failures, &row.before}, func() error {
		kind := c.kind(key)
		counted[kind] = counter{failures: row.failures, before: row.before}
		if d := s.pause(kind, row.failures); d > 0 {
			counted[kind].until = now.Add(d)
			full, untils = append(full, c.keys[kind]), append(untils, counted[kind].until)
		}
		return nil
	})
	if err != nil {
		return counted, fmt.Errorf("count a failed sign-in: %w", err)
	}
	if len(full) == 0 {
		return counted, nil
	}
	_, err = tx.PG.Exec(ctx, `UPDATE login_throttles t SET blocked_until = greatest(t.blocked_until, v.until)
		FROM unnest($1::bytea[], $2::timestamptz[]) v(key, until) WHERE t.key = v.key`, full, untils)
	if err != nil {
		return counted, fmt.Errorf("pause sign-ins: %w", err)
	}
	return counted, nil
}

// passed forgets the failures at an account and its names, from everywhere and from this network; those of the network at
// all names stay.
func (s *Service) passed(ctx context.Context, tx *uow.Tx, who person) error {
	var keys [][]byte
	for _, login := range []string{who.username, who.email, ofAccount} {
		c := s.countersOf(ctx, login, who.id)
		keys = append(keys, c.keys[byPair], c.keys[byName])
	}
	if _, err := tx.PG.Exec(ctx, `DELETE FROM login_throttles WHERE key = ANY($1)`, keys); err != nil {
		return fmt.Errorf("forget failed sign-ins: %w", err)
	}
	return nil
}

// UnlockUser lifts the pause of an account after failed sign-ins, from every network; that of a network at all accounts
// stays. Nothing else changes for an account that is not paused. It needs users:write. UNAUTHENTICATED; FORBIDDEN;
// NOT_FOUND; BAD_USER_INPUT. Audited as ACCOUNT_UNLOCKED.
func (s *Service) UnlockUser(ctx context.Context, id uuid.UUID) (*ent.User, error) {
	if err := uid.Check(id, uid.User, "id"); err != nil {
		return nil, err
	}
	err := s.administer(ctx, deed{"unlockUser", "users", "write", "User", id}, func(ctx context.Context, tx *uow.Tx, _ *authz.Principal) error {
		if _, err := lock(ctx, tx, id); errors.Is(err, pgx.ErrNoRows) {
			return errs.Missing("user")
		} else if err != nil {
			return fmt.Errorf("lock an account: %w", err)
		}
		if _, err := tx.PG.Exec(ctx, `DELETE FROM login_throttles WHERE subject = $1`, s.countersOf(ctx, "", id).subject); err != nil {
			return fmt.Errorf("lift a pause: %w", err)
		}
		if _, err := tx.PG.Exec(ctx, `UPDATE users SET failed_login_count = 0, locked_until = NULL WHERE id = $1 AND (failed_login_count > 0 OR locked_until IS NOT NULL)`, id); err != nil {
			return fmt.Errorf("lift a pause: %w", err)
		}
		tx.Audit(audit.Entry{Action: enum.AuditActionAccountUnlocked, Resource: "User", ResourceID: id})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.user(ctx, id)
}

// sweepThrottles removes what is forgotten, at most once a minute. Rows that are being counted in are left.
func (s *Service) sweepThrottles(ctx context.Context) error {
	now := s.now()
	last := s.throttlesSwept.Load()
	if now.UnixNano()-last < int64(time.Minute) || !s.throttlesSwept.CompareAndSwap(last, now.UnixNano()) {
		return nil
	}
	return s.cfg.Store.Do(asSystem(ctx), func(ctx context.Context, tx *uow.Tx) error {
		_, err := tx.PG.Exec(ctx, `DELETE FROM login_throttles WHERE key IN (SELECT key FROM login_throttles WHERE last_at < $1 ORDER BY key FOR UPDATE SKIP LOCKED)`, s.forgottenBefore(now))
		if err != nil {
			return fmt.Errorf("forget failed sign-ins: %w", err)
		}
		return nil
	})
}
