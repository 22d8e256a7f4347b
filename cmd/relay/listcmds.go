package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"relay/admin/api"
	"relay/admin/client"
	"relay/internal/plural"
	"relay/internal/terminal"
)

type appsCmd struct {
	ID          string `arg:"" optional:"" name:"id" complete:"app" help:"Show this app alone, as relay app does."`
	Sort        string `default:"id" enum:"id,requests,errors,failures,changed" help:"id, requests, errors, failures or changed: those with most, or changed last, come first."`
	Fleet       string `placeholder:"NAME" complete:"fleet" help:"Only apps that this fleet serves."`
	Phase       string `default:"all" enum:"all,awake,asleep,waking,failed,offline" help:"awake, asleep, waking, failed or offline: only apps that Relay may scale, and that are so."`
	ListFlags   `embed:""`
	OutputFlags `embed:""`
	ClientFlags `embed:""`
}

// Run lists apps.
func (c *appsCmd) Run(ctx context.Context, out streams) error {
	return asking(ctx, c.ClientFlags, out, func(ctx context.Context, relay *client.Client) error {
		if c.ID != "" {
			return appStory(ctx, relay, c.ID, c.printer(out))
		}
		return listing{
			path: "apps", field: "apps", query: queryOf("q", c.Filter, "sort", c.Sort, "fleet", c.Fleet, "phase", strings.TrimPrefix(c.Phase, "all")), limit: c.Limit, none: "no such app",
			columns: []terminal.Column{
				{Title: "APP"}, {Title: "TASKS", Right: true}, {Title: "REQ/S", Right: true}, {Title: "ERR/S", Right: true, Optional: true}, {Title: "FAILED 1H", Right: true},
				{Title: "CHANGED", Right: true, Optional: true}, {Title: "PROBLEMS"}, {Title: "DOMAINS", Shrinks: true},
			},
			row: rowOf(appRow),
		}.show(ctx, relay, c.printer(out))
	})
}

func appRow(app api.App) []terminal.Cell {
	tasks, out := 0, 0
	var domains []string
	for _, port := range app.Ports {
		tasks, out = max(tasks, len(port.Endpoints)), max(out, len(port.Excluded))
		domains = append(domains, port.Domains...)
	}
	running := terminal.Text(fmt.Sprint(tasks))
	switch {
	case tasks == 0 && app.Scaling.Sleeps():
		running = terminal.Cell{Text: app.Scaling.Phase, Style: terminal.Faint}
	case tasks == 0 && app.Scaling != nil && app.Scaling.Phase == api.PhaseFailed:
		running = terminal.Text(api.PhaseFailed)
	case app.Stopped:
		running = terminal.Cell{Text: "stopped", Style: terminal.Faint}
	case out > 0:
		running = terminal.Cell{Text: fmt.Sprintf("%d of %d", tasks, tasks+out), Style: terminal.Yellow}
	}
	if tasks == 0 && !app.Stopped && !app.Scaling.Sleeps() {
		running.Style = terminal.Red
	}
	return []terminal.Cell{
		terminal.Text(app.ID), running, requests(app.Load), errorRate(app.Load), failures(app.Failures), terminal.Text(ago(app.Changed)),
		problemCount(app.ProblemCount, app.Severity), terminal.Text(terminal.Joined(domains, 5)),
	}
}

// unknown stands for what no Envoy has reported.
const unknown = "-"

func requests(load *api.Load) terminal.Cell {
	if load == nil {
		return terminal.Text(unknown)
	}
	return terminal.Text(rate(load.Requests))
}

func errorRate(load *api.Load) terminal.Cell {
	if load == nil {
		return terminal.Text(unknown)
	}
	cell := terminal.Text(rate(load.Errors))
	if load.Errors > 0 {
		cell.Style = terminal.Red
	}
	return cell
}

func failures(n *int) terminal.Cell {
	switch {
	case n == nil:
		return terminal.Text(unknown)
	case *n > 0:
		return terminal.Cell{Text: fmt.Sprint(*n), Style: terminal.Red}
	}
	return terminal.Text("0")
}

