package docs_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// repository is what documents may name.
type repository struct {
	files, folders map[string]bool
	// packages are the names of all packages; declared has what each declares,
	// and what each file does, by its path. The method M of T is there as M and
	// as T.M, as are fields.
	packages map[string]bool
	declared map[string]map[string]bool
	tests    tests
	// targets are those of the Makefile, and its variables.
	targets, flags, metrics map[string]bool
	// texts are the contents of what people read: documents, Go files, the
	// Makefile and the examples in deploy.
	texts map[string]string
}

// readRepository reads what Git knows, or would add, and is there.
func readRepository(root string) (*repository, error) {
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", err)
	}
	var names []string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			names = append(names, name)
		}
	}
	return readFiles(root, names)
}

func readFiles(root string, names []string) (*repository, error) {
	r := &repository{
		files: make(map[string]bool), folders: folders(names), packages: make(map[string]bool), declared: make(map[string]map[string]bool), tests: make(tests),
		targets: make(map[string]bool), flags: make(map[string]bool), metrics: make(map[string]bool), texts: make(map[string]string),
	}
	words := make(map[string]map[string]bool)
	for _, name := range names {
		r.files[name] = true
		isGo := strings.HasSuffix(name, ".go")
		if !isGo && name != "Makefile" && !strings.HasSuffix(name, ".md") && path.Dir(name) != "deploy" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		r.texts[name] = string(text)
		if name == "Makefile" {
			for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z-]*):|\$\(([A-Z]+)\)|\$\(if \$\(([A-Z]+)\)`).FindAllStringSubmatch(string(text), -1) {
				r.targets[m[1]+m[2]+m[3]] = true
			}
		}
		if isGo {
			if err := r.readGo(name, text, words); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// readGo adds what a Go file declares. Words are the strings in the tests of
// each folder.
func (r *repository) readGo(name string, text []byte, words map[string]map[string]bool) error {
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	dir, pkg := path.Dir(name), strings.TrimSuffix(file.Name.Name, "_test")
	r.packages[pkg] = true
	found := make(map[string]bool)
	for _, d := range file.Decls {
		declare(found, d)
	}
	r.declared[name] = found
	if r.declared[pkg] == nil {
		r.declared[pkg] = make(map[string]bool)
	}
	maps.Copy(r.declared[pkg], found)

	if strings.HasSuffix(name, "_test.go") {
		if words[dir] == nil {
			words[dir] = make(map[string]bool)
		}
		r.tests.add(dir, file, words[dir])
		return nil
	}
	if dir == "cmd/relay" || dir == "cmd/demo" || dir == "internal/relay" {
		addFlags(r.flags, file)
	}
	if bytes.Contains(text, []byte(`"relay`)) {
		addMetrics(r.metrics, file)
	}
	return nil
}

// declare adds the names of a declaration.
func declare(found map[string]bool, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		found[d.Name.Name] = true
		if d.Recv != nil {
			found[receiver(d.Recv.List[0].Type)+"."+d.Name.Name] = true
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.ValueSpec:
				for _, n := range s.Names {
					found[n.Name] = true
				}
			case *ast.TypeSpec:
				found[s.Name.Name] = true
				for _, n := range members(s.Type) {
					found[n], found[s.Name.Name+"."+n] = true, true
				}
			}
		}
	}
}

func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.IndexListExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	}
	return ""
}

// members returns the fields of a struct, or the methods of an interface.
func members(t ast.Expr) (names []string) {
	var fields *ast.FieldList
	switch t := t.(type) {
	case *ast.StructType:
		fields = t.Fields
	case *ast.InterfaceType:
		fields = t.Methods
	default:
		return nil
	}
	for _, f := range fields.List {
		for _, n := range f.Names {
			names = append(names, n.Name)
		}
	}
	return names
}

// addFlags adds the flags of kong: fields with help, which are no commands.
func addFlags(flags map[string]bool, file *ast.File) {
	ast.Inspect(file, func(n ast.Node) bool {
		f, ok := n.(*ast.Field)
		if !ok || f.Tag == nil || len(f.Names) == 0 {
			return true
		}
		tag, _ := strconv.Unquote(f.Tag.Value)
		get := reflect.StructTag(tag)
		_, helped := get.Lookup("help")
		_, command := get.Lookup("cmd")
		if helped && !command {
			name := get.Get("name")
			if name == "" {
				name = kebab(f.Names[0].Name)
			}
			flags[name] = true
		}
		return true
	})
}

var (
	wordEnd    = regexp.MustCompile(`([a-z0-9])([A-Z])`)
	acronymEnd = regexp.MustCompile(`([A-Z])([A-Z][a-z])`)
)

// kebab returns the name that kong gives the flag of a field.
func kebab(field string) string {
	return strings.ToLower(acronymEnd.ReplaceAllString(wordEnd.ReplaceAllString(field, "$1-$2"), "$1-$2"))
}

var fullMetric = regexp.MustCompile(`^relay_[a-z0-9_]+$`)

// addMetrics adds the metrics of a file: strings that are a whole name, and
// those that are called Name, or come first in a call, with each subsystem that
// the file names. Some of the latter are no metrics; none of them looks like one.
func addMetrics(metrics map[string]bool, file *ast.File) {
	subsystems, names := make(map[string]bool), make(map[string]bool)
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if s, ok := str(n); ok && fullMetric.MatchString(s) {
				metrics[s] = true
			}
		case *ast.KeyValueExpr:
			key, _ := n.Key.(*ast.Ident)
			value, ok := str(n.Value)
			switch {
			case key == nil || !ok:
			case key.Name == "Subsystem":
				subsystems[value] = true
			case key.Name == "Name":
				names[value] = true
			}
		case *ast.CallExpr:
			if len(n.Args) > 0 {
				if value, ok := str(n.Args[0]); ok {
					names[value] = true
				}
			}
		}
		return true
	})
	for s := range subsystems {
		for n := range names {
			if name := "relay_" + s + "_" + n; fullMetric.MatchString(name) && !strings.HasPrefix(n, "relay_") {
				metrics[name] = true
			}
		}
	}
}

func str(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

// folders returns all folders that have the files in them or below.
func folders(files []string) map[string]bool {
	all := make(map[string]bool)
	for _, file := range files {
		for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
			all[dir] = true
		}
	}
	return all
}

func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }
