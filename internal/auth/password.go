package auth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"
	"golang.org/x/crypto/argon2"
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

// Bounds of the parameters read from a stored hash: a row that was tampered with must not take the machine down.
const (
	maxMemoryKiB   = 1 << 20 // 1 GiB
	maxIterations  = 64
	maxParallelism = 16
	saltLength     = 16 // bytes, RFC 9106 section 4
	keyLength      = 32 // bytes, RFC 9106 section 4
)

// HasherConfig sets the cost of a hash and how many run at once. Zero values take the defaults.
type HasherConfig struct {
	MemoryKiB   uint32 // default 19456: OWASP Password Storage Cheat Sheet, argon2id m=19 MiB t=2 p=1
	Iterations  uint32 // default 2
	Parallelism uint8  // default 1
	Concurrent  int    // hashes at once; default half the CPUs, at least 1, so that a login storm leaves room for queries
	Queue       int    // callers that may wait for a turn; default 64
}

// Hasher makes and checks argon2id hashes, a bounded number at a time.
type Hasher struct {
	params argon2id.Params
	dummy  string // salt and key of hashes that are no password's
	turns  *turns
}

// NewHasher makes a Hasher. It refuses parameters weaker than OWASP's least (19 MiB twice, or 7 MiB five times).
func NewHasher(c HasherConfig) (*Hasher, error) {
	p := argon2id.Params{
		Memory: or(c.MemoryKiB, 19*1024), Iterations: or(c.Iterations, 2), Parallelism: or(c.Parallelism, 1),
		SaltLength: saltLength, KeyLength: keyLength,
	}
	if err := inBounds(&p); err != nil {
		return nil, err
	}
	if p.Memory < 7*1024 || uint64(p.Memory)*uint64(p.Iterations) < 35*1024 {
		return nil, fmt.Errorf("argon2id with %d KiB and %d passes is too weak", p.Memory, p.Iterations)
	}
	random := make([]byte, saltLength+keyLength)
	if _, err := rand.Read(random); err != nil {
		return nil, fmt.Errorf("dummy hash: %w", err)
	}
	encode := base64.RawStdEncoding.EncodeToString
	return &Hasher{
		params: p, dummy: encode(random[:saltLength]) + "$" + encode(random[saltLength:]), // no password hashes to random bytes
		turns: newTurns(max(1, or(c.Concurrent, runtime.NumCPU()/2)), or(c.Queue, 64)),
	}, nil
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
	enc, err := argon2id.CreateHash(password, &h.params)
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	return enc, nil
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
	enc, err := argon2id.CreateHash(p, &h.params)
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	return enc, nil
}

// Verify says whether password is the one behind encoded, and whether encoded should be replaced by a new Hash
// because the settings have changed. BAD_USER_INPUT on password for one no account can have; RATE_LIMITED when too
// many wait; ctx's error; a plain error for a stored hash that cannot be read.
func (h *Hasher) Verify(ctx context.Context, password, encoded string) (ok, rehash bool, err error) {
	password, err = normalPassword(password)
	if err != nil {
		return false, false, err
	}
	p, err := paramsOf(encoded)
	if err != nil {
		return false, false, err
	}
	done, err := h.turn(ctx)
	if err != nil {
		return false, false, err
	}
	defer done()
	ok, err = argon2id.ComparePasswordAndHash(password, encoded)
	if err != nil {
		return false, false, errors.New("a stored password hash cannot be compared")
	}
	return ok, ok && h.weaker(p), nil
}

// Dummy gives a hash that no password has, with the parameters of a stored one, or the present ones for "". Verify it
// when there is nothing to compare with, so that the two cannot be told apart by their time.
func (h *Hasher) Dummy(like string) (string, error) {
	p := h.params
	if like != "" {
		var err error
		if p, err = paramsOf(like); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s", argon2.Version, p.Memory, p.Iterations, p.Parallelism, h.dummy), nil
}

// NeedsRehash says whether encoded was made with other settings than the present ones, or cannot be read.
func (h *Hasher) NeedsRehash(encoded string) bool {
	p, err := paramsOf(encoded)
	return err != nil || h.weaker(p)
}

func (h *Hasher) weaker(p argon2id.Params) bool { return p != h.params }

func paramsOf(encoded string) (argon2id.Params, error) {
	p, _, _, err := argon2id.DecodeHash(encoded)
	if err != nil {
		return argon2id.Params{}, errors.New("a stored password hash is not argon2id") // never wrap: the cause may quote it
	}
	if err := inBounds(p); err != nil {
		return argon2id.Params{}, fmt.Errorf("a stored password hash: %w", err)
	}
	return *p, nil
}

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

func inBounds(p *argon2id.Params) error {
	if p.Memory < 8*uint32(p.Parallelism) || p.Memory > maxMemoryKiB || p.Iterations < 1 || p.Iterations > maxIterations ||
		p.Parallelism < 1 || p.Parallelism > maxParallelism {
		return errors.New("argon2id parameters out of bounds")
	}
	return nil
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}
