package relay

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Data flows from left to right, imports the other way: a stage knows only the
// input of the next one. Packages for tests and the programs that start them
// are free.
func TestImports(t *testing.T) {
	t.Parallel()
	// The stages, and those whose packages each may import beside its own.
	allowed := map[string][]string{
		"sources": {"internal/coalesce", "internal/crypt", "internal/files", "internal/hostname", "internal/outgoing", "internal/panics", "internal/plural", "internal/probelabel", "internal/problem", "internal/secret", "internal/state", "credentials"},
		"certs":   {"internal/coalesce", "internal/files", "internal/hostname", "internal/scrape", "internal/outgoing", "internal/panics", "internal/problem", "internal/secret", "internal/state", "credentials"},
		"xds":     {"internal/scrape", "internal/guard", "internal/panics"}, "deploy": nil, "docs": nil, "proxytlv": nil,
		// What apps name and nobody is to see.
		"credentials":       {"internal/coalesce", "internal/files", "internal/panics", "internal/problem", "internal/secret", "internal/state"},
		"traffic":           {"internal/failure", "internal/panics", "internal/scrape"},
		"scaling":           {"sources", "traffic", "internal/authz", "internal/failure", "internal/files", "internal/ignored", "internal/outgoing", "internal/panics", "internal/plural", "internal/problem", "internal/questions", "internal/ratelimit", "internal/scrape", "internal/secret"},
		"connections":       {"sources", "traffic", "internal/failure", "internal/panics", "internal/problem", "internal/questions", "internal/ratelimit", "internal/scrape"},
		"admin":             {"collator", "xds", "scaling", "internal/coalesce", "internal/failure", "internal/files", "internal/guard", "internal/panics", "internal/plural", "internal/problem", "internal/secret", "internal/terminal", "internal/probelabel"},
		"collator":          {"sources", "certs", "credentials", "xds", "proxytlv", "internal/failure", "internal/ignored", "internal/scrape", "internal/hostname", "internal/panics", "internal/plural", "internal/problem", "internal/secret", "internal/probelabel", "internal/authz", "internal/questions", "internal/ratelimit"},
		"internal/coalesce": {"internal/panics"}, "internal/files": {"internal/panics", "internal/secret"}, "internal/state": {"internal/secret"},
		"passwords":      {"sources", "internal/authz", "internal/crypt", "internal/panics", "internal/questions"},
		"internal/authz": nil, "internal/clidocs": nil, "internal/crypt": nil, "internal/failure": nil, "internal/ignored": nil,
		"internal/graphite": {"internal/panics", "internal/logs"},
		"internal/guard":    nil, "internal/ratelimit": {"internal/questions"}, "internal/questions": nil, "internal/scrape": nil, "internal/hostname": nil, "internal/outgoing": nil, "internal/panics": nil, "internal/plural": nil, "internal/problem": nil, "internal/secret": nil, "internal/terminal": nil,
		"probe":         {"admin", "internal/failure", "internal/files", "internal/guard", "internal/panics", "internal/scrape", "internal/secret", "internal/terminal", "internal/probelabel"},
		"statuspage":    {"admin", "internal/files", "internal/panics", "internal/plural", "internal/scrape", "internal/guard", "internal/outgoing", "internal/secret"},
		"internal/logs": {"internal/panics"},
		// The public page is made of what places answer, and knows nothing else of Relay.
		"internal/probelabel": nil,
		// What compares looks at what the collator decided, and is nobody's input.
		"compare": {"sources", "collator", "internal/hostname", "internal/problem"},
		// The program is made of all of them.
		"internal/relay": {
			"sources", "certs", "credentials", "collator", "xds", "traffic", "scaling", "connections", "admin", "statuspage", "probe", "passwords",
			"internal/failure", "internal/files", "internal/graphite", "internal/ignored", "internal/scrape", "internal/guard", "internal/hostname", "internal/panics", "internal/plural", "internal/problem", "internal/ratelimit", "internal/secret", "internal/state", "internal/logs", "internal/authz",
		},
		// What the demo and the scenarios run, and the scenarios: no part of the program.
		"internal/testbed": {"certs"},
		"testdata":         {"internal/testbed", "sources", "certs", "xds", "proxytlv", "deploy"},
		// Tests of the program, which import no part of it but from tests.
		"e2e": nil,
	}
	const envoy, ads = "github.com/envoyproxy/go-control-plane/envoy/", "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "relay/...", "../../testdata/scenarios/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for line := range strings.Lines(string(out)) {
		name, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		stage := stageOf(name)
		if stage == "cmd" || strings.HasSuffix(name, "test") {
			continue
		}
		want, ruled := allowed[stage]
		if !ruled {
			t.Errorf("%s is of no known stage: say here what it may import", name)
		}
		seen[stage] = true
		for imported := range strings.FieldsSeq(imports) {
			to := stageOf(imported)
			switch {
			case strings.HasPrefix(imported, "relay/") && to != stage && !slices.Contains(want, to):
				t.Errorf("%s imports %s: data flows the other way", name, imported)
			case strings.HasPrefix(imported, envoy) && name != "relay/collator/envoy" && stage != "xds" && stage != "traffic" && stage != "scaling" && stage != "passwords" && stage != "internal/ratelimit" && stage != "internal/questions":
				t.Errorf("%s imports %s: only collator/envoy builds Envoy messages", name, imported)
			case imported == ads && stage != "xds":
				t.Errorf("%s imports %s: only xds speaks the discovery service", name, imported)
			}
		}
	}
	if len(seen) != len(allowed) {
		t.Errorf("only packages of %v were checked", seen)
	}
}