func problemCount(n int, severity string) terminal.Cell {
	if n == 0 {
		return terminal.Text("")
	}
	return terminal.Cell{Text: fmt.Sprintf("%d %s", n, severity), Style: severityStyle(severity)}
}

func severityStyle(severity string) terminal.Style {
	switch severity {
	case "failing":
		return terminal.Red
	case "ignored":
		return terminal.Yellow
	}
	return terminal.Plain
}

type domainsCmd struct {
	Name        string `arg:"" optional:"" name:"name" complete:"domain" help:"Show this domain alone, as relay domain does."`
	Sort        string `default:"name" enum:"name,requests,errors,failures" help:"name, requests, errors or failures: those with most come first."`
	Fleet       string `placeholder:"NAME" complete:"fleet" help:"Only domains that this fleet routes."`
	ListFlags   `embed:""`
	OutputFlags `embed:""`
	ClientFlags `embed:""`
}

// Run lists domains.
func (c *domainsCmd) Run(ctx context.Context, out streams) error {
	return asking(ctx, c.ClientFlags, out, func(ctx context.Context, relay *client.Client) error {
		if c.Name != "" {
			return domainStory(ctx, relay, c.Name, c.printer(out))
		}
		return listing{
			path: "domains", field: "domains", query: queryOf("q", c.Filter, "sort", c.Sort, "fleet", c.Fleet), limit: c.Limit, none: "no such domain",
			columns: []terminal.Column{
				{Title: "DOMAIN"}, {Title: "STATUS"}, {Title: "REQ/S", Right: true}, {Title: "ERR/S", Right: true, Optional: true}, {Title: "FAILED 1H", Right: true},
				{Title: "APPS", Shrinks: true}, {Title: "CERTIFICATE", Shrinks: true, Optional: true},
			},
			row: rowOf(domainRow),
		}.show(ctx, relay, c.printer(out))
	})
}

func domainRow(d api.Domain) []terminal.Cell {
	return []terminal.Cell{
		terminal.Text(d.Name), domainStatus(d.Status), requests(d.Load), errorRate(d.Load), failures(d.Failures),
		terminal.Text(terminal.Joined(d.Apps, 3)), terminal.Text(d.Certificate),
	}
}

func domainStatus(s api.DomainStatus) terminal.Cell {
	cell := terminal.Text(string(s))
	switch s {
	case api.DomainServed:
		cell.Style = terminal.Green
	case api.DomainStopped, api.DomainAsleep:
		cell.Style = terminal.Faint
	case api.DomainInNoFleet, api.DomainWithoutCertificate:
		cell.Style = terminal.Yellow
	default:
		cell.Style = terminal.Red
	}
	return cell
}

type envoysCmd struct {
	ID          string `arg:"" optional:"" name:"id" complete:"envoy" help:"Show this Envoy alone: its id, or fleet/id."`
	Fleet       string `placeholder:"NAME" complete:"fleet" help:"Only Envoys of this fleet."`
	ListFlags   `embed:""`
	OutputFlags `embed:""`
	ClientFlags `embed:""`
}

// Run lists Envoys.
func (c *envoysCmd) Run(ctx context.Context, out streams) error {
	return asking(ctx, c.ClientFlags, out, func(ctx context.Context, relay *client.Client) error {
		if c.ID != "" {
			return envoyStory(ctx, relay, c.Fleet, c.ID, c.printer(out))
		}
		return listing{
			path: "envoys", field: "envoys", query: queryOf("q", c.Filter, "fleet", c.Fleet), limit: c.Limit, none: "no such Envoy",
			columns: []terminal.Column{
				{Title: "FLEET"}, {Title: "ENVOY"}, {Title: "STATE"}, {Title: "BEHIND", Right: true}, {Title: "LACKS", Right: true}, {Title: "REQ/S", Right: true},
				{Title: "REPORTED", Right: true, Optional: true}, {Title: "CONNECTED", Right: true, Optional: true}, {Title: "VERSION", Optional: true}, {Title: "ADDRESS", Optional: true},
			},
			row: rowOf(envoyRow),
		}.show(ctx, relay, c.printer(out))
	})
}

