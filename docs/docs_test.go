// Package docs_test holds the documents against the code: links, paths, names
// and quotations.
package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// documentOf finds the path of a document, and of a heading in it.
var documentOf = regexp.MustCompile(`\b(docs/[\w-]+\.md)(?:#([\w-]+))?`)

// excused are the code spans that look like something of this project and are
// not, each with the reason. An entry that no document needs is an error.
var excused = map[string]string{
	"certs/*.pem":           "a folder of marathon-acme",
	"unmanaged-certs/*.pem": "a folder of marathon-acme",
	"pki/ca.key":            "a file that the operator makes",
	"relay.yaml":            "a file that the operator makes",
	"codes.Internal":        "of gRPC",

	"--base-id":                       "of Envoy",
	"--drain-time-s":                  "of Envoy",
	"--restart-epoch":                 "of Envoy",
	"--disable-hot-restart":           "of Envoy",
	"--parent-shutdown-time-s":        "of Envoy",
	"--connect-to":                    "of curl",
	"--vault":                         "of marathon-acme",
	"--max-wait":                      "of zdd.py",
	"--new-instances":                 "of zdd.py",
	"--complete-cur":                  "of zdd.py",
	"--complete-prev":                 "of zdd.py",
	"--pre-kill-hook":                 "of zdd.py",
	"--group":                         "of marathon-lb",
	"--strict-mode":                   "of marathon-lb",
	"--ssl-certs":                     "of marathon-lb",
	"--marathon-auth-credential-file": "of marathon-lb",
	"--dcos-auth-credentials":         "of marathon-lb",
	"--marathon-ca-cert":              "of marathon-lb",
	"--health-check":                  "of marathon-lb",
	"--dont-bind-http-https":          "of marathon-lb",
	"--sse":                           "of marathon-lb",
	"--haproxy-map":                   "of marathon-lb",
	"--group-https-by-vhost":          "of marathon-lb",
	"--max-reload-retries":            "of marathon-lb",
	"--archive-versions":              "of marathon-lb",
	"--skip-validation":               "of marathon-lb",
	"--min-serv-port-ip-per-task":     "of marathon-lb",
}

var readProject = sync.OnceValues(func() (*repository, error) { return readRepository("..") })

