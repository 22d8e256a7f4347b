package clidocs

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// odd is a command line whose texts have what man pages, shells and YAML take for their own.
type odd struct {
	Run struct {
		Quoted string   `placeholder:"TEXT" help:".hidden 'quotes' \"and\" $(touch ran) [brackets]: back\\slash; \x60touch ran\x60. A second sentence."`
		Level  string   `enum:"low,high" default:"low" help:"How much."`
		Names  []string `short:"n" placeholder:"NAME" help:"'Several' --names."`
		On     bool     `help:"Whether."`
		Secret string   `hidden:"" help:"Not for people."`
	} `cmd:"" help:"Do it: now."`
}

func model(t *testing.T) *kong.Application {
	t.Helper()
	parser, err := kong.New(new(odd), kong.Name("odd"), kong.Description("Odd is a test."))
	if err != nil {
		t.Fatal(err)
	}
	return parser.Model
}

// What a help text has in it is shown, and nothing of it is run.
func TestOddTexts(t *testing.T) {
	t.Chdir(t.TempDir())
	app := model(t)
	page := string(ManPages(app, Release{Version: "1", Date: time.Unix(0, 0)})["odd-run.1"])
	for _, want := range []string{
		`.TH ODD\-RUN 1 1970-01-01 "Relay 1" "User Commands"`, `odd\-run \- do it: now`, "\n" + `\&.hidden 'quotes' \(dqand\(dq $(touch ran) [brackets]: back\eslash;`,
		`.BI "\-\-level=" low|high` + "\nHow much. Default: low.\n", `.BI "\-n, \-\-names=" NAME`, ".B \"\\-\\-on\"\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	completions := Completions(app)
	for shell, want := range map[string][]string{
		"bash": {`"run --level") mapfile -t COMPREPLY < <(compgen -W 'low high'`},
		"zsh":  {`'--quoted=[.hidden '\''quotes'\'' "and" $(touch ran) \[brackets\]\: back\\slash]:text: '`, `'*--names=['\''Several'\'' --names]:name: '`, `'run:Do it: now'`},
		"fish": {`-l quoted -x -d '.hidden \'quotes\' "and" $(touch ran) [brackets]: back\\slash'`, `-l level -x -a 'low high' -d 'How much'`, `-l on -d 'Whether'`},
	} {
		for _, text := range want {
			if !strings.Contains(string(completions[shell]), text) {
				t.Errorf("completion for %s lacks %s:\n%s", shell, text, completions[shell])
			}
		}
	}
	if err := os.WriteFile("odd", completions["bash"], 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("bash", "-ec", `. ./odd; COMP_WORDS=(odd run --); COMP_CWORD=2; _odd; echo "${COMPREPLY[@]}"`).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "--quoted --level --names --on --help" {
		t.Errorf("bash: %v\n%s", err, out)
	}
	if files, err := filepath.Glob("*"); err != nil || !slices.Equal(files, []string{"odd"}) {
		t.Errorf("%q: something of a help text was run (%v)", files, err)
	}
}

func TestSettingsYAML(t *testing.T) {
	flags := commands(model(t))[0].flags
	file := SettingsFile{
		Head: "Head.\n\n" + strings.Repeat("word ", 30), Flags: flags, Examples: map[string]string{"names": "*.a,b: c", "level": "high"},
		Lists: []SettingsList{{Title: "List", Help: "Some.", Name: "list", Keys: []string{"a", "b"}, Values: []string{"1", "2"}}},
	}
	text, err := file.YAML()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# Head.\n#\n# word", "#quoted: TEXT  # an example\n", "# How much. One of: low, high.\n#level: high  # an example; the default is low\n",
		"# 'Several' names.\n#names: ['*.a', 'b: c']  # an example\n", "#on: false\n", "\n## List\n\n# Some.\n#list:\n#- a: 1\n#  b: 2\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the file lacks %q:\n%s", want, text)
		}
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") && line != "\n" || len(line) > commentWidth+1 && strings.HasPrefix(line, "# ") {
			t.Errorf("line %q", line)
		}
	}
	if strings.Contains(string(text), "secret") {
		t.Errorf("a hidden flag is shown:\n%s", text)
	}
}

// The tables have each option of each command, and what a table would take for its own is escaped.
func TestMarkdown(t *testing.T) {
	got := Markdown(model(t), "run")
	for _, want := range []string{
		"| Option | Variable | Default | What it is |\n", "| `--level=low\\|high` |  | `low` | How much. One of: low, high. |\n",
		"| `-n, --names=NAME` |", "| `--on` |  |  | Whether. |\n", "| `-h, --help` |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the tables lack %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "secret") {
		t.Errorf("a hidden flag is shown:\n%s", got)
	}
}
