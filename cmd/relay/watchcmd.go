package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"relay/admin/api"
	"relay/admin/client"
	"relay/internal/plural"
	"relay/internal/terminal"
)

type watchCmd struct {
	Only        []string `placeholder:"KIND" enum:"change,failure,problem,status" default:"change,failure,problem" help:"What to show: change, failure, problem, status."`
	OutputFlags `embed:""`
	ClientFlags `embed:""`
}

// Run shows what happens from now on, until it is interrupted. A Relay that goes away is waited
// for.
func (c *watchCmd) Run(ctx context.Context, out streams) error {
	return asking(ctx, c.ClientFlags, out, func(ctx context.Context, relay *client.Client) error {
		p := c.printer(out)
		fmt.Fprintf(out.err, "watching Relay at %s, Ctrl-C ends it\n", relay.Address())
		err := relay.Events(ctx, func(e client.Event) error {
			if !slices.Contains(c.Only, e.Name) {
				return nil
			}
			return p.event(e)
		}, func(err error, wait time.Duration) {
			fmt.Fprintf(out.err, "relay: %v; next try in %s\n", err, wait.Round(100*time.Millisecond))
		})
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	})
}

// event prints one: as a line of JSON, as a document of YAML, or in words.
func (p printer) event(e client.Event) error {
	switch p.output {
	case "json", "yaml":
		text, err := json.Marshal(struct {
			Event string          `json:"event"`
			Data  json.RawMessage `json:"data"`
		}{e.Name, e.Data})
		if err == nil && p.output == "yaml" {
			if text, err = toYAML(text); err == nil {
				text = append([]byte("---\n"), text...)
			}
		}
		if err != nil {
			return fmt.Errorf("an event of Relay is no JSON: %w", err)
		}
		_, err = fmt.Fprintf(p.screen, "%s\n", strings.TrimSuffix(string(terminal.CleanJSON(text)), "\n"))
		return err
	}
	switch e.Name {
	case api.EventChange:
		return shownEvent(e, p.changeEvent)
	case api.EventFailure:
		return shownEvent(e, p.failureEvent)
	case api.EventProblem:
		return shownEvent(e, p.problemEvent)
	case api.EventStatus:
		return shownEvent(e, p.statusEvent)
	}
	return nil
}

func shownEvent[T any](e client.Event, show func(T)) error {
	v, err := decoded[T](e.Data)
	if err == nil {
		show(v)
	}
	return err
}

// eventHead begins a line. All have the time and the kind at the same places.
func (p printer) eventHead(t time.Time, kind string, style terminal.Style) string {
	return t.UTC().Format(time.TimeOnly) + "  " + p.screen.Styled(style, fmt.Sprintf("%-7s", kind)) + "  "
}

var eventRest = strings.Repeat(" ", 19)

func (p printer) changeEvent(c api.Change) {
	what := changedWhat(c)
	// Where a change is for one alone, what differed does not name it.
	if of := slices.Concat(c.Apps, c.Certificates); len(of) == 1 && !strings.Contains(what, of[0]) {
		what = of[0] + ": " + what
	}
	text := fmt.Sprintf("%s revision %d: %s", c.Fleet, c.Revision, what)
	if c.Cause != "" {
		text += " (" + c.Cause + ")"
	}
	if took := took(c); took.Text != unknown {
		text += ", " + took.Text
	}
	p.screen.Hanging(p.eventHead(c.Time, "change", terminal.Green), eventRest, text)
	for _, r := range c.Rejected {
		p.screen.Hanging(eventRest, eventRest, p.screen.Styled(terminal.Red, "rejected")+" by "+r.Envoy+": "+r.Resource+": "+r.Error)
	}
}

func (p printer) failureEvent(f api.Failure) {
	text := fmt.Sprintf("%s %s: %s", f.Code, strings.TrimSpace(f.Method+" "+f.Domain+f.Path), strings.TrimSuffix(f.Cause, "."))
	if f.App != "" {
		text += fmt.Sprintf(", port %d of %s", f.Port, f.App)
	}
	if f.Instance != "" {
		text += " at " + f.Instance
	}
	if f.Count > 1 {
		text += fmt.Sprintf(" (stands for %d)", f.Count)
	}
	p.screen.Hanging(p.eventHead(f.Time, "failure", terminal.Red), eventRest, text)
}

func (p printer) problemEvent(e api.ProblemEvent) {
	for _, one := range e.Appeared {
		text := strings.TrimSpace(one.Subject+" "+one.Item) + ": " + one.Reason
		p.screen.Hanging(p.eventHead(now(), "problem", severityStyle(string(one.Severity))), eventRest, text)
	}
	for _, one := range e.Ended {
		p.screen.Hanging(p.eventHead(now(), "solved", terminal.Green), eventRest, strings.TrimSpace(one.Subject+" "+one.Item)+": "+one.Reason)
	}
}

func (p printer) statusEvent(s api.Status) {
	l := worst(s.Findings)
	text := fmt.Sprintf("%s; %s, %d cost requests", s.Summary, plural.Of(s.Counts.Problems, "problem"), s.Counts.Failing)
	if s.Load != nil {
		text += fmt.Sprintf("; %s requests a second, %s errors a second", rate(s.Load.Requests), rate(s.Load.Errors))
	}
	p.screen.Hanging(p.eventHead(s.Time, strings.ToLower(l.String()), l.style()), eventRest, text)
}
