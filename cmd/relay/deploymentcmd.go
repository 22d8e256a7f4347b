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
	"relay/internal/plural"
	"relay/internal/terminal"
)

type deploymentCmd struct {
	Group       string `arg:"" optional:"" name:"deployment" complete:"deployment" help:"The deployment group (HAPROXY_DEPLOYMENT_GROUP); without one all are listed."`
	Action      string `arg:"" optional:"" name:"action" default:"status" enum:"status,advance,rollback" help:"status: the apps, what is open at each instance, and the next step; advance: make one step towards the new app; rollback: make one step back."`
	Instances   int    `placeholder:"N" help:"How many more instances the app gets that takes over; without it all that are missing."`
	Force       bool   `help:"Stop instances that drain though connections are open there, or it is not known whether they are."`
	Wait        bool   `help:"Go on step by step, and wait for connections to end, until nothing is left to do."`
	ListFlags   `embed:""`
	OutputFlags `embed:""`
	ClientFlags `embed:""`
}

// Run lists deployment groups, shows one, or has it make steps.
func (c *deploymentCmd) Run(ctx context.Context, out streams) error {
	if c.Instances < 0 || c.Action == "status" && (c.Instances > 0 || c.Force || c.Wait) {
		return exitStatus{errors.New("--instances, --force and --wait are for advance and rollback, and --instances is 1 or more"), statusUsage}
	}
	return asking(ctx, c.ClientFlags, out, func(ctx context.Context, relay *client.Client) error {
		p := c.printer(out)
		switch {
		case c.Group == "":
			return c.list().show(ctx, relay, p)
		case c.Action == "status":
			d, body, err := c.look(ctx, relay)
			if err != nil {
				return err
			}
			return p.print(body, func() { p.deployment(d) })
		case c.Wait:
			return c.walk(ctx, relay, p, out)
		}
		return c.step(ctx, relay, p)
	})
}

func (c *deploymentCmd) list() listing {
	return listing{
		path: "deployments", field: "deployments", query: queryOf("q", c.Filter), limit: c.Limit, none: "no app names a deployment group (HAPROXY_DEPLOYMENT_GROUP)",
		columns: []terminal.Column{
			{Title: "GROUP"}, {Title: "STATE"}, {Title: "TO"}, {Title: "HEALTHY", Right: true}, {Title: "OF", Right: true}, {Title: "LEFT", Right: true},
			{Title: "CONNECTIONS LEFT", Right: true}, {Title: "FROM", Shrinks: true},
		},
		row: rowOf(deploymentRow),
	}
}

func deploymentRow(d api.Deployment) []terminal.Cell {
	healthy, left, open, known := 0, 0, 0, true
	for _, app := range d.Apps {
		switch {
		case app.ID == d.To || d.To == "":
			healthy += app.Healthy
		case app.Instances > 0:
			left += app.Instances
			if app.Connections == nil {
				known = false
			} else {
				open += *app.Connections
			}
		}
	}
	connections := fmt.Sprint(open)
	if !known {
		connections = unknown
	}
	return []terminal.Cell{
		terminal.Text(d.Group), deploymentState(d), terminal.Text(d.To), terminal.Text(fmt.Sprint(healthy)), terminal.Text(fmt.Sprint(d.Target)),
		terminal.Text(fmt.Sprint(left)), terminal.Text(connections), terminal.Text(terminal.Joined(d.From, 3)),
	}
}

func deploymentState(d api.Deployment) terminal.Cell {
	switch {
	case d.To == "":
		return terminal.Cell{Text: "one app", Style: terminal.Faint}
	case d.Done:
		return terminal.Cell{Text: "done", Style: terminal.Green}
	case d.Back:
		return terminal.Cell{Text: "rolling back", Style: terminal.Yellow}
	}
	return terminal.Cell{Text: "under way", Style: terminal.Yellow}
}

func (c *deploymentCmd) path() string {
	return "deployments/" + url.PathEscape(strings.Trim(c.Group, "/"))
}

// look asks for the state of the group.
func (c *deploymentCmd) look(ctx context.Context, relay *client.Client) (api.Deployment, []byte, error) {
	return story[api.Deployment](ctx, relay, c.path(), "relay deployment")
}

// post asks for a step, if the state is still the given one.
func (c *deploymentCmd) post(ctx context.Context, relay *client.Client, state string) (client.Posted, api.DeploymentStep, error) {
	query := queryOf("state", state)
	if c.Instances > 0 {
		query.Set("instances", fmt.Sprint(c.Instances))
	}
	if c.Force {
		query.Set("force", "true")
	}
	posted, err := relay.Post(ctx, c.path()+"/"+c.Action, query)
	if err != nil {
		return posted, api.DeploymentStep{}, err
	}
	step, err := decoded[api.DeploymentStep](posted.Body)
	return posted, step, err
}

// step makes one step.
func (c *deploymentCmd) step(ctx context.Context, relay *client.Client, p printer) error {
	posted, step, err := c.post(ctx, relay, "")
	if err != nil {
		return err
	}
	if err := p.print(posted.Body, func() { p.step(step); p.deployment(step.Deployment) }); err != nil {
		return err
	}
	if !posted.Made {
		return exitStatus{errors.New(terminal.Clean(posted.Reason)), statusWrong}
	}
	return nil
}

