package findings

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"relay/admin/api"
	"relay/collator/explain"
	"relay/internal/failure"
	"relay/internal/plural"
	"relay/internal/problem"
)

// OfApp says how an app is now. Sources are those of apps and certificates.
func OfApp(s *api.AppStory, sources []api.Source, now time.Time) []api.Finding {
	var l list
	t := tasks{apps: []string{s.ID}, stopped: s.Stopped, scaling: s.Scaling, maintenance: s.Maintenance}
	var other []string
	routed := false
	for _, port := range s.Ports {
		other = append(other, port.OtherGroups...)
		if len(port.Fleets) == 0 {
			continue
		}
		routed = true
		for _, e := range port.Endpoints {
			t.take(e.Address, e.Unreachable)
		}
		for _, e := range port.Excluded {
			t.leaveOut(e.Task, e.Reason)
		}
	}
	l.firstIf(!routed || t.bad(), sources)
	switch {
	case !routed && len(other) > 0:
		l.add(api.Warning, "name a fleet in HAPROXY_GROUP, unless another load balancer serves it",
			"No fleet of this Relay serves it: its groups are %s", strings.Join(other[:min(len(other), 5)], ", "))
	case !routed && slices.ContainsFunc(s.Problems, failsByTraefik):
		l.add(api.Warning, "correct what is wrong with its labels of Traefik (docs/traefik.md)", "No fleet of this Relay serves it: none of its routers is routed")
	case !routed:
		l.add(api.Warning, "name a fleet in HAPROXY_GROUP (in a YAML file: groups); labels of Traefik count if Relay runs with --labels marathon-lb,traefik", "No fleet of this Relay serves it: it names no group")
	default:
		l.tasks(t)
	}
	l.envoys(s.Envoys, s.LastChanges, now)
	l.problems(s.Problems)
	l.traffic(t.apps, s.Load, s.LastFailures, s.Failures, t.up(s.LastChanges), now)
	l.firstIf(routed && !t.bad(), sources)
	l.certificateSources(sources, false)
	if routed && t.in == 0 && t.sleeps() {
		return l.sorted(t.asleep())
	}
	return l.sorted("All is well: " + plural.Of(t.in, "instance") + " in rotation")
}

// failsByTraefik reports whether a label of Traefik, which is read, is not understood.
func failsByTraefik(p api.Problem) bool {
	const prefix = "traefik."
	return p.Severity == problem.Failing && len(p.Item) > len(prefix) && strings.EqualFold(p.Item[:len(prefix)], prefix)
}

// maxProblems bounds what is said of problems: their list has all.
const maxProblems = 3

// problems says the worst of those that are known.
func (l *list) problems(problems []api.Problem) {
	for _, p := range problems[:min(len(problems), maxProblems)] {
		level := api.Warning
		if p.Severity == problem.Failing {
			level = api.Critical
		}
		l.problem(level, "", p)
	}
}

// problem says one, after what it is about.
func (l *list) problem(level api.Level, about string, p api.Problem) {
	if p.Item != "" {
		about += p.Item + ": "
	}
	l.add(level, p.Action, "%s", about+p.Reason)
}

// OfDomain says whether a domain is served now, and if not, why.
func OfDomain(s *api.DomainStory, e *explain.Explanation, sources []api.Source, now time.Time) []api.Finding {
	var l list
	t := tasksOf(e, s.Scaling)
	served, envoys := len(e.Domains)+len(e.Services) > 0, 0
	l.firstIf(!served || t.bad(), sources)
	if served {
		l.connected(e)
		l.tasks(t)
		for _, fleet := range e.Fleets {
			envoys += len(fleet.Envoys)
			l.envoys(progressOf(fleet), s.LastChanges, now)
		}
		l.losers(e)
	} else {
		l.notServed(e)
	}
	l.certificateSources(sources, served && slices.ContainsFunc(e.Domains, func(d explain.Domain) bool { return unusable(d.HTTPS) }))
	for _, d := range e.Domains {
		l.https(d, redirected(e, d))
	}
	failures := s.LastFailures
	if served {
		failures = l.refused(e, failures, now)
	}
	l.traffic(t.apps, s.Load, failures, s.Failures, t.up(s.LastChanges), now)
	l.settings(e)
	l.firstIf(served && !t.bad(), sources)
	if t.in == 0 && t.sleeps() {
		return l.sorted(t.asleep())
	}
	return l.sorted("It is served by " + plural.Of(t.in, "task") + "; " + plural.Of(envoys, "Envoy") + " " + verb(envoys, "has", "have") + " all of it")
}

