package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"relay/admin/api"
	"relay/admin/client"
	"relay/internal/terminal"
)

type incidentCmd struct {
	Action      string   `arg:"" optional:"" default:"list" enum:"list,open,update,close,maintenance" help:"list: incidents and maintenance, with the ids of incidents; open: publish an incident; update: add a text to one; close: end it; maintenance: announce that there will be some."`
	Subject     string   `arg:"" optional:"" name:"title-or-id" help:"The headline of what is opened or announced; the id of what is updated or closed, or of what is to be shown."`
	Text        string   `short:"t" placeholder:"TEXT" help:"What is published."`
	Services    []string `placeholder:"NAME" help:"The services of the status page that are concerned, with commas between them."`
	State       string   `placeholder:"STATE" help:"investigating, identified or monitoring: how an incident is from now on."`
	Begin       string   `placeholder:"TIME" help:"When maintenance begins, in UTC: 2026-12-01 22:00, or 2026-12-01T22:00:00Z; now without it."`
	End         string   `placeholder:"TIME" help:"When maintenance ends, or how long it lasts, such as 90m."`
	OutputFlags `embed:""`
	ClientFlags `embed:""`
}

// Run lists incidents, or publishes something.
func (c *incidentCmd) Run(ctx context.Context, out streams) error {
	path, query, err := c.request()
	if err != nil {
		return exitStatus{err, statusUsage}
	}
	return asking(ctx, c.ClientFlags, out, func(ctx context.Context, relay *client.Client) error {
		p := c.printer(out)
		if c.Action == "list" {
			return c.list(ctx, relay, p)
		}
		posted, err := relay.Post(ctx, path, query)
		if err != nil {
			return err
		}
		done, err := decoded[api.IncidentChange](posted.Body)
		if err != nil {
			return err
		}
		if !posted.Made {
			return exitStatus{errors.New(terminal.Clean(posted.Reason)), statusWrong}
		}
		if done.Unsaved != "" {
			fmt.Fprintf(out.err, "relay: warning: it is published, and a restart of this Relay forgets it: %s\n", done.Unsaved)
		}
		return p.print(posted.Body, func() { p.incident(done.Incident) })
	})
}

// request says what is posted where.
func (c *incidentCmd) request() (path string, query url.Values, err error) {
	needs := func(given string, flags ...string) {
		if given == "" && err == nil {
			err = fmt.Errorf("relay incident %s needs %s", c.Action, strings.Join(flags, " "))
		}
	}
	c.refuse(&err)
	switch c.Action {
	case "open":
		needs(c.Subject, "a headline: relay incident open \"Logins are slow\" --text ...")
		path, query = "incidents/open", queryOf("title", c.Subject, "state", c.State, "services", strings.Join(c.Services, ","))
	case "maintenance":
		needs(c.Subject, "a headline: relay incident maintenance \"New database\" --begin ... --end ... --text ...")
		needs(c.End, "--end")
		begin, end, wrong := c.times(now())
		if err == nil {
			err = wrong
		}
		path, query = "incidents/maintenance", queryOf("title", c.Subject, "begin", begin, "end", end, "services", strings.Join(c.Services, ","))
	case "update", "close":
		needs(c.Subject, "an id: relay incident list has them")
		path, query = client.PathOf("incidents", c.Subject)+"/"+c.Action, queryOf("state", c.State)
	default:
		return "", nil, err
	}
	needs(c.Text, "--text: what is published")
	query.Set("text", c.Text)
	return path, query, err
}

// refuse says which options are of another action.
func (c *incidentCmd) refuse(err *error) {
	for _, option := range []struct {
		name, given, actions string
	}{
		{"--text", c.Text, "open update close maintenance"}, {"--services", strings.Join(c.Services, ","), "open maintenance"}, {"--state", c.State, "open update"},
		{"--begin", c.Begin, "maintenance"}, {"--end", c.End, "maintenance"},
	} {
		if option.given != "" && !strings.Contains(option.actions, c.Action) {
			*err = fmt.Errorf("%s is not for relay incident %s", option.name, c.Action)
		}
	}
}

