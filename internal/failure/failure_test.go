package failure_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"relay/internal/failure"
)

var update = flag.Bool("update", false, "write the codes in docs/errors.md anew")

// The document has each code as the table has it.
func TestDocument(t *testing.T) {
	const begin, end = "<!-- codes: made of internal/failure/codes.go -->\n", "<!-- end of codes -->\n"
	file := filepath.Join("..", "..", "docs", "errors.md")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(b), begin)
	_, after, found := strings.Cut(rest, end)
	if !found {
		t.Fatalf("%s has no place for the codes", file)
	}
	want := before + begin + "\n" + document() + "\n" + end + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(b) != want {
		t.Errorf("%s is not what the codes are: run go test ./internal/failure -update", file)
	}
}

func document() string {
	var all strings.Builder
	all.WriteString("| Code | Status | Envoy's flags | Who is to blame |\n|---|---|---|---|\n")
	for _, c := range failure.Codes() {
		blame := "the app, or who runs it"
		switch {
		case c.Client:
			blame = "the client"
		case c.Meant:
			blame = "nobody: it is meant"
		}
		fmt.Fprintf(&all, "| [`%s`](#%[1]s) | %s | %s | %s |\n", c.Name, statusOf(c), strings.Join(c.Flags, ", "), blame)
	}
	for _, c := range failure.Codes() {
		fmt.Fprintf(&all, "\n### %s\n\n%s\n\n", c.Name, c.Text)
		fmt.Fprintf(&all, "- **Cause**: %s\n- **Look at**: %s\n- **Do**: %s\n", c.Cause, c.Look, c.Do)
	}
	return all.String()
}

func statusOf(c failure.Code) string {
	if c.Status == 0 {
		return "that of Envoy"
	}
	return fmt.Sprint(c.Status)
}

// A code is told from all others, and what is told of it is complete and safe in a page.
func TestCodes(t *testing.T) {
	name, seen := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`), make(map[string]bool)
	codes := failure.Codes()
	by := make(map[uint32]string)
	for i, c := range codes {
		for _, status := range c.By {
			if other := by[status]; other != "" {
				t.Errorf("%d is of %s and of %s", status, other, c.Name)
			}
			by[status] = c.Name
		}
		if c.Said != 0 && !slices.Contains(c.By, c.Said) {
			t.Errorf("%s is not told by %d", c.Name, c.Said)
		}
		if !name.MatchString(c.Name) || seen[c.Name] {
			t.Errorf("the name %q is no name, or there twice", c.Name)
		}
		seen[c.Name] = true
		if c.Text == "" || c.Cause == "" || c.Look == "" || c.Do == "" {
			t.Errorf("%s does not say everything", c.Name)
		}
		if strings.ContainsAny(c.Text, "<>&%\"'\n") {
			t.Errorf("%s: %q cannot be in a page and a header as it is", c.Name, c.Text)
		}
		if last := i == len(codes)-1; last != (len(c.Flags)+len(c.By) == 0) || last != (c.Name == failure.Other) {
			t.Errorf("%s is told by nothing, or is the last", c.Name)
		}
		if got, ok := failure.Of(c.Name); !ok || got.Name != c.Name {
			t.Errorf("%s is not found: %+v", c.Name, got)
		}
	}
	if _, ok := failure.Of("unknown"); ok {
		t.Error("a code that does not exist is found")
	}
}

// Where Envoy could make no answer, its flags alone say what failed.
func TestByFlags(t *testing.T) {
	for flags, want := range map[string]struct{ connection, cutOff string }{
		"UH": {"offline", ""}, "UF,URX": {"unreachable", ""}, "UO": {"busy", ""}, "UC": {"interrupted", "interrupted"},
		"UPE": {"bad-answer", "interrupted"}, "UT": {"timed-out", "timed-out"}, "SI": {"idle", "idle"}, "NR": {}, "DC": {}, "": {},
	} {
		has := func(flag string) bool { return slices.Contains(strings.Split(flags, ","), flag) }
		if got, ok := failure.OfConnection(has); got.Name != want.connection || ok != (want.connection != "") {
			t.Errorf("%s of a connection is %q, want %q", flags, got.Name, want.connection)
		}
		if got, ok := failure.OfCutOff(has); got.Name != want.cutOff || ok != (want.cutOff != "") {
			t.Errorf("%s of an answer is %q, want %q", flags, got.Name, want.cutOff)
		}
	}
	for _, flag := range failure.ConnectionFlags() {
		if c, ok := failure.OfConnection(func(f string) bool { return f == flag }); !ok || !c.Problem() {
			t.Errorf("Envoy reports %s, which is %+v", flag, c)
		}
	}
	for _, flag := range failure.CutOffFlags() {
		if c, ok := failure.OfCutOff(func(f string) bool { return f == flag }); !ok || c.Client {
			t.Errorf("Envoy reports %s, which is %+v", flag, c)
		}
	}
}
