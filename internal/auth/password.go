package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
)

// Bounds of a password in code points after normalisation. The upper one is there so that hashing cannot be made
// expensive by length; NIST SP 800-63B asks for at least 64 to be allowed.
const (
	MinPassword = 8
	MaxPassword = 256
)

// maxPasswordBytes bounds what is even looked at: 256 code points of four bytes.
const maxPasswordBytes = 4 * MaxPassword

// HasherConfig sets the cost of a hash and how many run at once. Zero values take the defaults.
type HasherConfig struct {
	MemoryKiB   uint32  // default 19456: OWASP Password Storage Cheat Sheet, argon2id m=19 MiB t=2 p=1
	Iterations  uint32  // default 2
	Parallelism uint8   // default 1
	Concurrent  int     // hashes at once; default half the CPUs, at least 1, so that a login storm leaves room for queries
	Queue       int     // callers that may wait for a turn; default 64
	Deriver     Deriver // who computes; nil: this process
}

// Hasher makes and checks argon2id hashes, a bounded number at a time.
type Hasher struct {
	params  Params
	deriver Deriver
	dummy   struct{ salt, key []byte } // of hashes that are no password's
	turns   *turns
}

// NewHasher makes a Hasher. It refuses parameters weaker than OWASP's least (19 MiB twice, or 7 MiB five times).
func NewHasher(c HasherConfig) (*Hasher, error) {
	p := Params{
		Memory: or(c.MemoryKiB, 19*1024), Iterations: or(c.Iterations, 2), Parallelism: or(c.Parallelism, 1),
		SaltLength: saltLength, KeyLength: keyLength,
	}
	if err := CheckParams(p); err != nil {
		return nil, err
	}
	if p.Memory < 7*1024 || uint64(p.Memory)*uint64(p.Iterations) < 35*1024 {
		return nil, fmt.Errorf("argon2id with %d KiB and %d passes is too weak", p.Memory, p.Iterations)
	}
	random := make([]byte, saltLength+keyLength)
	if _, err := rand.Read(random); err != nil {
		return nil, fmt.Errorf("dummy hash: %w", err)
	}
	h := &Hasher{params: p, deriver: c.Deriver, turns: newTurns(max(1, or(c.Concurrent, runtime.NumCPU()/2)), or(c.Queue, 64))}
	h.dummy.salt, h.dummy.key = random[:saltLength], random[saltLength:] // no password hashes to random bytes
	if h.deriver == nil {
		h.deriver = InProcess{}
	}
	return h, nil
}

// Hash makes the stored form of a new password. It checks the bounds only: CheckPassword holds the rules.
// BAD_USER_INPUT on password for one out of bounds; RATE_LIMITED when too many wait; ctx's error.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	password, err := normalPassword(password)
	if err != nil {
		return "", err
	}
	if n := utf8.RuneCountInString(password); n < MinPassword {
		return "", errs.Input("password", "The password needs at least %d characters.", MinPassword)
	}
	done, err := h.turn(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	return h.create(password)
}

// Choose is CheckPassword and Hash in one turn: for a password that somebody chooses. BAD_USER_INPUT on field;
// RATE_LIMITED; ctx's error.
func (h *Hasher) Choose(ctx context.Context, field, password string, own ...string) (string, error) {
	p, known, err := plausible(field, password, own)
	if err != nil {
		return "", err
	}
	done, err := h.turn(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	aside(func() { err = strong(field, p, known) })
	if err != nil {
		return "", err
	}
	return h.create(p)
}

// create hashes within a turn.
func (h *Hasher) create(password string) (string, error) {
	salt := make([]byte, saltLength)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	return encode(h.params, salt, h.deriver.Derive(password, salt, h.params)), nil
}

// Verify says whether password is the one behind encoded, and whether encoded should be replaced by a new Hash
// because the settings have changed. BAD_USER_INPUT on password for one no account can have; RATE_LIMITED when too
// many wait; ctx's error; a plain error for a stored hash that cannot be read.
func (h *Hasher) Verify(ctx context.Context, password, encoded string) (ok, rehash bool, err error) {
	password, err = normalPassword(password)
	if err != nil {
		return false, false, err
	}
	p, salt, key, err := decode(encoded)
	if err != nil {
		return false, false, err
	}
	done, err := h.turn(ctx)
	if err != nil {
		return false, false, err
	}
	defer done()
	ok = subtle.ConstantTimeCompare(h.deriver.Derive(password, salt, p), key) == 1
	return ok, ok && h.weaker(p), nil
}

// Dummy gives a hash that no password has, with the parameters of a stored one, or the present ones for "". Verify it
// when there is nothing to compare with, so that the two cannot be told apart by their time.
func (h *Hasher) Dummy(like string) (string, error) {
	p := h.params
	if like != "" {
		var err error
		if p, _, _, err = decode(like); err != nil {
			return "", err
		}
	}
	return encode(p, h.dummy.salt, h.dummy.key), nil
}

// NeedsRehash says whether encoded was made with other settings than the present ones, or cannot be read.
func (h *Hasher) NeedsRehash(encoded string) bool {
	p, _, _, err := decode(encoded)
	return err != nil || h.weaker(p)
}

func (h *Hasher) weaker(p Params) bool { return p != h.params }

// turn waits for one of the bounded places, in the line of the request's network; the caller gives it back with done.
func (h *Hasher) turn(ctx context.Context) (done func(), err error) {
	return h.turns.take(ctx, authz.NetworkOf(authz.RequestFrom(ctx).IP))
}

// normalPassword prepares a password as RFC 8265 section 4.2 (OpaqueString) does: spaces of any script become the
// ASCII one, then NFC, so that the same keys on two systems give the same bytes. Not NFKC, which would merge
// different passwords. Nothing is trimmed and case stands.
func normalPassword(s string) (string, error) {
	if len(s) > maxPasswordBytes {
		return "", errs.Input("password", "The password is longer than %d characters.", MaxPassword)
	}
	if s == "" {
		return "", errs.Input("password", "Enter a password.")
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return "", errs.Input("password", "The password holds a control character.")
	}
	s = norm.NFC.String(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Zs, r) {
			return ' '
		}
		return r
	}, s))
	if utf8.RuneCountInString(s) > MaxPassword {
		return "", errs.Input("password", "The password is longer than %d characters.", MaxPassword)
	}
	return s, nil
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}
