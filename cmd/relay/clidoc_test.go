package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// textBlock is an example of a command and what it shows.
var textBlock = regexp.MustCompile("(?s)```text\n\\$ relay (.*?)\n(.*?)```")

// What the guide shows is what the commands show: lines of a golden file, in their order. Without
// a line that is "…" alone they follow on each other; a line may end with "…".
func TestGuideShowsGoldens(t *testing.T) {
	guide, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := textBlock.FindAllStringSubmatch(string(guide), -1)
	if len(blocks) < 4 {
		t.Fatalf("only %d examples were found", len(blocks))
	}
	for _, block := range blocks {
		golden := ""
		for name, args := range goldenCommands {
			if strings.Join(args, " ") == block[1] {
				text, err := os.ReadFile("testdata/cli/" + name + ".txt")
				if err != nil {
					t.Fatal(err)
				}
				golden = string(text)
			}
		}
		if err := follows(golden, strings.Split(strings.TrimSpace(block[2]), "\n")); err != "" {
			t.Errorf("relay %s does not show %q", block[1], err)
		}
	}
	if follows("a\nb\nc\n", []string{"a", "c"}) == "" || follows("a\nb\nc\n", []string{"a", "…", "c"}) != "" || follows("abc\n", []string{"a…"}) != "" {
		t.Error("the test sees nothing")
	}
}

// follows returns the first line that is not there; nothing if all are.
func follows(golden string, lines []string) string {
	have := strings.Split(golden, "\n")
	at, skip := 0, true
	for _, line := range lines {
		if line == "…" {
			skip = true
			continue
		}
		begin, cut := strings.CutSuffix(line, "…")
		is := func(s string) bool { return s == line || cut && strings.HasPrefix(s, begin) }
		for at < len(have) && !is(have[at]) && skip {
			at++
		}
		if at == len(have) || !is(have[at]) {
			return line
		}
		at, skip = at+1, false
	}
	return ""
}
