// Package embed turns texts into vectors. There are two embedders: Local, which needs no network and no key, and
// package embed/openai, which calls an endpoint. Both pass the suite of package embed/testkit.
//
// A vector has 1536 components, []float32, L2-normalised; a model of fewer dimensions is padded with zeros, which
// changes neither cosine nor inner product nor distance. The same text gives the same vector, alone or in a batch.
// A text without content (empty or white space) gets Blank, which is orthogonal to every other vector, never a
// zero vector: cosine distance to zero is not a number.
//
// The package never logs and its errors never carry a text. All embedders are safe for concurrent use.
package embed

import (
	"context"
	"math"
	"strings"
)

// Size is the length of every vector and of the vector columns.
const Size = 1536

// Embedder turns texts into vectors of one model. Vectors of different models are not comparable.
type Embedder interface {
	// Embed gives one vector a text, in order. It stops early with the context's error. A client may see
	// UPSTREAM_UNAVAILABLE when a remote model does not answer; any other error is a fault.
	Embed(ctx context.Context, texts []string) ([][]float32, error)
	// Model names the model and its version.
	Model() string
	// Dimensions is how many leading components the model fills, 1..1536.
	Dimensions() int
}

// Blank is the vector of a text without content: the last axis.
func Blank() []float32 {
	v := make([]float32, Size)
	v[Size-1] = 1
	return v
}

// IsBlank says whether a text is empty or white space.
func IsBlank(text string) bool { return strings.TrimSpace(text) == "" }

// Cosine is the cosine similarity of two normalised vectors of equal length, -1..1.
func Cosine(a, b []float32) float64 {
	var s float64
	for i, x := range a {
		s += float64(x) * float64(b[i])
	}
	return max(-1, min(1, s))
}

// Normalise scales v to length 1 and says whether it could: not when v is zero or not finite.
func Normalise(v []float32) bool {
	var s float64
	for _, x := range v {
		s += float64(float64(x) * float64(x))
	}
	if s < 1e-24 || math.IsInf(s, 0) || math.IsNaN(s) {
		return false
	}
	f := 1 / math.Sqrt(s)
	for i, x := range v {
		v[i] = float32(float64(x) * f)
	}
	return true
}
