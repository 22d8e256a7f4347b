package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"relay/admin/client"
	"relay/internal/terminal"
)

// OutputFlags say in which form a command that asks a Relay prints the answer.
type OutputFlags struct {
	Output string `short:"o" default:"table" enum:"table,json,yaml" help:"table: for people; json: the answer of the API; yaml: the same as YAML."`
}

// The statuses of commands that ask a Relay, besides 0.
const (
	statusWrong       = 1 // not found, or something is wrong
	statusUsage       = 2 // the command line, a variable or a file of settings
	statusUnreachable = 3 // no Relay answered
)

// now is the clock of the tables, which tests stop.
var now = time.Now

// asking connects to a Relay, and gives errors their status.
func asking(ctx context.Context, flags ClientFlags, out streams, ask func(context.Context, *client.Client) error) error {
	relay, err := flags.client(out.err)
	if err != nil {
		return withStatus(err)
	}
	defer relay.Close()
	return withStatus(ask(ctx, relay))
}

func withStatus(err error) error {
	switch client.KindOf(err) {
	case client.Usage:
		return exitStatus{err, statusUsage}
	case client.Unreachable:
		return exitStatus{err, statusUnreachable}
	}
	return err
}

// printer prints an answer in the form that was asked for.
type printer struct {
	output string
	screen *terminal.Screen
}

func (f OutputFlags) printer(out streams) printer {
	return printer{f.Output, terminal.NewScreen(out.out, os.Getenv)}
}

// print writes an answer, or calls table to write it for people.
func (p printer) print(body []byte, table func()) (err error) {
	switch p.output {
	case "json":
		_, err = p.screen.Write(terminal.CleanJSON(body))
	case "yaml":
		var text []byte
		if text, err = toYAML(body); err == nil {
			_, err = p.screen.Write(text)
		}
	default:
		table()
	}
	return err
}

// decoded reads an answer into its type. What strangers wrote in it is harmless to a terminal.
func decoded[T any](body []byte) (v T, err error) {
	if err := json.Unmarshal(body, &v); err != nil {
		return v, fmt.Errorf("the answer of Relay cannot be read, is it older or newer than this command? %w", err)
	}
	terminal.CleanAll(&v)
	return v, nil
}

// found returns the body of an answer. Its error says that nothing is there.
func found(answer client.Answer) ([]byte, error) {
	if !answer.Found {
		return nil, errors.New(terminal.Clean(answer.Reason()))
	}
	return answer.Body, nil
}

// line writes one for people.
func (p printer) line(format string, args ...any) { fmt.Fprintf(p.screen, format+"\n", args...) }

// title begins a part of an answer.
func (p printer) title(text string) { p.line("\n%s", p.screen.Styled(terminal.Bold, text)) }

// ago says how long ago a moment was, in one unit.
func ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return span(now().Sub(t))
}

// span writes a time in its largest unit: 45s, 12m, 5h, 3d.
func span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// seconds writes a duration: 4ms, 1.25s, 3m.
func seconds(s float64) string {
	switch d := time.Duration(s * float64(time.Second)); {
	case d < time.Millisecond:
		return fmt.Sprintf("%dµs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.2fs", s)
	default:
		return span(d)
	}
}

// rate writes what there is of something per second.
func rate(perSecond float64) string {
	switch {
	case perSecond == 0:
		return "0"
	case perSecond < 0.01:
		return "<0.01"
	case perSecond < 10:
		return fmt.Sprintf("%.2f", perSecond)
	}
	return fmt.Sprintf("%.0f", perSecond)
}

// clock writes a moment of a list.
func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// quotedWord is a word of a command that a shell takes as it is.
func quotedWord(s string) string {
	plain := s != "" && strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("/._-:@%+,", r)
	}) < 0
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// indented is an answer as the API would write it alone.
func indented(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}
