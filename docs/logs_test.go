package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// logLine is a call in the code that logs.
type logLine struct {
	event, message string
	levels, fields []string
}

var (
	logMethods = []string{"Debug", "Info", "Warn", "Error", "Log", "LogAttrs", "DebugContext", "InfoContext", "WarnContext", "ErrorContext"}
	// loggers are the names of what log lines are written with.
	loggers = regexp.MustCompile(`^(log|Log|logger|slog)$`)
	eventID = regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	// notServed are the folders of other programs, and of what tests need.
	notServed = regexp.MustCompile(`^(cmd/(demo|bench-xds)|compare|deploy|e2e)(/|$)|test$|/vaultdev$`)
)

// TestLogs holds that each line of the log has the name of an event, that an error has the
// key "error", and that docs/logs.md lists them all.
func TestLogs(t *testing.T) {
	t.Parallel()
	lines := make(map[string]*logLine)
	for _, name := range slices.Sorted(maps.Keys(project(t).files)) {
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || notServed.MatchString(path.Dir(name)) {
			continue
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, filepath.Join("..", name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range logLines(files, file) {
			if found.problem != "" {
				t.Errorf("%s: %s", found.at, found.problem)
				continue
			}
			known := lines[found.event]
			if known == nil {
				lines[found.event] = &found.logLine
				continue
			}
			known.levels, known.fields = append(known.levels, found.levels...), append(known.fields, found.fields...)
		}
	}
	if len(lines) < 50 {
		t.Errorf("only %d events were found", len(lines))
	}
	replacePart(t, "logs.md", "events", eventTable(lines))
}

// eventTable is the table in docs/logs.md.
func eventTable(lines map[string]*logLine) string {
	var out strings.Builder
	out.WriteString("| Event | Level | Message | Fields |\n|---|---|---|---|\n")
	list := func(all []string) string {
		slices.Sort(all)
		return strings.Join(slices.Compact(all), ", ")
	}
	for _, event := range slices.Sorted(maps.Keys(lines)) {
		l := lines[event]
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", event, list(l.levels), l.message, list(l.fields))
	}
	return out.String()
}

type foundLine struct {
	logLine
	at      token.Position
	problem string
}

// logLines returns the calls of a file that log.
func logLines(files *token.FileSet, file *ast.File) (found []foundLine) {
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		ast.Inspect(f.Body, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if method, ok := logMethod(call); ok {
				line := readLine(method, call, f.Body)
				line.at = files.Position(call.Pos())
				found = append(found, line)
			}
			return true
		})
	}
	return found
}

// logMethod returns the method of a logger that a call is of.
func logMethod(call *ast.CallExpr) (string, bool) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains(logMethods, method.Sel.Name) {
		return "", false
	}
	receiver := method.X
	if with, ok := receiver.(*ast.CallExpr); ok { // log.With(…).Warn
		if f, ok := with.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "With" {
			receiver = f.X
		}
	}
	switch x := receiver.(type) {
	case *ast.Ident: // panics.Log is no line: it makes one.
		return method.Sel.Name, loggers.MatchString(x.Name)
	case *ast.SelectorExpr:
		return method.Sel.Name, loggers.MatchString(x.Sel.Name)
	}
	return "", false
}

// readLine reads a call that logs, in the function of this body.
func readLine(method string, call *ast.CallExpr, body *ast.BlockStmt) (line foundLine) {
	args := call.Args
	line.levels = []string{strings.ToLower(strings.TrimSuffix(method, "Context"))}
	if method == "Log" || method == "LogAttrs" { // ctx, level, message
		if line.levels, args = levelsIn(body), args[2:]; len(line.levels) == 0 {
			line.problem = "no level is to be found in the function"
		}
	}
	if line.message = text(args[0], body); line.message == "" {
		line.problem = "the message is no text that is to be found in the function"
	}
	if f, ok := call.Fun.(*ast.SelectorExpr); ok {
		line.fields = withFields(f.X, body)
	}
	keys, values := pairs(args[1:], body)
	for i, key := range keys {
		switch {
		case i == 0 && key == "event":
			if line.event, _ = str(values[i]); !eventID.MatchString(line.event) {
				line.problem = "the event is no text such as app_removed"
			}
		case key == "err" || key == "node":
			line.problem = fmt.Sprintf(`the key is %q: write "error", "envoy"`, key)
		default:
			line.fields = append(line.fields, key)
		}
	}
	if line.event == "" && line.problem == "" {
		line.problem = `the first key is not "event": each line has the name of what happened`
	}
	return line
}

