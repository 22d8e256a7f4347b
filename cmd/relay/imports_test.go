package main

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
	allowed := map[string][]string{
		"relay/sources":                nil,
		"relay/sources/file":           {"relay/sources"},
		"relay/sources/marathon":       {"relay/sources"},
		"relay/certs":                  nil,
		"relay/certs/internal/reading": {"relay/certs"},
		"relay/certs/renewal":          {"relay/certs"},
		"relay/certs/dir":              {"relay/certs", "relay/certs/internal/reading"},
		"relay/certs/vault":            {"relay/certs", "relay/certs/internal/reading"},
		"relay/xds":                    nil,
		"relay/collator":               {"relay/sources", "relay/certs", "relay/xds"},
		"relay/admin":                  nil,
		"relay/deploy":                 nil,
	}
	const envoy, ads = "github.com/envoyproxy/go-control-plane/envoy/", "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "relay/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		name, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		want, ruled := allowed[name]
		if strings.HasSuffix(name, "test") || strings.HasPrefix(name, "relay/cmd/") {
			continue
		}
		if !ruled {
			t.Errorf("%s has no rule: say here what it may import", name)
			continue
		}
		seen++
		for imported := range strings.FieldsSeq(imports) {
			switch {
			case strings.HasPrefix(imported, "relay/") && !slices.Contains(want, imported):
				t.Errorf("%s imports %s: data flows the other way", name, imported)
			case strings.HasPrefix(imported, envoy) && name != "relay/collator" && name != "relay/xds":
				t.Errorf("%s imports %s: only collator builds Envoy messages", name, imported)
			case imported == ads && name != "relay/xds":
				t.Errorf("%s imports %s: only xds speaks the discovery service", name, imported)
			}
		}
	}
	if seen != len(allowed) {
		t.Errorf("%d packages were checked, %d have rules", seen, len(allowed))
	}
}
