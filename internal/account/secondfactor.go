package account

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uow"
)

// factorSkew is how far ahead of this replica's clock another one's may be.
const factorSkew = time.Minute

// factor is an account's second factor as stored.
type factor struct {
	sealed  []byte // the TOTP secret; nil without one
	enabled bool   // false while the enrolment is not confirmed
	last    int64  // time step of the last code that was taken
	codes   []string
}

// proof is a second factor that was found right, before it is redeemed.
type proof struct {
	step     int64  // of a TOTP code; 0: none
	sealed   []byte // the secret that the code was of
	recovery string // stored form of the recovery code; empty: none
}

func (p proof) given() bool { return p.step != 0 || p.recovery != "" }

// loadFactor reads an account's second factor. pgx.ErrNoRows when there is no such account.
func (s *Service) loadFactor(ctx context.Context, userID uuid.UUID) (f factor, err error) {
	err = s.cfg.Pool.QueryRow(ctx, `SELECT totp_secret, totp_enabled_at IS NOT NULL, totp_last_step, coalesce(recovery_codes, '[]') FROM users WHERE id = $1`, userID).
		Scan(&f.sealed, &f.enabled, &f.last, &f.codes)
	if err != nil {
		return factor{}, fmt.Errorf("read a second factor: %w", err)
	}
	return f, nil
}

// sealTOTP encrypts a TOTP secret. It opens for the same user only.
func (s *Service) sealTOTP(userID uuid.UUID, secret []byte) ([]byte, error) {
	a, err := s.totpCipher()
	if err != nil {
		return nil, err
	}
	return a.Seal(nil, nil, secret, userID[:]), nil
}

func (s *Service) openTOTP(userID uuid.UUID, sealed []byte) ([]byte, error) {
	a, err := s.totpCipher()
	if err != nil {
		return nil, err
	}
	secret, err := a.Open(nil, nil, sealed, userID[:])
	if err != nil {
		return nil, fmt.Errorf("a TOTP secret does not open under this server's identity key: %w", err)
	}
	return secret, nil
}

// totpCipher is AES-256-GCM with random nonces: far fewer secrets are sealed than the 2^32 that one key is good for.
func (s *Service) totpCipher() (cipher.AEAD, error) {
	b, err := aes.NewCipher(s.totpKey)
	if err != nil {
		return nil, fmt.Errorf("the key of TOTP secrets: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(b)
}

// verifyTOTP checks a code against a stored secret, enabled or not. No step: wrong.
func (s *Service) verifyTOTP(userID uuid.UUID, f factor, code string) (proof, error) {
	secret, err := s.openTOTP(userID, f.sealed)
	if err != nil {
		return proof{}, err
	}
	step, ok, err := auth.VerifyTOTP(secret, code, s.now(), f.last)
	if err != nil || !ok {
		return proof{}, err
	}
	return proof{step: step, sealed: f.sealed}, nil
}

// prove checks a second factor and changes nothing: the caller redeems the proof. Of two codes the TOTP code counts.
// why is empty for a good one. A recovery code is hashed, so call it outside any transaction.
func (s *Service) prove(ctx context.Context, userID uuid.UUID, totp, recovery string) (pr proof, why string, err error) {
	if totp == "" && recovery == "" {
		return proof{}, whyMFA, nil
	}
	f, err := s.loadFactor(ctx, userID)
	if err != nil {
		return proof{}, "", err
	}
	if !f.enabled {
		return proof{}, whyCode, nil // removed at this very moment
	}
	if totp != "" {
		pr, err = s.verifyTOTP(userID, f, totp)
	} else {
		pr.recovery, err = s.cfg.Hasher.VerifyRecoveryCode(ctx, recovery, f.codes)
	}
	if err != nil {
		return proof{}, "", err
	}
	if !pr.given() {
		return proof{}, whyCode, nil
	}
	return pr, "", nil
}

// proveEither is prove for a code of either kind: six digits are a TOTP code, all else is a recovery code.
func (s *Service) proveEither(ctx context.Context, userID uuid.UUID, code string) (proof, string, error) {
	if code == "" {
		return proof{}, whyCode, nil
	}
	if _, ok := auth.NormalizeTOTPCode(code); ok {
		return s.prove(ctx, userID, code, "")
	}
	return s.prove(ctx, userID, "", code)
}

// redeem uses up a proof, under the lock on the user: of any number of callers with one code, one gets an empty why.
func (s *Service) redeem(ctx context.Context, tx *uow.Tx, userID uuid.UUID, pr proof) (why string, err error) {
	if !pr.given() {
		return whyMFA, nil
	}
	if pr.step != 0 {
		tag, err := tx.PG.Exec(ctx, `UPDATE users SET totp_last_step = $2 WHERE id = $1 AND totp_enabled_at IS NOT NULL AND totp_secret = $3 AND totp_last_step < $2`,
			userID, pr.step, pr.sealed)
		if err != nil {
			return "", fmt.Errorf("redeem a code: %w", err)
		}
		if tag.RowsAffected() != 1 {
			return whyCode, nil
		}
		return "", nil
	}
	var (
		username string
		left     int
	)
	err = tx.PG.QueryRow(ctx, `UPDATE users SET recovery_codes = recovery_codes - $2::text WHERE id = $1 AND totp_enabled_at IS NOT NULL AND recovery_codes ? $2::text
		RETURNING username::text, jsonb_array_length(recovery_codes)`, userID, pr.recovery).Scan(&username, &left)
	if errors.Is(err, pgx.ErrNoRows) {
		return whyCode, nil
	}
	if err != nil {
		return "", fmt.Errorf("redeem a recovery code: %w", err)
	}
	tx.Audit(audit.Entry{
		Action: enum.AuditActionRecoveryCodeUsed, Resource: "User", ResourceID: userID, ActorID: userID, ActorName: username, Details: map[string]any{"left": left},
	})
	return "", nil
}

// mayGuess is turn for a signed-in person who gives a code.
func (s *Service) mayGuess(ctx context.Context, p *authz.Principal) (done func(), err error) {
	who, err := scanPerson(s.cfg.Pool.QueryRow(ctx, personColumns+` WHERE id = $1`, p.UserID))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ended()
	}
	if err != nil {
		return nil, fmt.Errorf("read an account: %w", err)
	}
	return s.turn(ctx, ofAccount, who)
}

// challengeFailed writes down that a signed-in person gave a wrong code, which counts like a failed sign-in, and gives
// the answer.
func (s *Service) challengeFailed(ctx context.Context, p *authz.Principal, at string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout) // leaving early does not hide the attempt
	defer cancel()
	err := s.cfg.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		who, err := scanPerson(tx.PG.QueryRow(ctx, personColumns+` WHERE id = $1`, p.UserID))
		if err != nil {
			return fmt.Errorf("read an account: %w", err)
		}
		if err := s.failed(ctx, tx, ofAccount, who); err != nil {
			return err
		}
		tx.Audit(audit.Entry{
			Action: enum.AuditActionMfaChallengeFailed, Resource: "User", ResourceID: p.UserID, SessionID: p.SessionID,
			Failed: true, Error: string(errs.BadUserInput), Details: map[string]any{"at": at},
		})
		return nil
	})
	if err != nil {
		return err
	}
	return errs.Input("code", "The code is wrong or was used already. Wait for the next one and try again.")
}

