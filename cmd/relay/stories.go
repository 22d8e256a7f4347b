package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"relay/admin/api"
	"relay/admin/client"
	"relay/collator/explain"
	"relay/internal/plural"
	"relay/internal/terminal"
)

// shownOfStory bounds each list of a story.
const shownOfStory = 10

type appCmd struct {
	ID          string `arg:"" name:"id" complete:"app" help:"The id of the app, such as /shop/web."`
	OutputFlags `embed:""`
	ClientFlags `embed:""`
}

// Run shows an app, from its labels to the answers of Envoys.
func (c *appCmd) Run(ctx context.Context, out streams) error {
	return asking(ctx, c.ClientFlags, out, func(ctx context.Context, relay *client.Client) error {
		return appStory(ctx, relay, c.ID, c.printer(out))
	})
}

func appStory(ctx context.Context, relay *client.Client, id string, p printer) error {
	story, body, err := story[api.AppStory](ctx, relay, client.PathOf("apps", id), "relay apps -q TEXT")
	if err != nil {
		return err
	}
	err = p.print(body, func() { p.app(story) })
	if err == nil && worst(story.Findings) == levelCritical {
		return exitStatus{status: statusWrong} // what is wrong was said
	}
	return err
}

// story asks for one thing. Where there is none, its error names the command that finds others.
func story[T any](ctx context.Context, relay *client.Client, path, find string) (v T, body []byte, err error) {
	answer, err := relay.Get(ctx, path, nil)
	if err != nil {
		return v, nil, err
	}
	if body, err = found(answer); err != nil {
		return v, nil, fmt.Errorf("%w: %s finds those that there are", err, find)
	}
	v, err = decoded[T](body)
	return v, body, err
}

func (p printer) app(a api.AppStory) {
	p.line("%s", p.screen.Styled(terminal.Bold, a.ID))
	p.findings(a.Findings)
	p.pair("version", a.Version)
	p.pair("owner", a.Owner)
	if a.Deployment != "" {
		p.pair("deployment", a.Deployment+": relay deployment "+quotedWord(a.Deployment)+" shows how far it is")
	}
	if a.Stopped {
		p.pair("tasks", "none: it is scaled to 0")
	}
	if a.Maintenance {
		p.pair("maintenance", "requests get 503 and a page that says so")
	}
	p.pair("requests", loadText(a.Load, a.Failures))
	if !a.Changed.IsZero() {
		p.pair("changed", clock(a.Changed)+", "+ago(a.Changed)+" ago")
	}
	p.problems(a.Problems)
	p.scaling(a.Scaling)
	if len(a.Labels)+a.MoreLabels > 0 {
		p.title("Labels")
		for _, name := range slices.Sorted(maps.Keys(a.Labels)) {
			p.screen.Hanging("  "+name+"=", "    ", a.Labels[name])
		}
		if a.MoreLabels > 0 {
			p.line("  and %d more", a.MoreLabels)
		}
	}
	for _, port := range a.Ports {
		p.port(port, a.Scaling.Sleeps())
	}
	p.resources(a.Resources, a.MoreResources)
	for i, note := range a.Notes {
		if i == 0 {
			p.title("Notes")
		}
		p.screen.Paragraph("  ", note.Task+" "+note.Text)
	}
	p.progress(a.Envoys)
	p.lastFailures(a.LastFailures, "relay failures "+quotedWord(a.ID))
	p.lastChanges(a.LastChanges, "relay changes "+quotedWord(a.ID))
	if len(a.LastChanges) > 0 {
		p.line("\nrelay diff %s shows what the last change did in Envoy.", quotedWord(a.ID))
	}
}

// resources says what was made of an app for Envoys.
func (p *printer) resources(all []api.Resource, more int) {
	for i, r := range all {
		if i == 0 {
			p.title("In Envoy")
		}
		p.screen.Paragraph("  ", r.Type+" "+r.Name+" of the fleet "+r.Fleet)
		for _, line := range r.Outline {
			p.screen.Hanging("    ", "      ", line)
		}
	}
	if more > 0 {
		p.line("  and %d more", more)
	}
}

// pair writes a name and a value.
func (p printer) pair(name, value string) {
	if value != "" {
		p.screen.Hanging(fmt.Sprintf("  %-12s ", name), strings.Repeat(" ", 15), value)
	}
}

func loadText(load *api.Load, failures *int) string {
	var parts []string
	if load != nil {
		parts = append(parts, fmt.Sprintf("%s a second, %s errors a second, %d in progress; over 10 min %s and %s",
			rate(load.Requests), rate(load.Errors), load.InProgress, rate(load.Requests10m), rate(load.Errors10m)))
	} else {
		parts = append(parts, "none reported")
	}
	if failures != nil {
		parts = append(parts, plural.Of(*failures, "failure")+" in the last hour")
	}
	return strings.Join(parts, "; ")
}