func envoyRow(e api.Envoy) []terminal.Cell {
	return []terminal.Cell{
		terminal.Text(e.Fleet), terminal.Text(e.ID), envoyState(e.State), terminal.Text(fmt.Sprint(e.Behind)), terminal.Text(fmt.Sprint(e.Lacking)),
		requests(e.Load), terminal.Text(ago(e.Reported)), terminal.Text(ago(e.Connected)), terminal.Text(e.Version), terminal.Text(e.Address),
	}
}

func envoyState(s api.EnvoyState) terminal.Cell {
	style := map[api.EnvoyState]terminal.Style{
		api.EnvoyUpToDate: terminal.Green, api.EnvoyBehind: terminal.Yellow, api.EnvoyRejecting: terminal.Red, api.EnvoyDisconnected: terminal.Red,
	}[s]
	return terminal.Cell{Text: string(s), Style: style}
}

type certsCmd struct {
	Name        string `arg:"" optional:"" name:"name" complete:"certificate" help:"Show this certificate alone: its name, or its source, a slash, and its name."`
	ListFlags   `embed:""`
	OutputFlags `embed:""`
	ClientFlags `embed:""`
}

// Run lists certificates.
func (c *certsCmd) Run(ctx context.Context, out streams) error {
	return asking(ctx, c.ClientFlags, out, func(ctx context.Context, relay *client.Client) error {
		if c.Name != "" {
			return certificateStory(ctx, relay, c.Name, c.printer(out))
		}
		return listing{
			path: "certificates", field: "certificates", query: queryOf("q", c.Filter), limit: c.Limit, none: "no such certificate",
			columns: []terminal.Column{
				{Title: "CERTIFICATE", Shrinks: true}, {Title: "DAYS", Right: true}, {Title: "UNTIL"}, {Title: "KEY", Optional: true}, {Title: "DOMAINS", Right: true},
				{Title: "NAMES", Shrinks: true},
			},
			row: rowOf(certificateRow),
		}.show(ctx, relay, c.printer(out))
	})
}

func certificateRow(c api.Certificate) []terminal.Cell {
	used := terminal.Text(fmt.Sprint(c.DomainCount))
	if c.Unused {
		used = terminal.Cell{Text: "unused", Style: terminal.Faint}
	}
	return []terminal.Cell{
		terminal.Text(c.Source + "/" + c.Name), daysLeft(c), terminal.Text(c.NotAfter.UTC().Format(time.DateOnly)), terminal.Text(c.Key), used,
		terminal.Text(terminal.Joined(c.ServerNames, 5)),
	}
}

// daysLeft warns as late as a certificate is still renewed in time.
func daysLeft(c api.Certificate) terminal.Cell {
	cell := terminal.Text(fmt.Sprint(c.DaysLeft))
	switch {
	case c.Unused:
	case c.DaysLeft < 2:
		cell.Style = terminal.Red
	case c.DaysLeft < soonDays:
		cell.Style = terminal.Yellow
	}
	return cell
}

// soonDays is below what certificates of ACME have when they are renewed.
const soonDays = 21

type changesCmd struct {
	App         string `arg:"" optional:"" name:"app" complete:"app" help:"Only changes for this app."`
	Certificate string `placeholder:"NAME" complete:"certificate" help:"Only changes for this certificate."`
	ListFlags   `embed:""`
	OutputFlags `embed:""`
	ClientFlags `embed:""`
}

