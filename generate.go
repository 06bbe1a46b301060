// Package main is the CDSA server.
package main

//go:generate go run -mod=mod ./ent/entc.go
//go:generate go run -mod=mod github.com/99designs/gqlgen generate
//go:generate go run ./internal/config/gendoc
//go:generate go run ./internal/errs/gendoc