// withFields returns the keys that a logger was given in the function.
func withFields(logger ast.Expr, body *ast.BlockStmt) (keys []string) {
	from := []ast.Expr{logger}
	if id, ok := logger.(*ast.Ident); ok {
		from = assignedTo(id.Name, body)
	}
	for _, e := range from {
		if call, ok := e.(*ast.CallExpr); ok {
			with, _ := pairs(call.Args, body)
			keys = append(keys, with...)
		}
	}
	return keys
}

// pairs returns keys and values of arguments. Of args... it takes what the function made it of.
func pairs(args []ast.Expr, body *ast.BlockStmt) (keys []string, values []ast.Expr) {
	var flat []ast.Expr
	var add func(e ast.Expr)
	add = func(e ast.Expr) {
		switch e := e.(type) {
		case *ast.CompositeLit:
			flat = append(flat, e.Elts...)
		case *ast.CallExpr:
			if f, ok := e.Fun.(*ast.Ident); ok && f.Name == "append" {
				add(e.Args[0])
				flat = append(flat, e.Args[1:]...)
				return
			}
			flat = append(flat, e)
		case *ast.Ident:
			assigned := assignedTo(e.Name, body)
			if len(args) > 1 || len(assigned) == 0 {
				flat = append(flat, e)
			}
			for _, from := range assigned {
				if len(args) == 1 {
					addTo(&flat, from)
				}
			}
		default:
			flat = append(flat, e)
		}
	}
	for _, e := range args {
		add(e)
	}
	for i := 0; i+1 < len(flat); i += 2 {
		if key, ok := str(flat[i]); ok {
			keys, values = append(keys, key), append(values, flat[i+1])
		}
	}
	return keys, values
}

// addTo adds what a list is made of or gets appended.
func addTo(flat *[]ast.Expr, from ast.Expr) {
	switch e := from.(type) {
	case *ast.CompositeLit:
		*flat = append(*flat, e.Elts...)
	case *ast.CallExpr:
		if f, ok := e.Fun.(*ast.Ident); ok && f.Name == "append" {
			*flat = append(*flat, e.Args[1:]...)
		}
	}
}

// text returns the text that an expression is, or begins with; that of a variable is the
// first that the function gives it.
func text(e ast.Expr, body *ast.BlockStmt) string {
	if s, ok := str(e); ok {
		return s
	}
	switch e := e.(type) {
	case *ast.BinaryExpr:
		return strings.TrimSpace(text(e.X, body)) + " …"
	case *ast.Ident:
		for _, from := range assignedTo(e.Name, body) {
			if s, ok := str(from); ok {
				return s
			}
		}
	}
	return ""
}

// assignedTo returns what a function assigns to a variable.
func assignedTo(name string, body *ast.BlockStmt) (all []ast.Expr) {
	ast.Inspect(body, func(n ast.Node) bool {
		if a, ok := n.(*ast.AssignStmt); ok && len(a.Lhs) == len(a.Rhs) {
			for i, l := range a.Lhs {
				if id, ok := l.(*ast.Ident); ok && id.Name == name {
					all = append(all, a.Rhs[i])
				}
			}
		}
		return true
	})
	return all
}

// levelsIn returns the levels that a function names.
func levelsIn(body *ast.BlockStmt) (levels []string) {
	ast.Inspect(body, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && strings.HasPrefix(s.Sel.Name, "Level") && len(s.Sel.Name) > len("Level") {
			levels = append(levels, strings.ToLower(strings.TrimPrefix(s.Sel.Name, "Level")))
		}
		return true
	})
	return levels
}

// replacePart holds that a document has a part that is made from the code, between two
// comments; with -update it writes the part.
func replacePart(t *testing.T, document, name, part string) {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+": made by go test ./docs -update -->\n", "<!-- end of "+name+" -->"
	before, rest, ok := strings.Cut(string(text), begin)
	old, after, closed := strings.Cut(rest, end)
	switch {
	case !ok || !closed:
		t.Errorf("docs/%s lacks the lines %q and %q", document, strings.TrimSpace(begin), end)
	case old == part:
	case *updatePromises:
		if err := os.WriteFile(document, []byte(before+begin+part+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("docs/%s is not what the code says: run go test ./docs -update", document)
	}
}
