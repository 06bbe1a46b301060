# CDSA. `make run` is all a newcomer needs; `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --no-builtin-rules

# Where Go and Node are, first: sudo loses Go, and an old Node may be in the way.
export PATH := $(shell scripts/paths.sh):$(PATH)
# No newcomer has a C compiler. Only `make race` needs one.
export CGO_ENABLED := 0
# Root may build in a checkout that another account owns.
# One set of flags everywhere: each other set would compile the generated code again.
export GOFLAGS := $(GOFLAGS) -buildvcs=false -trimpath

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: help setup run build web test race verify lint bench migration generate clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## bring what is missing: PostgreSQL with pgvector, Node
	@scripts/setup.sh

run: setup build ## set up, build and serve; Ctrl-C stops
	@exec ./bin/cdsa serve

build: web ## bin/cdsa: one static binary, the playground in it where Node is
	@go build -ldflags '-s -w -X main.version=$(VERSION)' -o bin/cdsa .

web: ## the playground's bundle (web/dist), when its sources changed
	@scripts/web.sh

test: ## everything that is tested, with its own set-up; under 30 minutes
	@SETUP_FOR_TESTS=1 scripts/setup.sh
	@PATH="$$(scripts/paths.sh):$$PATH" $(MAKE) build
	@PATH="$$(scripts/paths.sh):$$PATH" scripts/test.sh

race: ## tests under the race detector (needs gcc); PKG=./internal/x/... narrows
	@CGO_ENABLED=1 go test -race -timeout 20m $(or $(PKG),./internal/...)

verify: ## generated code and migrations are what the sources say
	@scripts/verify.sh

lint: ## golangci-lint, shellcheck where there is one
	@scripts/lint.sh

bench: setup build ## measure against the floor; writes docs/performance.md
	@go run ./bench

migration: setup ## write the next migration: make migration NAME=add_tags
	@[[ '$(NAME)' =~ ^[a-z][a-z0-9_]*$$ ]] || { echo 'usage: make migration NAME=add_tags (lower case, digits, _)' >&2; exit 2; }
	@go run ./migrate/diff new '$(NAME)'

generate: ## ent, GraphQL and documents from their sources
	@go generate ./...

clean: ## built files; data in .data stays
	@rm -rf bin web/dist
