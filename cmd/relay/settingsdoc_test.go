package main

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"relay/internal/clidocs"
)

func init() {
	if flag.Lookup("update") == nil {
		flag.Bool("update", false, "write docs/settings.md anew")
	}
}

// docs/settings.md has every option of every command, as the program has it.
func TestSettingsAreInTheDocs(t *testing.T) {
	parser, err := newParser(new(cli))
	if err != nil {
		t.Fatal(err)
	}
	const page, begin, end = "../../docs/settings.md", "<!-- settings: written by go test ./cmd/relay -update -->\n", "<!-- end of settings -->\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, opened := strings.Cut(string(text), begin)
	old, after, closed := strings.Cut(rest, end)
	want := clidocs.Markdown(parser.Model, "serve")
	switch {
	case !opened || !closed:
		t.Fatalf("%s lacks the lines %q and %q", page, begin, end)
	case old == want:
	case flag.Lookup("update").Value.String() == "true":
		if err := os.WriteFile(page, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is not what the command line says: run go test ./cmd/relay -update", page)
	}
	// What the file for packages has is here, too.
	for name := range settingsOfFile(t) {
		if name != fleetsKey && !regexp.MustCompile("(?m)^\\| `(-\\w, )?--"+name+"[=`]").MatchString(want) {
			t.Errorf("%s is missing", name)
		}
	}
}
