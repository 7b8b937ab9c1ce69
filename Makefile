# hoy: make run builds everything and runs a container; make test runs every test.
SHELL   := /bin/bash
VERSION ?= 0.1.0
COMMIT  := $(shell git rev-parse --short HEAD 2>/dev/null)
BUILT   := $(shell git show -s --format=%cI HEAD 2>/dev/null)
LDFLAGS := -s -w -X hoy/lib/version.Version=$(VERSION) -X hoy/lib/version.Commit=$(COMMIT) -X hoy/lib/version.Built=$(BUILT)
export CGO_ENABLED = 0
# Root by sudo where we are not root, keeping the path to Go.
SUDO    := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E env "PATH=$$PATH")
GOBUILD  = go build -trimpath -ldflags '$(LDFLAGS)'
TOOLBOX  = toolbox/embed/hoy-toolbox.zst
# A package waits within its time for the lock that rootful tests take in turns.
TIMEOUT ?= 60m
# Where the engine is that docker's behaviour is read off.
REFERENCE ?= $(HOME)/.cache/hoy-reference

.PHONY: help interop build run test check bench bench-images bench-networks bench-streams bench-build fuzz soak systemd package clean go-present tools reference transcripts suite-moby suite-moby-reference conformance

help:
	@echo 'make run    builds everything and runs a container from the built-in image'
	@echo 'make test   every test; installs what they need (Debian packages by apt-get, programs of Go modules)'
	@echo 'make build  bin/hoy, bin/hoyd, bin/hoy-keeper, bin/hoy-shim, bin/hoy-registry, bin/hoy-verify'
	@echo 'make package  dist/hoy_*.deb and dist/hoy-*.rpm'
	@echo 'make check  formatting, vet, staticcheck'
	@echo 'make bench  start and exec against the C floor and the peers that are installed'
	@echo 'make bench-images  load and pull against the least that a store must do, podman and docker'
	@echo 'make bench-networks  what networks and published ports cost a start, and what they carry'
	@echo 'make bench-streams  what ps takes beside 200 clients that stream'
	@echo 'make bench-build  builds, beside docker with its classic builder and with buildx'
	@echo 'make fuzz   every fuzz target for a minute each'
	@echo 'make systemd  the package in Debians that systemd has booted'
	@echo 'make interop  images to and from skopeo, buildah, podman, crane, oras and docker; builds by buildx'
	@echo 'make soak   1,000 containers at once, 1,000 runs in a row, 200 kills of an image store'
	@echo 'make suite-moby   moby'"'"'s own integration tests against hoy'
	@echo 'make conformance  the tests of the distribution specification against hoy registry'
	@echo 'make transcripts  records from the reference engine what test/docker compares hoy with'

go-present:
	@command -v go >/dev/null || { echo 'hoy needs Go 1.26 or newer and finds none on the PATH: see go.dev/doc/install' >&2; exit 1; }
	@go version | awk '{ split(substr($$3, 3), v, "."); if (v[1] < 1 || v[1] == 1 && v[2] < 21) { print "hoy needs Go 1.26.8 or newer (1.21 and newer fetch it themselves); this is " $$3 > "/dev/stderr"; exit 1 } }'

build: go-present
	@mkdir -p bin toolbox/embed
	@$(GOBUILD) -o bin/hoy-toolbox ./cmd/hoy-toolbox
	@go run ./toolbox/pack bin/hoy-toolbox $(TOOLBOX)
	@$(GOBUILD) -o bin/ ./cmd/hoy ./cmd/hoyd ./cmd/hoy-keeper ./cmd/hoy-shim ./cmd/hoy-verify ./cmd/hoy-registry

run: build
	@$(SUDO) bin/hoy run --rm hoy/toolbox anatomy

tools:
	@$(SUDO) test/setup.sh

check: go-present
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "not gofmt'ed: $$unformatted" >&2; exit 1; }
	go vet ./...
	GOARCH=arm64 go vet ./...
	go tool staticcheck ./...

test: build tools check
	$(SUDO) go test -timeout $(TIMEOUT) ./...

# A script that measures any docker-like command line, where there is one.
BENCH_SH ?= $(wildcard ../shared/bench/bench.sh)
bench: build tools
	@$(SUDO) env BENCH_SH=$(BENCH_SH) go run ./test/bench

# BENCH_IMAGE is an archive of docker save; without one it is made of Go's own files.
bench-images: build tools
	@$(SUDO) go run ./test/bench -images -archive '$(BENCH_IMAGE)' -reference $(REFERENCE)/bin

bench-networks: build tools
	@$(SUDO) go run ./test/bench -networks -reference $(REFERENCE)/bin

# What a list of containers takes beside 200 clients that stream, and without.
bench-streams: build tools
	@set -o pipefail; $(SUDO) env HOY_SOAK=1 go test -count 1 -v -run 'TestTwoHundredClients$$' ./test/engine | grep -E 'ps |ok|FAIL|Error'

bench-build: build tools
	@$(SUDO) go run ./test/bench -builds -reference $(REFERENCE)/bin -buildx '$(wildcard $(INTEROP)/buildx)'

fuzz: build
	@$(SUDO) test/fuzz.sh

# Tools that Debian does not have come as Go modules.
INTEROP ?= $(HOME)/.cache/hoy-interop
interop: build tools
	@for p in github.com/google/go-containerregistry/cmd/crane@v0.22.1 oras.land/oras/cmd/oras@v1.3.6 github.com/docker/buildx/cmd/buildx@v0.36.0; do GOBIN=$(INTEROP) go install $$p || exit 1; done
	@for p in skopeo buildah podman; do command -v $$p >/dev/null || $(SUDO) apt-get install -y -qq --no-install-recommends $$p >/dev/null || exit 1; done
	@$(SUDO) env HOY_INTEROP=$(INTEROP) HOY_REFERENCE=$(wildcard $(REFERENCE)/bin) go test -timeout 20m -v ./test/interop

systemd: build tools
	$(SUDO) env HOY_SYSTEMD=1 go test -timeout 30m -v ./test/systemd

soak: build tools
	$(SUDO) env HOY_SOAK=1 go test -timeout 60m -v -run Soak ./test/engine ./image

package: build
	@rm -rf dist/completion dist/man && mkdir -p dist/completion
	@for shell in bash zsh fish; do bin/hoy completion $$shell >dist/completion/hoy.$$shell || exit 1; done
	@go run -ldflags '$(LDFLAGS)' ./packaging/man dist/man
	@for format in deb rpm; do \
		VERSION=$(VERSION) ARCH=$$(go env GOARCH) go tool -modfile=tools/go.mod nfpm package -f packaging/nfpm.yaml -p $$format -t dist/ || exit 1; \
	done

reference: go-present
	@$(SUDO) test/reference.sh $(REFERENCE)

transcripts: build tools reference
	$(SUDO) go test -count 1 -timeout $(TIMEOUT) ./test/docker -reference $(REFERENCE)/bin

suite-moby: build tools
	@$(SUDO) env "PATH=$$PATH:/usr/sbin" go run ./test/suites/moby

conformance: build
	@go run ./test/suites/distribution

suite-moby-reference: build tools reference
	@$(SUDO) go run ./test/suites/moby -reference $(REFERENCE)/bin

clean:
	rm -rf bin dist toolbox/embed/*.zst
