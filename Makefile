# Go builds everything here, the tools too, at the versions in go.mod and tools/.

# Static binaries, which also run in an image without libc.
export CGO_ENABLED := 0

TOOLS   := $(CURDIR)/.tools
BUF     := $(TOOLS)/buf
# Those of Go, and Debian's protoc with those of Python and Ruby.
PLUGINS := protoc-gen-go protoc-gen-go-grpc protoc-gen-connect-go protoc-gen-connect-openapi protoc-gen-doc protoc
VERSION  = $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
REVISION = $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
# Nothing of the folder and of git's state ends up in a binary but what is named here: see docs/release.md.
STAMP    = github.com/prometheus/common/version
BUILD    = tools/told 'build into bin/' go build -v -trimpath -buildvcs=false \
	-ldflags '-X $(STAMP).Version=$(VERSION) -X $(STAMP).Revision=$(REVISION)' -o bin/

WEB      := clients/web
# What npm writes last.
MODULES  := $(WEB)/node_modules/.package-lock.json
GENERATED = gen $(WEB)/gen clients/python/gen docs/cli.md docs/prometheus-grpc-client.1

# How long `make fuzz` runs each target.
FUZZTIME ?= 10s
# What `make torture` runs: seeds as numbers and ranges (1,2,10-20), and how long each causes faults.
SEEDS    ?= 1,2,3
DURATION ?= 60s
# How many schedules `make simulation` plays, from which seed on.
SCHEDULES ?= 1000000
FIRST     ?= 1
# Whether stores get small file systems there, which fill up: only root can make them. DISKS= means no.
DISKS    ?= $(if $(filter 0,$(shell id -u)),-disks)
# How long Consul is away in `make test-compose`.
CONSUL_AWAY ?= 10s

.DEFAULT_GOAL := all
# Generation has to finish before lint and build start.
.NOTPARALLEL:

# What a goal needs that is neither built nor fetched here: `tools/require.sh` knows each, and reports everything that is
# missing before anything else is done, once for all goals of a run.
NEEDS_generate        := node apt-get
NEEDS_install         := $(NEEDS_generate)
NEEDS_check-generate  := git $(NEEDS_generate)
NEEDS_web             := node
NEEDS_check-web       := node
NEEDS_lint            := node
NEEDS_all             := $(NEEDS_generate) $(NEEDS_lint)
NEEDS_test-unit       := cc
NEEDS_test            := $(NEEDS_test-unit)
NEEDS_tools-debian    := apt-get
NEEDS_test-debian     := apt-get curl python-grpc ruby-grpc kcat
NEEDS_test-failures   := $(NEEDS_tools-debian)
NEEDS_test-root       := root mount
NEEDS_torture         := $(if $(DISKS),mount mkfs.ext4 $(NEEDS_test-root))
NEEDS_test-web        := node apt-get chromium fonts
NEEDS_pictures        := $(NEEDS_test-web)
NEEDS_test-azure      := node
NEEDS_test-thanos     := root mount unshare
NEEDS_test-compose    := docker curl
NEEDS_docker          := docker
NEEDS_test-all        := $(NEEDS_test) $(NEEDS_test-debian) $(NEEDS_test-root) $(NEEDS_test-web) $(NEEDS_test-azure) $(NEEDS_test-thanos) $(NEEDS_test-compose) $(NEEDS_torture)
NEEDS_ready           := $(NEEDS_test-all) $(NEEDS_check-generate) $(NEEDS_lint)
NEEDS_release         := dpkg-deb gzip tar xz
NEEDS_test-release    := $(NEEDS_release) git lintian systemd-analyze
NEEDS_run             := perl
NEEDS_tools-peers     := cc apt-get
NEEDS_bench-recording := apt-get

.PHONY: needs
needs:
	@tools/require.sh go $(sort $(foreach goal,$(or $(MAKECMDGOALS),$(.DEFAULT_GOAL)),$(NEEDS_$(goal))))

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-24s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: all
all: needs generate web lint build ## Generate, lint and build

.PHONY: install
install: needs $(MODULES) ## Install the external tooling into .tools: buf, the plugins of protoc, linters and grpcurl
	@TOOLS=$(TOOLS) tools/fetch.sh buf $(PLUGINS) golangci-lint deadcode grpcurl

