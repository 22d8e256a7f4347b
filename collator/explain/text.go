package explain

import (
	"fmt"
	"io"
	"strings"
	"time"

	"relay/xds"
)

// writer writes an explanation for people.
type writer struct{ w io.Writer }

func (x writer) line(format string, args ...any) { fmt.Fprintf(x.w, format+"\n", args...) }

// detail writes a line with a title of its own column.
func (x writer) detail(title, format string, args ...any) {
	x.line("  %-12s "+format, append([]any{title}, args...)...)
}

// WriteText writes the whole explanation, as people read it.
func (e Explanation) WriteText(w io.Writer) {
	x := writer{w}
	for _, reason := range e.NotReady {
		x.line("Envoys are not served everything yet: %s", reason)
	}
	if !e.Known {
		x.line("%s: no fleet of this Relay has such a domain or TCP port, and no app has this id", e.Subject)
		if len(e.Near) > 0 {
			x.line("near it: %s", strings.Join(e.Near, ", "))
		}
		return
	}
	x.line("%s", e.Subject)
	if len(e.Domains)+len(e.Services) == 0 && !strings.HasPrefix(e.Subject, "/") {
		hint := ""
		if strings.HasPrefix(e.Subject, "tcp/") {
			hint = " (a TCP port is opened if labels ask for it, or with --tcp all)"
		}
		x.line("  no fleet of this Relay serves it; these apps have it%s:", hint)
	}
	for _, d := range e.Domains {
		x.line("")
		x.domain(d)
	}
	for i, left := range e.LeftOut {
		if i == 0 {
			x.line("")
		}
		x.line("  not for %s: %s", left.App, left.Reason)
	}
	if len(e.Services) > 0 {
		x.line("")
		x.line("TCP services")
	}
	for _, service := range e.Services {
		x.service(service)
	}
	for _, app := range e.Apps {
		x.line("")
		x.app(app)
	}
	for _, fleet := range e.Fleets {
		x.line("")
		x.fleet(fleet)
		if len(fleet.Envoys) == 0 {
			for _, client := range e.Refused {
				x.detail("refused", "%s", client)
			}
		}
	}
}

func (x writer) domain(d Domain) {
	answered := d.Domain
	if d.Domain != d.Host {
		answered = d.Host + " by " + d.Domain
	}
	x.line("%s in fleet %s", answered, d.Fleet)
	x.detail("scope", "%s", d.Domain)
	for _, r := range d.Rules {
		x.rule(r)
	}
	if d.ACMECluster != "" {
		x.detail("ACME", "challenges by plain HTTP go to cluster %s, before all else", d.ACMECluster)
	}
	x.https(d.HTTPS)
	for _, note := range d.Notes {
		x.detail("note", "%s", note)
	}
}

func (x writer) rule(r Rule) {
	path := r.Path + "*"
	switch {
	case r.Pattern != "":
		path = r.Pattern
	case r.Exact:
		path = r.Path
	}
	if r.IgnoreCase {
		path += " in any case"
	}
	claim := fmt.Sprintf("%s for port %d of %s, weight %d", path, r.Port, r.App, r.Order)
	if r.Outcome == Loses {
		x.detail("loses", "%s", claim)
		x.detail("", "%s", r.Reason)
		return
	}
	x.detail("serves", "%s: %s", claim, r.Reason)
	for _, t := range r.Targets {
		share := ""
		if len(r.Targets) > 1 {
			share = fmt.Sprintf(", share %d", t.Weight)
		}
		x.detail("", "to cluster %s%s", t.Cluster, share)
	}
	for _, words := range r.Handling {
		x.detail("", "%s", words)
	}
}

func (x writer) https(h HTTPS) {
	if used := h.Certificate; used != nil {
		x.detail("HTTPS", "on %s: %s", h.Listens, certificateText(*used))
		x.remarks(*used)
	}
	if second := h.Second; second != nil {
		x.detail("HTTPS", "or %s", certificateText(*second))
		x.remarks(*second)
	}
	for _, other := range h.Others {
		x.detail("not used", "%s", certificateText(other))
	}
	for _, note := range h.Notes {
		x.detail("HTTPS", "%s", note)
	}
}

func (x writer) remarks(c Certificate) {
	for _, remark := range c.Remarks {
		x.detail("", "%s: %s", c.Secret, remark)
	}
}

func (x writer) service(s Service) {
	what := s.Listener + " on " + s.Address
	if s.ServerName != "" {
		what += ", TLS for " + s.ServerName + " passed through,"
	}
	x.detail(string(s.Outcome), "%s in fleet %s, for port %d of %s: %s", what, s.Fleet, s.Port, s.App, s.Reason)
	if s.Outcome == Serves {
		x.detail("", "to cluster %s", s.Cluster)
	}
	for _, words := range s.Handling {
		x.detail("", "%s", words)
	}
}

func certificateText(c Certificate) string {
	name := "default"
	if c.ServerName != "" {
		name = c.ServerName
	}
	until := c.NotAfter.UTC().Format("2006-01-02")
	if c.EndsWith != "" {
		until += " with its issuer " + c.EndsWith
	}
	return fmt.Sprintf("certificate %s for %s, %s, until %s: %s", c.Secret, name, c.State, until, c.Reason)
}

