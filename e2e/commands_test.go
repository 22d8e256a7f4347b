package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// commandBlock is a block of commands in a document, with what it says of them:
//
//	<!-- fails -->
//	```sh
//	relay explain nowhere.example.com
//	```
//	```text
//	…nothing is known of nowhere.example.com
//	```
type commandBlock struct {
	line     int
	section  string // the heading above it
	commands string
	outcome  string
	// from is the address that curl calls from.
	from string
	// prints are lines of the output, in their order, others may be between;
	// "…" stands for anything.
	prints []string
}

// What a comment before a block may say of it.
const (
	outcomeFails  = "fails"  // its status is not 0
	outcomeSoon   = "soon"   // as documented in the end, if it is repeated
	outcomeServes = "serves" // it does not end
	outcomeLog    = "log"    // no commands: lines of Relay's log
	fromAddress   = "from "  // the address that curl calls from
)

// parseCommands returns the blocks of a document. What is not understood is an
// error, so that no block is left out.
func parseCommands(document string) (blocks []commandBlock, err error) {
	var (
		said     string        // by the last comment
		last     *commandBlock // that the next text may belong to
		section  string
		language string
		inside   bool
		content  []string
		start    int
	)
	for i, line := range strings.Split(document, "\n") {
		fence := strings.HasPrefix(line, "```")
		comment, isComment := strings.CutPrefix(line, "<!-- ")
		switch {
		case inside && fence:
			inside = false
			b, err := newBlock(language, said, content)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", start, err)
			}
			b.line, b.section, said = start, section, ""
			switch {
			case language == "":
				last = nil
			case language == "text" && b.outcome != outcomeLog:
				if last == nil {
					return nil, fmt.Errorf("line %d: text that no commands print", start)
				}
				last.prints, last = b.prints, nil
			default:
				blocks = append(blocks, b)
				last = &blocks[len(blocks)-1]
			}
		case inside:
			content = append(content, line)
		case fence:
			inside, language, content, start = true, strings.TrimPrefix(line, "```"), nil, i+1
		case isComment:
			said = strings.TrimSuffix(comment, " -->")
			last = nil
		case line != "":
			if strings.HasPrefix(line, "#") {
				section = strings.TrimLeft(line, "# ")
			}
			if said != "" {
				return nil, fmt.Errorf("line %d: no block after the comment %q", i+1, said)
			}
			last = nil
		}
	}
	if inside || said != "" {
		return nil, errors.New("the document ends within a block")
	}
	return blocks, nil
}

func newBlock(language, said string, content []string) (b commandBlock, err error) {
	switch language {
	case "":
		if said != "" {
			return b, fmt.Errorf("%q is said of a block that is not run", said)
		}
		return b, nil
	case "sh":
		b.commands = strings.Join(content, "\n")
	case "text":
		b.prints = content
	default:
		return b, fmt.Errorf("a block in %q cannot be run", language)
	}
	switch from, ok := strings.CutPrefix(said, fromAddress); {
	case ok && language == "sh":
		b.from = from
	case said == "",
		language == "sh" && (said == outcomeFails || said == outcomeSoon || said == outcomeServes),
		language == "text" && said == outcomeLog:
		b.outcome = said
	default:
		return b, fmt.Errorf("it is not known what %q means of a block in %q", said, language)
	}
	return b, nil
}

// judge compares what came of a block with what is documented.
func (b commandBlock) judge(succeeded bool, output string, here func(string) string) error {
	switch fails := b.outcome == outcomeFails; {
	case fails && succeeded:
		return errors.New("it should fail")
	case !fails && !succeeded:
		return errors.New("it should not fail")
	}
	lines := strings.Split(strings.ReplaceAll(output, "\r", ""), "\n")
	for _, want := range b.prints {
		want = here(want)
		for len(lines) > 0 && !looksLike(lines[0], want) {
			lines = lines[1:]
		}
		if len(lines) == 0 {
			return fmt.Errorf("it should print %q", want)
		}
		lines = lines[1:]
	}
	return nil
}