// The pauses between two looks, and how often in a row a step may not be made.
const (
	walkPause, walkFailedPause = 2 * time.Second, 5 * time.Second
	walkFailures               = 10
)

// pauseFor waits. Tests have another one.
var pauseFor = pause

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// walk makes steps until nothing is left to do. It says what it waits for when that changes.
func (c *deploymentCmd) walk(ctx context.Context, relay *client.Client, p printer, out streams) error {
	told, failures, turned := "", 0, false
	for {
		d, body, err := c.look(ctx, relay)
		if err != nil {
			return err
		}
		wanted := d.Back == (c.Action == "rollback") || d.To == ""
		if turned = turned || wanted; wanted && d.Done {
			return p.print(body, func() { p.deployment(d) })
		}
		pause := walkPause
		if !wanted || len(d.Next) > 0 || c.Force {
			posted, step, err := c.post(ctx, relay, d.State)
			switch {
			case err != nil:
				return err
			case posted.Made:
				failures = 0
			case !posted.Again:
				return exitStatus{errors.New(terminal.Clean(posted.Reason)), statusWrong}
			default:
				if failures++; failures >= walkFailures {
					return exitStatus{errors.New(terminal.Clean(posted.Reason)), statusWrong}
				}
				fmt.Fprintf(out.err, "relay: %s: the next try is in %s\n", terminal.Clean(posted.Reason), walkFailedPause)
				pause = walkFailedPause
			}
			for _, change := range step.Made {
				fmt.Fprintf(out.err, "%s\n", changeText(change))
			}
			d = step.Deployment
		}
		if waiting := strings.Join(d.Waiting, "\n  "); waiting != "" && waiting != told {
			told = waiting
			fmt.Fprintf(out.err, "waiting: %s\n", waiting)
		}
		if err := pauseFor(ctx, pause); err != nil {
			return err
		}
	}
}

func changeText(c api.DeploymentChange) string {
	text := fmt.Sprintf("%s: %s in place of %d: %s", c.App, plural.Of(c.To, "instance"), c.From, c.Why)
	if len(c.Kill) > 0 {
		text += "; stops " + terminal.Joined(c.Kill, 5)
	}
	return text
}

// step shows what was done.
func (p printer) step(s api.DeploymentStep) {
	if s.Turned {
		p.line("The direction is another one now.")
	}
	for _, c := range s.Made {
		p.screen.Hanging("Done: ", "      ", changeText(c))
	}
	if len(s.Made) == 0 && s.Error == "" {
		p.line("There was nothing to change.")
	}
}

// deployment shows a group.
func (p printer) deployment(d api.Deployment) {
	p.line("%s  %s", p.screen.Styled(terminal.Bold, d.Group), p.screen.Styled(deploymentState(d).Style, deploymentState(d).Text))
	if d.To != "" {
		p.pair("takes over", fmt.Sprintf("%s, with %s in the end", d.To, plural.Of(d.Target, "instance")))
		p.pair("from", strings.Join(d.From, ", "))
	}
	for _, app := range d.Apps {
		p.deploymentApp(app)
	}
	for i, c := range d.Next {
		if i == 0 {
			p.title("Next step")
		}
		p.screen.Hanging("  ", "    ", changeText(c))
	}
	for i, text := range d.Waiting {
		if i == 0 {
			p.title("Waiting")
		}
		p.screen.Hanging("  ", "    ", text)
	}
	p.pair("read only", d.ReadOnly)
	for i, e := range d.Events[:min(len(d.Events), shownOfStory)] {
		if i == 0 {
			p.title("Last steps")
		}
		p.screen.Hanging(fmt.Sprintf("  %s  %s: ", clock(e.Time), e.Kind), "                       ", e.Text)
	}
}

func (p printer) deploymentApp(app api.DeploymentApp) {
	p.title(app.ID)
	p.pair("version", app.Version)
	text := fmt.Sprintf("%d wanted, %d take new connections, %d drain", app.Instances, app.Healthy, app.Draining)
	if app.Out > 0 {
		text += fmt.Sprintf(", %d are not in rotation", app.Out)
	}
	p.pair("instances", text)
	var rows [][]terminal.Cell
	for _, t := range app.Tasks {
		health := terminal.Cell{Text: t.Health, Style: terminal.Green}
		if t.Health != "healthy" {
			health.Style = terminal.Yellow
		}
		connections := unknown
		if t.Connections != nil {
			connections = fmt.Sprint(*t.Connections)
		}
		rows = append(rows, []terminal.Cell{terminal.Text("  " + t.Address), health, terminal.Text(connections), terminal.Text(t.Task), terminal.Text(t.Waiting)})
	}
	if len(rows) > 0 {
		p.table(rows, terminal.Column{Title: "  INSTANCE"}, terminal.Column{Title: "HEALTH"}, terminal.Column{Title: "OPEN", Right: true},
			terminal.Column{Title: "TASK", Shrinks: true}, terminal.Column{Title: "WAITS FOR", Shrinks: true})
	}
}