func (x writer) app(app App) {
	version := ""
	if app.Version != "" {
		version = ", version " + app.Version
	}
	x.line("app %s%s", app.ID, version)
	if app.Deployment != "" {
		x.detail("group", "one of %s, whose oldest app's labels count", app.Deployment)
	}
	if app.Owner != "" {
		x.detail("owner", "%s", app.Owner)
	}
	if app.Maintenance {
		x.detail("maintenance", "requests get 503 and a page that says so (RELAY_MAINTENANCE)")
	}
	if s := app.Scaling; s != nil {
		since := ""
		if !s.Since.IsZero() {
			since = " since " + s.Since.UTC().Format("2006-01-02 15:04:05 UTC")
		}
		x.detail("scaling", "%s%s: %s", s.Phase, since, s.Text)
		for _, part := range []struct{ title, text string }{{"why", s.Reason}, {"size", s.Size}, {"trouble", s.Trouble}} {
			if part.text != "" {
				x.detail("", "%s: %s", part.title, part.text)
			}
		}
		for _, event := range s.Events {
			x.detail("", "  %s", event)
		}
	}
	if app.Stopped && (app.Scaling == nil || !app.Scaling.Sleeps) {
		x.detail("instances", "0: it was scaled to 0, so it has no tasks, or those that end")
	}
	if len(app.Ports) == 0 {
		x.detail("ports", "none: nothing of it can be routed")
	}
	for _, port := range app.Ports {
		x.port(port, app.Scaling != nil && app.Scaling.Sleeps)
	}
	for _, n := range app.Notes {
		x.detail("task", "%s %s", n.Task, n.Text)
	}
	for _, p := range app.Problems {
		fleet := ""
		if p.Fleet != "" {
			fleet = "fleet " + p.Fleet + ", "
		}
		subject := ""
		if p.Subject != "" {
			subject = p.Subject + ": "
		}
		x.detail("problem", "%s%s%s", fleet, subject, p.Reason)
	}
}

func (x writer) port(p Port, sleeps bool) {
	title := fmt.Sprintf("port %d", p.Index)
	if p.Name != "" {
		title += " " + p.Name
	}
	switch {
	case p.Cluster == "" && len(p.Groups) == 0:
		x.detail(title, "in no group: no fleet serves it (HAPROXY_GROUP)")
	case p.Cluster == "":
		x.detail(title, "in the groups %s: none is a fleet of this Relay", strings.Join(p.Groups, ", "))
	default:
		x.detail(title, "in fleet %s, cluster %s", strings.Join(p.Fleets, ", "), p.Cluster)
		if len(p.OtherGroups) > 0 {
			x.detail("", "also in the groups %s, which are no fleets of this Relay", strings.Join(p.OtherGroups, ", "))
		}
	}
	if len(p.Domains) > 0 {
		x.detail("", "domains %s", strings.Join(p.Domains, ", "))
	}
	if p.Probe != "" {
		x.detail("", "asked from outside: %s", p.Probe)
	}
	for _, words := range p.Connections {
		x.detail("", "%s", words)
	}
	switch {
	case len(p.Endpoints) > 0 || p.Cluster == "":
	case sleeps:
		x.detail("", "no task: requests wait until the app has started")
	default:
		x.detail("", "no task is in rotation: requests get 503, TCP connections are closed")
	}
	for _, e := range p.Endpoints {
		x.detail("", "%s %s, task %s", e.Address, e.Health, e.Task)
		if e.Unreachable != "" {
			x.detail("", "  %s", e.Unreachable)
		}
	}
	for _, excluded := range p.Excluded {
		x.detail("", "left out: task %s: %s", excluded.Task, excluded.Reason)
	}
}

func (x writer) fleet(f Fleet) {
	x.line("Envoys of fleet %s", f.Name)
	if len(f.Envoys) == 0 {
		x.detail("none", "no Envoy of this fleet is connected to this Relay")
	}
	for _, envoy := range f.Envoys {
		version := ""
		if envoy.Version != "" {
			version = "Envoy " + envoy.Version + ", "
		}
		x.line("  %s (%sfrom %s) has acknowledged %d of %d resources", envoy.ID, version, envoy.Address, envoy.Acknowledged, f.Needs)
		for _, need := range envoy.Waiting {
			x.detail("", "%s %s: %s", need.Type, need.Name, need.State)
			if need.Rejected != nil {
				x.detail("", "%s", rejectedText(*need.Rejected))
			}
		}
	}
}

// rejectedText says what an Envoy has in place of what was rejected, and why.
func rejectedText(stale xds.StaleResource) string {
	has := "it has none"
	if stale.HasOlder {
		has = "an older version serves"
	}
	retry := ""
	if !stale.Retry.IsZero() {
		retry = ", tried again at " + stamp(stale.Retry)
	}
	return fmt.Sprintf("rejected by %s since %s, %s%s: %s", stale.By, stamp(stale.Since), has, retry, stale.Message)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
