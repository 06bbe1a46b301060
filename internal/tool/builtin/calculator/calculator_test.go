package calculator

import (
	"log/slog"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/tool"
)

func TestEvaluate(t *testing.T) {
	for expr, want := range map[string]string{ // "~" before an inexact result
		"2*21": "42", " 1 + 2 * 3 ": "7", "(1+2)*3": "9", "2^10": "1024", "2**10": "1024", "2^3^2": "512", "-2^2": "-4", "(-2)^2": "4", "2^-2": "0.25",
		"--3": "3", "-+-3": "3", "2--3": "5", "0.1+0.2": "0.3", "1/3": "1/3", "1/3*3": "1", "10/4": "2.5", "7%3": "1", "-7%3": "-1", "7%-3": "1", "5.5%2": "1.5",
		"1e3": "1000", "2.5E-3": "0.0025", ".5": "0.5", "5.": "5", "12*(3+4)": "84", "8×7÷4−1": "13", "6·7": "42",
		"123456789012345678901234567890*2": "246913578024691357802469135780", "2^200": "1606938044258990275541962092341162602522202993782792835301376",
		"sqrt(16)": "4", "sqrt(2.25)": "1.5", "√(9)": "3", "sqrt(4/9)": "2/3", "16^0.5": "4", "sqrt(2)": "~1.4142135623730950", "sqrt(2)^2": "~2",
		"abs(-3.5)": "3.5", "min(3, 1, 2)": "1", "max(3,1,2)": "3", "max(7)": "7", "round(2.5)": "3", "round(-2.5)": "-3", "round(2.4)": "2", "round(1.005, 2)": "1.01",
		"round(1234,-2)": "1200", "round(1/3, 4)": "0.3333", "floor(-1.5)": "-2", "ceil(-1.5)": "-1", "floor(1.5)": "1", "ceil(1.2)": "2", "floor(3)": "3", "ceil(3)": "3",
		"log(1000)": "3", "log(8,2)": "3", "log(0.001)": "-3", "log(1/8, 2)": "-3", "ln(1)": "0", "log(10^300*10)": "301", "exp(0)": "1", "sin(0)": "0", "cos(0)": "1", "tan(0)": "0", "ln(e)": "~1",
		"log(2)": "~0.30102999566398119", "exp(1)": "~2.7182818284590451", "pi": "~3.1415926535897932", "PI": "~3.1415926535897932", "π*2": "~6.2831853071795865",
		"cos(pi)": "~-1", "0^0": "1", "0^5": "0", "1^99999": "1", "(-1)^99999": "-1", "(-1)^100000": "1", "2^0.5*2^0.5": "~2", "27^(1/3)": "~3",
		"10^1000": "~1e+1000", "10^1000/10^1000": "1", "exp(-2000)": "~0", "floor(pi)": "~3", "1e-400*1e400": "1", "1e20+pi*0": "~100000000000000000000",
	} {
		a, err := Evaluate(expr)
		require.NoError(t, err, expr)
		exact := !strings.HasPrefix(want, "~")
		require.Equal(t, exact, a.Exact, expr)
		if exact {
			require.Equal(t, want, a.Result, expr)
			continue
		}
		got, _, err := big.ParseFloat(a.Result, 10, 128, big.ToNearestEven)
		require.NoError(t, err, expr)
		w, _, err := big.ParseFloat(want[1:], 10, 128, big.ToNearestEven)
		require.NoError(t, err)
		diff, _ := new(big.Float).Sub(got, w).Float64()
		scale, _ := w.Float64()
		if math.IsInf(scale, 0) {
			require.Equal(t, want[1:], a.Result, expr)
			require.Nil(t, a.Value)
			continue
		}
		require.LessOrEqual(t, math.Abs(diff), 1e-15*max(1, math.Abs(scale)), "%s = %s", expr, a.Result)
		require.NotContains(t, a.Result, ".00000000000", expr)
	}
}

func TestEvaluate_Value(t *testing.T) {
	a, err := Evaluate("1/3")
	require.NoError(t, err)
	require.InDelta(t, 1.0/3, *a.Value, 0)
	a, err = Evaluate("0.1+0.2")
	require.NoError(t, err)
	require.InDelta(t, 0.3, *a.Value, 0)
}