func (p printer) problems(all []api.Problem) {
	if len(all) == 0 {
		return
	}
	p.title(fmt.Sprintf("Problems (%d)", len(all)))
	for _, problem := range all {
		p.problem(problem, "")
	}
}

// problem writes one, and what to do about it.
func (p printer) problem(problem api.Problem, about string) {
	var subject []string
	for _, part := range []string{about, problem.Item} {
		if part != "" {
			subject = append(subject, part)
		}
	}
	text := problem.Reason
	if len(subject) > 0 {
		text = strings.Join(subject, " ") + ": " + text
	}
	severity := fmt.Sprintf("%-7s", problem.Severity)
	p.screen.Hanging("  "+p.screen.Styled(severityStyle(string(problem.Severity)), severity)+"  ", strings.Repeat(" ", 11), text)
	if problem.Action != "" {
		p.screen.Paragraph(strings.Repeat(" ", 11), "To do: "+problem.Action)
	}
}

func (p printer) port(port api.Port, sleeps bool) {
	title := fmt.Sprintf("Port %d", port.Index)
	if port.Name != "" {
		title += " " + port.Name
	}
	p.title(title)
	p.pair("domains", strings.Join(port.Domains, ", "))
	switch {
	case len(port.Fleets) > 0:
		p.pair("fleets", strings.Join(port.Fleets, ", "))
	default:
		p.pair("fleets", "none of this Relay serves it")
	}
	p.pair("other groups", strings.Join(port.OtherGroups, ", "))
	p.pair("cluster", port.Cluster)
	if port.TCP != nil {
		p.pair("TCP", port.TCP.Text)
	}
	if w := port.Waiting; w != nil {
		p.pair("waiting", fmt.Sprintf("%s for their turn, at %.4g a second: the last one in about %.0f s", plural.Of(w.Connections, "new connection waits", "new connections wait"), w.PerSecond, w.Left))
	}
	if r := port.Rebalance; r != nil {
		p.pair("rebalancing", r.Phase+": "+r.Text)
	}
	switch {
	case len(port.Endpoints) > 0 || port.Cluster == "":
	case sleeps:
		p.pair("tasks", "none: requests wait until the app has started")
	default:
		p.pair("tasks", "none is in rotation: requests get 503, TCP connections are closed")
	}
	if len(port.Endpoints) > 0 {
		p.endpoints(port.Endpoints)
	}
	for _, out := range port.Excluded {
		p.pair("left out", out.Task+": "+out.Reason)
	}
}

func (p printer) endpoints(endpoints []api.Endpoint) {
	var rows [][]terminal.Cell
	for _, e := range endpoints {
		health := terminal.Cell{Text: e.Health, Style: terminal.Green}
		if e.Health != "healthy" {
			health.Style = terminal.Yellow
		}
		if e.Unreachable != "" {
			health = terminal.Cell{Text: "unreachable", Style: terminal.Red}
		}
		rows = append(rows, []terminal.Cell{terminal.Text("  " + e.Address), health, requests(e.Load), errorRate(e.Load), open(e.Load), terminal.Text(e.Task), terminal.Text(e.Version), terminal.Text(e.Unreachable)})
	}
	columns := []terminal.Column{
		{Title: "  INSTANCE"}, {Title: "HEALTH"}, {Title: "REQ/S", Right: true}, {Title: "ERR/S", Right: true}, {Title: "OPEN", Right: true},
		{Title: "TASK", Shrinks: true}, {Title: "OLDER VERSION", Shrinks: true}, {Title: "NOTE", Shrinks: true},
	}
	if !slices.ContainsFunc(endpoints, func(e api.Endpoint) bool { return e.Version != "" }) {
		const version = 6
		columns = slices.Delete(columns, version, version+1)
		for i := range rows {
			rows[i] = slices.Delete(rows[i], version, version+1)
		}
	}
	p.table(rows, columns...)
}

// open is how many requests and connections are in progress.
func open(load *api.Load) terminal.Cell {
	if load == nil {
		return terminal.Text(unknown)
	}
	return terminal.Text(fmt.Sprint(load.InProgress))
}

// table writes one that is complete. An error to write it is told by the next.
func (p printer) table(rows [][]terminal.Cell, columns ...terminal.Column) {
	_ = p.screen.NewTable(columns...).Write(rows)
}

