package docs_test

import (
	"go/ast"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Tests as the documentation names them: `TestX`, `TestX/part`, `…/part` of the
// one before, and then, if need be, the package.
var (
	namedTest    = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*|…)(?:/([^`]+))?`(?: \\(([^)]*)\\))?")
	testFunction = regexp.MustCompile(`^(Test|Fuzz|Benchmark)[A-Z]`)
)

// tests are the test functions of the module by name; packages may share one.
type tests map[string][]testFunc

type testFunc struct {
	dir string
	// words are the strings of the package's tests, as parts are named after
	// them.
	words map[string]bool
}

// add adds the tests of a file. Words are those of the file's folder.
func (all tests) add(dir string, file *ast.File, words map[string]bool) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && testFunction.MatchString(n.Name.Name) {
				all[n.Name.Name] = append(all[n.Name.Name], testFunc{dir, words})
			}
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); err == nil {
				words[strings.ReplaceAll(text, " ", "_")] = true
			}
		}
		return true
	})
}

// undocumented counts the tests that a text names, and says which do not exist
// and which rows of its tables of tests name none.
func undocumented(text string, all tests) (found int, problems []string) {
	table := false
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		fail := func(problem string) { problems = append(problems, strconv.Itoa(i+1)+": "+problem) }
		named := namedTest.FindAllStringSubmatch(line, -1)
		switch {
		case strings.HasSuffix(line, "| Test |"):
			table = true
		case !strings.HasPrefix(line, "|"):
			table = false
		case table && len(named) == 0 && strings.Trim(line, "|-") != "":
			fail("no test in the row " + line)
		}
		name := ""
		for _, m := range named {
			if m[1] == "…" && m[2] == "" {
				continue
			}
			found++
			if m[1] != "…" {
				name = m[1]
			}
			if all[name] == nil {
				fail("there is no " + name)
				continue
			}
			if part := m[2]; part != "" && !slices.ContainsFunc(all[name], func(f testFunc) bool { return f.words[part] }) {
				fail(name + " has no part " + part)
			}
			for dir := range strings.SplitSeq(m[3], ", ") {
				if dir != "" && !strings.Contains(dir, " ") && !slices.ContainsFunc(all[name], func(f testFunc) bool { return f.dir == dir }) {
					fail(name + " is not in " + dir)
				}
			}
		}
	}
	return found, problems
}