# The API

.PHONY: generate
generate: needs $(BUF) $(addprefix $(TOOLS)/,$(PLUGINS)) $(MODULES) ## Generate gen/ (stubs, API reference, OpenAPI) and the clients' stubs from api/, and the client's manual
	$(BUF) generate
	for api in metrics query; do \
		sed -i 's|^\tcontext "context"$$|&\n\t. "github.com/promgrpc/exporter/gen/go/promgrpc/'$$api'/v1"|' gen/go/promgrpc/$$api/v1/$${api}v1grpc/*.go; \
	done
	$(BUF) generate --template buf.gen.web.yaml
	$(BUF) generate --template buf.gen.python.yaml
	go run ./cmd/prometheus-grpc-client manual --format man >docs/prometheus-grpc-client.1
	go run ./cmd/prometheus-grpc-client manual --format markdown >docs/cli.md

.PHONY: check-generate
check-generate: needs generate ## Fail if generated code is out of date
	@changed=$$(git status --porcelain $(GENERATED)) && test -z "$$changed" || { echo "$$changed"; git --no-pager diff $(GENERATED); \
		echo 'generated code is out of date: run make generate and commit it' >&2; exit 1; }

.PHONY: api-release
api-release: $(BUF) ## Make the current API the one that must not break
	$(BUF) build api --exclude-source-info -o api/released.binpb

# Quality

.PHONY: lint
lint: needs lint-api lint-unused lint-workflows check-web $(TOOLS)/golangci-lint ## Lint the API and the code
	tools/told 'golangci-lint' $(TOOLS)/golangci-lint run
	tools/told 'golangci-lint, with the checks of internal/invariant' $(TOOLS)/golangci-lint run --build-tags invariants

# All programs, and the folders whose packages have to be reached from them. What clients/go exports is for others, and
# what is in a folder such as internal/metricstest is for tests.
PRODUCT = $(addsuffix /...,./cmd ./deploy/certs ./deploy/secured ./receiver ./forwarder ./server ./clients ./internal)
KEPT    = ^clients/go/[^/]*: unreachable func: ([A-Z]\w*\.)?[A-Z]\w*$$|^(\w+/)?internal/\w+test/

.PHONY: lint-unused
lint-unused: $(TOOLS)/deadcode ## Fail if there is a function that no program calls
	@echo 'deadcode'; all=$$($(TOOLS)/deadcode $(PRODUCT)) || exit 1; \
		! echo "$$all" | grep . | grep -Ev '$(KEPT)' || { echo 'no program calls these functions' >&2; exit 1; }

.PHONY: lint-workflows
lint-workflows: $(TOOLS)/actionlint ## Lint the workflows of GitHub
	$(TOOLS)/actionlint -shellcheck= -pyflakes=

.PHONY: lint-api
lint-api: $(BUF) ## Lint the API and compare it with the released one
	$(BUF) lint
	$(BUF) format --diff --exit-code api
	$(BUF) breaking api --against api/released.binpb

# Runs go test, and shows progress.
GOTEST    = go run ./e2e/gotest
# On a busy machine a package takes longer than go test's ten minutes. Lint has all of go vet, and more.
TESTFLAGS = -timeout 1h -vet=off

.PHONY: test
test: needs build tools test-unit test-e2e ## Run the tests that need Go, make and a C compiler alone

.PHONY: test-all
test-all: needs build tools tools-debian test test-debian test-root test-kubernetes test-web test-azure test-thanos test-compose torture ## Run all tests, as root

.PHONY: ready
ready: needs tools-debian ## Install what all tests and checks need of Debian, for those who run them side by side

# The package that takes longest begins first.
.PHONY: test-unit
test-unit: needs $(BUF) $(addprefix $(TOOLS)/,promtool versitygw fake-gcs-server) ## Run the unit tests with the race detector, and with the checks of internal/invariant
	BUF=$(BUF) PROMTOOL=$(TOOLS)/promtool VERSITYGW=$(TOOLS)/versitygw FAKE_GCS_SERVER=$(TOOLS)/fake-gcs-server CGO_ENABLED=1 $(GOTEST) $(TESTFLAGS) -race -tags invariants ./server $$(go list ./... | grep -Ev '/e2e(/|$$)')

E2E_ENV = EXPORTER_BIN=$(CURDIR)/bin BUF=$(BUF) GRPCURL=$(TOOLS)/grpcurl PROMETHEUS2=$(TOOLS)/prometheus2 \
	PROMETHEUS3=$(TOOLS)/prometheus3 CONSUL=$(TOOLS)/consul HAPROXY=$(TOOLS)/haproxy VERSITYGW=$(TOOLS)/versitygw

.PHONY: test-e2e
test-e2e: needs build tools ## Run the tests of the real binaries with real Prometheus and Consul
	$(E2E_ENV) $(GOTEST) $(TESTFLAGS) -count=1 ./e2e/...

# The tests of e2e, or of another folder, that exist under a build tag only, as a pattern for go test's -run.
tagged = ^($$(grep -lE '^//go:build .*\b$(1)\b' $(or $(2),e2e)/*_test.go | xargs sed -n 's/^func \(Test[A-Za-z0-9]*\)(.*/\1/p' | paste -sd '|'))$$

