//go:build linux

package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWithoutCost(t *testing.T) {
	const cost = `,"extensions":{"cost":{"limit":9,"cost":1,"remaining":8,"resetAt":"2026-01-02T03:04:05Z"}}`
	for answer, want := range map[string]string{
		`{"data":{"a":1}` + cost + `}`:                     `{"data":{"a":1}}`,
		`{"data":{"a":1}}`:                                 `{"data":{"a":1}}`,
		`{"data":{"a":"` + `\"extensions\""}` + cost + `}`: `{"data":{"a":"\"extensions\""}}`,
		`{"data":{"a":1}` + cost + `,"more":1}`:            `{"data":{"a":1}` + cost + `,"more":1}`,
		``:                                                 ``,
	} {
		require.Equal(t, want, string(withoutCost([]byte(answer))))
	}
}
