# Go builds everything here, the tools too, at the versions in go.mod and tools/.

# Static binaries, which also run in an image without libc.
export CGO_ENABLED := 0

TOOLS   := $(CURDIR)/.tools
BUF     := $(TOOLS)/buf
VERSION  = $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BUILD    = go build -ldflags '-X github.com/prometheus/common/version.Version=$(VERSION)' -o bin/

# How long `make fuzz` runs each target.
FUZZTIME ?= 10s
# What `make torture` runs: a list of numbers and ranges (1,2,10-20), and how long each has faults.
SEEDS    ?= 1,2,3
DURATION ?= 60s

.DEFAULT_GOAL := all
# Generation has to end before lint and build begin.
.NOTPARALLEL:

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-24s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: all
all: generate lint build ## Generate, lint and build

.PHONY: install
install: ## Install the binaries with go install
	go install ./cmd/...

# The API

.PHONY: generate
generate: $(BUF) ## Generate gen/ (stubs, API reference, OpenAPI) from api/
	$(BUF) generate

.PHONY: check-generate
check-generate: generate ## Fail if gen/ is not what api/ generates
	@changed=$$(git status --porcelain gen) && test -z "$$changed" || { echo "$$changed"; git --no-pager diff gen; \
		echo 'gen/ is out of date: run make generate and commit it' >&2; exit 1; }

.PHONY: api-release
api-release: $(BUF) ## Make the API as it is now the one that must not break
	$(BUF) build api --exclude-source-info -o api/released.binpb

# Quality

.PHONY: lint
lint: lint-api $(TOOLS)/golangci-lint ## Lint the API and the code
	$(TOOLS)/golangci-lint run

.PHONY: lint-api
lint-api: $(BUF) ## Lint the API and compare it with the released one
	$(BUF) lint
	$(BUF) format --diff --exit-code api
	$(BUF) breaking api --against api/released.binpb

.PHONY: test
test: test-unit test-e2e ## Run all tests

.PHONY: test-unit
test-unit: $(BUF) ## Run the unit tests with the race detector
	tools/require.sh cc gcc libc6-dev
	BUF=$(BUF) CGO_ENABLED=1 go test -race $$(go list ./... | grep -Ev '/e2e(/|$$)')

# Consul and HAProxy are handed over where they are there: see tools-discovery.
.PHONY: test-e2e
test-e2e: build tools ## Run the tests of the real binaries with real Prometheus
	PROMETHEUS2=$(TOOLS)/prometheus2 PROMETHEUS3=$(TOOLS)/prometheus3 GRPCURL=$(TOOLS)/grpcurl BUF=$(BUF) \
	CONSUL=$(wildcard $(TOOLS)/consul) HAPROXY=$(wildcard $(TOOLS)/haproxy) \
		go test -count=1 ./e2e/...

.PHONY: torture
torture: ## Break what can break, by SEEDS for DURATION each, and compare what came through
	go test -count=1 -timeout 0 -v -run '^TestTorture$$' ./e2e/torture -seeds $(SEEDS) -duration $(DURATION)

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME
	@grep -rEo --include='*_test.go' --exclude-dir='.?*' --exclude-dir=node_modules '^func Fuzz\w+' . | sed -E 's|/[^/]*:func | |' | \
	while read -r package target; do \
		echo "$$package $$target"; \
		go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) "$$package" || exit 1; \
	done

.PHONY: bench
bench: ## Run the benchmarks
	go test -run '^$$' -bench . -benchmem ./...

# Binaries

.PHONY: build
build: ## Build all binaries into bin/
	$(BUILD) ./cmd/...

.PHONY: build-server
build-server: ## Build prometheus-api-server
	$(BUILD) ./cmd/prometheus-api-server

.PHONY: build-client
build-client: ## Build prometheus-grpc-client
	$(BUILD) ./cmd/prometheus-grpc-client

.PHONY: build-remote-receiver
build-remote-receiver: ## Build prometheus-remote-receiver
	$(BUILD) ./cmd/prometheus-remote-receiver

.PHONY: build-forwarder
build-forwarder: ## Build metrics-forwarder
	$(BUILD) ./cmd/metrics-forwarder

.PHONY: build-exporter
build-exporter: ## Build prometheus-grpc-exporter, all parts in one
	$(BUILD) ./cmd/prometheus-grpc-exporter

.PHONY: run
run: build ## Build all and run all parts in one process, with its data in data/
	@exec tools/foreground bin/prometheus-grpc-exporter --storage.path=data

# Tools

# Each rule runs every time, since only fetch.sh knows whether the version is the wanted one.
.PHONY: $(BUF) $(TOOLS)/golangci-lint
$(BUF) $(TOOLS)/golangci-lint:
	@TOOLS=$(TOOLS) tools/fetch.sh $(@F)

.PHONY: tools
tools: ## Get the real components that the tests run
	@TOOLS=$(TOOLS) tools/fetch.sh buf grpcurl prometheus3 prometheus2

.PHONY: tools-discovery
tools-discovery: ## Get Consul and HAProxy
	@TOOLS=$(TOOLS) tools/fetch.sh consul haproxy

# Every image that is not built here, as the files name them.
IMAGES = $(shell grep -hoP '^FROM \K\S+[:/]\S+' deploy/Dockerfile; grep -hoP '^ *image: \K(?!promgrpc/)\S+' docker-compose.yml)

.PHONY: docker
docker: ## Get a Docker engine where there is none, and the images that docker-compose.yml needs
	tools/docker/engine
	TOOLS=$(TOOLS) tools/docker/stand-ins $(sort $(IMAGES))

.PHONY: test-kubernetes
test-kubernetes: ## Check deploy/kubernetes against the Kubernetes API's own types
	cd deploy/kubernetes/validate && go test ./...

.PHONY: clean
clean: ## Remove what was built, but neither tools nor data
	rm -rf bin
