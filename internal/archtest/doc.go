// Package archtest holds the tests that count: house rules that are executable.
package archtest