// project is this one, read once for all tests.
func project(t *testing.T) *repository {
	t.Helper()
	repo, err := readProject()
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// Whatever the documents name exists, and what they quote is in the file that
// they name.
func TestDocuments(t *testing.T) {
	t.Parallel()
	repo := project(t)
	l := &linter{repository: repo, excused: excused, needed: make(map[string]bool)}
	pages := 0
	for file := range repo.files {
		if !strings.HasSuffix(file, ".md") {
			continue
		}
		pages++
		for _, problem := range l.check(file, repo.texts[file]) {
			t.Error(problem)
		}
	}
	for span, reason := range excused {
		if !l.needed[span] {
			t.Errorf("no document needs the excuse for %s (%s)", span, reason)
		}
	}
	// What is counted shows that the checks see the documents at all.
	for what, least := range map[string]int{"link": 50, "path": 80, "name": 3, "test": 50, "target": 10, "flag": 30, "metric": 20} {
		if l.seen[what] < least {
			t.Errorf("%d of the kind %q were seen in %d documents, which is too few: does the check still work?", l.seen[what], what, pages)
		}
	}
}

// Whoever follows a comment, or a message of Relay, to a document finds it.
func TestDocumentsThatTheCodeNames(t *testing.T) {
	t.Parallel()
	repo := project(t)
	found := 0
	for file, text := range repo.texts {
		if strings.HasPrefix(file, "docs/") {
			continue
		}
		for _, m := range documentOf.FindAllStringSubmatch(text, -1) {
			found++
			if document, heading := m[1], m[2]; !repo.files[document] {
				t.Errorf("%s names %s, which is not there", file, document)
			} else if heading != "" && !anchors(repo.texts[document])[heading] {
				t.Errorf("%s names a heading #%s, which %s does not have", file, heading, document)
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d names of documents were found", found)
	}
}

// Each kind of mistake is found.
func TestMistakesAreFound(t *testing.T) {
	t.Parallel()
	repo := &repository{
		files:   map[string]bool{"README.md": true, "docs/a.md": true, "xds/order.go": true, "xds/testdata/a.json": true, "xds/note.md": true},
		folders: folders([]string{"docs/a.md", "xds/testdata/a.json"}),
		declared: map[string]map[string]bool{
			"xds":          {"Store": true, "Store.Apply": true, "Apply": true, "plan": true},
			"xds/order.go": {"Store": true, "plan": true},
		},
		packages: map[string]bool{"xds": true},
		tests:    tests{"TestA": {{dir: "one", words: map[string]bool{"a_part": true}}, {dir: "two"}}},
		targets:  map[string]bool{"demo": true, "bench-xds": true, "CERTS": true},
		flags:    map[string]bool{"fleet": true},
		metrics:  map[string]bool{"relay_xds_streams": true, "relay_xds_wait_seconds": true},
		texts: map[string]string{
			"README.md": "# Relay\n\n## What `it` is, and more\n\n## Twice\n\n## Twice\n", "docs/a.md": "# A\n",
			"xds/order.go": "package xds\n\nfunc plan() {\n\tfirst()\n\tsecond()\n}\n",
		},
	}
	quoted := func(lines ...string) string {
		return "`xds/order.go`:\n\n```go\n" + strings.Join(lines, "\n") + "\n```\n"
	}
	for text, want := range map[string]string{
		"[a](../README.md)": "", "[a](../README.md#what-it-is-and-more)": "", "[a](#here)\n\n# Here": "", "[a](../README.md#twice-1)": "", "[a](../xds)": "", "[a](https://example.com/none)": "",
		"[a](README.md)": "docs/page.md:1: the link README.md leads nowhere", "[a](../README.md#what-it-was)": "no heading #what-it-was", "[a](#there)\n\n# Here": "no heading #there", "[a](../xds/order.go#L2)": "moves",
		"`[a](none.md)`": "", "```\n[a](none.md)\n```": "", "one `a\nb` two [a](none)": "docs/page.md:2: the link none",

		"`xds/order.go`": "", "`xds`": "", "`xds/`": "", "`xds/testdata/*.json`": "", "`xds/note.md`": "", "`/etc/none.yaml`": "", "`certs/*.pem`": "",
		"`xds/none.go`": "no file or folder xds/none.go", "`order.go`": "no file or folder order.go", "`xds/testdata/*.yaml`": "no file or folder xds", "`xd/testdata/`": "no file or folder xd", "`none.md`": "none.md",

		"`xds.Store`": "", "`xds.Store.Apply`": "", "`xds.Apply()`": "", "`xds.plan`": "", "`codes.Internal`": "", "`shop.test`": "", "`xds.pem`": "", "`plan` in `xds/order.go`": "",
		"`xds.Stores`": "xds has no Stores", "`xds.Store.Take`": "xds has no Store.Take", "`xds.plans`": "xds has no plans", "`xsd.Store`": "no package xsd", "`plans` in `xds/order.go`": "xds/order.go declares no plans", "`plans` in\n`xds/order.go`": "declares no plans",

		"`TestA`": "", "`TestA/a_part`": "", "`TestA`, `…/a_part`": "", "`TestA` (one, two)": "", "`TestA` (real Vault)": "", "`…`": "",
		"`TestB`": "TestB", "`BenchmarkB`": "BenchmarkB", "`TestA/no_part`": "no_part", "`TestA` (one), `…/b`": "b", "`TestA` (three)": "three",
		"| | Test |\n|---|---|\n| it works | `TestA` |": "", "| | Test |\n|---|---|\n| it works | we hope |\n": "it works",

		"`make demo`": "", "`make demo CERTS=vault`": "", "```sh\nmake bench-xds  # all\n```": "",
		"`make dem`": "no target dem", "`make demo CERT=vault`": "no variable CERT", "```sh\nmake bench\n```": "docs/page.md:2: the Makefile has no target bench",

		"`--fleet external`": "", "`--vault`": "", "`--help`": "", "```sh\nrelay serve \\\n  --fleet a\ncurl --none\n```": "",
		"`--fleets`": "no flag --fleets", "`relay serve --group a`": "no flag --group", "```sh\nbin/relay serve \\\n  --flet a\n```": "docs/page.md:3: relay has no flag --flet",

		"`relay_xds_streams`": "", "`relay_xds_streams{fleet}`": "", "`relay_xds_wait_seconds_bucket`": "", "```text\nrelay_xds_streams 1\n```": "",
		"`relay_xds_stream`": "no metric relay_xds_stream", "```text\nrelay_xds_stream 1\n```": "docs/page.md:2: there is no metric", "`rate(relay_none[5m])`": "relay_none",

		"`go test ./xds -run A`": "", "```sh\ngo test ./xsd\n```": "no file or folder xsd",

		quoted("func plan() {", "\tfirst()"): "", quoted("first()", "second()"): "", quoted("func plan() {", "…", "\tsecond()"): "", quoted("func plan() {", "\t…", "}"): "",
		quoted("func plan() {", "\tsecond()"): "docs/page.md:4: it is not in xds/order.go: func plan", quoted("second()", "…", "first()"): "not in xds/order.go: first", quoted("func Plan() {"): "not in", quoted("…"): "quotes nothing",
		"```go\nx := 1\n```": "docs/page.md:2: the Go code names no file", "```go\nx := 1": "fence is not closed", "one ` tick": "no partner",
	} {
		l := &linter{repository: repo, excused: map[string]string{"certs/*.pem": "", "codes.Internal": "", "--vault": ""}, needed: make(map[string]bool)}
		problems := l.check("docs/page.md", text)
		if got := strings.Join(problems, "; "); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// The index of the code has what the checks need, and not more.
func TestRepositoryIsRead(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, text := range map[string]string{
		"Makefile":       "X ?=\nrun: a ## Run\n\tgo run $(X)\n",
		"a/a.go":         "package a\n\ntype T struct{ F int }\n\nfunc (t *T) M() {}\n\nconst c = 1\n\nvar v, w = c, c\n\ntype I interface{ N() }\n",
		"a/a_test.go":    "package a\n\nfunc TestT(t *testing.T) { t.Run(\"one part\", nil) }\n",
		"a/metrics.go":   "package a\n\nvar o = Opts{Namespace: \"relay\", Subsystem: \"a\", Name: \"b_total\"}\n\nvar p = count(\"c_total\", \"help\", []string{\"label\"})\n\nvar q = desc(\"relay_a_d\")\n",
		"cmd/relay/c.go": "package main\n\ntype config struct {\n\tVaultAddr string `help:\"x\"`\n\tXDS string `name:\"xds\" help:\"x\"`\n\tServe struct{} `cmd:\"\" help:\"x\"`\n}\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	repo, err := readFiles(root, []string{"Makefile", "a/a.go", "a/a_test.go", "a/metrics.go", "cmd/relay/c.go"})
	if err != nil {
		t.Fatal(err)
	}
	for what, have := range map[string]struct {
		got  map[string]bool
		want []string
	}{
		"names":   {repo.declared["a"], []string{"F", "I", "I.N", "M", "N", "T", "T.F", "T.M", "TestT", "c", "o", "p", "q", "v", "w"}},
		"targets": {repo.targets, []string{"X", "run"}},
		"flags":   {repo.flags, []string{"vault-addr", "xds"}},
		"metrics": {repo.metrics, []string{"relay_a_b_total", "relay_a_c_total", "relay_a_d"}},
		"folders": {repo.folders, []string{"a", "cmd", "cmd/relay"}},
	} {
		if got := sorted(have.got); !slices.Equal(got, have.want) {
			t.Errorf("%s: %q, want %q", what, got, have.want)
		}
	}
	if f := repo.tests["TestT"]; len(f) != 1 || f[0].dir != "a" || !f[0].words["one_part"] {
		t.Errorf("tests: %v", repo.tests)
	}
}