// looksLike compares a line with one in which "…" stands for anything.
func looksLike(line, want string) bool {
	parts := strings.Split(want, "…")
	line, ok := strings.CutPrefix(line, parts[0])
	if !ok {
		return false
	}
	if len(parts) == 1 {
		return strings.TrimRight(line, " ") == ""
	}
	for _, part := range parts[1 : len(parts)-1] {
		if _, line, ok = strings.Cut(line, part); !ok {
			return false
		}
	}
	return strings.HasSuffix(line, parts[len(parts)-1])
}

// The check of documents sees what is wrong with them.
func TestParseCommands(t *testing.T) {
	t.Parallel()
	const fence = "```"
	sh := func(commands string) string { return fence + "sh\n" + commands + "\n" + fence + "\n" }
	text := func(lines string) string { return fence + "text\n" + lines + "\n" + fence + "\n" }
	for document, want := range map[string]string{
		"a\n" + sh("true") + "b\n" + sh("false"):            "",
		"<!-- fails -->\n" + sh("false") + "\n" + text("x"): "",
		"<!-- from 10.0.0.1 -->\n" + sh("curl"):             "",
		"<!-- log -->\n" + text("x"):                        "",
		fence + "\npicture\n" + fence + "\n":                "",
		fence + "yaml\na: b\n" + fence + "\n":               "cannot be run",
		text("x"):                                           "no commands print",
		sh("true") + "words\n" + text("x"):                  "no commands print",
		sh("true") + text("x") + text("y"):                  "no commands print",
		"<!-- falls -->\n" + sh("false"):                    "not known what",
		"<!-- serves -->\n" + text("x"):                     "not known what",
		"<!-- fails -->\nwords\n" + sh("false"):             "no block after",
		"<!-- fails -->\n":                                  "ends within",
		fence + "sh\ntrue\n":                                "ends within",
		"<!-- fails -->\n" + fence + "\nx\n" + fence + "\n": "not run",
	} {
		_, err := parseCommands(document)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", document, err, want)
		}
	}
	blocks, err := parseCommands("<!-- fails -->\n" + sh("a\nb") + text("x\n\ny"))
	if err != nil || len(blocks) != 1 || blocks[0].commands != "a\nb" || blocks[0].outcome != outcomeFails || len(blocks[0].prints) != 3 {
		t.Errorf("%+v, %v", blocks, err)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	here := func(s string) string { return strings.ReplaceAll(s, "10.0.0.5", "127.0.0.1") }
	for _, tt := range []struct {
		outcome   string
		succeeded bool
		output    string
		prints    string
		want      string
	}{
		{"", true, "anything", "", ""},
		{"", false, "", "", "should not fail"},
		{outcomeSoon, false, "", "", "should not fail"},
		{outcomeFails, true, "", "", "should fail"},
		{outcomeFails, false, "x refused \r\n", "x refused", ""},
		{"", true, "a\nb\nc\n", "a\nc", ""},
		{"", true, "a\nb\nc\n", "c\na", "should print"},
		{"", true, "a\n", "a\na", "should print"},
		{"", true, "401 from 127.0.0.1\n", "401 from 10.0.0.5", ""},
		{"", true, "401 from 127.0.0.1\n", "401 from", "should print"},
		{"", true, "at 12:00 refused (x)", "…refused…", ""},
		{"", true, "at 12:00 refused (x)", "at…(x)", ""},
		{"", true, "at 12:00 refused (x)", "…refused", "should print"},
		{"", true, "at 12:00 refused (x)", "refused…", "should print"},
	} {
		b := commandBlock{outcome: tt.outcome}
		if tt.prints != "" {
			b.prints = strings.Split(tt.prints, "\n")
		}
		err := b.judge(tt.succeeded, tt.output, here)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt, err, tt.want)
		}
	}
}

// "relay check" waits for the names of agents, and tells of them as "relay serve" does.
func TestCheckTellsOfAgents(t *testing.T) {
	w := newWorld(t)
	w.marathon.rawApp("/named", "named.test", "agent..one", "31000") // a name that is none, so no server is asked
	status, out, errs := command(t, "check", "--marathon", w.marathon.URL())
	if status != 1 || !strings.Contains(out, "wrong  agent agent..one: is not resolved") {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
}
