package canonical

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMarshal_RFC8785(t *testing.T) {
	t.Run("Section 3.2.2", func(t *testing.T) {
		v, err := Parse([]byte(`{
			"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
			"string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
			"literals": [null, true, false]
		}`))
		require.NoError(t, err)
		b, err := Marshal(v)
		require.NoError(t, err)
		require.Equal(t, `{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`, string(b))
	})
	t.Run("Section 3.2.3", func(t *testing.T) {
		v, err := Parse([]byte(`{
			"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
			"\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"
		}`))
		require.NoError(t, err)
		b, err := Marshal(v)
		require.NoError(t, err)
		require.Equal(t, "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\","+
			"\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}", string(b))
	})
	// Appendix B: IEEE 754 bits and the text they must have.
	for bits, want := range map[uint64]string{
		0x0000000000000000: "0", 0x8000000000000000: "0",
		0x0000000000000001: "5e-324", 0x8000000000000001: "-5e-324",
		0x7fefffffffffffff: "1.7976931348623157e+308", 0xffefffffffffffff: "-1.7976931348623157e+308",
		0x4340000000000000: "9007199254740992", 0xc340000000000000: "-9007199254740992",
		0x4430000000000000: "295147905179352830000",
		0x44b52d02c7e14af5: "9.999999999999997e+22", 0x44b52d02c7e14af6: "1e+23", 0x44b52d02c7e14af7: "1.0000000000000001e+23",
		0x444b1ae4d6e2ef4e: "999999999999999700000", 0x444b1ae4d6e2ef4f: "999999999999999900000", 0x444b1ae4d6e2ef50: "1e+21",
		0x3eb0c6f7a0b5ed8c: "9.999999999999997e-7", 0x3eb0c6f7a0b5ed8d: "0.000001",
		0x41b3de4355555553: "333333333.3333332", 0x41b3de4355555554: "333333333.33333325", 0x41b3de4355555555: "333333333.3333333",
		0x41b3de4355555556: "333333333.3333334", 0x41b3de4355555557: "333333333.33333343",
		0xbecbf647612f3696: "-0.0000033333333333333333", 0x43143ff3c1cb0959: "1424953923781206.2",
	} {
		b, err := Marshal(math.Float64frombits(bits))
		require.NoError(t, err)
		require.Equal(t, want, string(b), "%016x", bits)
		back, err := Parse(b)
		require.NoError(t, err, want)
		if bits != 1<<63 {
			require.Equal(t, bits, math.Float64bits(back.(float64)))
		}
	}
}

func TestMarshal_Refuses(t *testing.T) {
	deep := any("x")
	for range MaxDepth + 1 {
		deep = []any{deep}
	}
	for name, c := range map[string]struct {
		v   any
		err error
	}{
		"NaN":              {math.NaN(), ErrNumber},
		"Infinity":         {[]any{math.Inf(1)}, ErrNumber},
		"BeyondDouble":     {json.Number("1e400"), ErrNumber},
		"Vanishing":        {json.Number("-0.1e-400"), ErrNumber},
		"ImpreciseLiteral": {json.Number("9007199254740993"), ErrNumber},
		"ImpreciseInt64":   {int64(math.MaxInt64), ErrNumber},
		"RewrittenInt64":   {int64(1) << 60, ErrNumber},
		"ImpreciseUint64":  {uint64(math.MaxUint64), ErrNumber},
		"NotANumber":       {json.Number("0x10"), ErrSyntax},
		"InvalidUTF8":      {"a\xff", ErrText},
		"SurrogateAsUTF8":  {map[string]any{"\xed\xa0\x80": 1}, ErrText},
		"Depth":            {deep, ErrDepth},
		"Type":             {map[string]string{"a": "b"}, ErrType},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := Marshal(c.v)
			require.ErrorIs(t, err, c.err)
			require.Nil(t, b)
		})
	}
}