// firstIf tells of sources of apps now, if it is the time to: before what would be another thing
// if apps were read, and else after all.
func (l *list) firstIf(now bool, sources []api.Source) {
	if now {
		l.apps(sources)
	}
}

// connected says which fleets have no Envoy.
func (l *list) connected(e *explain.Explanation) {
	for _, fleet := range e.Fleets {
		if len(fleet.Envoys) == 0 {
			refused := ""
			if len(e.Refused) > 0 {
				refused = "; refused lately: " + e.Refused[0]
			}
			l.add(api.Critical, "see whether the Envoys run, and what Relay's log says of them", "No Envoy of fleet %s is connected to this Relay%s", fleet.Name, refused)
		}
	}
}

// refused says which clients the rules do not let in, and returns the other failures. Failures of
// before the domain was served say nothing of now.
func (l *list) refused(e *explain.Explanation, failures []api.Failure, now time.Time) (rest []api.Failure) {
	var networks []string
	for _, d := range e.Domains {
		for _, r := range d.Rules {
			networks = append(networks, r.AllowedNetworks...)
		}
	}
	var forbidden []api.Failure
	for _, f := range failures {
		switch {
		case f.Code == failure.NoSuchDomain:
		case f.Code == failure.NotAllowed && len(networks) > 0:
			forbidden = append(forbidden, f)
		default:
			rest = append(rest, f)
		}
	}
	for _, sum := range byCode(forbidden) {
		level := api.OK
		if now.Sub(sum.last.Time) <= lately {
			level = api.Warning
		}
		slices.Sort(networks)
		networks = slices.Compact(networks)
		l.add(level, "if the client should be let in, add its network to HAPROXY_n_BACKEND_NETWORK_ALLOWED_ACL; if its address is that of a balancer, name that in trusted-proxies",
			"Only clients from %s are let in: %s got 403 (forbidden), %s", strings.Join(networks[:min(len(networks), 5)], ", "), plural.Of(sum.count, "request"), whose(sum.last))
	}
	return rest
}

// settings says what is wrong with the settings of the apps: the worst of what costs the port requests that has the
// domain, such as a restriction that cannot be kept, and what is ignored: the mistake may be among it.
func (l *list) settings(e *explain.Explanation) {
	for _, app := range e.Apps {
		var closed, ignored []api.Problem
		for _, p := range app.Problems {
			p = p.Complete()
			p.Item = p.Subject // of an app, it is the label
			told := slices.ContainsFunc(e.LeftOut, func(left explain.LeftOut) bool { return p.Subject != "" && strings.Contains(left.Reason, p.Subject) })
			switch {
			case told:
			case p.Severity == problem.Ignored:
				ignored = append(ignored, p)
			case p.Severity == problem.Failing && p.Domain == "" && servesBy(e, app, portOf(p, app)):
				closed = append(closed, p)
			}
		}
		l.problems(closed)
		l.problems(ignored)
	}
}

// aboutPort finds the port in what a problem is about: a label, or a port and a setting. Of other problems of a port,
// such as one without a task, people are told by what is seen of it.
var aboutPort = regexp.MustCompile(`^(?:HAPROXY|RELAY)_([^_]+)_|^port (\d+), |^credential .* on port (\d+)$`)

// portOf returns the index of the port whose setting a problem is about, or -1.
func portOf(p api.Problem, app explain.App) int {
	subject := p.Subject
	if strings.HasPrefix(subject, "credential ") {
		subject += ": " + p.Reason
	}
	found := aboutPort.FindStringSubmatch(subject)
	if found == nil {
		return -1
	}
	name := found[1] + found[2] + found[3]
	for _, port := range app.Ports {
		if name == strconv.Itoa(port.Index) || name == port.Name {
			return port.Index
		}
	}
	return -1
}

// servesBy reports whether requests for the domain get to a port of an app.
func servesBy(e *explain.Explanation, app explain.App, port int) bool {
	return slices.ContainsFunc(e.Domains, func(d explain.Domain) bool {
		return slices.ContainsFunc(d.Rules, func(r explain.Rule) bool {
			return r.App == cmp.Or(app.Deployment, app.ID) && r.Port == port && r.Outcome != explain.Loses
		})
	})
}

// losers says which apps want the domain in vain.
func (l *list) losers(e *explain.Explanation) {
	for _, d := range e.Domains {
		for _, r := range d.Rules {
			if r.Outcome == explain.Loses {
				_, why, found := strings.Cut(r.Reason, " does not get the domain: ")
				if !found {
					why = r.Reason
				}
				l.add(api.Warning, "give one of the apps another domain or path", "%s does not get it: %s", r.App, why)
			}
		}
	}
	for _, left := range e.LeftOut {
		l.add(api.Warning, "correct the labels of the app, or what else the reason names", "%s asks for it in vain: %s", left.App, left.Reason)
	}
}