func TestEvaluate_Refuses(t *testing.T) {
	for expr, want := range map[string]string{
		"":                        "At character 1: the expression ends too early.",
		"1+":                      "At character 3: the expression ends too early.",
		"1/0":                     "At character 2: this divides by zero.",
		"1 / (2-2)":               "At character 3: this divides by zero.",
		"5%0":                     "At character 2: this divides by zero.",
		"0^-1":                    "At character 2: this divides by zero.",
		"0^-0.5":                  "At character 2: this divides by zero.",
		"(1+2":                    "At character 5: a closing parenthesis is missing.",
		"1+2)":                    "At character 4: this character is not part of an expression.",
		"2(3)":                    "At character 2: an operator such as * is missing.",
		"2pi":                     "At character 2: an operator such as * is missing.",
		"2e":                      "At character 2: an operator such as * is missing.",
		"1 2":                     "At character 3: an operator such as * is missing.",
		"1,000":                   "At character 2: a comma only separates the arguments of a function; write numbers without it.",
		"*3":                      "At character 1: a number is missing before this.",
		"()":                      "At character 2: a number is missing before this.",
		".":                       "At character 1: a number needs a digit.",
		"1..2":                    "At character 3: this character is not part of an expression.",
		"sqrt(-1)":                "At character 1: a negative number has no real square root.",
		"(-8)^(1/3)":              "At character 5: a negative number has no real power with a broken exponent.",
		"ln(0)":                   "At character 1: only numbers above zero have a logarithm.",
		"log(-1)":                 "At character 1: only numbers above zero have a logarithm.",
		"log(2,1)":                "At character 1: the base of a logarithm must be above zero and not 1.",
		"round(1, 1/2)":           "At character 1: round takes a whole number of decimals, at most 100.",
		"round(1, 1e9)":           "At character 1: round takes a whole number of decimals, at most 100.",
		"min()":                   "At character 5: a number is missing before this.",
		"sqrt(1,2)":               "At character 1: sqrt takes another number of arguments.",
		"sqrt 4":                  "At character 6: the argument of sqrt must stand in parentheses.",
		"system(1)":               "At character 1: this name is unknown; known are sqrt, abs, min, max, round, floor, ceil, ln, log, exp, sin, cos, tan, pi and e.",
		"2^2^2^2^2^2":             "At character 4: the number is too large.",
		"9^9^9":                   "At character 2: the number is too large.",
		"10^99999999999":          "At character 3: the number is too large.",
		"1e99999":                 "At character 1: the number is too large.",
		"1e9999":                  "At character 1: the number is too large.",
		"exp(1000)":               "At character 1: the number is too large.",
		"exp(10^400)":             "At character 1: the number is too large.",
		"2^8000*2^8000":           "At character 7: the number is too large.",
		"1;2":                     "At character 2: this character is not part of an expression.",
		"1\x00":                   "At character 2: this character is not part of an expression.",
		"x = 1":                   "At character 1: this name is unknown; known are sqrt, abs, min, max, round, floor, ceil, ln, log, exp, sin, cos, tan, pi and e.",
		"\xff":                    "The expression must be text of at most 1000 characters.",
		strings.Repeat("1", 1001): "The expression must be text of at most 1000 characters.",
	} {
		a, err := Evaluate(expr)
		require.Error(t, err, "%q = %s", expr, a.Result)
		e, ok := tool.AsError(err)
		require.True(t, ok)
		require.Equal(t, enum.ToolErrorCodeToolError, e.Code)
		require.Equal(t, want, e.Message, expr)
	}
	for _, deep := range []string{strings.Repeat("(", 400) + "1" + strings.Repeat(")", 400), strings.Repeat("-", 900) + "1", strings.Repeat("2^", 400) + "1"} {
		_, err := Evaluate(deep)
		require.ErrorContains(t, err, "nested too deeply")
	}
	_, err := Evaluate(strings.Repeat("(", 50) + "1" + strings.Repeat(")", 50))
	require.NoError(t, err)
	_, err = Evaluate("max(" + strings.Repeat("1,", 200) + "1)")
	require.ErrorContains(t, err, "at most 100 arguments")
}

func TestTool(t *testing.T) {
	b, err := New()
	require.NoError(t, err)
	reg, err := tool.NewRegistry(b)
	require.NoError(t, err)
	r := tool.NewRunner(reg, slog.New(slog.DiscardHandler))
	for expr, want := range map[string]any{
		"2*21":    map[string]any{"result": "42", "exact": true, "value": 42.0},
		"10^1000": map[string]any{"result": "1e+1000", "exact": false, "value": nil},
	} {
		res, err := r.Run(t.Context(), tool.Call{Tool: "calculator", Parameters: map[string]any{"expression": expr}})
		require.NoError(t, err)
		require.Equal(t, tool.Result{Value: want, Sensitivity: enum.SensitivityPublic}, res)
	}
	_, err = r.Run(t.Context(), tool.Call{Tool: "calculator", Parameters: map[string]any{"expression": "1/0"}})
	require.ErrorContains(t, err, "divides by zero")
}

// FuzzEvaluate: never slow, never a panic, and a plain sum agrees with math/big.
func FuzzEvaluate(f *testing.F) {
	for _, s := range []string{"1+2*3", "2^3^-2", "sqrt(2)*ln(10)/log(7,3)", "round(-1/7,5)%0.3", "((((1))))", "9^9%7", "max(1,min(2,3))-exp(-700)", "tan(1e300)", "1e400/3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		start := time.Now()
		a, err := Evaluate(s)
		if took := time.Since(start); took > 2*time.Second {
			t.Fatalf("%q took %s", s, took)
		}
		if err != nil {
			if e, ok := tool.AsError(err); !ok || !strings.HasSuffix(e.Message, ".") {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if len(a.Result) > 500 {
			t.Fatalf("%q has a result of %d characters", s, len(a.Result))
		}
		if a.Exact {
			if _, ok := new(big.Rat).SetString(a.Result); !ok {
				t.Fatalf("%q = %q is no number", s, a.Result)
			}
			again, err := Evaluate("(" + a.Result + ")")
			if err != nil || again.Result != a.Result {
				t.Fatalf("%q = %q = %q, %v", s, a.Result, again.Result, err)
			}
		} else if _, _, err := big.ParseFloat(a.Result, 10, 128, big.ToNearestEven); err != nil {
			t.Fatalf("%q = %q: %v", s, a.Result, err)
		}
		if n, err := strconv.ParseInt(s, 10, 64); err == nil && s[0] != '+' && a.Result != strconv.FormatInt(n, 10) {
			t.Fatalf("%q = %q", s, a.Result)
		}
	})
}