.PHONY: test-debian
test-debian: needs build tools tools-debian ## Run the tests that use Debian packages: HAProxy, Prometheus 2, curl, Python, Ruby, Kafka
	$(E2E_ENV) $(GOTEST) $(TESTFLAGS) -count=1 -tags debian -run "$(call tagged,debian)" ./e2e
	$(E2E_ENV) $(GOTEST) $(TESTFLAGS) -count=1 -tags debian -run "$(call tagged,debian,e2e/security)" ./e2e/security

.PHONY: test-root
test-root: needs build ## Run the tests that only root can run
	$(E2E_ENV) $(GOTEST) $(TESTFLAGS) -count=1 -tags root -run "$(call tagged,root)" ./e2e

.PHONY: test-failures
test-failures: needs build tools tools-debian ## Cause each failure under load, including 60s without Consul and without the bucket, and print the table
	$(E2E_ENV) go test -count=1 -v -tags debian -run '^TestFailures' ./e2e -consul-away=60s -bucket-away=60s

.PHONY: test-overload
test-overload: build ## Overload the real binaries at full size: a minute, a million series, a thousand clients
	$(E2E_ENV) go test -count=1 -v -run '^TestOverload' ./e2e -overload-for=1m -overload-series=1000000 -overload-readers=900 -overload-stalled=100

.PHONY: test-bounds
test-bounds: build ## Send the real binaries small, legal and expensive requests at full size: each kind for 20s, with 100,000 series
	$(E2E_ENV) go test -count=1 -timeout 1h -v ./e2e/bounds -bounds-for=20s -bounds-series=100000 -bounds-late=1s

# How long `make test-ratio` looks.
RATIO_FOR ?= 10m

.PHONY: test-ratio
test-ratio: build ## Look for RATIO_FOR for requests that take much more memory or time than their size
	$(E2E_ENV) go test -count=1 -timeout 0 -v -run '^TestRatio$$' ./e2e/bounds -ratio-for=$(RATIO_FOR)

# For building images: where Go finds modules, and the certificate authorities that this machine trusts.
BUILD_ENV = VERSION=$(VERSION) REVISION=$(REVISION) GOPROXY="$$(go env GOPROXY)" \
	CA_BUNDLE="$(or $(CA_BUNDLE),$(SSL_CERT_FILE),$(wildcard /etc/ssl/certs/ca-certificates.crt))"

# The tag keeps it out of test-e2e: it needs a Docker engine. The test cleans up, unless it is itself killed.
.PHONY: test-compose
test-compose: needs build tools docker ## Run docker-compose.yml on a Docker engine, plain, secured, with a bucket, with groups and with Thanos Query, with calls and failures
	$(BUILD_ENV) docker compose build
	export COMPOSE_TEST_PROJECT=prometheus-grpc-exporter-test-$$$$; \
		trap 'docker compose --progress=quiet -f docker-compose.yml $(addprefix -f ,$(OVERLAYS)) -p '$$COMPOSE_TEST_PROJECT' down -v -t 1' EXIT; \
		$(E2E_ENV) go test $(TESTFLAGS) -count=1 -v -tags compose -run '^TestCompose' ./e2e -consul-away=$(CONSUL_AWAY)

