package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"cdsa.dev/cdsa/internal/errs"
)

// RefreshPrefix begins every refresh token, so that a secret scanner finds one that was committed or pasted.
const RefreshPrefix = "cdsa_rt_"

const opaqueBytes = 32 // 256 bit

// NewRefreshToken makes a refresh token and the hash that is stored in its place. The token is shown once.
func NewRefreshToken() (token, hash string, err error) {
	b := make([]byte, opaqueBytes)
	if _, err := rand.Read(b); err != nil {
		return "", "", fmt.Errorf("refresh token: %w", err)
	}
	token = RefreshPrefix + base64.RawURLEncoding.EncodeToString(b)
	return token, hashText(token), nil
}

// HashRefreshToken gives the stored form of a presented refresh token: SHA-256 in base64url, enough for 256 random
// bits. UNAUTHENTICATED for what this server cannot have made.
func HashRefreshToken(token string) (string, error) {
	body, ok := strings.CutPrefix(token, RefreshPrefix)
	if !ok || len(body) != base64.RawURLEncoding.EncodedLen(opaqueBytes) {
		return "", badRefresh()
	}
	if strings.ContainsAny(body, "\r\n") { // which the decoder passes over
		return "", badRefresh()
	}
	if _, err := base64.RawURLEncoding.Strict().DecodeString(body); err != nil {
		return "", badRefresh()
	}
	return hashText(token), nil
}

// HashTokenID gives the stored form of an access token's id (jti).
func HashTokenID(jti string) string { return hashText(jti) }

// SameHash compares two stored hashes in constant time.
func SameHash(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func hashText(s string) string {
	h := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(h[:])
}

func badRefresh() error {
	return errs.New(errs.Unauthenticated, "The refresh token is not valid. Sign in again.")
}