func (p printer) progress(envoys []api.Progress) {
	if len(envoys) == 0 {
		return
	}
	p.title("Envoys")
	for _, e := range envoys {
		text := fmt.Sprintf("%s/%s has %d of %d resources", e.Fleet, e.ID, e.Acknowledged, e.Needs)
		style := terminal.Green
		if e.Acknowledged < e.Needs {
			style = terminal.Yellow
		}
		p.line("  %s", p.screen.Styled(style, text))
		for _, w := range e.Waiting {
			text := fmt.Sprintf("%s %s: %s", w.Type, w.Name, w.State)
			if w.Error != "" {
				text += ": " + w.Error
			}
			p.screen.Paragraph("    ", text)
		}
	}
}

func (p printer) lastFailures(all []api.Failure, more string) {
	if len(all) == 0 {
		return
	}
	p.title("Last failures")
	var rows [][]terminal.Cell
	for _, f := range all[:min(len(all), shownOfStory)] {
		row := failureRow(f)
		row[0].Text = "  " + row[0].Text
		rows = append(rows, row)
	}
	columns := slices.Clone(failureColumns)
	columns[0].Title = "  " + columns[0].Title
	p.table(rows, columns...)
	if len(all) > shownOfStory {
		p.line("  %s has more", more)
	}
}

func (p printer) lastChanges(all []api.Change, more string) {
	if len(all) == 0 {
		return
	}
	p.title("Last changes")
	for _, c := range all[:min(len(all), shownOfStory)] {
		p.change(c)
	}
	if len(all) > shownOfStory {
		p.line("  %s has more", more)
	}
}

// change writes one on few lines.
func (p printer) change(c api.Change) {
	head := fmt.Sprintf("  %s  %s revision %d  ", clock(c.Time), c.Fleet, c.Revision)
	took := took(c)
	p.line("%s%s", head, p.screen.Styled(took.Style, took.Text))
	p.screen.Paragraph("    ", strings.Join(c.What, "; "))
	if c.Cause != "" {
		p.screen.Paragraph("    ", "since "+c.Cause)
	}
	if len(c.Waiting) > 0 {
		p.screen.Paragraph("    ", "waits for "+strings.Join(c.Waiting, ", "))
	}
	for _, r := range c.Rejected {
		p.screen.Paragraph("    ", p.screen.Styled(terminal.Red, "rejected")+" by "+r.Envoy+": "+r.Resource+": "+r.Error)
	}
}

type domainCmd struct {
	Name        string `arg:"" name:"name" complete:"domain" help:"The domain, such as shop.test."`
	OutputFlags `embed:""`
	ClientFlags `embed:""`
}

// Run says whether a domain is served, and why. Its status is 0 only if it is.
func (c *domainCmd) Run(ctx context.Context, out streams) error {
	return asking(ctx, c.ClientFlags, out, func(ctx context.Context, relay *client.Client) error {
		return domainStory(ctx, relay, c.Name, c.printer(out))
	})
}

// domainStory falls back to the explanation: of a domain that is not known it has those near,
// and an older Relay has it alone.
func domainStory(ctx context.Context, relay *client.Client, name string, p printer) error {
	answer, err := relay.Get(ctx, client.PathOf("domains", name), nil)
	if client.KindOf(err) == client.TooOld || err == nil && !answer.Found {
		return explained(ctx, relay, name, p)
	}
	if err != nil {
		return err
	}
	d, err := decoded[api.DomainStory](answer.Body)
	if err != nil {
		return err
	}
	var e explain.Explanation
	if err := json.Unmarshal(d.Explanation, &e); err != nil {
		return errors.New("the answer of Relay has no explanation: is it older or newer than this command?")
	}
	terminal.CleanAll(&e)
	err = p.print(answer.Body, func() {
		title := p.screen.Styled(terminal.Bold, d.Name)
		// The findings say how bad it is to be without a certificate, and what else is wrong.
		if d.Status != api.DomainWithoutCertificate && (d.Status != api.DomainServed || worst(d.Findings) != levelCritical) {
			status := domainStatus(d.Status)
			title += ": " + p.screen.Styled(status.Style, status.Text)
		}
		p.line("%s", title)
		p.findings(d.Findings)
		p.pair("requests", loadText(d.Load, d.Failures))
		p.problems(d.Problems)
		p.title("Why")
		e.WriteText(p.screen)
		p.lastFailures(d.LastFailures, "relay failures "+quotedWord(d.Name))
		p.lastChanges(d.LastChanges, "relay changes")
	})
	if err == nil && fails(d) {
		return exitStatus{status: statusWrong} // what is wrong was said
	}
	return err
}

// fails reports whether a domain is not served as it should be.
func fails(d api.DomainStory) bool {
	l := worst(d.Findings)
	return l == levelCritical || d.Status != api.DomainServed && (d.Status != api.DomainWithoutCertificate || l != levelOK)
}
