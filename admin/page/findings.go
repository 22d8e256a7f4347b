package page

import (
	"slices"
	"strings"

	"relay/admin/api"
	"relay/collator/explain"
	"relay/internal/problem"
)

// finding is one thing that the story of an app or a domain says, in a sentence.
type finding struct {
	// Class is "bad", "warn" or "ok".
	Class string
	Words string
	// Do is what to look at or to do; it may be empty.
	Do string
}

// findings are the worst first; there is at least one.
type findings []finding

func (f *findings) add(class, words, do string) { *f = append(*f, finding{class, words, do}) }

// sorted returns the findings, the worst first. Without any, all is as people want it.
func (f findings) sorted(well string) findings {
	rank := []string{"bad", "warn", "ok"}
	slices.SortStableFunc(f, func(a, b finding) int { return slices.Index(rank, a.Class) - slices.Index(rank, b.Class) })
	if len(f) == 0 {
		f.add("ok", well, "")
	}
	return f
}

// tooMany is the share of errors from which an app is said to fail.
const tooMany = 0.05

// loadFindings says what the answers of an app tell.
func (f *findings) loadFindings(l *api.Load, failures *int) {
	switch {
	case l != nil && l.Errors > tooMany*l.Requests && l.Errors > 0:
		f.add("bad", rateOf(l)+" of its requests fail", "the last failures say why; where there is none, the app itself answers 500 or above: look at its log")
	case failures != nil && *failures > 0:
		f.add("warn", plural(*failures, "request")+" failed in the last hour", "the last failures say why")
	}
}

// envoyFindings says which Envoys lack something.
func (f *findings) envoyFindings(envoys []api.Progress) {
	behind := 0
	for _, e := range envoys {
		i := slices.IndexFunc(e.Waiting, func(w api.Waiting) bool { return w.Error != "" })
		if i >= 0 {
			f.add("bad", e.ID+" rejected "+e.Waiting[i].Type+" "+e.Waiting[i].Name+": "+e.Waiting[i].Error, "docs/rejections.md says what to do")
			return
		}
		if e.Acknowledged < e.Needs {
			behind++
		}
	}
	if behind > 0 {
		f.add("warn", plural(behind, "Envoy")+" "+verb(behind, "does", "do")+" not have all of it yet", "if that lasts, see the page of the Envoy")
	}
}

// taskFindings says what the tasks in rotation, and those that are not, tell. unreachable are
// those to which Envoys cannot connect, why has the reasons why others are left out.
func (f *findings) taskFindings(in, unreachable int, stopped bool, why []string) {
	switch {
	case in == 0 && stopped:
		f.add("warn", "It is scaled to 0: requests get 503", "scale it up in Marathon")
	case in == 0 && len(why) > 0:
		f.add("bad", "No task is in rotation, so requests get 503: "+why[0], "look at the app's tasks, health checks and log in Marathon")
	case in == 0:
		f.add("bad", "It has no task, so requests get 503", "look at the app in Marathon: its deployment may wait for resources, or its tasks end at once")
	case unreachable == in:
		f.add("bad", "Envoys can connect to none of its tasks", "see whether the tasks listen on that port, and what is between them and the Envoys")
	case unreachable > 0:
		f.add("warn", "Envoys cannot connect to "+count(unreachable)+" of "+plural(in, "task"), "see whether they listen on that port, and what is between them and the Envoys")
	}
}

// maxIgnored is how many things that are ignored are told first.
const maxIgnored = 3

// problemFindings adds problems, which are the worst first: what is ignored, and of those that cost requests
// one, if nothing else says why.
func (f *findings) problemFindings(problems []api.Problem) {
	ignored := 0
	for _, p := range problems {
		words := strings.TrimSpace(p.Item + " " + p.Reason)
		isBad := slices.ContainsFunc(*f, func(one finding) bool { return one.Class == "bad" })
		switch severityClass(p.Severity) {
		case "bad":
			if !isBad {
				f.add("bad", words, p.Action)
			}
		case "warn":
			if ignored++; ignored <= maxIgnored {
				f.add("warn", words, p.Action)
			}
		}
	}
}