func TestParse_Refuses(t *testing.T) {
	for name, c := range map[string]struct {
		s   string
		err error
	}{
		"DuplicateKey":        {`{"a":1,"b":{"c":1,"\u0063":2}}`, ErrDuplicate},
		"LoneHighSurrogate":   {`"\ud83d"`, ErrText},
		"LoneLowSurrogate":    {`{"\ude00":1}`, ErrText},
		"SwappedSurrogates":   {`"\ude00\ud83d"`, ErrText},
		"HighThenLetter":      {`"\ud83d\u0041"`, ErrText},
		"InvalidUTF8":         {"\"\xc0\xaf\"", ErrText},
		"Depth":               {strings.Repeat("[", 5000) + strings.Repeat("]", 5000), ErrDepth},
		"DoubleSignExponent":  {"1e+-5", ErrSyntax},
		"LeadingZero":         {"01", ErrSyntax},
		"TrailingGarbage":     {`{} x`, ErrSyntax},
		"ControlInString":     {"\"\n\"", ErrSyntax},
		"Empty":               {" ", ErrSyntax},
		"TrailingComma":       {"[1,]", ErrSyntax},
		"UnterminatedString":  {`"abc`, ErrSyntax},
		"UnterminatedEscape":  {`"\`, ErrSyntax},
		"BigIntegerImprecise": {"123456789012345678901234567890", ErrNumber},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(c.s))
			require.ErrorIs(t, err, c.err)
		})
	}
}

func TestArgsHash(t *testing.T) {
	params := map[string]any{"b": json.Number("2.0"), "a": []any{int64(1), "é"}}
	got, err := ArgsHash("http_request", 3, params, []SecretRef{{"z", []string{"b.example", "a.example", "b.example"}}, {"a", nil}})
	require.NoError(t, err)
	sum := sha256.Sum256([]byte(`{"parameters":{"a":[1,"é"],"b":2},"secrets":[{"handle":"a","hosts":[]},{"handle":"z","hosts":["a.example","b.example"]}],"tool":"http_request","version":3}`))
	require.Equal(t, hex.EncodeToString(sum[:]), got)

	t.Run("EmptyIsAbsent", func(t *testing.T) {
		a, err := ArgsHash("t", 1, nil, nil)
		require.NoError(t, err)
		b, err := ArgsHash("t", 1, map[string]any{}, []SecretRef{})
		require.NoError(t, err)
		require.Equal(t, a, b)
	})
	t.Run("EverythingCounts", func(t *testing.T) {
		seen := map[string]bool{}
		for _, c := range []struct {
			tool    string
			version int
			p       map[string]any
			s       []SecretRef
		}{
			{"t", 1, nil, nil}, {"u", 1, nil, nil}, {"t", 2, nil, nil}, {"t", 1, map[string]any{"a": 1}, nil}, {"t", 1, map[string]any{"a": "1"}, nil},
			{"t", 1, map[string]any{"a": nil}, nil}, {"t", 1, nil, []SecretRef{{"s", nil}}}, {"t", 1, nil, []SecretRef{{"s", []string{"h"}}}},
		} {
			h, err := ArgsHash(c.tool, c.version, c.p, c.s)
			require.NoError(t, err)
			require.False(t, seen[h])
			seen[h] = true
		}
	})
	t.Run("NoHashWithoutForm", func(t *testing.T) {
		h, err := ArgsHash("t", 1, map[string]any{"n": math.Inf(-1)}, nil)
		require.ErrorIs(t, err, ErrNumber)
		require.Empty(t, h)
	})
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{`{"b":[1,2.5e-7,1E30],"a":"\ud83d\ude00\u000f"}`, `1152921504606847000`, `-0`, `{"a":1,"a":2}`, `"\ud800"`, `[[[]]]`, `1e-400`, "\"\xff\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		v, err := Parse(in)
		if err != nil {
			return
		}
		if !json.Valid(in) {
			t.Fatalf("accepted what is not JSON: %q", in)
		}
		once, err := Marshal(v)
		require.NoError(t, err)
		require.True(t, json.Valid(once))
		again, err := Parse(once)
		require.NoError(t, err, "%s", once)
		require.Equal(t, v, again)
		twice, err := Marshal(again)
		require.NoError(t, err)
		require.True(t, bytes.Equal(once, twice), "%s != %s", once, twice)
		var std any
		require.NoError(t, json.Unmarshal(in, &std))
		viaStd, err := Marshal(std)
		require.NoError(t, err)
		require.Equal(t, string(once), string(viaStd), "encoding/json reads the same value")
	})
}
