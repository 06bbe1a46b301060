package auth

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

const (
	// rotationLead is how long a new key is accepted before it signs: every replica has read it by then.
	rotationLead = time.Minute
	// retirement is how long a key is accepted after the next one began to sign: no token lives longer, and a replica
	// that reads the keyring late may sign a little longer.
	retirement = maxTokenTTL + 5*time.Minute
)

// Rotation is a keyring with a new key, and what became of the old ones.
type Rotation struct {
	Material  []byte // for ParseKeyring
	KeyID     string
	SignsFrom time.Time
	Dropped   []string // kids that are accepted no more
}

// Rotate adds a new key, which begins to sign in a minute, when every replica accepts it. The present signer is
// accepted until its last token has expired; the private halves of keys that sign no more, and keys that are accepted
// no more, are left out. It refuses while the last new key has not begun to sign.
func Rotate(material []byte, now time.Time) (Rotation, error) {
	k, err := ParseKeyring(material)
	if err != nil {
		return Rotation{}, err
	}
	now = now.UTC().Truncate(time.Second)
	signer := k.signer(now)
	if signer == nil {
		return Rotation{}, errors.New("no key of the keyring may sign any more")
	}
	for i := range k.keys {
		if c := &k.keys[i]; c.private != nil && !c.over(now) && now.Before(c.notBefore) {
			return Rotation{}, fmt.Errorf("the key %s of the last rotation begins to sign at %s; rotate again after that", c.id, c.notBefore.Format(time.RFC3339))
		}
	}
	begins := now.Add(rotationLead)
	var kept []ringKey
	var dropped []string
	for i, c := range k.keys {
		if c.over(now) {
			dropped = append(dropped, c.id)
			continue
		}
		if c.notAfter.IsZero() {
			c.notAfter = begins.Add(retirement)
		}
		if &k.keys[i] != signer {
			c.private = nil
		}
		kept = append(kept, c)
	}
	return newRing(begins, kept, dropped)
}

// Replace gives a keyring of one new key, which signs at once: for when the old keys may be known to someone. Every
// access token dies with them; people go on by refreshing.
func Replace(material []byte, now time.Time) (Rotation, error) {
	k, err := ParseKeyring(material)
	if err != nil {
		return Rotation{}, err
	}
	return newRing(now.UTC().Truncate(time.Second), nil, k.KeyIDs(now))
}

func newRing(begins time.Time, kept []ringKey, dropped []string) (Rotation, error) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Rotation{}, fmt.Errorf("make a signing key: %w", err)
	}
	r := Rotation{KeyID: KeyID(pub), SignsFrom: begins, Dropped: dropped}
	for _, c := range append([]ringKey{{private: priv, notBefore: begins}}, kept...) {
		b, err := c.encode()
		if err != nil {
			return Rotation{}, err
		}
		r.Material = append(r.Material, b...)
	}
	if _, err := ParseKeyring(r.Material); err != nil { // what is written can be read
		return Rotation{}, err
	}
	return r, nil
}