// times are the begin and the end as the API takes them.
func (c *incidentCmd) times(now time.Time) (begin, end string, err error) {
	from := now
	if c.Begin != "" {
		if from, err = moment(c.Begin); err != nil {
			return "", "", fmt.Errorf("--begin: %w", err)
		}
		begin = from.Format(time.RFC3339)
	}
	length, err := time.ParseDuration(c.End)
	to := from.Add(length)
	if err != nil {
		if to, err = moment(c.End); err != nil {
			return "", "", fmt.Errorf("--end: %w, or how long it lasts, such as 90m", err)
		}
	}
	return begin, to.UTC().Format(time.RFC3339), nil
}

// moment reads a time that people write.
func moment(text string) (time.Time, error) {
	for _, form := range []string{time.RFC3339, "2006-01-02 15:04", "2006-01-02 15:04 MST"} {
		if at, err := time.Parse(form, text); err == nil && (form == time.RFC3339 || at.Location() == time.UTC) {
			return at.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%.40q is no time: want one in UTC such as \"2026-12-01 22:00\"", text)
}

// list shows all incidents, or one.
func (c *incidentCmd) list(ctx context.Context, relay *client.Client, p printer) error {
	answer, err := relay.Get(ctx, "incidents", nil)
	if err != nil {
		return err
	}
	body, err := found(answer)
	if err != nil {
		return err
	}
	all, err := decoded[api.Incidents](body)
	if err != nil {
		return err
	}
	if c.Subject == "" {
		return p.print(body, func() { p.incidents(all.Incidents) })
	}
	for _, in := range all.Incidents {
		if in.ID != c.Subject {
			continue
		}
		if body, err = indented(in); err != nil {
			return err
		}
		return p.print(body, func() { p.incident(in) })
	}
	return fmt.Errorf("there is no incident %s: relay incident list has them", terminal.Clean(quotedWord(c.Subject)))
}

func (p printer) incidents(all []api.Incident) {
	if len(all) == 0 {
		p.line("there is no incident, and no maintenance")
		return
	}
	var rows [][]terminal.Cell
	for _, in := range all {
		rows = append(rows, []terminal.Cell{
			terminal.Text(in.ID), incidentState(in), terminal.Text(clock(in.Begin)), terminal.Text(clock(in.End)),
			terminal.Text(terminal.Joined(in.Services, 3)), terminal.Text(in.Title),
		})
	}
	p.table(rows, terminal.Column{Title: "ID"}, terminal.Column{Title: "STATE"}, terminal.Column{Title: "BEGIN"}, terminal.Column{Title: "END"},
		terminal.Column{Title: "SERVICES", Shrinks: true}, terminal.Column{Title: "TITLE", Shrinks: true})
}

func incidentState(in api.Incident) terminal.Cell {
	style := terminal.Yellow
	if in.State == api.IncidentResolved || in.State == api.MaintenanceCompleted {
		style = terminal.Green
	} else if in.State == api.IncidentInvestigating {
		style = terminal.Red
	}
	return terminal.Cell{Text: in.State, Style: style}
}

// incident shows one with all that was written.
func (p printer) incident(in api.Incident) {
	state := incidentState(in)
	p.line("%s  %s", p.screen.Styled(terminal.Bold, in.Title), p.screen.Styled(state.Style, state.Text))
	p.pair("id", in.ID)
	p.pair("services", strings.Join(in.Services, ", "))
	p.pair("begin", clock(in.Begin))
	p.pair("end", clock(in.End))
	for _, u := range in.Updates {
		p.screen.Hanging(fmt.Sprintf("  %s  %s: ", clock(u.Time), u.State), "                       ", strings.ReplaceAll(u.Text, `\n`, " ")) // as decoded writes them
	}
}
