package calculator

import (
	"math"
	"math/big"
)

type function struct {
	min, max int // arguments
	call     func(args []value, at int) (value, error)
}

// constants to 40 digits, beyond what an inexact value keeps.
var constants = map[string]value{
	"pi": constant("3.141592653589793238462643383279502884197"),
	"e":  constant("2.718281828459045235360287471352662497757"),
}

func constant(s string) value {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		panic("calculator: " + s)
	}
	return value{r, false}
}

var functions = map[string]function{
	"sqrt":  {1, 1, func(a []value, at int) (value, error) { return a[0].sqrt(at) }},
	"abs":   {1, 1, func(a []value, _ int) (value, error) { return value{new(big.Rat).Abs(a[0].r), a[0].exact}, nil }},
	"min":   {1, maxArgs, func(a []value, _ int) (value, error) { return extreme(a, -1), nil }},
	"max":   {1, maxArgs, func(a []value, _ int) (value, error) { return extreme(a, 1), nil }},
	"floor": {1, 1, func(a []value, _ int) (value, error) { return whole(a[0], 0), nil }},
	"ceil":  {1, 1, func(a []value, _ int) (value, error) { return whole(a[0].neg(), 0).neg(), nil }},
	"round": {1, 2, round},
	"ln":    {1, 1, func(a []value, at int) (value, error) { return log(a[0], constants["e"], at) }},
	"log":   {1, 2, logarithm},
	"exp":   {1, 1, func(a []value, at int) (value, error) { return ofFloat(a[0], at, math.Exp) }},
	"sin":   {1, 1, func(a []value, at int) (value, error) { return ofFloat(a[0], at, math.Sin) }},
	"cos":   {1, 1, func(a []value, at int) (value, error) { return ofFloat(a[0], at, math.Cos) }},
	"tan":   {1, 1, func(a []value, at int) (value, error) { return ofFloat(a[0], at, math.Tan) }},
}

// ofFloat applies f to the nearest double. What is zero stays exact where f is: exp(0) is 1, sin(0) is 0.
func ofFloat(v value, at int, f func(float64) float64) (value, error) {
	x := v.float64()
	if math.IsInf(x, 0) {
		return value{}, failAt(at, tooLarge)
	}
	out, err := float(f(x), at)
	out.exact = err == nil && v.exact && v.r.Sign() == 0
	return out, err
}

func extreme(a []value, sign int) value {
	best := a[0]
	for _, v := range a[1:] {
		if v.r.Cmp(best.r) == sign {
			best = v
		}
	}
	return best
}

// whole rounds v + shift/2 down.
func whole(v value, shift int64) value {
	r := new(big.Rat).Add(v.r, big.NewRat(shift, 2))
	// Int.Div is Euclidean division, which rounds down for a positive divisor, and a denominator is one.
	return value{new(big.Rat).SetInt(new(big.Int).Div(r.Num(), r.Denom())), v.exact}
}

// round rounds half away from zero.
func round(a []value, at int) (value, error) {
	scale := big.NewRat(1, 1)
	if len(a) == 2 {
		if n := a[1].r; !n.IsInt() || n.Num().CmpAbs(big.NewInt(100)) > 0 {
			return value{}, failAt(at, "round takes a whole number of decimals, at most 100.")
		}
		n := a[1].r.Num().Int64()
		scale.SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(max(n, -n)), nil))
		if n < 0 {
			scale.Inv(scale)
		}
	}
	scaled := value{new(big.Rat).Mul(new(big.Rat).Abs(a[0].r), scale), a[0].exact}
	r := whole(scaled, 1).r
	r.Quo(r, scale)
	if a[0].r.Sign() < 0 {
		r.Neg(r)
	}
	return a[0].with(a[0], r, at)
}

func logarithm(a []value, at int) (value, error) {
	base := value{big.NewRat(10, 1), true}
	if len(a) == 2 {
		base = a[1]
	}
	return log(a[0], base, at)
}

// log is exact where the argument is a whole power of an exact base.
func log(v, base value, at int) (value, error) {
	one := big.NewRat(1, 1)
	if v.r.Sign() <= 0 {
		return value{}, failAt(at, "only numbers above zero have a logarithm.")
	}
	if base.r.Sign() <= 0 || base.r.Cmp(one) == 0 {
		return value{}, failAt(at, "the base of a logarithm must be above zero and not 1.")
	}
	if v.r.Cmp(one) == 0 {
		return value{new(big.Rat), v.exact}, nil
	}
	q := naturalLog(v.r) / naturalLog(base.r)
	if n := math.Round(q); v.exact && base.exact && math.Abs(q-n) < 1e-9 && math.Abs(n) <= maxBits {
		whole := value{new(big.Rat).SetInt64(int64(n)), true}
		if p, err := base.pow(whole, at); err == nil && p.exact && p.r.Cmp(v.r) == 0 {
			return whole, nil
		}
	}
	return float(q, at)
}

// naturalLog is good beyond the range of a double.
func naturalLog(r *big.Rat) float64 {
	f := new(big.Float).SetPrec(precision).SetRat(r)
	mantissa := new(big.Float)
	e := f.MantExp(mantissa)
	m, _ := mantissa.Float64()
	if e >= -1 && e <= 1 { // near 1 the two terms would cancel
		x, _ := r.Float64()
		return math.Log(x)
	}
	return math.Log(m) + float64(e)*math.Ln2
}
