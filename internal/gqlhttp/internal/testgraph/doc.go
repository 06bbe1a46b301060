// Package testgraph is a small generated schema with the shapes the transports and limits are tested on: connections,
// uploads, custom scalars, errors of every kind. It is imported by tests only.
//
// Regenerate from this directory with: go run github.com/99designs/gqlgen generate --config gqlgen.yml
package testgraph
