package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"relay/admin/api"
	"relay/admin/client"
	"relay/admin/findings"
	"relay/internal/plural"
	"relay/internal/terminal"
)

type statusCmd struct {
	Nagios      bool `help:"One line and a status for Nagios and what is like it: 0 ok, 1 warning, 2 critical, 3 unknown."`
	OutputFlags `embed:""`
	ClientFlags `embed:""`
}

// Run says whether all is well, and where to look if not. Its status is 0 only if all is.
func (c *statusCmd) Run(ctx context.Context, out streams) error {
	var l level
	err := asking(ctx, c.ClientFlags, out, func(ctx context.Context, relay *client.Client) error {
		answer, err := relay.Get(ctx, "status", nil)
		if err != nil {
			return err
		}
		body, err := found(answer)
		if err != nil {
			return err
		}
		s, err := decoded[api.Status](body)
		if err != nil {
			return err
		}
		l = worst(s.Findings)
		if c.Nagios {
			fmt.Fprintln(out.out, nagiosLine(s))
			return nil
		}
		p := c.printer(out)
		return p.print(body, func() { p.status(s, lastKinds(ctx, relay), relay.Address()) })
	})
	switch {
	case c.Nagios && err != nil:
		return exitStatus{status: int(nagiosFailed(out.out, err))}
	case c.Nagios && l != levelOK:
		return exitStatus{status: int(l)}
	case err == nil && l != levelOK:
		return exitStatus{status: statusWrong}
	}
	return err
}

// lastKinds are the last failures, one of each kind: none if Relay does not tell.
func lastKinds(ctx context.Context, relay *client.Client) []api.Failure {
	answer, err := relay.Get(ctx, "failures", url.Values{"limit": {"200"}})
	if err != nil {
		return nil
	}
	all, err := decoded[api.Failures](answer.Body)
	if err != nil {
		return nil
	}
	return findings.Kinds(all.Failures, shownWorst)
}

func (p printer) status(s api.Status, failures []api.Failure, address string) {
	l, verdict := worst(s.Findings), s.Summary
	if len(s.Findings) > 0 {
		verdict = s.Findings[0].Text
	}
	p.screen.Hanging(p.screen.Styled(l.style(), l.String())+"  ", "  ", verdict)
	if len(s.Findings) > 0 && s.Findings[0].Action != "" {
		p.screen.Hanging("  > ", "    ", s.Findings[0].Action)
	}
	if len(s.Findings) > 1 {
		p.findings(s.Findings[1:])
	}
	p.line("Relay %s at %s, %s UTC", s.Version, address, clock(s.Time))
	p.line("")
	p.fleets(s.Fleets, s.Time)
	p.line("")
	p.sources(s.Sources)
	p.line("")
	p.sums(s)
	p.wakes(s.Scaling)
	p.worstProblems(s)
	p.lastFailures(failures, "relay failures")
	p.next(s, failures)
}

func (p printer) fleets(fleets []api.FleetStatus, at time.Time) {
	right := func(title string) terminal.Column { return terminal.Column{Title: title, Right: true} }
	number := func(n int, bad terminal.Style) terminal.Cell {
		if n == 0 {
			return terminal.Text("0")
		}
		return terminal.Cell{Text: fmt.Sprint(n), Style: bad}
	}
	var rows [][]terminal.Cell
	for _, f := range fleets {
		failed := terminal.Text(unknown)
		if f.Failures != nil {
			failed = errorRate(&api.Load{Errors: *f.Failures})
		}
		rows = append(rows, []terminal.Cell{
			terminal.Text(f.Name), terminal.Text(fmt.Sprint(f.Envoys)), number(f.UpToDate, terminal.Green), number(f.Behind, terminal.Yellow), number(f.Rejecting, terminal.Red),
			number(len(f.Disconnected), terminal.Red), requests(f.Load), errorRate(f.Load), failed, terminal.Text(fmt.Sprint(f.Revision)),
		})
	}
	p.table(rows, terminal.Column{Title: "FLEET"}, right("ENVOYS"), right("CURRENT"), right("BEHIND"), right("REJECT"), right("LEFT 1H"),
		right("REQ/S"), right("ERR/S"), right("FAILED/S"), terminal.Column{Title: "REVISION", Right: true, Optional: true})
	for _, f := range fleets {
		if f.Reporting != nil && len(f.NotReported) > 0 && f.NotReported[0].ReportDue(at) {
			n := f.Envoys - *f.Reporting
			verb := "do"
			if n == 1 {
				verb = "does"
			}
			text := fmt.Sprintf("%d of %s of fleet %s %s not report requests, such as %s", n, plural.Of(f.Envoys, "Envoy"), f.Name, verb, f.NotReported[0].ID)
			p.screen.Paragraph("  ", text+": relay bootstrap makes a bootstrap that does")
		}
	}
}

