package auth

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"

	"cdsa.dev/cdsa/internal/errs"
)

// APITokenPrefix begins every API token, so that a secret scanner finds one that was committed or pasted.
const APITokenPrefix = "cdsa_pat_"

const (
	base62        = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	apiTokenChars = 43 // of base62: 256 bit
	apiTokenCheck = 6  // of base62: a CRC-32
	apiTokenLen   = len(APITokenPrefix) + apiTokenChars + apiTokenCheck
)

// NewAPIToken makes an API token and the hash that is stored in its place. The token is shown once. It is the prefix,
// 43 random letters and digits, and a check sum of both in six more, by which scanners and the server tell it from
// whatever else looks like one.
func NewAPIToken() (token, hash string, err error) {
	body := make([]byte, 0, apiTokenChars)
	for b := make([]byte, 64); len(body) < apiTokenChars; {
		if _, err := rand.Read(b); err != nil {
			return "", "", fmt.Errorf("API token: %w", err)
		}
		for _, c := range b {
			if c < 4*62 && len(body) < apiTokenChars { // without the rest, so that each letter is as likely as the others
				body = append(body, base62[c%62])
			}
		}
	}
	token = APITokenPrefix + string(body)
	check := checkOf(token)
	token += string(check[:])
	return token, hashText(token), nil
}

// ParseAPIToken gives the stored form of a presented API token: SHA-256 in base64url, enough for 256 random bits.
// UNAUTHENTICATED, without asking anyone, for what this server cannot have made.
func ParseAPIToken(token string) (hash string, err error) {
	sum, err := sumOfAPIToken(token)
	if err != nil {
		return "", err
	}
	return sum.text(), nil
}

func (s tokenSum) text() string { return base64.RawURLEncoding.EncodeToString(s[:]) }

func sumOfAPIToken(token string) (tokenSum, error) {
	if len(token) != apiTokenLen || !isAPIToken(token) {
		return tokenSum{}, refusedAPIToken("form")
	}
	for i := len(APITokenPrefix); i < len(token); i++ {
		if strings.IndexByte(base62, token[i]) < 0 {
			return tokenSum{}, refusedAPIToken("form")
		}
	}
	end := apiTokenLen - apiTokenCheck
	if check := checkOf(token[:end]); token[end:] != string(check[:]) {
		return tokenSum{}, refusedAPIToken("check sum")
	}
	return sumOf(token), nil
}

func isAPIToken(token string) bool { return strings.HasPrefix(token, APITokenPrefix) }

// checkOf is the CRC-32 (IEEE) in base62, the highest digit first.
func checkOf(s string) (b [apiTokenCheck]byte) {
	sum := crc32.ChecksumIEEE([]byte(s))
	for i := range b {
		b[len(b)-1-i] = base62[sum%62]
		sum /= 62
	}
	return b
}

func refusedAPIToken(why string) error {
	return errs.Wrap(errors.New("API token refused: "+why), errs.Unauthenticated,
		"The API token is not valid, has expired or was revoked. Make a new one with createApiToken.")
}
