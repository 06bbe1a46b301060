package auth

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// Headers of a PEM block of the keyring, times in RFC 3339.
const (
	headerNotBefore = "Not-Before" // when the key begins to sign
	headerNotAfter  = "Not-After"  // when tokens that it signed are refused
)

// Keyring holds the key that signs access tokens and the keys that are still accepted. It is immutable.
type Keyring struct {
	keys []ringKey // as written
	byID map[string]int
}

type ringKey struct {
	id        string
	public    ed25519.PublicKey
	private   ed25519.PrivateKey // nil: only accepted
	notBefore time.Time          // zero: from ever
	notAfter  time.Time          // zero: for good
}

func (k *ringKey) over(now time.Time) bool { return !k.notAfter.IsZero() && !now.Before(k.notAfter) }

// GenerateSigningKey makes a new Ed25519 key as a PKCS #8 PEM block, the form ParseKeyring reads.
func GenerateSigningKey() ([]byte, error) {
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	return (&ringKey{private: priv}).encode()
}

// ParseKeyring reads PEM blocks: private keys, which sign, and public ones, which are only accepted; the first must be
// private. The newest key whose Not-Before has passed signs; of those without one, the first written. A key whose
// Not-After has passed is accepted no more. A bare base64 seed of 32 bytes is taken as well. Anything between the
// blocks that looks like a block and cannot be read is an error: half a file is no keyring. Errors never quote the
// material.
func ParseKeyring(material []byte) (*Keyring, error) {
	k := &Keyring{byID: map[string]int{}}
	if seed, ok := bareSeed(material); ok {
		return k, k.add(ringKey{private: ed25519.NewKeyFromSeed(seed)})
	}
	for block, rest := pem.Decode(material); block != nil; block, rest = pem.Decode(rest) {
		key, err := parseBlock(block)
		if err != nil {
			return nil, err
		}
		if err := k.add(key); err != nil {
			return nil, err
		}
	}
	if len(k.keys) == 0 {
		return nil, errors.New("the signing key is neither an Ed25519 private key in PEM (PKCS #8) nor 32 bytes in base64")
	}
	if bytes.Count(material, []byte("-----BEGIN")) != len(k.keys) || bytes.Count(material, []byte("-----END")) != len(k.keys) {
		return nil, errors.New("a block of the signing keyring is damaged")
	}
	return k, nil
}

func parseBlock(block *pem.Block) (key ringKey, err error) {
	for name, value := range block.Headers {
		at, err := time.Parse(time.RFC3339, value)
		if err != nil {
			return key, errors.New("a header of the signing keyring is not a time in RFC 3339")
		}
		switch name {
		case headerNotBefore:
			key.notBefore = at
		case headerNotAfter:
			key.notAfter = at
		default:
			return key, errors.New("the signing keyring holds a header that is neither Not-Before nor Not-After")
		}
	}
	var parsed any
	switch block.Type {
	case "PRIVATE KEY":
		if parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
			return key, errors.New("a PRIVATE KEY block of the signing key cannot be read")
		}
	case "PUBLIC KEY":
		if parsed, err = x509.ParsePKIXPublicKey(block.Bytes); err != nil {
			return key, errors.New("a PUBLIC KEY block of the signing key cannot be read")
		}
	default:
		return key, errors.New("the signing key holds a PEM block that is neither PRIVATE KEY nor PUBLIC KEY")
	}
	switch p := parsed.(type) {
	case ed25519.PrivateKey:
		key.private = p
	case ed25519.PublicKey:
		key.public = p
	default:
		return key, errors.New("every key of the signing keyring must be Ed25519")
	}
	return key, nil
}

func (k *Keyring) add(key ringKey) error {
	if key.private != nil {
		key.public, _ = key.private.Public().(ed25519.PublicKey)
	} else if len(k.keys) == 0 {
		return errors.New("the first block of the signing key must be private")
	}
	key.id = KeyID(key.public)
	if _, twice := k.byID[key.id]; twice {
		return errors.New("the signing keyring holds a key twice")
	}
	k.byID[key.id] = len(k.keys)
	k.keys = append(k.keys, key)
	return nil
}

// encode writes the key as a PEM block; a key without its private half as a public one.
func (k *ringKey) encode() (_ []byte, err error) {
	b := pem.Block{Headers: map[string]string{}}
	if k.private != nil {
		b.Type = "PRIVATE KEY"
		b.Bytes, err = x509.MarshalPKCS8PrivateKey(k.private)
	} else {
		b.Type = "PUBLIC KEY"
		b.Bytes, err = x509.MarshalPKIXPublicKey(k.public)
	}
	if err != nil {
		return nil, fmt.Errorf("encode a signing key: %w", err)
	}
	for name, at := range map[string]time.Time{headerNotBefore: k.notBefore, headerNotAfter: k.notAfter} {
		if !at.IsZero() {
			b.Headers[name] = at.UTC().Format(time.RFC3339)
		}
	}
	return pem.EncodeToMemory(&b), nil
}

// signer is the key that signs at a time; nil when there is none. When none has begun, the clock is behind and the
// earliest signs.
func (k *Keyring) signer(now time.Time) *ringKey {
	var best *ringKey
	for i := range k.keys {
		c := &k.keys[i]
		if c.private == nil || c.over(now) {
			continue
		}
		switch begun := !now.Before(c.notBefore); {
		case best == nil:
			best = c
		case now.Before(best.notBefore): // best has not begun
			if begun || c.notBefore.Before(best.notBefore) {
				best = c
			}
		case begun && c.notBefore.After(best.notBefore):
			best = c
		}
	}
	return best
}

// SigningKeyID is the kid of the key that signs at a time; "" when there is none.
func (k *Keyring) SigningKeyID(now time.Time) string {
	if s := k.signer(now); s != nil {
		return s.id
	}
	return ""
}

// KeyIDs lists the kids that are accepted at a time, as written.
func (k *Keyring) KeyIDs(now time.Time) []string {
	ids := []string{}
	for i := range k.keys {
		if !k.keys[i].over(now) {
			ids = append(ids, k.keys[i].id)
		}
	}
	return ids
}

// accepted gives the key of a kid that is accepted at a time; nil when there is none.
func (k *Keyring) accepted(kid string, now time.Time) *ringKey {
	if i, ok := k.byID[kid]; ok && !k.keys[i].over(now) {
		return &k.keys[i]
	}
	return nil
}

// KeyID is the RFC 7638 thumbprint of the key as a JWK: 43 characters of base64url.
func KeyID(pub ed25519.PublicKey) string {
	jwk := `{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(pub) + `"}`
	sum := sha256.Sum256([]byte(jwk))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func bareSeed(material []byte) ([]byte, bool) {
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if b, err := enc.DecodeString(string(material)); err == nil && len(b) == ed25519.SeedSize {
			return b, true
		}
	}
	return nil, false
}
