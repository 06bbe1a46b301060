package auth

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

// Keyring holds the key that signs access tokens and the keys that are still accepted. It is immutable.
type Keyring struct {
	signID string
	sign   ed25519.PrivateKey
	verify map[string]ed25519.PublicKey // by key id
	order  []string
}

// GenerateSigningKey makes a new Ed25519 key as a PKCS #8 PEM block, the form ParseKeyring reads.
func GenerateSigningKey() ([]byte, error) {
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		return nil, fmt.Errorf("encode a signing key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParseKeyring reads PEM blocks: the first is the private key that signs, every further one (private or public) is
// only accepted. To rotate, put a new key in front and take the old one away once its last token has expired. A
// bare base64 seed of 32 bytes is taken as well. Errors never quote the material.
func ParseKeyring(material []byte) (*Keyring, error) {
	k := &Keyring{verify: map[string]ed25519.PublicKey{}}
	if seed, ok := bareSeed(material); ok {
		return k, k.setSigner(ed25519.NewKeyFromSeed(seed))
	}
	for block, rest := pem.Decode(material); block != nil; block, rest = pem.Decode(rest) {
		if err := k.addBlock(block); err != nil {
			return nil, err
		}
	}
	if k.sign == nil {
		return nil, errors.New("the signing key is neither an Ed25519 private key in PEM (PKCS #8) nor 32 bytes in base64")
	}
	return k, nil
}

func (k *Keyring) addBlock(block *pem.Block) error {
	switch block.Type {
	case "PRIVATE KEY":
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return errors.New("a PRIVATE KEY block of the signing key cannot be read")
		}
		priv, ok := key.(ed25519.PrivateKey)
		if !ok {
			return errors.New("the signing key must be Ed25519")
		}
		if k.sign == nil {
			return k.setSigner(priv)
		}
		return k.accept(priv.Public())
	case "PUBLIC KEY":
		if k.sign == nil {
			return errors.New("the first block of the signing key must be private")
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return errors.New("a PUBLIC KEY block of the signing key cannot be read")
		}
		return k.accept(key)
	default:
		return errors.New("the signing key holds a PEM block that is neither PRIVATE KEY nor PUBLIC KEY")
	}
}

func (k *Keyring) setSigner(priv ed25519.PrivateKey) error {
	k.sign = priv
	if err := k.accept(priv.Public()); err != nil {
		return err
	}
	k.signID = k.order[0]
	return nil
}

func (k *Keyring) accept(key any) error {
	pub, ok := key.(ed25519.PublicKey)
	if !ok {
		return errors.New("every key of the signing keyring must be Ed25519")
	}
	id := KeyID(pub)
	if _, twice := k.verify[id]; twice {
		return errors.New("the signing keyring holds a key twice")
	}
	k.verify[id] = pub
	k.order = append(k.order, id)
	return nil
}

// SigningKeyID is the kid of the key that signs.
func (k *Keyring) SigningKeyID() string { return k.signID }

// KeyIDs lists the kids that are accepted, the signing one first.
func (k *Keyring) KeyIDs() []string { return slices.Clone(k.order) }

// PublicKey gives an accepted key by its kid.
func (k *Keyring) PublicKey(kid string) (ed25519.PublicKey, bool) {
	pub, ok := k.verify[kid]
	return pub, ok
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
