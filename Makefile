# make help lists the verbs. Everything CI does is one of them.

GO      ?= go
BIN     := bin/imserver
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
TOOL    := $(GO) tool -modfile=tools/go.mod

# What tests of the full engine need. On a machine without Postgres and Redis this installs both. Postgres syncs its commits where
# something is measured or broken; other tests make and drop hundreds of databases, which takes it most of their time.
SERVICES := IMSERVER_TEST_FSYNC=on scripts/services.sh up && eval "$$(scripts/services.sh env)"
TESTING  := IMSERVER_TEST_FSYNC=off scripts/services.sh up && eval "$$(scripts/services.sh env)"

# SQLite's C, translated to Go, computes pointers all the time, and the race detector's checkptr looks each of them up: a quarter
# of a test's time to check what is not ours.
RACEFLAGS := -race -gcflags='modernc.org/...=-d=checkptr=0'

# Compilers and linters end soon: collecting less of their memory saves a fifth of the time that it takes to compile, and two thirds
# of staticcheck's, for half a gigabyte.
HASTE := GOGC=400

# Tests that make thousands of calls, or fill a hundred thousand rows, one after the other: there is no race to see, and the
# detector makes them five times as long.
ONEBYONE := ^(TestHostile|TestOutsider|TestLarge|TestStatements)$$

FUZZTIME  ?= 20s
FUZZED    ?= cmd internal
BENCHTIME ?= 1s
BENCHSECONDS ?= 5
BENCHDEVICES ?= 5000
SOAKTIME  ?= 10m
SUITES    ?=

.DEFAULT_GOAL := help
.PHONY: help run build test unit acceptance compat lint vuln bench microbench faults overload soak fuzz ci docker clean

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  RACE=1           unit, acceptance: with the race detector"
	@echo "  QUICK=1          acceptance: two of the three engines, as CI runs it"
	@echo "  SUITES='a b'     acceptance: only test files whose name contains a or b"
	@echo "  SHORT=1          faults: the short form, as CI runs it"
	@echo "  FUZZTIME=20s     fuzz: time for each target"
	@echo "  SOAKTIME=10m     soak: time for each engine"
	@echo "  BENCHTIME=1s     microbench: time for each benchmark"
	@echo "  BENCHSECONDS=5   bench: time for each measurement; BENCHDEVICES=5000 for storms"

run: ## Start a server on 127.0.0.1:8080 with its data in ./data
	$(GO) run ./cmd/imserver

build: ## Build bin/imserver, one static binary
	CGO_ENABLED=0 $(HASTE) $(GO) build $(if $(UNTRIMMED),,-trimpath) -ldflags "-s -w -X main.version=$(VERSION)" -o $(BIN) ./cmd/imserver

test: unit acceptance ## Run every test, on both engines

unit: ## Run the Go tests, on SQLite and on Postgres and Redis
	$(TESTING) && $(HASTE) $(GO) test $(if $(RACE),$(RACEFLAGS)) ./...

acceptance: $(if $(RACE),,build) ## Run unmodified SDKs against the built server, on every engine
	scripts/node.sh
	cd acceptance && npm ci --no-audit --no-fund --loglevel=error
	$(TESTING) && cd acceptance && \
		$(if $(RACE),IMSERVER_RACE=1,IMSERVER_BIN=$(CURDIR)/$(BIN)) npm test -- $(SUITES)

compat: ## Write docs/compatibility.md from what the last full acceptance run showed
	cd acceptance && npm run compat

lint: ## Check formatting, go.mod, go vet and staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
		if [ -n "$$unformatted" ]; then echo "not formatted:"; echo "$$unformatted"; exit 1; fi
	$(GO) mod tidy -diff
	CGO_ENABLED=0 $(HASTE) $(GO) vet ./...
	CGO_ENABLED=0 $(HASTE) $(TOOL) staticcheck ./...

vuln: ## Check the dependencies against the Go vulnerability database (needs the internet)
	@GO="$(GO)" scripts/vuln.sh

bench: ## Measure both engines against bare limits, write docs/performance.md's tables
	$(SERVICES) && $(GO) run ./bench/suite -seconds $(BENCHSECONDS) -devices $(BENCHDEVICES)

microbench: ## Run the Go benchmarks
	$(SERVICES) && $(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...

faults: ## Break nodes, Postgres, Redis and the network under load; check that nothing is lost
	$(SERVICES) && CGO_ENABLED=0 $(GO) run ./faults $(if $(SHORT),-short,-docs docs/faults.md)

overload: ## Measure what clients who ask too much cost the others, write docs/faults.md's table
	$(SERVICES) && CGO_ENABLED=0 $(GO) run ./faults -overload -docs docs/faults.md

soak: ## Let each engine work for SOAKTIME and fail if anything grows that should not, write docs/faults.md's table
	$(SERVICES) && CGO_ENABLED=0 $(GO) run ./faults -soak $(SOAKTIME) -docs docs/faults.md

fuzz: ## Run every fuzz target below FUZZED for FUZZTIME
	@grep -rEo --include='*_test.go' '^func Fuzz\w+' $(FUZZED) | sed 's|/[^/]*:func | |' | while read -r package target; do \
		echo "$$package $$target"; \
		CGO_ENABLED=0 $(HASTE) $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) ./$$package || exit 1; \
	done

# A test that only a busy machine failed is tried once more, without the others, and named at the end. More than three with their
# subtests are no accident.
ci: export UNTRIMMED = 1 # so that what go vet has compiled is used again
ci: lint build ## What CI runs: lint, all tests with the race detector where it counts, short faults and fuzzing
	$(TESTING) && $(HASTE) $(TOOL) gotestsum --format pkgname-and-test-fails --rerun-fails=1 --rerun-fails-max-failures=6 --packages ./... -- $(RACEFLAGS) -vet=off -skip '$(ONEBYONE)'
	$(TESTING) && CGO_ENABLED=0 $(GO) test -vet=off -run '$(ONEBYONE)' ./cmd/imserver ./internal/group ./internal/grouplog
	QUICK=1 $(MAKE) acceptance || QUICK=1 $(MAKE) acceptance JOBS=1 SUITES="$$(cat acceptance/results/failed)" # what a busy machine may have failed
	$(MAKE) faults SHORT=1
	$(MAKE) fuzz FUZZTIME=1s FUZZED="internal/usersig internal/wire" # the others need the clients of Redis, Postgres and SQLite built for it
	VULN_OPTIONAL=1 $(MAKE) vuln

docker: ## Build the container image imserver
	docker build --build-arg VERSION=$(VERSION) -t imserver .

clean: ## Stop the test services and remove what was built
	scripts/services.sh down
	rm -rf bin acceptance/node_modules acceptance/results
