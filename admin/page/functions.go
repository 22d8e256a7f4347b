package page

import (
	"html/template"
	"reflect"
	"slices"
	"strings"
	"time"

	"relay/admin/api"
	"relay/collator/explain"
	"relay/internal/problem"
)

var functions = template.FuncMap{
	// Words and numbers.
	"time": moment, "known": func(t time.Time) bool { return !t.IsZero() }, "days": days,
	"count": countOf, "plural": plural, "noun": nounOf, "rate": rate, "rateOf": rateOf, "seconds": secondsOf, "deref": deref,
	"clip": clip, "join": strings.Join,
	// How things look.
	"state": certificateClass, "level": severityClass, "findingClass": findingClass, "domainClass": domainClass, "envoyClass": envoyClass, "healthClass": healthClass, "phaseClass": phaseClass, "rebalanceClass": rebalanceClass, "errorClass": errorClass,
	// Addresses.
	"asset": assetURL, "appURL": appURL, "dumpURL": dumpURL, "domainURL": domainURL, "envoyURL": envoyURL,
	"certificateURL": certificateURL, "certificatePath": certificatePath, "subjectURL": subjectURL, "codeURL": codeURL,
	// The first few of what may be many.
	"first": first, "firstGroups": firstGroups,
	"more": func(c api.Certificate) int { return max(c.DomainCount, len(c.Domains)) - min(len(c.Domains), 4) },
	// What is put together for a template.
	"sleeps":   (*api.Scaling).Sleeps,
	"sentence": sentence, "shownPhases": shownPhases,
	"deploymentURL": deploymentURL, "tasks": tasksOf, "awaitsLoad": awaitsLoad, "domainsOf": domainsOf, "progress": progressOf, "away": away, "tellsAway": tellsAway, "filter": filterOf,
	"tabs":       tabsOf,
	"severities": func() []string { return words(problem.Failing, problem.Ignored, problem.Advice) },
	"envoyStates": func() []string {
		return words(api.EnvoyUpToDate, api.EnvoyBehind, api.EnvoyRejecting, api.EnvoyDisconnected)
	},
	"probeStates": func() []string { return []string{"failing"} },
	"domainStates": func() []string {
		return words(api.DomainServed, api.DomainWithoutTask, api.DomainWithoutCertificate, api.DomainInNoFleet, api.DomainStopped, api.DomainAsleep)
	},
	// What a filter keeps of the address, beside what it asks for.
	"hiddenFields": func() []string { return []string{"sort", "state", "status", "phase"} },
}

// first cuts a list of anything for a template: a page is of a bounded size, whatever there is.
func first(n int, list any) (cut struct {
	Shown  any
	Hidden int
}) {
	all := reflect.ValueOf(list)
	n = min(n, all.Len())
	cut.Shown, cut.Hidden = all.Slice(0, n).Interface(), all.Len()-n
	return cut
}

// tasks are the tasks of all ports of an app, and whether a fleet routes one.
type tasks struct {
	Routed  bool
	In, Out int
}

func tasksOf(a api.App) tasks {
	var t tasks
	for _, port := range a.Ports {
		t.Routed = t.Routed || len(port.Fleets) > 0
		// A task has all ports, so the port with most of them has them all.
		t.In, t.Out = max(t.In, len(port.Endpoints)), max(t.Out, len(port.Excluded))
	}
	return t
}

// domainsOf are the first few domains of an app.
func domainsOf(a api.App) some[string] {
	var all []string
	for _, port := range a.Ports {
		all = append(all, port.Domains...)
	}
	return firstOf(3, all)
}

// progressOf is how far the Envoys of a fleet are, in the words of the API.
func progressOf(f explain.Fleet) []api.Progress {
	var list []api.Progress
	for _, e := range f.Envoys[:min(len(f.Envoys), maxStory)] {
		p := api.Progress{Fleet: f.Name, ID: e.ID, Version: e.Version, Address: e.Address, Needs: f.Needs, Acknowledged: e.Acknowledged}
		for _, w := range e.Waiting {
			waiting := api.Waiting{Type: w.Type, Name: w.Name, State: w.State}
			if w.Rejected != nil {
				waiting.Error = w.Rejected.Message
			}
			p.Waiting = append(p.Waiting, waiting)
		}
		list = append(list, p)
	}
	return list
}

// filterData is what the form above a list needs.
type filterData struct {
	List   any
	Label  string
	Fleets bool
}

func filterOf(list any, label string, fleets bool) filterData { return filterData{list, label, fleets} }

// away are the sources that cannot be read.
func away(sources []api.Source) []api.Source {
	var list []api.Source
	for _, s := range sources {
		if !s.Connected || s.LastError != "" {
			list = append(list, s)
		}
	}
	return list
}

// tabsData is what the links above a list need: one for each value of a parameter.
type tabsData struct {
	List        any
	Name, Label string
	Values      []string
}

func tabsOf(list any, name, label string, values []string) tabsData {
	return tabsData{list, name, label, values}
}

func words[T ~string](list ...T) []string {
	all := make([]string, len(list))
	for i, v := range list {
		all[i] = string(v)
	}
	return all
}

// awaitsLoad reports whether Envoys have yet to report the instances of a port: they do so only
// while somebody looks.
func awaitsLoad(p api.Port) bool {
	return p.Load != nil && len(p.Endpoints) > 0 && !slices.ContainsFunc(p.Endpoints, func(e api.Endpoint) bool { return e.Load != nil })
}
