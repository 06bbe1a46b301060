package auth

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
)

// RecoveryCodes is how many recovery codes an account gets.
const RecoveryCodes = 10

// A recovery code is its slot, a digit, and 75 random bits in Crockford's base32, in groups of four.
const (
	recoveryAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	recoveryLength   = 16 // with the slot
	recoveryGroup    = 4
)

// NewRecoveryCodes makes a set of codes to be shown once and their stored forms, in the same order: the slot and an
// argon2id hash. The slot is the code's first character, so that checking a code costs one hash and not ten. Errors as
// Hash.
func (h *Hasher) NewRecoveryCodes(ctx context.Context) (codes, stored []string, err error) {
	for slot := range RecoveryCodes {
		b := make([]byte, recoveryLength)
		if _, err := rand.Read(b); err != nil {
			return nil, nil, fmt.Errorf("make a recovery code: %w", err)
		}
		for i := range b {
			b[i] = recoveryAlphabet[b[i]%32] // 256 is a multiple of 32: no character is likelier than another
		}
		b[0] = '0' + byte(slot)
		hash, err := h.Hash(ctx, string(b))
		if err != nil {
			return nil, nil, err
		}
		codes, stored = append(codes, grouped(string(b))), append(stored, string(b[:1])+hash)
	}
	return codes, stored, nil
}

// VerifyRecoveryCode finds the stored form that a typed code belongs to; "" when there is none. Case, spaces and dashes
// do not matter. What has a code's form takes the time of one hash whether its slot is used or not. Errors as Verify.
func (h *Hasher) VerifyRecoveryCode(ctx context.Context, typed string, stored []string) (match string, err error) {
	code, ok := normalRecoveryCode(typed)
	if !ok {
		return "", nil
	}
	for _, s := range stored {
		if !strings.HasPrefix(s, code[:1]) {
			continue
		}
		right, _, err := h.Verify(ctx, code, s[1:])
		if err != nil || !right {
			return "", err
		}
		return s, nil
	}
	like := ""
	if len(stored) > 0 {
		like = stored[0][1:] // all of a set are made alike
	}
	dummy, err := h.Dummy(like)
	if err == nil {
		_, _, err = h.Verify(ctx, code, dummy)
	}
	return "", err
}

// normalRecoveryCode gives the one form of a typed code: upper case, no groups, letters that look like digits taken for
// them, as Crockford's base32 has it.
func normalRecoveryCode(s string) (code string, ok bool) {
	if len(s) > maxCode {
		return "", false
	}
	code = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			r -= 'a' - 'A'
		case r > '\x7f':
			return '?' // not folded: some fold to ASCII letters
		}
		switch r {
		case 'O':
			return '0'
		case 'I', 'L':
			return '1'
		}
		return r
	}, unspaced(s))
	if len(code) != recoveryLength || code[0] < '0' || code[0] > '9' {
		return "", false
	}
	for i := range len(code) {
		if !strings.Contains(recoveryAlphabet, code[i:i+1]) {
			return "", false
		}
	}
	return code, true
}

func grouped(code string) string {
	var b strings.Builder
	for i := range len(code) {
		if i > 0 && i%recoveryGroup == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(code[i])
	}
	return b.String()
}
