package auth

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/alexedwards/argon2id"
	"golang.org/x/crypto/argon2"
)

// Params are the cost of an argon2id hash and the lengths of its salt and key.
type Params = argon2id.Params

// Bounds of parameters, those read from a stored hash among them: a row that was tampered with must not take the
// machine down, nor have a key so short that any password fits.
const (
	maxMemoryKiB   = 1 << 20 // 1 GiB
	maxIterations  = 64
	maxParallelism = 16
	minSalt        = 8 // bytes, RFC 9106 section 3.1
	minKey         = 16
	maxLength      = 64 // bytes, of salt and key
	saltLength     = 16 // bytes, RFC 9106 section 4
	keyLength      = 32 // bytes, RFC 9106 section 4
)

// CheckParams refuses what is out of bounds.
func CheckParams(p Params) error {
	if p.Memory < 8*uint32(p.Parallelism) || p.Memory > maxMemoryKiB || p.Iterations < 1 || p.Iterations > maxIterations ||
		p.Parallelism < 1 || p.Parallelism > maxParallelism ||
		p.SaltLength < minSalt || p.SaltLength > maxLength || p.KeyLength < minKey || p.KeyLength > maxLength {
		return errors.New("argon2id parameters out of bounds")
	}
	return nil
}

// Deriver computes argon2id keys, several at once.
type Deriver interface {
	// Derive gives the key of p.KeyLength bytes, for params that CheckParams takes and a salt of p.SaltLength bytes. It can
	// neither fail nor be cut short: the caller's turn lasts as long as the work.
	Derive(password string, salt []byte, p Params) []byte
}

// InProcess derives in this process.
type InProcess struct{}

// Derive is of Deriver.
func (InProcess) Derive(password string, salt []byte, p Params) []byte {
	return Argon2id([]byte(password), salt, p)
}

// Argon2id is the function itself.
func Argon2id(password, salt []byte, p Params) []byte {
	return argon2.IDKey(password, salt, p.Iterations, p.Memory, p.Parallelism, p.KeyLength)
}

// encode gives the stored form: that of the reference implementation.
func encode(p Params, salt, key []byte) string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.Memory, p.Iterations, p.Parallelism, b64(salt), b64(key))
}

func decode(encoded string) (p Params, salt, key []byte, err error) {
	read, salt, key, err := argon2id.DecodeHash(encoded)
	if err != nil {
		return Params{}, nil, nil, errors.New("a stored password hash is not argon2id") // never wrap: the cause may quote it
	}
	if err := CheckParams(*read); err != nil {
		return Params{}, nil, nil, fmt.Errorf("a stored password hash: %w", err)
	}
	return *read, salt, key, nil
}