// sensitive refuses an act that needs a fresh second factor (a name of CDSA_MFA_REQUIRED_FOR): STEP_UP_REQUIRED when the
// caller has one and gave it too long ago, MFA_REQUIRED when the act is for people with a second factor only, FORBIDDEN
// when either would be asked of a program, which cannot give one. By the rows of the transaction, never by what the
// principal remembers.
func (s *Service) sensitive(ctx context.Context, tx *uow.Tx, act string) error {
	p, err := authz.Signed(ctx)
	if err != nil {
		return err
	}
	var (
		enrolled bool
		at       *time.Time
	)
	err = tx.PG.QueryRow(ctx, `SELECT u.totp_enabled_at IS NOT NULL, s.mfa_at FROM users u
		LEFT JOIN sessions s ON s.id = $2 AND s.user_id = u.id AND s.kind = 'INTERACTIVE' AND s.revoked_at IS NULL WHERE u.id = $1`, p.UserID, p.SessionID).Scan(&enrolled, &at)
	if errors.Is(err, pgx.ErrNoRows) {
		return errs.New(errs.Forbidden, "Only a person can do this.")
	}
	if err != nil {
		return fmt.Errorf("read when a second factor was given: %w", err)
	}
	required := slices.Contains(s.cfg.Settings.MFARequired, act)
	switch {
	case !enrolled && !required:
		return nil
	case p.APIToken || p.Kind != enum.ActorKindUser:
		return errs.New(errs.Forbidden, "This needs a second factor, which no API token can give. Sign in and do it yourself.")
	case !enrolled:
		return errs.InState(errs.MFARequired, "ENROLLMENT", "This is for people with a second factor. Enrol one with enrollTotp and confirmTotp, then try again.")
	}
	if now := s.now(); at != nil && now.Sub(*at) <= s.cfg.Settings.StepUpAge && at.Sub(now) <= factorSkew {
		return nil
	}
	return errs.New(errs.StepUpRequired, "This needs a second factor given within %s. Call stepUp, then try again.", s.cfg.Settings.StepUpAge)
}