.PHONY: torture
torture: needs $(TOOLS)/versitygw ## Break everything at random, by SEEDS for DURATION each, and compare what came through
	go test -count=1 -timeout 0 -v -run '^TestTorture$$' ./e2e/torture -seeds $(SEEDS) -duration $(DURATION) $(DISKS)

.PHONY: simulation
simulation: ## Play SCHEDULES of lost machines, cut links and lost answers with the real decisions, from the seed FIRST on
	go test -count=1 -timeout 0 -v -run '^TestSchedules$$' ./e2e/simulation -schedules=$(SCHEDULES) -first=$(FIRST)

.PHONY: test-web
test-web: needs build tools tools-debian $(MODULES) ## Run the tests of the page in Chromium, against the real binaries behind HAProxy
	cd $(WEB) && BIN=$(CURDIR)/bin TOOLS=$(TOOLS) CHROMIUM=$$(command -v chromium) npm run --silent e2e

.PHONY: test-azure
test-azure: needs $(TOOLS)/azurite ## Run the tests of buckets against Azurite
	AZURITE=$(TOOLS)/azurite $(GOTEST) $(TESTFLAGS) -tags node -run "$(call tagged,node,internal/bucket)" ./internal/bucket

.PHONY: test-thanos
test-thanos: needs build tools $(TOOLS)/thanos ## Compare what a real Thanos Query answers over our servers with Prometheus; it is built at first, which takes minutes
	$(E2E_ENV) THANOS=$(TOOLS)/thanos $(GOTEST) $(TESTFLAGS) -count=1 -tags thanos -run "$(call tagged,thanos,e2e/promql)" ./e2e/promql

.PHONY: pictures
pictures: needs build tools tools-debian $(MODULES) ## Draw docs/pictures from a running pipeline
	cd $(WEB) && BIN=$(CURDIR)/bin TOOLS=$(TOOLS) CHROMIUM=$$(command -v chromium) npm run --silent pictures

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME
	@grep -rEo --include='*_test.go' --exclude-dir='.?*' --exclude-dir=node_modules '^func Fuzz\w+' . | sed -E 's|/[^/]*:func | |' | \
	while read -r package target; do \
		echo "$$package $$target"; \
		go test -tags invariants -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$package" || exit 1; \
	done

# Flags of the comparison, such as BENCHFLAGS='--series 10000 --repeat 1'.
BENCHFLAGS ?=

.PHONY: bench
bench: build ## Compare the project with the peers that are installed; see bench/README.md
	go run ./bench $(BENCHFLAGS)

.PHONY: bench-recording
bench-recording: needs build ## Record real exporters anew, for the profile "recorded" of the benchmarks
	@TOOLS=$(TOOLS) tools/fetch.sh prometheus3 consul haproxy exporters
	go run ./bench/record

.PHONY: bench-micro
bench-micro: ## Run the Go benchmarks of all stages
	go test -run '^$$' -bench . -benchmem ./...

.PHONY: bench-memory
bench-memory: ## Say what a live series takes in memory, and where
	go test -run '^$$' -bench '^BenchmarkSeriesMemory$$' -benchtime 1x -v ./bench

# The stages that a sample passes through, each with a number of runs that does not depend on the machine.
STAGES = go test -run '^$$' -benchtime 50x -benchmem \
	-bench '^Benchmark(Decompress|DecodeV[12]|Intern|EncodeBlock|DecodeBlock|EncodeSeries|DecodeSeries|Append|Replicate|Apply|AddSeries|Match|Split|Stream.*)$$' \
	./receiver/split ./forwarder/... ./internal/segment ./internal/seglog ./internal/head ./server/... ./bench

.PHONY: check-allocs
check-allocs: ## Fail if a stage allocates more than bench/allocs.txt says
	$(STAGES) | go run ./bench/allocs bench/allocs.txt

.PHONY: update-allocs
update-allocs: ## Write what the stages allocate to bench/allocs.txt
	$(STAGES) | go run ./bench/allocs -update bench/allocs.txt

.PHONY: tools-peers
tools-peers: needs ## Fetch the peers that the comparison runs
	@TOOLS=$(TOOLS) tools/fetch.sh prometheus3 vmagent victoria-metrics thanos haproxy versitygw

# The page, which Go embeds: the built page is committed, so that building a server needs no Node

