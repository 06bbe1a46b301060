// Package main is the CDSA server.
package main

//go:generate go run ./ent/entc.go
//go:generate go tool gqlgen generate
//go:generate go run ./internal/config/gendoc
//go:generate go run ./internal/errs/gendoc
//go:generate go run ./internal/rule/gendoc
