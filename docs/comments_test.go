package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// A comment on a declaration begins with the name that is declared, unless it is a
// sentence of its own: so a name that was changed is changed there too.
func TestCommentsBeginWithTheName(t *testing.T) {
	t.Parallel()
	repo := project(t)
	for _, file := range sorted(repo.files) {
		if path.Ext(file) != ".go" {
			continue
		}
		wrong, err := otherNames(file, repo.texts[file])
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range wrong {
			t.Error(problem)
		}
	}
}

func TestCommentsAreChecked(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"// f does.\nfunc f() {}": 0, "// Do this.\nfunc f() {}": 0, "// f's work.\nvar f int": 0, "// a and b are.\nvar a, b int": 0, "func f() {}": 0, "// all tests\nfunc TestF() {}": 0,
		"// g does.\nfunc f() {}": 1, "// g is.\ntype f int": 1, "// g is.\nvar f int": 1, "const (\n\t// g is.\n\tf = 1\n)": 1, "type (\n\t// g is.\n\tf int\n)": 1,
	} {
		if wrong, err := otherNames("a.go", "package a\n\n"+text); err != nil || len(wrong) != want {
			t.Errorf("%q: %q, %v", text, wrong, err)
		}
	}
}

// testInComment finds what a line of comment calls a test.
var testInComment = regexp.MustCompile(`\b(Test|Benchmark|Fuzz)[A-Z]\w+`)

// Whoever follows a comment to a test finds it: so a test that is renamed is renamed
// there too.
func TestTestsThatCommentsName(t *testing.T) {
	t.Parallel()
	repo := project(t)
	found := 0
	for _, file := range sorted(repo.files) {
		if path.Ext(file) != ".go" || strings.HasPrefix(file, "docs/") {
			continue
		}
		for i, line := range strings.Split(repo.texts[file], "\n") {
			if !strings.HasPrefix(strings.TrimSpace(line), "//") {
				continue
			}
			for _, name := range testInComment.FindAllString(line, -1) {
				found++
				// A method of a package for tests may be called so, too.
				if repo.tests[name] == nil && !repo.declared[file][name] {
					t.Errorf("%s:%d: there is no %s", file, i+1, name)
				}
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d names of tests were found", found)
	}
}

// otherNames returns the comments of a file that begin with another name than the one
// that they are about.
func otherNames(name, text string) (wrong []string, err error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	check := func(doc *ast.CommentGroup, names ...string) {
		first, _, _ := strings.Cut(strings.TrimSpace(doc.Text()), " ")
		first = strings.TrimSuffix(strings.TrimRight(first, ",.:;\n"), "'s")
		if first != "" && unicode.IsLower([]rune(first)[0]) && !slices.Contains(names, first) && !testFunction.MatchString(names[0]) {
			wrong = append(wrong, fmt.Sprintf("%s: the comment on %s begins with %q", files.Position(doc.Pos()), names[0], first))
		}
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			check(d.Doc, d.Name.Name)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				doc, names := specified(s)
				if doc == nil && !d.Lparen.IsValid() {
					doc = d.Doc
				}
				if len(names) > 0 {
					check(doc, names...)
				}
			}
		}
	}
	return wrong, nil
}

// specified returns what a part of a declaration declares, and the comment on it.
func specified(s ast.Spec) (doc *ast.CommentGroup, names []string) {
	switch s := s.(type) {
	case *ast.TypeSpec:
		return s.Doc, []string{s.Name.Name}
	case *ast.ValueSpec:
		for _, n := range s.Names {
			names = append(names, n.Name)
		}
		return s.Doc, names
	}
	return nil, nil
}