.PHONY: web
web: needs $(MODULES) ## Build the page of clients/web into internal/page
	cd $(WEB) && npm run --silent build

.PHONY: check-web
check-web: needs $(MODULES) ## Check clients/web, and fail if internal/page is out of date
	cd $(WEB) && npm run --silent check && npm run --silent test && npm run --silent build -- --check

# No package needs its install scripts, so they are not run.
$(MODULES): $(WEB)/package.json $(WEB)/package-lock.json
	@echo 'get the modules of $(WEB)'
	cd $(WEB) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

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

# Releases

.PHONY: release
release: needs $(TOOLS)/cyclonedx-gomod ## Build the release of the tag at HEAD, or of VERSION, into dist/
	TOOLS=$(TOOLS) release/build $(VERSION)

.PHONY: test-release
test-release: needs $(TOOLS)/cyclonedx-gomod ## Build a release twice, compare, and try its archives and Debian packages
	TOOLS=$(TOOLS) $(GOTEST) $(TESTFLAGS) -count=1 -tags release -run "$(call tagged,release,release)" ./release

# VULNERABILITIES=required fails where the database cannot be reached.
VULNERABILITIES ?= optional

.PHONY: check-vulnerabilities
check-vulnerabilities: $(TOOLS)/govulncheck ## Fail if a program calls what is known to be vulnerable
	release/vulnerabilities $(TOOLS)/govulncheck $(VULNERABILITIES) ./cmd/...

# More flags for `make run`, such as other addresses.
RUNFLAGS ?=

.PHONY: run
run: needs build ## Build, and run all parts in one process with RUNFLAGS, its data in data/
	@echo "bin/prometheus-grpc-exporter --storage.path=data $(RUNFLAGS)    # for other flags: make run RUNFLAGS='--help'"
	@exec tools/foreground bin/prometheus-grpc-exporter --storage.path=data $(RUNFLAGS)

# Where `make certs` writes, and its flags, such as CERTSFLAGS='--lifetime=720h --name=server=metrics.example.org'.
CERTS ?= data/certs
CERTSFLAGS ?=

.PHONY: certs
certs: needs ## Make an authority and certificates for a deployment into CERTS, or renew the certificates
	@go run ./deploy/certs --dir=$(CERTS) $(CERTSFLAGS)

# Where `make secured` writes.
SECURED ?= data/secured

.PHONY: secured
secured: certs ## Make certificates, configuration and secrets for the secured deployments into SECURED, or take up renewed certificates
	@go run ./deploy/secured --certs=$(CERTS) --dir=$(SECURED)

# Tools

# Each rule always runs, since only fetch.sh knows whether the version is right.
FETCHED = $(addprefix $(TOOLS)/,buf $(PLUGINS) promtool versitygw fake-gcs-server azurite thanos golangci-lint deadcode actionlint cyclonedx-gomod govulncheck)
.PHONY: $(FETCHED)
$(FETCHED):
	@TOOLS=$(TOOLS) tools/fetch.sh $(@F)

.PHONY: tools
tools: ## Build the real components that the tests run
	@TOOLS=$(TOOLS) tools/fetch.sh buf grpcurl prometheus3 promtool consul versitygw

.PHONY: tools-debian
tools-debian: needs ## Fetch HAProxy, Prometheus 2 and protoc from Debian
	@TOOLS=$(TOOLS) tools/fetch.sh haproxy prometheus2 protoc

# What docker-compose.yml has on top in variants.
OVERLAYS = $(wildcard deploy/*/docker-compose.yml)
# Every image that is not built here, as named in the files.
IMAGES = $(shell grep -hoP '^FROM \K\S+[:/]\S+' deploy/Dockerfile; grep -hoP '^ *image: \K(?!promgrpc/)\S+' docker-compose.yml $(OVERLAYS))

.PHONY: docker
docker: needs ## Install a Docker engine if there is none, and fetch the images that docker-compose.yml needs
	tools/docker/engine
	TOOLS=$(TOOLS) tools/docker/stand-ins $(sort $(IMAGES))

.PHONY: test-kubernetes
test-kubernetes: ## Check deploy/kubernetes against the Kubernetes API types
	$(GOTEST) -C=deploy/kubernetes/validate ./...

.PHONY: clean
clean: ## Remove what was built, except tools and data
	rm -rf bin dist