func (p printer) sources(sources []api.Source) {
	var rows [][]terminal.Cell
	for _, s := range sources {
		state := terminal.Cell{Text: "followed", Style: terminal.Green}
		if !s.Connected {
			state = terminal.Cell{Text: "not followed", Style: terminal.Red}
		}
		rows = append(rows, []terminal.Cell{
			terminal.Text(s.Kind), state, terminal.Text(ago(s.LastSync)), terminal.Text(fmt.Sprint(s.Items)), terminal.Text(s.Name), terminal.Text(s.LastError),
		})
	}
	p.table(rows, terminal.Column{Title: "SOURCE"}, terminal.Column{Title: "STATE"}, terminal.Column{Title: "READ", Right: true}, terminal.Column{Title: "ITEMS", Right: true},
		terminal.Column{Title: "WHERE", Shrinks: true}, terminal.Column{Title: "ERROR", Shrinks: true})
}

func (p printer) sums(s api.Status) {
	p.pair("served", s.Summary)
	p.pair("counted", fmt.Sprintf("%s, %s, %s", plural.Of(s.Counts.Apps, "app"), plural.Of(s.Counts.Domains, "domain"), plural.Of(s.Counts.Endpoints, "instance")))
	traffic := "none reported"
	if s.Load != nil {
		traffic = fmt.Sprintf("%s requests a second, %s errors a second", rate(s.Load.Requests), rate(s.Load.Errors))
	}
	if s.Failures != nil {
		traffic += fmt.Sprintf(", %s failures a second", rate(*s.Failures))
	}
	p.pair("traffic", traffic)
	if c := s.Convergence; c != nil {
		p.pair("changes", fmt.Sprintf("%d in the last hour; half were in all Envoys after %s, 99 of 100 after %s", c.Changes, seconds(c.P50), seconds(c.P99)))
	}
	c := s.Certificates
	certificates := fmt.Sprintf("%d, of which %d are not used", c.Total, c.Unused)
	if c.Next != nil {
		certificates += fmt.Sprintf("; the first that expires is %s, on %s", c.Next.Name, c.Next.NotAfter.UTC().Format(time.DateOnly))
	}
	p.pair("certificates", certificates)
	p.scalingSums(s.Scaling)
}

// shownWorst bounds the problems on the first screen.
const shownWorst = 5

func (p printer) worstProblems(s api.Status) {
	if s.Counts.Problems == 0 {
		return
	}
	p.title(fmt.Sprintf("Problems: %d, of which %d cost requests or keep changes from Envoys", s.Counts.Problems, s.Counts.Failing))
	for _, g := range s.Worst[:min(len(s.Worst), shownWorst)] {
		p.group(g)
	}
	if more := max(0, len(s.Worst)-shownWorst) + s.MoreGroups; more > 0 {
		p.line("%s", plural.Of(more, "more thing has problems", "more things have problems"))
	}
}

// next ends with the commands to run next: those for the worst problems come first.
func (p printer) next(s api.Status, failures []api.Failure) {
	p.title("Next")
	for _, hint := range nextCommands(s, failures) {
		p.line("  %-40s %s", hint.command, hint.shows)
	}
}

// hint is a command, and what it shows.
type hint struct{ command, shows string }

// maxNext bounds the commands that are for one thing each.
const maxNext = 4

// nextCommands leads from the first screen to what is wrong: a domain before its app, since
// people know it by the domain.
func nextCommands(s api.Status, failures []api.Failure) (hints []hint) {
	add := func(command, shows string) {
		if command != "" && !slices.ContainsFunc(hints, func(h hint) bool { return h.command == command }) {
			hints = append(hints, hint{command, shows})
		}
	}
	for _, g := range s.Worst {
		if len(hints) == maxNext {
			break
		}
		if domain := domainOf(g); domain != "" {
			add("relay domain "+quotedWord(domain), "why it is served, or not")
			continue
		}
		add(nextFor(g), "what is wrong with it")
	}
	for _, f := range failures {
		if f.Domain != "" && f.App != "" && len(hints) < maxNext {
			add("relay domain "+quotedWord(f.Domain), "why its requests fail")
		}
	}
	if s.Load != nil && s.Load.Errors > 0 {
		add("relay apps --sort errors", "which apps answer with errors")
	}
	if slices.ContainsFunc(s.Fleets, func(f api.FleetStatus) bool { return f.Behind+f.Rejecting+len(f.Disconnected) > 0 || f.Envoys == 0 }) {
		add("relay envoys", "how far each Envoy is")
	}
	if s.Counts.Problems > 0 {
		add("relay problems", "all of them, with what to do")
	} else {
		add("relay apps --sort requests", "where the traffic goes")
	}
	if s.Failures != nil && *s.Failures > 0 {
		add("relay failures", "requests that no app answered")
	}
	add("relay domain NAME", "why a domain is served, or not")
	add("relay watch", "what changes and fails from now on")
	return hints
}

// domainOf is the domain that people would miss.
func domainOf(g api.Group) string {
	if g.About == "domain" {
		return g.Subject
	}
	for _, one := range g.Problems {
		if one.Domain != "" && one.Severity == g.Severity {
			return one.Domain
		}
	}
	return ""
}
