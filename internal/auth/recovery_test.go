package auth

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/errs"
)

func TestHasher_NewRecoveryCodes(t *testing.T) {
	h := hasher(t, cheap)
	ctx := t.Context()
	codes, stored, err := h.NewRecoveryCodes(ctx)
	require.NoError(t, err)
	require.Len(t, codes, RecoveryCodes)
	require.Len(t, stored, RecoveryCodes)
	form := regexp.MustCompile(`^[0-9][0-9A-HJKMNP-TV-Z]{3}(-[0-9A-HJKMNP-TV-Z]{4}){3}$`)
	for i, c := range codes {
		require.Regexp(t, form, c)
		require.Equal(t, byte('0'+i), c[0], "the first character is the slot")
		require.True(t, strings.HasPrefix(stored[i], c[:1]+"$argon2id$"))
		require.NotContains(t, stored[i], strings.ReplaceAll(c, "-", ""))
		_, totp := NormalizeTOTPCode(c)
		require.False(t, totp, "no recovery code looks like a TOTP code")
		match, err := h.VerifyRecoveryCode(ctx, c, stored)
		require.NoError(t, err)
		require.Equal(t, stored[i], match)
	}
	require.Len(t, slices.Compact(slices.Sorted(slices.Values(codes))), RecoveryCodes)
	again, _, err := h.NewRecoveryCodes(ctx)
	require.NoError(t, err)
	require.NotEqual(t, codes, again)
}

func TestHasher_VerifyRecoveryCode(t *testing.T) {
	h := hasher(t, cheap)
	ctx := t.Context()
	hash, err := h.Hash(ctx, "3K7M01PRTVWXYZ12")
	require.NoError(t, err)
	stored := []string{"3" + hash, "1$argon2id$"}
	for in, want := range map[string]bool{
		"3K7M-01PR-TVWX-YZ12": true, "3k7m01prtvwxyz12": true, " 3K7M OLPR tvwx yzi2\n": true, "3-K-7-M-0-1-P-R-T-V-W-X-Y-Z-1-2": true,
		"": false, "3": false, "4K7M-01PR-TVWX-YZ12": false, "3K7M-01PR-TVWX-YZ13": false, "3K7M-01PR-TVWX-YZ1": false, "3K7M-01PR-TVWX-YZ123": false,
		"3\u212a7M-01PR-TVWX-YZ12": false, "３K7M-01PR-TVWX-YZ12": false, "3K7M-01PR-TVWX-YZ1\x00": false, "3K7M-01PR-TUWX-YZ12": false, "AK7M-01PR-TVWX-YZ12": false,
		"\xff\xfe": false, strings.Repeat("3", 1<<20): false, "000000": false,
	} {
		match, err := h.VerifyRecoveryCode(ctx, in, stored)
		require.NoError(t, err, "%.40q", in)
		require.Equal(t, want, match != "", "%.40q", in)
	}
}

// TestHasher_VerifyRecoveryCode_OneHash: a code costs one hash whether its slot is used or not, and waits for its turn
// like a password.
func TestHasher_VerifyRecoveryCode_OneHash(t *testing.T) {
	h, err := NewHasher(HasherConfig{MemoryKiB: 7 * 1024, Iterations: 5, Concurrent: 1, Queue: -1})
	require.NoError(t, err)
	done, err := h.turn(t.Context())
	require.NoError(t, err)
	defer done()
	dummy, err := h.Dummy("")
	require.NoError(t, err)
	for name, stored := range map[string][]string{"None": nil, "Used": {"4" + dummy}, "Unused": {"3" + dummy}} {
		_, err = h.VerifyRecoveryCode(t.Context(), "3K7M-01PR-TVWX-YZ12", stored)
		require.True(t, errs.Is(err, errs.RateLimited), "%s: %v", name, err)
	}
	_, err = h.VerifyRecoveryCode(t.Context(), "not a code", nil)
	require.NoError(t, err, "what is no code is not hashed")
}

func FuzzNormalRecoveryCode(f *testing.F) {
	for _, s := range []string{"3K7M-01PR-TVWX-YZ12", "oil", "\u212a", "ſ", strings.Repeat("-", 64)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		code, ok := normalRecoveryCode(s)
		if !ok {
			return
		}
		if len(code) != recoveryLength || strings.Trim(code, recoveryAlphabet) != "" {
			t.Fatalf("%q became %q", s, code)
		}
		if again, ok := normalRecoveryCode(grouped(code)); !ok || again != code {
			t.Fatalf("%q is not stable", code)
		}
	})
}
