package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Tests as the documentation names them: `TestX`, `TestX/part`, `…/part` of the
// one before, and then, if need be, the package.
var (
	namedTest     = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*|…)(?:/([^`]+))?`(?: \\(([^)]*)\\))?")
	testFunction  = regexp.MustCompile(`^(Test|Fuzz|Benchmark)[A-Z]`)
	documentation = []string{"../../README.md", "../../docs/*.md"}
)

// Every test that the documentation names exists, so that what it promises is
// shown by something. Each row of a table of tests names one at least.
func TestDocumentedTestsExist(t *testing.T) {
	t.Parallel()
	all := testsOf(t, "../..")
	found := 0
	for _, pattern := range documentation {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			n, problems := undocumented(string(text), all)
			found += n
			for _, p := range problems {
				t.Errorf("%s: %s", filepath.Base(file), p)
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d names of tests were found", found)
	}
}

// The check itself sees what is wrong.
func TestDocumentedTestsAreChecked(t *testing.T) {
	t.Parallel()
	all := tests{"TestA": {{dir: "one", words: map[string]bool{"a_part": true}}, {dir: "two"}}}
	for text, want := range map[string]string{
		"`TestA`": "", "`TestA/a_part`": "", "`TestA`, `…/a_part`": "", "`TestA` (one, two)": "", "`TestA` (real Vault)": "",
		"`TestB`": "TestB", "`TestA/no_part`": "no_part", "`TestA` (one), `…/b`": "b", "`TestA` (three)": "three",
		"| | Test |\n|---|---|\n| it works | `TestA` |": "", "| | Test |\n|---|---|\n| it works | we hope |\n": "it works",
	} {
		_, problems := undocumented(text, all)
		if got := strings.Join(problems, "; "); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// tests are the test functions of the module by name; packages may share one.
type tests map[string][]testFunc

type testFunc struct {
	dir string
	// words are the strings of the package's tests, as parts are named after
	// them.
	words map[string]bool
}

func testsOf(t *testing.T, root string) tests {
	t.Helper()
	all := make(tests)
	words := make(map[string]map[string]bool)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != root:
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		if words[dir] == nil {
			words[dir] = make(map[string]bool)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && testFunction.MatchString(n.Name.Name) {
					all[n.Name.Name] = append(all[n.Name.Name], testFunc{dir, words[dir]})
				}
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); err == nil {
					words[dir][strings.ReplaceAll(text, " ", "_")] = true
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// undocumented counts the tests that a text names, and says which do not exist
// and which rows of its tables of tests name none.
func undocumented(text string, all tests) (found int, problems []string) {
	table := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		named := namedTest.FindAllStringSubmatch(line, -1)
		switch {
		case strings.HasSuffix(line, "| Test |"):
			table = true
		case !strings.HasPrefix(line, "|"):
			table = false
		case table && len(named) == 0 && strings.Trim(line, "|-") != "":
			problems = append(problems, "no test in the row "+line)
		}
		name := ""
		for _, m := range named {
			found++
			if m[1] != "…" {
				name = m[1]
			}
			if all[name] == nil {
				problems = append(problems, "there is no "+name)
				continue
			}
			if part := m[2]; part != "" && !slices.ContainsFunc(all[name], func(f testFunc) bool { return f.words[part] }) {
				problems = append(problems, name+" has no part "+part)
			}
			for dir := range strings.SplitSeq(m[3], ", ") {
				if dir != "" && !strings.Contains(dir, " ") && !slices.ContainsFunc(all[name], func(f testFunc) bool { return f.dir == dir }) {
					problems = append(problems, name+" is not in "+dir)
				}
			}
		}
	}
	return found, problems
}
