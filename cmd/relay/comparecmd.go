package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"relay/collator"
	"relay/compare"
	"relay/compare/marathonlb"
	"relay/internal/plural"
	"relay/internal/relay"
)

type compareCmd struct {
	Flags   `embed:""`
	Timeout time.Duration `default:"30s" help:"How long to try to read each source."`

	CompareFlags `embed:""`
}

// CompareFlags say what is compared with what.
type CompareFlags struct {
	Old          string   `group:"Compare" placeholder:"URL" help:"Where marathon-lb answers: http://lb:80. Without it only rules are compared. An https URL asks by HTTPS alone."`
	New          string   `group:"Compare" placeholder:"URL" help:"Where an Envoy of the fleet answers. Without it the answers of marathon-lb are compared with what Relay would do."`
	OldHTTPS     string   `group:"Compare" name:"old-https" placeholder:"URL" help:"Where marathon-lb answers by HTTPS, beside --old: https://lb:443."`
	NewHTTPS     string   `group:"Compare" name:"new-https" placeholder:"URL" help:"Where the Envoy answers by HTTPS, beside --new."`
	OldAdmin     string   `group:"Compare" placeholder:"URL" help:"Where marathon-lb says what it has. Default: port 9090 of the host of --old; none: it is not asked."`
	CompareFleet string   `group:"Compare" placeholder:"NAME" help:"The fleet to compare, if there are several. Default: all of them, by rules; the one fleet there is, by answers."`
	OldGroup     []string `group:"Compare" placeholder:"NAME" help:"The groups of marathon-lb's own --group. Default: the name of the fleet."`

	OldStrictMode  bool   `group:"Compare" help:"marathon-lb runs with --strict-mode."`
	OldHealthCheck bool   `group:"Compare" help:"marathon-lb runs with --health-check."`
	OldHAProxyMap  bool   `group:"Compare" name:"old-haproxy-map" help:"marathon-lb runs with --haproxy-map."`
	OldFramework   string `group:"Compare" placeholder:"ID" help:"FRAMEWORK_NAME in marathon-lb's environment: its own app, which it leaves out."`

	Path           []string      `group:"Requests to compare" sep:"none" placeholder:"PATH" help:"Ask for these paths of each domain, too, besides / and the paths of rules."`
	Method         string        `group:"Requests to compare" default:"GET" enum:"GET,HEAD" help:"GET or HEAD."`
	Header         []string      `group:"Requests to compare" sep:"none" placeholder:"LINE" help:"A line of the head of each request, such as 'X-Team: shop'. May be given several times. Not shown in the report."`
	Rate           float64       `group:"Requests to compare" default:"20" help:"Requests a second to each side, at most."`
	Concurrency    int           `group:"Requests to compare" default:"4" help:"How many domains are asked about at the same time."`
	Limit          int           `group:"Requests to compare" default:"0" help:"Ask about so many domains and paths at most, spread evenly over all of them; 0: all."`
	RequestTimeout time.Duration `group:"Requests to compare" default:"10s" help:"How long an answer may take."`

	Output string `group:"Compare" short:"o" default:"text" enum:"text,json" help:"text or json."`
	All    bool   `group:"Compare" help:"Show every finding, and not only some of those with the same reason."`
}

// exitStatus is an error with a status of its own. Without an error all was said.
type exitStatus struct {
	error
	status int
}

// Unwrap returns the error.
func (e exitStatus) Unwrap() error { return e.error }

// The statuses of relay compare, besides 0.
const (
	statusDifferent   = 1
	statusNotCompared = 2
)

func notCompared(err error) error { return exitStatus{err, statusNotCompared} }

