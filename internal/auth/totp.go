package auth

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"image/png"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"
)

// Parameters of time-based codes. SHA-1, six digits and 30 seconds are what every authenticator understands (RFC 6238
// section 5.2; HMAC does not suffer from SHA-1's collisions).
const (
	TOTPPeriod       = 30 * time.Second
	totpIssuer       = "CDSA"
	totpDigits       = 6
	totpSecretLength = 20 // bytes, RFC 4226 section 4: as long as the HMAC
	totpSkew         = 1  // steps that a clock may be off, either way (RFC 6238 section 5.2)
	qrPixels         = 240
)

// maxCode bounds what is looked at of a typed code, in bytes.
const maxCode = 64

var base32Secret = base32.StdEncoding.WithPadding(base32.NoPadding)

// TOTPKey is a new secret in the forms an authenticator takes. All of them are secret.
type TOTPKey struct {
	Secret []byte // 20 bytes
	Text   string // Secret in base32 without padding
	URI    string // otpauth://totp/…
	QRCode string // of URI: a PNG as a data URI
}

// NewTOTPKey makes a random key for an account's name.
func NewTOTPKey(account string) (TOTPKey, error) {
	secret := make([]byte, totpSecretLength)
	if _, err := rand.Read(secret); err != nil {
		return TOTPKey{}, fmt.Errorf("make a TOTP secret: %w", err)
	}
	key, err := totp.Generate(totp.GenerateOpts{
		Issuer: totpIssuer, AccountName: account, Secret: secret, Period: uint(TOTPPeriod / time.Second), Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1,
	})
	if err != nil {
		return TOTPKey{}, fmt.Errorf("make a TOTP key: %w", err)
	}
	img, err := key.Image(qrPixels, qrPixels)
	if err != nil {
		return TOTPKey{}, fmt.Errorf("draw a QR code: %w", err)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return TOTPKey{}, fmt.Errorf("encode a QR code: %w", err)
	}
	return TOTPKey{
		Secret: secret, Text: base32Secret.EncodeToString(secret), URI: key.String(),
		QRCode: "data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes()),
	}, nil
}

// NormalizeTOTPCode gives the six digits of what was typed, which may have spaces and dashes between them. ok is false
// for anything else; digits are ASCII.
func NormalizeTOTPCode(s string) (code string, ok bool) {
	if len(s) > maxCode {
		return "", false
	}
	code = unspaced(s)
	if len(code) != totpDigits {
		return "", false
	}
	for i := range len(code) {
		if code[i] < '0' || code[i] > '9' {
			return "", false
		}
	}
	return code, true
}

// VerifyTOTP says whether code is good at a time, and of which time step (RFC 6238 section 4.2) it is. A step up to
// last is good no more: no code is taken twice. It takes the same time whichever step it is.
func VerifyTOTP(secret []byte, code string, at time.Time, last int64) (step int64, ok bool, err error) {
	code, valid := NormalizeTOTPCode(code)
	if !valid {
		return 0, false, nil
	}
	text, now := base32Secret.EncodeToString(secret), at.Unix()/int64(TOTPPeriod/time.Second)
	for s := now - totpSkew; s <= now+totpSkew; s++ {
		if s <= 0 {
			continue
		}
		want, err := hotp.GenerateCodeCustom(text, uint64(s), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		if err != nil {
			return 0, false, fmt.Errorf("compute a TOTP code: %w", err)
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 && s > last {
			step, ok = s, true
		}
	}
	return step, ok, nil
}

// unspaced drops the ASCII spaces and dashes that people group codes with.
func unspaced(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' || r == '\t' || r == '\n' || r == '\r' {
			return -1
		}
		return r
	}, s)
}
