# FireMode. Type "make help" for what each target does.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
GO_SOURCES := $(shell git ls-files '*.go' 2>/dev/null)
# Thousands of requests or rows in one goroutine: ten times as long with -race, which would see nothing in them.
NO_RACE     = $(shell grep -l '^//go:build .*!race' api/*_test.go pgsync/*_test.go | xargs grep -ho '^func \(Test\|Fuzz\)[A-Za-z0-9_]*' | sed 's/func //' | paste -sd '|')
TOOL       := go tool -modfile=internal/tools/go.mod
PKG        ?= ./...
FUZZTIME   ?= 30s
# Tests find PostgreSQL and Chromium by themselves; these only widen or narrow.
TESTFLAGS  ?=

.PHONY: help run build test race lint fuzz bench bench-merge bench-identity bench-mirror bench-compare soak smoke story test-deps clean

help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## build, migrate, seed demo data when empty, serve on http://127.0.0.1:5000
	./firemode migrate up
	./firemode seed --demo
	exec ./firemode serve

build: ## build the product: one static binary, no cgo
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o firemode .

test: test-deps lint ## everything CI runs: lint, unit, race, PostgreSQL and browser tests
	CGO_ENABLED=0 go build -o /dev/null .
	go test -timeout 20m -run '^($(NO_RACE))$$' ./api ./pgsync
	CGO_ENABLED=1 go test -race -timeout 20m $(TESTFLAGS) $(PKG)

race: test-deps ## the tests under the race detector, without the linters
	CGO_ENABLED=1 go test -race -timeout 20m $(TESTFLAGS) $(PKG)

lint: ## gofmt, go vet, staticcheck and our own style rules
	@unformatted=$$(gofmt -l $(GO_SOURCES)); [ -z "$$unformatted" ] || { echo "not gofmt-clean:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	$(TOOL) staticcheck ./...

fuzz: ## fuzz each fuzz target for FUZZTIME (default 30s)
	@for pkg in $$(grep -rl '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u); do \
	  for target in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$pkg/*_test.go | sed 's/func //'); do \
	    echo "== $$pkg $$target"; go test $$pkg -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME); \
	  done; done

bench: ## run the benchmarks ten times into artifacts/bench.txt
	mkdir -p artifacts
	go test -run '^$$' -bench . -benchmem -count 10 $(PKG) | tee artifacts/bench.txt

# Each figure beside its peer, in one run; needs node and npm for the peers.
bench-merge: ## measure the bars of merging beside Yjs, Loro, Automerge and raw SQLite into artifacts/bench-merge.md
	mkdir -p artifacts
	cd internal/peers && npm ci --no-audit --no-fund
	( go test -run '^$$' -bench 'WireToState|ApplyPut' -benchmem ./crdt; \
	  for peer in yjs loro ours; do node internal/peers/w1.mjs $$peer; done; node internal/peers/w1.mjs automerge 100; \
	  go test -run '^$$' -bench 'Ingest|Open' -benchmem ./merge; \
	  go test -run '^$$' -bench Growth -benchtime 500x -benchmem ./merge; \
	  go test -run '^$$' -bench . -benchtime 1x ./internal/writers ) | tee artifacts/bench-merge.txt
	go run ./internal/bars merge < artifacts/bench-merge.txt | tee artifacts/bench-merge.md

bench-identity: ## measure the bars of identity and secrets beside a stock PocketBase into artifacts/bench-identity.md
	mkdir -p artifacts
	( go test -run '^$$' -bench 'Revo|Reveal' -benchtime 3000x ./internal/identity; \
	  go test -run '^$$' -bench LoginStorm -benchtime 1x ./internal/identity; \
	  go test -run '^$$' -bench FailedLogin -benchtime 2000x ./hooks ) | tee artifacts/bench-identity.txt
	go run ./internal/bars identity < artifacts/bench-identity.txt | tee artifacts/bench-identity.md

bench-mirror: test-deps ## measure the bars of the PostgreSQL mirror beside COPY and single inserts into artifacts/bench-mirror.md
	mkdir -p artifacts
	( go test -run '^$$' -bench 'Apply|Drain|Capture|History' -benchtime 20x ./pgsync; \
	  go test -run '^$$' -bench 'Sealed|CopyBare' -benchtime 10x ./pgsync; \
	  go test -run '^$$' -bench WriteLatency -benchtime 3000x ./pgsync; \
	  go test -run '^$$' -bench Lag -benchtime 1000x ./pgsync; \
	  go test -run '^$$' -bench Idle -benchtime 3x ./pgsync ) | tee artifacts/bench-mirror.txt
	go run ./internal/bars mirror < artifacts/bench-mirror.txt | tee artifacts/bench-mirror.md

bench-compare: ## compare the benchmarks with those of BASE=<revision>
	@[ -n "$(BASE)" ] || { echo "say which revision: make bench-compare BASE=<rev>"; exit 2; }
	mkdir -p artifacts
	rm -rf artifacts/base && git worktree add --force --detach artifacts/base $(BASE)
	cd artifacts/base && go test -run '^$$' -bench . -benchmem -count 10 $(PKG) > ../bench-base.txt; cd ../.. && git worktree remove --force artifacts/base
	go test -run '^$$' -bench . -benchmem -count 10 $(PKG) > artifacts/bench.txt
	$(TOOL) benchstat artifacts/bench-base.txt artifacts/bench.txt

story: test-deps ## the whole story on the built binary, 20 times in a row under the race detector
	CGO_ENABLED=1 go test -race -count=20 -timeout 60m -run TestStory ./internal/story

soak: story ## the long proofs
	FIREMODE_SOAK=1 CGO_ENABLED=1 go test -race -timeout 120m $(PKG)

smoke: ## check a running server end to end (URL=…, default: that of FIREMODE_HTTP)
	./firemode smoke $(if $(URL),--url $(URL))

test-deps: ## install what the tests need and is missing (apt as root; otherwise say what)
	@internal/tools/test-deps.sh

clean: ## remove what was built, not the data
	rm -rf firemode artifacts
