package auth

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/errs"
)

// TestCheckPassword_Substitutions: a common password is none the better for signs in place of its letters.
func TestCheckPassword_Substitutions(t *testing.T) {
	for _, p := range []string{
		"p@ssw0rd1234", "P@$$w0rd1234", "p4ssw0rd1234", "pa55w0rd!!!!", "p455w0rd12345", "passw0rd2024", "pr1ncess1234", "pr|ncess1234",
		"1l0vey0u1234", "7r1n17y1234567", "m0nk3ym0nk3y", "dr@g0ndr@g0n", "@l1ce@l1ce", "4l|c3.3x4mpl3",
	} {
		require.True(t, errs.Is(CheckPassword("p", p, "alice.example@example.org", "alice"), errs.BadUserInput), p)
	}
	for _, p := range []string{"q7!Kd92vTz#p", "c0rrect h0rse battery staple", "ke!m7-wandschrank"} {
		require.NoError(t, CheckPassword("p", p, "alice.example@example.org"), p)
	}
}

// scoringWork is what checking a password allocates: it counts what is tried and looked up, on every machine alike.
func scoringWork(p string) float64 {
	return testing.AllocsPerRun(1, func() { _ = CheckPassword("p", p, "alice.example@example.org", "alice") })
}

// TestCheckPassword_Bounded: no password costs much more than the dearest ordinary one, whatever signs it is made of. The
// search climbs from random passwords of the signs that stand for letters, the way somebody would look for a slow one.
func TestCheckPassword_Bounded(t *testing.T) {
	ordinary := scoringWork("correct horse battery staple")
	for _, p := range []string{"a4@8({[<63e910!|i15$7+2zZ%xX", strings.Repeat("a@5$40|1", 30), "|17|17|17|17|17|17|17|17|17|"} {
		require.LessOrEqual(t, scoringWork(p), 100*ordinary, p) // every combination is 500 times
	}

	const alphabet = "4@8({[<369160!|1750$5+72%aceilostxz"
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		best := make([]byte, scoredRunes)
		for i := range best {
			best[i] = alphabet[rng.IntN(len(alphabet))]
		}
		work := scoringWork(string(best))
		for range 30 {
			next := []byte(string(best))
			for range 3 {
				next[rng.IntN(len(next))] = alphabet[rng.IntN(len(alphabet))]
			}
			if w := scoringWork(string(next)); w > work {
				best, work = next, w
			}
		}
		require.LessOrEqual(t, work, 300*ordinary, "%s", best)
	}
}

func FuzzReadings(f *testing.F) {
	f.Add("a4@8({[<63e910!|i15$7+2zZ%xX")
	f.Add("надёжный пароль 1|7")
	f.Fuzz(func(t *testing.T, p string) {
		if _, err := normalPassword(p); err != nil {
			t.Skip()
		}
		all := readings(p)
		require.LessOrEqual(t, len(all), maxReadings)
		for _, r := range all {
			require.Len(t, []rune(r), len([]rune(p)))
		}
	})
}
