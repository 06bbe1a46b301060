package auth

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uid"
)

func FuzzVerify(f *testing.F) {
	k := keyring(f)
	tk := newTokens(f, k, TokenConfig{})
	token, _, _, err := tk.Issue(uid.New(uid.User), uid.New(uid.Session), time.Now())
	require.NoError(f, err)
	parts := strings.Split(token, ".")
	f.Add(token)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("..")
	f.Add(parts[0] + "." + parts[1] + ".")
	f.Add(parts[0] + ".e30." + parts[2])
	f.Add("e30." + parts[1] + "." + parts[2])
	f.Add(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","alg":"none","typ":"at+jwt","kid":[{}],"crit":["x"]}`)) + "." + parts[1] + "." + parts[2])
	f.Fuzz(func(t *testing.T, s string) {
		c, err := tk.Verify(s)
		if s == token {
			require.NoError(t, err)
			return
		}
		require.True(t, errs.Is(err, errs.Unauthenticated))
		require.Zero(t, c)
		require.LessOrEqual(t, tk.state.Load().cache.len(), 1)
	})
}

// What is taken reads back as the very same characters with a right check sum: there are no two spellings of a token.
func FuzzParseAPIToken(f *testing.F) {
	token, _ := apiToken(f)
	f.Add(token)
	f.Add(APITokenPrefix)
	f.Add(strings.ToUpper(token))
	f.Add(reckoned(strings.Repeat("0", 43)))
	f.Add(token[:57] + "\x00")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseAPIToken(s)
		if err != nil {
			require.True(t, errs.Is(err, errs.Unauthenticated))
			require.Empty(t, h)
			return
		}
		require.Regexp(t, `^cdsa_pat_[0-9A-Za-z]{49}$`, s)
		require.Equal(t, reckoned(s[9:52]), s)
		require.Equal(t, hashText(s), h)
	})
}

func FuzzHashRefreshToken(f *testing.F) {
	token, _, err := NewRefreshToken()
	require.NoError(f, err)
	f.Add(token)
	f.Add(looseBits(token))
	f.Add(RefreshPrefix + strings.Repeat("=", 43))
	f.Fuzz(func(t *testing.T, s string) {
		h, err := HashRefreshToken(s)
		if err != nil {
			require.True(t, errs.Is(err, errs.Unauthenticated))
			return
		}
		b, err := base64.RawURLEncoding.DecodeString(s[len(RefreshPrefix):])
		require.NoError(t, err)
		require.Equal(t, RefreshPrefix+base64.RawURLEncoding.EncodeToString(b), s, "one spelling")
		require.Equal(t, hashText(s), h)
	})
}

// A keyring that is taken can be rotated, and what it then is can be read; whatever is refused is not quoted.
func FuzzParseKeyring(f *testing.F) {
	one, err := GenerateSigningKey()
	require.NoError(f, err)
	r, err := Rotate(one, time.Now())
	require.NoError(f, err)
	f.Add([]byte(nil))
	f.Add(one)
	f.Add(r.Material)
	f.Add(r.Material[:len(r.Material)-30])
	f.Add([]byte(base64.StdEncoding.EncodeToString(make([]byte, 32))))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nNot-Before: never\n\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := ParseKeyring(b)
		if err != nil {
			require.Less(t, len(err.Error()), 200)
			if len(b) > 12 {
				require.NotContains(t, err.Error(), string(b[:12]))
			}
			return
		}
		now := time.Now()
		if id := k.SigningKeyID(now); id != "" {
			require.Contains(t, k.KeyIDs(now), id)
		}
		if r, err := Rotate(b, now); err == nil {
			require.Equal(t, k.SigningKeyID(now), parse(t, r.Material).SigningKeyID(now), "rotating does not change who signs now")
		}
	})
}

func FuzzParseBearer(f *testing.F) {
	for _, s := range []string{"", "Bearer x", "bearer  x ", "Basic eDp5", "Bearer", "Bearer ", "Bearer a, Bearer b", "Bearer\tx", "Bearer x y", "Bearer x\r\ny"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		token, err := ParseBearer(s, true)
		if err != nil {
			require.True(t, errs.Is(err, errs.Unauthenticated))
			require.Empty(t, token)
			return
		}
		require.NotEmpty(t, token, "what is present is never anonymous")
		require.NotContains(t, token, " ")
		require.True(t, strings.EqualFold(s[:7], "Bearer ") && strings.TrimSpace(s[7:]) != "")
	})
}