// Run lists what was published, the newest first.
func (c *changesCmd) Run(ctx context.Context, out streams) error {
	return asking(ctx, c.ClientFlags, out, func(ctx context.Context, relay *client.Client) error {
		return listing{
			path: "changes", field: "changes", query: queryOf("q", c.Filter, "app", c.App, "certificate", c.Certificate), limit: c.Limit, none: "no such change is known",
			columns: []terminal.Column{
				{Title: "TIME"}, {Title: "FLEET"}, {Title: "REVISION", Right: true, Optional: true}, {Title: "TOOK", Right: true}, {Title: "FOR", Shrinks: true}, {Title: "WHAT", Shrinks: true}, {Title: "WHY", Shrinks: true, Optional: true},
			},
			row: rowOf(changeRow),
		}.show(ctx, relay, c.printer(out))
	})
}

func changeRow(c api.Change) []terminal.Cell {
	return []terminal.Cell{
		terminal.Text(clock(c.Time)), terminal.Text(c.Fleet), terminal.Text(fmt.Sprint(c.Revision)), took(c), terminal.Text(changedFor(c)), terminal.Text(changedWhat(c)), terminal.Text(c.Cause),
	}
}

// changedFor says for which apps a change is. Of certificates, what changed says it.
func changedFor(c api.Change) string {
	switch {
	case len(c.Apps) == 0:
		return ""
	case c.AppCount > 1:
		return plural.Of(c.AppCount, "app")
	}
	return c.Apps[0]
}

// maxChangedShown is how much is shown of what differed, so that the reason is not far away.
const maxChangedShown = 3

func changedWhat(c api.Change) string {
	text := strings.Join(c.What[:min(len(c.What), maxChangedShown)], "; ")
	if more := len(c.What) - maxChangedShown; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// took says how far the Envoys are with a change.
func took(c api.Change) terminal.Cell {
	switch {
	case len(c.Rejected) > 0:
		return terminal.Cell{Text: "rejected", Style: terminal.Red}
	case c.Converged != nil:
		return terminal.Text(seconds(*c.Converged))
	case len(c.Waiting) > 0:
		return terminal.Cell{Text: "waits", Style: terminal.Yellow}
	}
	return terminal.Text(unknown)
}

type failuresCmd struct {
	Subject     string `arg:"" optional:"" name:"app-or-domain" complete:"subject" help:"Only failures of this app, such as /shop/web, or domain."`
	Fleet       string `placeholder:"NAME" complete:"fleet" help:"Only those that Envoys of this fleet reported."`
	Code        string `placeholder:"CODE" help:"Only those with this code, such as offline."`
	ListFlags   `embed:""`
	OutputFlags `embed:""`
	ClientFlags `embed:""`
}

// Run lists requests that no app answered, the newest first.
func (c *failuresCmd) Run(ctx context.Context, out streams) error {
	app, domain := c.Subject, ""
	if !strings.HasPrefix(app, "/") {
		app, domain = "", c.Subject
	}
	return asking(ctx, c.ClientFlags, out, func(ctx context.Context, relay *client.Client) error {
		return listing{
			path: "failures", field: "failures", limit: c.Limit, none: "no such failure is known", text: c.Filter,
			query:   queryOf("app", app, "domain", domain, "fleet", c.Fleet, "code", c.Code),
			columns: failureColumns, row: rowOf(failureRow),
		}.show(ctx, relay, c.printer(out))
	})
}

var failureColumns = []terminal.Column{
	{Title: "TIME"}, {Title: "CODE"}, {Title: "STATUS", Right: true, Optional: true}, {Title: "COUNT", Right: true, Optional: true}, {Title: "APP"},
	{Title: "REQUEST", Shrinks: true}, {Title: "INSTANCE", Optional: true}, {Title: "CAUSE", Shrinks: true},
}

func failureRow(f api.Failure) []terminal.Cell {
	status := ""
	if f.Status != 0 {
		status = fmt.Sprint(f.Status)
	}
	return []terminal.Cell{
		terminal.Text(clock(f.Time)), {Text: f.Code, Style: terminal.Red}, terminal.Text(status), terminal.Text(fmt.Sprint(max(1, f.Count))), terminal.Text(f.App),
		terminal.Text(strings.TrimSpace(f.Method + " " + f.Domain + f.Path)), terminal.Text(f.Instance), terminal.Text(f.Cause),
	}
}
