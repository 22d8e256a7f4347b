package docs_test

import (
	goflag "flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var updatePromises = goflag.Bool("update", false, "add to the lists of what is promised what is new")

// TestPromises holds that nothing is gone of what docs/compatibility.md promises: the lists
// in testdata. What is new is added by -update, and nothing is ever removed by it.
func TestPromises(t *testing.T) {
	t.Parallel()
	repo := project(t)
	labels := make(map[string]bool)
	for _, m := range regexp.MustCompile("(?m)^\\| `((?:HAPROXY|RELAY|MARATHON_ACME)_[^`]+)`").FindAllStringSubmatch(repo.texts["docs/labels.md"], -1) {
		labels[m[1]] = true
	}
	events := make(map[string]bool)
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ((?:debug|info|warn|error|, )+) \\|").FindAllStringSubmatch(repo.texts["docs/logs.md"], -1) {
		events[m[1]] = m[2] != "debug"
	}
	maps.DeleteFunc(events, func(_ string, promised bool) bool { return !promised })
	fields, err := goldenFields("../testdata/admin")
	if err != nil {
		t.Fatal(err)
	}
	var program []string // the demo has flags too
	for file := range repo.files {
		if strings.HasPrefix(file, "cmd/relay/") {
			program = append(program, file)
		}
	}
	relay, err := readFiles("..", program)
	if err != nil {
		t.Fatal(err)
	}
	for name, are := range map[string]map[string]bool{"flags": relay.flags, "metrics": repo.metrics, "labels": labels, "fields": fields, "events": events} {
		file := filepath.Join("testdata", "promised-"+name+".txt")
		text, err := os.ReadFile(file)
		if err != nil && !*updatePromises {
			t.Fatal(err)
		}
		promised := make(map[string]bool)
		for line := range strings.Lines(string(text)) {
			promised[strings.TrimSpace(line)] = true
		}
		for _, gone := range slices.Sorted(maps.Keys(promised)) {
			if !are[gone] {
				t.Errorf("%s is no more among the %s: this is promised in docs/compatibility.md. Keep it, or announce it there and in CHANGELOG.md, and take it off %s", gone, name, file)
			}
		}
		if *updatePromises {
			maps.Copy(promised, are)
			if err := os.WriteFile(file, []byte(strings.Join(slices.Sorted(maps.Keys(promised)), "\n")+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if len(promised) < 20 {
			t.Errorf("only %d of the %s are promised", len(promised), name)
		}
	}
}

// fieldLine is a line of JSON that begins with the name of a field.
var fieldLine = regexp.MustCompile(`^( *)"([A-Za-z]+)":`)

// goldenFields returns the paths of all fields in the golden JSON of the admin endpoint, such
// as "apps.json: apps.id". It goes by how the lines are indented: words that stand for what
// differs in each run are no JSON.
func goldenFields(dir string) (map[string]bool, error) {
	fields := make(map[string]bool)
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		type field struct {
			indent int
			name   string
		}
		var path []field
		for line := range strings.Lines(string(text)) {
			m := fieldLine.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			for len(path) > 0 && path[len(path)-1].indent >= len(m[1]) {
				path = path[:len(path)-1]
			}
			path = append(path, field{len(m[1]), m[2]})
			var names []string
			for _, f := range path {
				names = append(names, f.name)
			}
			fields[filepath.Base(file)+": "+strings.Join(names, ".")] = true
		}
	}
	return fields, nil
}

// TestChangelog holds that there is a place for what is not released yet.
func TestChangelog(t *testing.T) {
	t.Parallel()
	if text := project(t).texts["CHANGELOG.md"]; !strings.Contains(text, "\n## [Unreleased]\n") {
		t.Error("CHANGELOG.md has no section [Unreleased]")
	}
}
