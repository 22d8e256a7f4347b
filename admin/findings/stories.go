package findings

import (
	"strings"

	"relay/admin/api"
	"relay/collator/explain"
	"relay/internal/problem"
)

// OfApp says how an app is. Sources are those of apps and certificates.
func OfApp(s *api.AppStory, sources []api.Source) []api.Finding {
	var l list
	var t tasks
	var other []string
	routed := false
	for _, port := range s.Ports {
		other = append(other, port.OtherGroups...)
		if len(port.Fleets) == 0 {
			continue
		}
		routed = true
		t.in += len(port.Endpoints)
		for _, e := range port.Endpoints {
			if e.Unreachable != "" {
				t.unreachable++
			}
		}
		for _, e := range port.Excluded {
			t.out = append(t.out, "task "+e.Task+" "+e.Reason)
		}
	}
	t.stopped = s.Stopped
	switch {
	case !routed && len(other) > 0:
		l.add(api.Warning, "name a fleet in HAPROXY_GROUP, unless another load balancer serves it",
			"No fleet of this Relay serves it: its groups are %s", strings.Join(other[:min(len(other), 5)], ", "))
	case !routed:
		l.add(api.Warning, "name a fleet in HAPROXY_GROUP (in a YAML file: groups)", "No fleet of this Relay serves it: it names no group")
	default:
		l.tasks(t)
	}
	l.envoys(s.Envoys)
	l.problems(s.Problems)
	l.traffic(s.Load, s.LastFailures)
	l.sources(sources)
	return l.sorted("All is well: " + plural(t.in, "instance") + " in rotation")
}

// maxProblems bounds what is said of problems: their list has all.
const maxProblems = 3

// problems says the worst of those that are known.
func (l *list) problems(problems []api.Problem) {
	for i, p := range problems {
		if i == maxProblems {
			return
		}
		text := p.Reason
		if p.Item != "" {
			text = p.Item + ": " + text
		}
		level := api.Warning
		if p.Severity == problem.Failing {
			level = api.Critical
		}
		l.add(level, p.Action, "%s", text)
	}
}

// OfDomain says whether a domain is served, and if not, why.
func OfDomain(s *api.DomainStory, e *explain.Explanation, sources []api.Source) []api.Finding {
	var l list
	envoys := 0
	if len(e.Domains)+len(e.Services) == 0 {
		l.notServed(e)
	}
	t := tasksOf(e)
	if len(e.Domains)+len(e.Services) > 0 {
		l.tasks(t)
		for _, fleet := range e.Fleets {
			if len(fleet.Envoys) == 0 {
				l.add(api.Critical, "see whether the Envoys run, and what Relay's log says of them", "No Envoy of fleet %s is connected to this Relay", fleet.Name)
			}
			envoys += len(fleet.Envoys)
			l.envoys(progressOf(fleet))
		}
		for _, d := range e.Domains {
			l.https(d)
		}
		for _, left := range e.LeftOut {
			l.add(api.Warning, "", "%s asks for it in vain: %s", left.App, left.Reason)
		}
		l.losers(e)
	}
	l.ignored(e)
	l.traffic(s.Load, s.LastFailures)
	l.sources(sources)
	return l.sorted("It is served by " + plural(t.in, "task") + "; " + plural(envoys, "Envoy") + " " + verb(envoys, "has", "have") + " all of it")
}

// ignored says what of the apps' settings is ignored: the mistake may be among it. What costs
// requests is told above, if it is of this domain.
func (l *list) ignored(e *explain.Explanation) {
	for _, app := range e.Apps {
		var ignored []api.Problem
		for _, p := range app.Problems {
			p = p.Complete()
			p.Item = p.Subject // of an app, it is the label
			if p.Severity == problem.Ignored {
				ignored = append(ignored, p)
			}
		}
		l.problems(ignored)
	}
}

// losers says which apps want the domain, and another one has it.
func (l *list) losers(e *explain.Explanation) {
	for _, d := range e.Domains {
		for _, r := range d.Rules {
			if r.Outcome == explain.Loses {
				l.add(api.Warning, "give one of the apps another domain or path", "%s does not get it: %s", r.App, r.Reason)
			}
		}
	}
}

// notServed says why no fleet has a domain.
func (l *list) notServed(e *explain.Explanation) {
	for _, left := range e.LeftOut {
		l.add(api.Critical, "correct the labels of the app", "%s asks for it in vain: %s", left.App, left.Reason)
	}
	if len(*l) == 0 {
		l.add(api.Critical, "name a fleet in HAPROXY_GROUP of its app (in a YAML file: groups)", "No fleet of this Relay serves it")
	}
}

// tasksOf sums up the tasks of the ports that a domain's requests go to.
func tasksOf(e *explain.Explanation) (t tasks) {
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
			t.in, t.stopped = t.in+len(p.Endpoints), t.stopped || app.Stopped
			for _, task := range p.Endpoints {
				if task.Unreachable != "" {
					t.unreachable++
				}
			}
			for _, out := range p.Excluded {
				t.out = append(t.out, "task "+out.Task+" "+out.Reason)
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

// https says what clients by https will object to.
func (l *list) https(d explain.Domain) {
	h := d.HTTPS
	switch {
	case h.Listens == "":
	case h.Certificate == nil:
		l.add(api.Warning, "see whether marathon-acme runs and the domain asks for a certificate (MARATHON_ACME_n_DOMAIN), or put one into the store",
			"No certificate covers it in fleet %s: https connections are closed", d.Fleet)
	case h.Certificate.State != "valid":
		l.add(api.Critical, "have it issued again, or put another one into the store", "Its certificate %s is %s: clients refuse it", h.Certificate.Name, h.Certificate.State)
	case h.Certificate.ServerName == "":
		l.add(api.Warning, "put one into the store, or ask for one (MARATHON_ACME_n_DOMAIN)", "No certificate covers it in fleet %s: clients refuse the default one", d.Fleet)
	}
}