// Run compares, and prints what is not the same. Its status is 0 if nothing is different, 1
// if something is, and 2 if it could not compare.
func (c *compareCmd) Run(ctx context.Context, out streams) error {
	config, err := c.withEnvironment()
	if err != nil {
		return notCompared(err)
	}
	if len(config.Apps.Marathon.URLs) == 0 {
		return notCompared(errors.New("marathon-lb reads Marathon: give --marathon URL"))
	}
	apps := &definitions{}
	config.Apps.Marathon.OnFullRead = apps.begin
	fmt.Fprintln(out.err, "reading apps and certificates")
	read, unread, err := relay.ReadOnce(ctx, config, c.Timeout)
	if err != nil {
		return notCompared(fmt.Errorf("the apps cannot be read: %w", err))
	}
	for i, err := range unread {
		unread[i] = fmt.Errorf("certificates cannot be read: %w", err)
	}
	unread = append(unread, apps.unread...)
	for _, err := range unread {
		fmt.Fprintln(out.err, err)
	}
	report, err := c.compare(ctx, read, apps.all, out.err)
	if err != nil {
		return notCompared(err)
	}
	report.Interrupted = ctx.Err() != nil
	report.Sort()
	if err := c.print(report, out.out); err != nil {
		return notCompared(err)
	}
	if err := outcome(report); err != nil {
		return err
	}
	if len(unread) > 0 {
		return notCompared(errors.New("not all could be read, as was said above"))
	}
	return nil
}

// outcome is what the status says.
func outcome(report *compare.Report) error {
	different, _, _ := report.Counts()
	switch {
	case different > 0:
		return exitStatus{errors.New(plural.Of(different, "thing is different", "things are different")), statusDifferent}
	case report.Interrupted:
		return notCompared(errors.New("interrupted before all was compared"))
	}
	for _, t := range report.Tallies {
		switch {
		case t.Failed:
			return notCompared(fmt.Errorf("%s of fleet %s: %s", t.Part, t.Fleet, t.NotDone))
		case t.CannotTell > 0 && t.CannotTell == t.Compared:
			return notCompared(fmt.Errorf("%s of fleet %s: nothing could be compared", t.Part, t.Fleet))
		}
	}
	return nil
}

func (c *compareCmd) compare(ctx context.Context, read *collator.Collator, apps []marathonlb.App, progress io.Writer) (*compare.Report, error) {
	var names []string
	for _, f := range c.fleets() {
		if c.CompareFleet == "" || f.Name == c.CompareFleet {
			names = append(names, f.Name)
		}
	}
	asks := c.Old != "" || c.OldHTTPS != "" || c.New != "" || c.NewHTTPS != ""
	switch {
	case len(names) == 0:
		return nil, fmt.Errorf("--compare-fleet: there is no fleet %q", c.CompareFleet)
	case len(names) > 1 && (asks || len(c.OldGroup) > 0):
		return nil, fmt.Errorf("which fleet is compared? There are %s: give --compare-fleet NAME", strings.Join(names, ", "))
	}
	asking, err := c.asking(progress)
	if err != nil {
		return nil, err
	}
	report := compare.NewReport()
	for _, name := range names {
		groups := c.OldGroup
		if len(groups) == 0 {
			groups = []string{name}
		}
		sides, err := compare.NewSides(read, name, apps, marathonlb.Options{
			Groups: groups, StrictMode: c.OldStrictMode, HealthCheck: c.OldHealthCheck, HAProxyMap: c.OldHAProxyMap, Framework: c.OldFramework,
		})
		if err != nil {
			return nil, err
		}
		sides.CompareRules(report)
		if asks {
			sides.Ask(ctx, report, asking)
		}
	}
	return report, nil
}

// asking is what is asked, and where.
func (c *compareCmd) asking(progress io.Writer) (compare.Asking, error) {
	asking := compare.Asking{
		Paths: c.Path, Method: c.Method, Rate: c.Rate, Concurrency: c.Concurrency, Limit: c.Limit, Timeout: c.RequestTimeout, Progress: progress,
	}
	return asking, asking.Read(compare.Addresses{
		Old: c.Old, New: c.New, OldHTTPS: c.OldHTTPS, NewHTTPS: c.NewHTTPS, OldAdmin: c.OldAdmin, Header: slices.Clone(c.Header),
	})
}

func (c *compareCmd) print(report *compare.Report, w io.Writer) error {
	if c.Output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(report)
	}
	return report.WriteText(w, c.All)
}

// definitions keeps what the last full read of Marathon said, as marathon-lb would read it.
type definitions struct {
	all    []marathonlb.App
	unread []error
}

// begin forgets what an earlier read said.
func (d *definitions) begin() func([]byte) {
	d.all, d.unread = nil, nil
	return func(text []byte) {
		app, err := marathonlb.Read(text)
		if err != nil {
			d.unread = append(d.unread, fmt.Errorf("an app cannot be read as marathon-lb does: %w", err))
			return
		}
		d.all = append(d.all, app)
	}
}
