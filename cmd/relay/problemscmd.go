package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"relay/admin/api"
	"relay/admin/client"
	"relay/internal/plural"
	"relay/internal/problem"
	"relay/internal/terminal"
)

type problemsCmd struct {
	App         string `arg:"" optional:"" name:"app" complete:"app" help:"Only problems of this app."`
	Kind        string `placeholder:"KIND" help:"Only problems of this kind, such as tasks, clash or certificate."`
	Severity    string `enum:",failing,ignored,advice" default:"" placeholder:"failing|ignored|advice" help:"Only those that cost requests (failing), that are ignored, or advice."`
	ListFlags   `embed:""`
	OutputFlags `embed:""`
	ClientFlags `embed:""`
}

// Run lists problems by what has them, the worst first, each with what to do.
func (c *problemsCmd) Run(ctx context.Context, out streams) error {
	return asking(ctx, c.ClientFlags, out, func(ctx context.Context, relay *client.Client) error {
		query := queryOf("app", c.App, "kind", c.Kind, "severity", c.Severity)
		p := c.printer(out)
		if p.output != "table" {
			return listing{path: "problems", field: "problems", query: query, limit: c.Limit, text: c.Filter}.show(ctx, relay, p)
		}
		query.Set("limit", "1") // the groups have them
		answer, err := relay.Get(ctx, "problems", query)
		if err != nil {
			return err
		}
		body, err := found(answer)
		if err != nil {
			return err
		}
		all, err := decoded[api.Problems](body)
		if err != nil {
			return err
		}
		all.Groups = slices.DeleteFunc(all.Groups, func(g api.Group) bool { return !mentions(g, c.Filter) })
		p.allProblems(all, c.Limit)
		return nil
	})
}

func (p printer) allProblems(all api.Problems, limit int) {
	p.screen.Paragraph("", all.Summary)
	groups := all.Groups
	if limit > 0 && len(groups) > limit {
		all.MoreGroups += len(groups) - limit
		groups = groups[:limit]
	}
	if len(groups) == 0 {
		p.line("no such problem")
	}
	for _, g := range groups {
		p.line("")
		p.group(g)
	}
	if all.MoreGroups > 0 {
		p.line("\n%s: -o json --limit 0 has all, --filter TEXT shows those with a text in them", plural.Of(all.MoreGroups, "more thing has problems", "more things have problems"))
	}
}

// mentions tells whether a text is in what is shown of a group, in any case.
func mentions(g api.Group, text string) bool {
	text = strings.ToLower(text)
	has := func(s string) bool { return strings.Contains(strings.ToLower(s), text) }
	return has(g.Subject) || slices.ContainsFunc(g.Problems, func(p api.Problem) bool { return has(p.Subject + " " + p.Item + " " + p.Reason + " " + p.Domain) })
}

// group writes the problems of one thing.
func (p printer) group(g api.Group) {
	head := fmt.Sprintf("%s %s", g.About, g.Subject)
	if g.About == "fleet" {
		head = g.Subject
	}
	if g.Count > 1 {
		head += fmt.Sprintf(" (%d problems)", g.Count)
	}
	p.screen.Hanging(p.screen.Styled(severityStyle(string(g.Severity)), fmt.Sprintf("%-7s", g.Severity))+"  ", strings.Repeat(" ", 9), p.screen.Styled(terminal.Bold, head))
	for _, one := range g.Problems {
		about := one.Subject
		if about == g.Subject {
			about = ""
		}
		text := strings.TrimSpace(strings.Join([]string{about, one.Item}, " "))
		if text != "" && text != g.Subject {
			text += ": "
		} else {
			text = ""
		}
		p.screen.Paragraph("         ", text+one.Reason)
	}
	if more := g.More(); more > 0 {
		p.line("         and %d more", more)
	}
	if g.Action != "" {
		p.screen.Paragraph("         ", "To do: "+g.Action)
	}
	if next := nextFor(g); next != "" {
		p.line("         %s", p.screen.Styled(terminal.Faint, next))
	}
}

// nextFor is the command that shows more of a thing with problems.
func nextFor(g api.Group) string {
	switch g.About {
	case "app":
		return "relay app " + quotedWord(g.Subject)
	case "domain":
		return "relay domain " + quotedWord(g.Subject)
	case string(problem.Certificate):
		if g.Severity == problem.Ignored {
			return "" // it cannot be used, so that it is in no list
		}
		return "relay certs " + quotedWord(g.Subject)
	case string(problem.Envoy):
		return strings.TrimSpace("relay envoys " + envoyIn(g.Subject))
	case string(problem.Fleet):
		return "relay envoys"
	}
	return ""
}

// envoyIn finds the Envoy in the subject of its problems, "fleet external, Envoy edge-1".
func envoyIn(subject string) string {
	fleet, id, ok := strings.Cut(strings.TrimPrefix(subject, "fleet "), ", Envoy ")
	if !ok {
		return ""
	}
	return quotedWord(fleet + "/" + id)
}
