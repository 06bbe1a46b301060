package auth

import (
	"bytes"
	"encoding/base64"
	"image/png"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rfcSecret is the secret of RFC 6238 appendix B, for SHA-1.
var rfcSecret = []byte("12345678901234567890")

// TestVerifyTOTP_RFC6238 is appendix B's table, its eight digits cut to the last six.
func TestVerifyTOTP_RFC6238(t *testing.T) {
	for at, code := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130",
	} {
		step, ok, err := VerifyTOTP(rfcSecret, code[2:], time.Unix(at, 0), 0)
		require.NoError(t, err)
		require.True(t, ok, "at %d", at)
		require.Equal(t, at/30, step)
	}
}

func TestVerifyTOTP_Skew(t *testing.T) {
	const step = 1111111111 / 30 // its code is 050471
	for off, want := range map[int64]bool{-60: false, -31: false, -30: true, 0: true, 29: true, 30: true, 59: true, 60: false, 3600: false} {
		got, ok, err := VerifyTOTP(rfcSecret, "050471", time.Unix(step*30+off, 0), 0)
		require.NoError(t, err)
		require.Equal(t, want, ok, "%d s off", off)
		if ok {
			require.EqualValues(t, step, got)
		}
	}
}

func TestVerifyTOTP_NoStepTwice(t *testing.T) {
	const step = 1111111111 / 30
	for last, want := range map[int64]bool{0: true, step - 1: true, step: false, step + 1: false, step + 1000: false} {
		_, ok, err := VerifyTOTP(rfcSecret, "050471", time.Unix(step*30, 0), last)
		require.NoError(t, err)
		require.Equal(t, want, ok, "last was %+d", last-step)
	}
}

func TestVerifyTOTP_EarlyClock(t *testing.T) {
	_, ok, err := VerifyTOTP(rfcSecret, "755224", time.Unix(0, 0), 0) // RFC 4226 appendix D, counter 0: no time step of ours
	require.NoError(t, err)
	require.False(t, ok)
}

func TestNormalizeTOTPCode(t *testing.T) {
	for in, want := range map[string]string{
		"123456": "123456", " 123 456 ": "123456", "123-456": "123456", "012345\n": "012345", "1 2 3 4 5 6": "123456",
		"": "", "12345": "", "1234567": "", "12345a": "", "+12345": "", "-12345": "", "0x1234": "", "12345.": "", "1e5000": "",
		"１２３４５６": "", "١٢٣٤٥٦": "", "12345\u0660": "", "123\u00a0456": "", "12345\x00": "", "\xff23456": "", strings.Repeat("1", 1<<20): "", strings.Repeat(" ", 1<<20) + "123456": "",
	} {
		code, ok := NormalizeTOTPCode(in)
		require.Equal(t, want != "", ok, "%.40q", in)
		if ok {
			require.Equal(t, want, code)
		}
		_, ok, err := VerifyTOTP(rfcSecret, in, time.Unix(59, 0), 0)
		require.NoError(t, err, "%.40q", in)
		require.False(t, ok)
	}
}

func TestNewTOTPKey(t *testing.T) {
	k, err := NewTOTPKey("ann.smith")
	require.NoError(t, err)
	require.Len(t, k.Secret, 20)
	require.Len(t, k.Text, 32)
	u, err := url.Parse(k.URI)
	require.NoError(t, err)
	require.Equal(t, "otpauth", u.Scheme)
	require.Equal(t, "totp", u.Host)
	require.Equal(t, "/CDSA:ann.smith", u.Path)
	q := u.Query()
	for name, want := range map[string]string{"secret": k.Text, "issuer": "CDSA", "algorithm": "SHA1", "digits": "6", "period": "30"} {
		require.Equal(t, want, q.Get(name), name)
	}
	b64, ok := strings.CutPrefix(k.QRCode, "data:image/png;base64,")
	require.True(t, ok)
	raw, err := base64.StdEncoding.DecodeString(b64)
	require.NoError(t, err)
	img, err := png.Decode(bytes.NewReader(raw))
	require.NoError(t, err)
	require.Equal(t, qrPixels, img.Bounds().Dx())
	other, err := NewTOTPKey("ann.smith")
	require.NoError(t, err)
	require.NotEqual(t, k.Secret, other.Secret)
	long, err := NewTOTPKey(strings.Repeat("a", maxUsername))
	require.NoError(t, err, "the longest name fits the picture")
	require.NotEmpty(t, long.QRCode)
}

func FuzzVerifyTOTP(f *testing.F) {
	for _, s := range []string{"050471", "050 471", "１２３４５６", "", "-1"} {
		f.Add(s)
	}
	at := time.Unix(1111111111, 0)
	f.Fuzz(func(t *testing.T, s string) {
		_, ok, err := VerifyTOTP(rfcSecret, s, at, 0)
		if err != nil {
			t.Fatal(err)
		}
		code, valid := NormalizeTOTPCode(s)
		if ok && !valid || code == "050471" && !ok {
			t.Fatalf("%q: %v", s, ok)
		}
	})
}