// appFindings says how an app is.
func appFindings(s *api.AppStory) findings {
	var f findings
	in, unreachable, routed := 0, 0, false
	var why, other []string
	for _, port := range s.Ports {
		other = append(other, port.OtherGroups...)
		if len(port.Fleets) == 0 {
			continue
		}
		routed = true
		in += len(port.Endpoints)
		for _, e := range port.Endpoints {
			if e.Unreachable != "" {
				unreachable++
			}
		}
		for _, e := range port.Excluded {
			why = append(why, e.Reason)
		}
	}
	switch {
	case !routed && len(other) > 0:
		f.add("warn", "No fleet of this Relay serves it: its groups are "+strings.Join(other[:min(len(other), 5)], ", "), "name a fleet in HAPROXY_GROUP, unless another load balancer serves it")
	case !routed:
		f.add("warn", "No fleet of this Relay serves it: it names no group", "name a fleet in HAPROXY_GROUP (in a YAML file: groups)")
	default:
		f.taskFindings(in, unreachable, s.Stopped, why)
	}
	f.envoyFindings(s.Envoys)
	f.loadFindings(s.Load, s.Failures)
	f.problemFindings(s.Problems)
	return f.sorted("All is well: " + plural(in, "instance") + " in rotation")
}

// domainFindings says whether a domain is served, and if not, why.
func domainFindings(s *api.DomainStory, e *explain.Explanation) findings {
	var f findings
	if len(e.Domains)+len(e.Services) == 0 {
		f.notServed(e)
		return f.sorted("")
	}
	in, unreachable, stopped, why := tasksOfDomain(e)
	f.taskFindings(in, unreachable, stopped, why)
	envoys := 0
	for _, fleet := range e.Fleets {
		if len(fleet.Envoys) == 0 {
			f.add("bad", "No Envoy of fleet "+fleet.Name+" is connected to this Relay", "see whether the Envoys run, and what Relay's log says of them")
		}
		envoys += len(fleet.Envoys)
		f.envoyFindings(progressOf(fleet))
	}
	for _, d := range e.Domains {
		f.httpsFindings(d)
		for _, r := range d.Rules {
			if r.Outcome == explain.Loses {
				f.add("warn", r.App+" does not get "+r.Path+" of it: "+r.Reason, "let one of the apps give it up: change its domain, path or port")
			}
		}
	}
	for _, left := range e.LeftOut {
		f.add("warn", left.App+" asks for it in vain: "+left.Reason, "")
	}
	f.loadFindings(s.Load, s.Failures)
	for _, app := range e.Apps {
		problems := slices.Clone(app.Problems)
		for i := range problems {
			problems[i] = problems[i].Complete()
			problems[i].Item = problems[i].Subject // of an app, it is the label
			if problems[i].Severity == problem.Failing {
				problems[i].Severity = problem.Advice // it may be of another domain; those of this one are told above
			}
		}
		f.problemFindings(problems)
	}
	return f.sorted("Served by " + plural(in, "task") + "; " + plural(envoys, "Envoy") + " " + verb(envoys, "has", "have") + " all of it")
}

// notServed says why no fleet has a domain.
func (f *findings) notServed(e *explain.Explanation) {
	for _, left := range e.LeftOut {
		f.add("bad", left.App+" asks for it in vain: "+left.Reason, "")
	}
	if len(*f) == 0 {
		f.add("bad", "No fleet of this Relay serves it", "name a fleet in HAPROXY_GROUP of its app (in a YAML file: groups)")
	}
}

// tasksOfDomain sums up the tasks of the ports that a domain's requests go to.
func tasksOfDomain(e *explain.Explanation) (in, unreachable int, stopped bool, why []string) {
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
			in, stopped = in+len(p.Endpoints), stopped || app.Stopped
			for _, task := range p.Endpoints {
				if task.Unreachable != "" {
					unreachable++
				}
			}
			for _, out := range p.Excluded {
				why = append(why, out.Reason)
			}
		}
	}
	return in, unreachable, stopped, why
}

// httpsFindings says what clients by https will object to.
func (f *findings) httpsFindings(d explain.Domain) {
	h := d.HTTPS
	switch {
	case h.Listens == "":
	case h.Certificate == nil:
		f.add("warn", "No certificate covers it in fleet "+d.Fleet+": https connections are closed", "see whether marathon-acme runs and the domain asks for a certificate (MARATHON_ACME_n_DOMAIN), or put one into the store")
	case h.Certificate.State != "valid":
		f.add("bad", "Its certificate "+h.Certificate.Name+" is "+h.Certificate.State+": clients refuse it", "have it issued again, or put another one into the store")
	case h.Certificate.ServerName == "":
		f.add("warn", "No certificate covers it in fleet "+d.Fleet+": clients refuse the default one", "put one into the store, or ask for one (MARATHON_ACME_n_DOMAIN)")
	}
}