// notServed says why no fleet has a domain.
func (l *list) notServed(e *explain.Explanation) {
	for _, left := range e.LeftOut {
		l.add(api.Critical, "correct the labels of the app, or what else the reason names", "%s asks for it in vain: %s", left.App, left.Reason)
	}
	if len(*l) == 0 {
		l.add(api.Critical, "name a fleet in HAPROXY_GROUP of its app (in a YAML file: groups)", "No fleet of this Relay serves it")
	}
}

// tasksOf sums up the tasks of the ports that a domain's requests go to.
func tasksOf(e *explain.Explanation, scaling map[string]*api.Scaling) (t tasks) {
	type port struct {
		app   string
		index int
	}
	serving := make(map[port]bool)
	for _, d := range e.Domains {
		for _, r := range d.Rules {
			serving[port{r.App, r.Port}] = serving[port{r.App, r.Port}] || r.Outcome == explain.Serves
		}
	}
	for _, s := range e.Services {
		serving[port{s.App, s.Port}] = s.Outcome == explain.Serves
	}
	for _, app := range e.Apps {
		for _, p := range app.Ports {
			// Apps of a deployment are routed by another id, which no rule has.
			if is, known := serving[port{app.ID, p.Index}]; known && !is || !known && app.Deployment == "" {
				continue
			}
			t.stopped = t.stopped || app.Stopped
			t.maintenance = t.maintenance || app.Maintenance
			if is := scaling[app.ID]; is != nil {
				t.scaling = is
			}
			if !slices.Contains(t.apps, app.ID) {
				t.apps = append(t.apps, app.ID)
			}
			for _, task := range p.Endpoints {
				t.take(task.Address, task.Unreachable)
			}
			for _, out := range p.Excluded {
				t.leaveOut(out.Task, out.Reason)
			}
		}
	}
	return t
}

func progressOf(fleet explain.Fleet) (all []api.Progress) {
	for _, e := range fleet.Envoys {
		p := api.Progress{Fleet: fleet.Name, ID: e.ID, Needs: fleet.Needs, Acknowledged: e.Acknowledged}
		for _, w := range e.Waiting {
			waiting := api.Waiting{Type: w.Type, Name: w.Name, State: w.State}
			if w.Rejected != nil {
				waiting.Error = w.Rejected.Message
			}
			p.Waiting = append(p.Waiting, waiting)
		}
		all = append(all, p)
	}
	return all
}

// unusable reports whether clients by https are refused, or refuse.
func unusable(h explain.HTTPS) bool {
	return h.Listens != "" && (h.Certificate == nil || h.Certificate.State != "valid" || h.Certificate.ServerName == "")
}

// redirected reports whether clients by http are sent to https, where they get an error.
func redirected(e *explain.Explanation, d explain.Domain) bool {
	return slices.ContainsFunc(e.Apps, func(app explain.App) bool {
		return slices.ContainsFunc(app.Problems, func(p problem.Problem) bool {
			return p.Kind == problem.HTTPS && p.Fleet == d.Fleet && (p.Domain == d.Host || p.Domain == d.Domain) && p.Complete().Severity == problem.Failing
		})
	})
}

// https says what clients by https will object to.
func (l *list) https(d explain.Domain, redirected bool) {
	const put = "see whether marathon-acme runs and the domain asks for a certificate (MARATHON_ACME_n_DOMAIN), or put one into the store"
	h := d.HTTPS
	without := "No certificate covers " + d.Host + " in fleet " + d.Fleet + ": "
	switch {
	case !unusable(h):
	case h.Certificate != nil && h.Certificate.State != "valid":
		ended := "is " + h.Certificate.State
		if h.Certificate.State == "expired" {
			ended = "ended at " + stamp(h.Certificate.NotAfter)
		}
		l.add(api.Critical, "have it issued again, or put another one into the store", "Its certificate %s %s: clients refuse it", h.Certificate.Name, ended)
	case redirected:
		l.add(api.Critical, put, "%s", without+"clients by http are redirected to https, and get an error there")
	case d.ACMECluster == "":
		l.add(api.OK, "if it is to have one, ask for it (MARATHON_ACME_n_DOMAIN), or put one into the store", "%s", without+"nobody asks for one, so it is not served by https")
	case h.Certificate == nil:
		l.add(api.Warning, put, "%s", without+"https connections are closed")
	default:
		l.add(api.Warning, put, "%s", without+"clients refuse the default one")
	}
}