// Each package of the collator imports only those below it. collator/envoy names
// its resources as xds does, and makes entries of a store.
func TestImportsOfTheCollator(t *testing.T) {
	t.Parallel()
	allowed := map[string][]string{
		"relay/collator/routing": {"relay/internal/failure", "relay/internal/hostname", "relay/internal/ignored", "relay/internal/problem", "relay/sources", "relay/certs", "relay/credentials", "relay/internal/secret"},
		"relay/collator/envoy":   {"relay/credentials", "relay/proxytlv", "relay/internal/failure", "relay/internal/hostname", "relay/internal/ignored", "relay/collator/routing", "relay/sources", "relay/certs", "relay/xds", "relay/internal/panics", "relay/internal/authz", "relay/internal/questions", "relay/internal/ratelimit", "relay/internal/secret"},
		"relay/collator/history": {"relay/sources", "relay/xds"},
		"relay/collator":         {"relay/internal/hostname", "relay/internal/probelabel", "relay/collator/history", "relay/collator/routing", "relay/collator/envoy", "relay/sources", "relay/certs", "relay/credentials", "relay/xds", "relay/internal/scrape", "relay/internal/panics", "relay/internal/plural", "relay/internal/problem", "relay/internal/secret"},
		"relay/collator/explain": {"relay/internal/plural", "relay/internal/hostname", "relay/internal/problem", "relay/collator", "relay/collator/routing", "relay/sources", "relay/certs", "relay/xds"},
	}
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "relay/collator/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		name, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasSuffix(name, "test") {
			continue
		}
		want, ruled := allowed[name]
		if !ruled {
			t.Errorf("%s is not known: say here what it may import", name)
		}
		seen++
		for imported := range strings.FieldsSeq(imports) {
			if strings.HasPrefix(imported, "relay/") && !slices.Contains(want, imported) {
				t.Errorf("%s imports %s, which is not below it", name, imported)
			}
		}
	}
	if seen != len(allowed) {
		t.Errorf("%d packages of %d were checked", seen, len(allowed))
	}
}

// stageOf returns the top folder of a package of this module; each folder below
// internal is one for itself.
func stageOf(path string) string {
	path = strings.TrimPrefix(path, "relay/")
	top, below, _ := strings.Cut(path, "/")
	if top == "internal" {
		below, _, _ = strings.Cut(below, "/")
		return top + "/" + below
	}
	return top
}
