# Everything a checkout needs is fetched and built by these targets, below $WAL2VEC_CACHE (default: .cache).
# `make check` is what CI runs.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Absolute, because tests run in the folders of their packages.
export WAL2VEC_CACHE := $(abspath $(or $(WAL2VEC_CACHE),.cache))
PARTS := $(WAL2VEC_CACHE)/parts

export CGO_ENABLED := 1
export CGO_LDFLAGS := $(if $(findstring $(PARTS)/tokenizers,$(CGO_LDFLAGS)),,'-L$(PARTS)/tokenizers') $(CGO_LDFLAGS)
# Reading the commit fails in a checkout of another user; `build` asks for it where git can tell.
export GOFLAGS := $(strip $(filter-out -buildvcs=%,$(GOFLAGS)) -buildvcs=false)

# Its owner can have any command run by `make`: so the parts may be that account's too, as where root runs it in a container.
export WAL2VEC_TRUST_UIDS ?= $(shell ls -nd . | awk '{ print $$3 }')

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
BUILDVCS := $(if $(shell git rev-parse HEAD 2>/dev/null),auto,false)

TIMED := @scripts/timed.sh
LINT = "$$(scripts/tools.sh golangci-lint)"

VULNDB ?= https://vuln.go.dev
DEMO_FLAGS ?=
BENCH_FLAGS ?= -benchtime 1s -count 6
MUTANTS_FLAGS ?=
FUZZTIME ?= 20s
export FUZZTIME

.PHONY: help
help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: parts
parts: ## Set up ONNX Runtime, the model, libtokenizers.a, the operators, and PostgreSQL 16 and 18 with pgvector; GPU=1: ONNX Runtime with CUDA too
	@scripts/parts.sh
	$(if $(GPU),@scripts/parts.sh onnxruntime-gpu)

.PHONY: build-parts
build-parts:
	@scripts/prerequisites.sh go cc
	@scripts/parts.sh onnxruntime model tokenizers operators

.PHONY: build
build: build-parts ## Build bin/wal2vec, which finds its parts by itself
	$(TIMED) build go build -trimpath -buildvcs=$(BUILDVCS) -ldflags '-X main.version=$(VERSION)' -o bin/wal2vec ./cmd/wal2vec

.PHONY: demo
demo: parts build ## See it work: a throw-away PostgreSQL, a product table, a stream, searches
	@bin/wal2vec demo $(DEMO_FLAGS)

.PHONY: demo-once
demo-once: parts build ## The demo without a look around: it ends by itself
	$(TIMED) demo bin/wal2vec demo --exit $(DEMO_FLAGS)

.PHONY: fmt
fmt: ## Format the Go code
	@$(LINT) fmt ./...

.PHONY: check-format
check-format: ## Say what `make fmt` would change
	$(TIMED) format bash -c '$(LINT) fmt --diff ./...'

.PHONY: lint
lint: build-parts ## Run the linters, the file length check, and govulncheck where its database (VULNDB) can be reached
	$(TIMED) lint bash -c '$(LINT) run --allow-parallel-runners ./... && scripts/filelength.sh && scripts/vulncheck.sh $(VULNDB)'

.PHONY: test
test: parts build-parts ## Test with the race detector, in random order, on PostgreSQL 18 and 16
	@scripts/test.sh $(TEST_FLAGS)

.PHONY: test-busy
test-busy: parts build-parts ## The suite three times beside eight busy loops (hours; not part of check)
	@scripts/busy.sh $(TEST_FLAGS)

.PHONY: test-short
test-short: parts build-parts ## Test on PostgreSQL 18 only, without the race detector
	$(TIMED) 'test -short' go test -short $(TEST_FLAGS) ./...

SEED ?= 1
MINUTES ?= 2
PG ?= 18
.PHONY: chaos
chaos: parts build-parts ## Random writers and faults against the real program: SEED (7, "3 4", 1-20), MINUTES, PG (18 or 16)
	@scripts/chaos.sh '$(SEED)' '$(MINUTES)' '$(PG)'

AUDIT_ROWS ?= 100000
.PHONY: audit-rows
audit-rows: parts build-parts ## Find one planted fault of each kind among AUDIT_ROWS rows (100000) beside a stream under load, without a false alarm
	$(TIMED) 'audit' env AUDIT_ROWS=$(AUDIT_ROWS) go test -count=1 -v -timeout 20m -run '^TestAuditFindsEachFault' $(TEST_FLAGS) ./cmd/wal2vec

.PHONY: test-sources
test-sources: parts build-parts ## Test against sources of PostgreSQL 14, 15 and 17 (TestOldSource..., build tag sources)
	@scripts/parts.sh sources
	$(TIMED) 'test: older sources' go test -race -shuffle=on -timeout 20m -tags sources -run '^TestOldSource' $(TEST_FLAGS) ./...

.PHONY: test-next
test-next: parts build-parts ## Test on the versions to come, PostgreSQL 19 and newest 18 with pgvector of Debian's experimental and unstable suites
	@scripts/next.sh $(TEST_FLAGS)

.PHONY: dbt
dbt: parts build-parts ## Run the dbt project below deploy/dbt with dbt-postgres, and wal2vec behind it
	@scripts/dbt.sh $(TEST_FLAGS)

.PHONY: mutants
mutants: parts build-parts ## Take each rule of the protocol out of the program and see its tests fail (MUTANTS_FLAGS)
	$(TIMED) mutants go run ./internal/test/mutants $(MUTANTS_FLAGS)

.PHONY: fuzz
fuzz: build-parts ## Fuzz every fuzz test for FUZZTIME
	@scripts/fuzz.sh

.PHONY: bench
bench: parts build-parts ## Run every Go benchmark (BENCH_FLAGS)
	@scripts/bench.sh $(BENCH_FLAGS)

.PHONY: bench-once
bench-once: parts build-parts ## Run every Go benchmark once, to see that it works
	$(TIMED) 'bench, each once' scripts/bench.sh -benchtime 1x

DATA ?=
PEERS_FLAGS ?=
.PHONY: bench-peers
bench-peers: parts build ## Compare with sentence-transformers and ONNX Runtime on the CPU (DATA=FILE, PEERS_FLAGS); fetches several GB
	@scripts/bench_peers.sh $(if $(DATA),--data '$(DATA)') $(PEERS_FLAGS)

.PHONY: cover
cover: parts build-parts ## Test with coverage; the report is cover.html
	$(TIMED) cover go test -coverpkg=./... -coverprofile=cover.out $(TEST_FLAGS) ./...
	@go tool cover -html=cover.out -o cover.html
	@go tool cover -func=cover.out | tail -n 1

.PHONY: deploy-check
deploy-check: ## Check and test the Prometheus rules, verify the systemd units and how much they are open to
	$(TIMED) 'deploy files' scripts/deploycheck.sh

.PHONY: units
units: parts build ## Run both systemd units under a systemd of their own, and look at what they may do; needs root and Linux
	$(TIMED) 'systemd units' scripts/units.sh

# One after the other, all of them even when one fails, so that a run names every fault.
CHECKS := check-format lint test dbt bench-once demo-once deploy-check
.PHONY: check
check: ## Everything that CI checks
	@failed=; SECONDS=0; for target in $(CHECKS); do \
		$(MAKE) --no-print-directory $$target || failed="$$failed $$target"; \
	done; \
	if [ -n "$$failed" ]; then echo "==> check: FAILED:$$failed, after $$SECONDS s"; exit 1; fi; \
	echo "==> check: ok, $$SECONDS s"

.PHONY: clean
clean: ## Remove what was built; the parts stay
	rm -rf bin cover.out cover.html
