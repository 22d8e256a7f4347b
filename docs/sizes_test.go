package docs_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What is longer is hard to hold in mind, and mostly does two things.
const (
	maxFileLines     = 400
	maxFunctionLines = 60
)

// TestSizes holds files to their length, and functions to theirs, unless they are
// tests: those may be tables.
func TestSizes(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("git", "-C", "..", "ls-files", "*.go").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := strings.Fields(string(out))
	if len(files) < 100 {
		t.Fatalf("git lists %d Go files", len(files))
	}
	for _, name := range files {
		source, err := os.ReadFile(filepath.Join("..", name))
		if os.IsNotExist(err) {
			continue // deleted and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range tooLong(t, name, source) {
			t.Error(fault)
		}
	}
}

// TestSizesAreHeld shows that TestSizes can fail.
func TestSizesAreHeld(t *testing.T) {
	t.Parallel()
	function := "package p\n\nfunc f() {\n" + strings.Repeat("\tf()\n", maxFunctionLines-1) + "}\n"
	if faults := tooLong(t, "f.go", []byte(function)); len(faults) != 1 {
		t.Errorf("a function of %d lines: %q", maxFunctionLines+1, faults)
	}
	file := "package p\n" + strings.Repeat("\n", maxFileLines)
	if faults := tooLong(t, "f.go", []byte(file)); len(faults) != 1 {
		t.Errorf("a file of %d lines: %q", maxFileLines+1, faults)
	}
}

// tooLong says what of a file is longer than it may be.
func tooLong(t *testing.T, name string, source []byte) (faults []string) {
	if n := bytes.Count(source, []byte("\n")); n > maxFileLines {
		faults = append(faults, name+": more lines than a file may have")
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if ok && !strings.HasSuffix(name, "_test.go") && set.Position(f.End()).Line-set.Position(f.Pos()).Line+1 > maxFunctionLines {
			faults = append(faults, set.Position(f.Pos()).String()+": "+f.Name.Name+" has more lines than a function may have")
		}
	}
	return faults
}
