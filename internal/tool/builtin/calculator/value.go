package calculator

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

const (
	maxBits   = 8_192 // of numerator and denominator of an exact value, some 2,400 digits
	precision = 128   // bits that an inexact value is rounded to
	maxDigits = 400   // of a result's text
)

const (
	tooLarge     = "the number is too large."
	divideByZero = "this divides by zero."
)

// value is a rational number, which is the true one or, where !exact, near it.
type value struct {
	r     *big.Rat
	exact bool
}

// exactly bounds an exact value.
func exactly(r *big.Rat, at int) (value, error) {
	if r.Num().BitLen() > maxBits || r.Denom().BitLen() > maxBits {
		return value{}, failAt(at, tooLarge)
	}
	return value{r, true}, nil
}

// near bounds and rounds an inexact value.
func near(r *big.Rat, at int) (value, error) {
	f := new(big.Float).SetPrec(precision).SetRat(r)
	if e := f.MantExp(nil); e > maxBits {
		return value{}, failAt(at, tooLarge)
	} else if e < -maxBits {
		return value{new(big.Rat), false}, nil
	}
	rounded, _ := f.Rat(nil)
	return value{rounded, false}, nil
}

// float makes an inexact value of the result of a function of package math.
func float(f float64, at int) (value, error) {
	if math.IsNaN(f) {
		return value{}, failAt(at, "this has no real value.")
	}
	r := new(big.Rat).SetFloat64(f)
	if r == nil {
		return value{}, failAt(at, tooLarge)
	}
	return near(r, at)
}

func (v value) with(w value, r *big.Rat, at int) (value, error) {
	if v.exact && w.exact {
		return exactly(r, at)
	}
	return near(r, at)
}

func (v value) neg() value {
	if v.r == nil {
		return v
	}
	return value{new(big.Rat).Neg(v.r), v.exact}
}

func (v value) add(w value, at int) (value, error) { return v.with(w, new(big.Rat).Add(v.r, w.r), at) }

func (v value) mul(w value, at int) (value, error) { return v.with(w, new(big.Rat).Mul(v.r, w.r), at) }

func (v value) div(w value, at int) (value, error) {
	if w.r.Sign() == 0 {
		return value{}, failAt(at, divideByZero)
	}
	return v.with(w, new(big.Rat).Quo(v.r, w.r), at)
}

// rem is v - w*trunc(v/w).
func (v value) rem(w value, at int) (value, error) {
	if w.r.Sign() == 0 {
		return value{}, failAt(at, divideByZero)
	}
	q := new(big.Rat).Quo(v.r, w.r)
	whole := new(big.Rat).SetInt(new(big.Int).Quo(q.Num(), q.Denom()))
	return v.with(w, new(big.Rat).Sub(v.r, whole.Mul(whole, w.r)), at)
}

func (v value) pow(w value, at int) (value, error) {
	if !w.r.IsInt() {
		return v.root(w, at)
	}
	if v.r.Sign() == 0 && w.r.Sign() < 0 {
		return value{}, failAt(at, divideByZero)
	}
	one := big.NewRat(1, 1)
	if new(big.Rat).Abs(v.r).Cmp(one) == 0 || v.r.Sign() == 0 { // any exponent will do
		return v.small(w.r.Num(), w.exact)
	}
	n := new(big.Int).Abs(w.r.Num())
	if !n.IsInt64() || n.Int64() > maxBits {
		return value{}, failAt(at, tooLarge)
	}
	if bits := max(v.r.Num().BitLen(), v.r.Denom().BitLen()); int64(bits-1)*n.Int64() > maxBits {
		if v.exact && w.exact {
			return value{}, failAt(at, tooLarge)
		}
		return float(math.Pow(v.float64(), w.float64()), at)
	}
	r := new(big.Rat).SetFrac(new(big.Int).Exp(v.r.Num(), n, nil), new(big.Int).Exp(v.r.Denom(), n, nil))
	if w.r.Sign() < 0 {
		r.Inv(r)
	}
	return v.with(w, r, at)
}

// small is a power of -1, 0 or 1.
func (v value) small(n *big.Int, exact bool) (value, error) {
	r := new(big.Rat).Set(v.r)
	if n.Sign() == 0 || n.Bit(0) == 0 && v.r.Sign() != 0 {
		r.SetInt64(1)
	}
	return value{r, v.exact && exact}, nil
}

// root is a power with a broken exponent.
func (v value) root(w value, at int) (value, error) {
	switch v.r.Sign() {
	case -1:
		return value{}, failAt(at, "a negative number has no real power with a broken exponent.")
	case 0:
		if w.r.Sign() < 0 {
			return value{}, failAt(at, divideByZero)
		}
		return v, nil
	}
	if w.r.Cmp(big.NewRat(1, 2)) == 0 {
		return v.sqrt(at)
	}
	return float(math.Pow(v.float64(), w.float64()), at)
}

func (v value) sqrt(at int) (value, error) {
	if v.r.Sign() < 0 {
		return value{}, failAt(at, "a negative number has no real square root.")
	}
	num, den := new(big.Int).Sqrt(v.r.Num()), new(big.Int).Sqrt(v.r.Denom())
	r := new(big.Rat).SetFrac(num, den)
	if new(big.Rat).Mul(r, r).Cmp(v.r) == 0 {
		return value{r, v.exact}, nil
	}
	f := new(big.Float).SetPrec(precision).SetRat(v.r)
	r, _ = f.Sqrt(f).Rat(nil)
	return near(r, at)
}

func (v value) float64() float64 {
	f, _ := v.r.Float64()
	return f
}

// answer writes the value for people: as an exact decimal if it has one of bearable length, else as a fraction if it
// is exact and short, else rounded.
func (v value) answer() Answer {
	a := Answer{Exact: v.exact}
	if f := v.float64(); !math.IsInf(f, 0) {
		a.Value = &f
	}
	if !v.exact {
		a.Result = v.rounded()
		return a
	}
	if digits, finite := v.r.FloatPrec(); finite && digits <= maxDigits {
		a.Result = v.r.FloatString(digits)
	} else {
		a.Result = v.r.String()
	}
	if len(a.Result) > maxDigits {
		a.Result, a.Exact = v.rounded(), false
	}
	return a
}

// rounded has 17 significant digits, as many as a double holds.
func (v value) rounded() string {
	if v.r.Sign() == 0 {
		return "0"
	}
	f := new(big.Float).SetPrec(precision).SetRat(v.r)
	if e := f.MantExp(nil); e > -20 && e < 70 {
		s := f.Text('g', 17)
		if plain, err := strconv.ParseFloat(s, 64); err == nil && strings.Contains(s, "e") {
			return strconv.FormatFloat(plain, 'f', -1, 64)
		}
		return s
	}
	return f.Text('g', 17)
}
