package marathon

import (
	"slices"
	"strings"
	"time"

	"relay/sources"
)

// mapping is what turning an answer of Marathon into an App depends on
// besides the answer.
type mapping struct {
	addressing addressing
	// firstSync tells that no read was applied since the process started.
	firstSync bool
	now       time.Time
	// unreachable says what becomes of tasks on lost agents.
	unreachable Unreachable
}

// mapped is an App and what the next read of it needs to know.
type mapped struct {
	app     *sources.App
	history history
	// waiting tells that a running task has no address yet, so that another
	// read is due even if no event comes.
	waiting bool
	// recheck, when positive, is the time after which the app is to be read
	// again because no event will tell of what is awaited.
	recheck time.Duration
	// pod tells that it is a pod.
	pod bool
}

// mapApp turns one app into what is routed. It has no side effects; equal
// answers and histories give equal results, whatever the order of tasks and labels.
func mapApp(a *appJSON, prior history, m mapping) mapped {
	mode := modeOf(a)
	declared := declarations(a, mode)
	labels, problems := parseLabels(a.Labels, declared)
	app := &sources.App{ID: a.ID, Version: a.Version, Problems: problems, Deployment: labels.deployment}
	if app.Deployment != nil {
		app.Deployment.Instances = a.Instances
	}
	app.Ports = make([]sources.Port, len(declared))
	for i, d := range declared {
		l := labels.ports[i]
		app.Ports[i] = sources.Port{
			Name: d.name, Groups: l.groups, Domains: l.domains,
			ACMEDomains: l.acmeDomains, RedirectToHTTPS: l.redirect,
			HTTP: l.http, Upstream: l.upstream, TCP: l.tcp,
		}
	}

	if several := ambiguousNetworks(a, mode, declared, m.addressing); several != "" {
		app.Problems = append(app.Problems, sources.Problem{Subject: "networks", Reason: several})
	}
	ready := readinessOf(a)
	out := mapped{app: app, history: make(history, len(a.Tasks)), recheck: ready.pace}
	list := verdicts(a, prior, m.firstSync, m.now)
	for i := range a.Tasks {
		task := &a.Tasks[i]
		if _, twice := out.history[task.ID]; twice || task.ID == "" {
			continue
		}
		health, reason := rotation(task, list[i], prior[task.ID], m.unreachable)
		if reason == "" && ready.holds(task, m.now) {
			reason = "is not ready"
		}
		out.history[task.ID] = record{verdict: list[i], rotation: reason == "", strange: taskPhase(task) == phaseOther}
		out.add(a, mode, declared, task, health, reason, m.addressing)
	}
	out.sort()
	return out
}

// sort makes the result independent of the order of tasks.
func (out *mapped) sort() {
	for i := range out.app.Ports {
		slices.SortFunc(out.app.Ports[i].Endpoints, func(x, y sources.Endpoint) int { return strings.Compare(x.Task, y.Task) })
		slices.SortFunc(out.app.Ports[i].Excluded, func(x, y sources.Excluded) int { return strings.Compare(x.Task, y.Task) })
	}
}

// add puts a task into rotation, or says why not.
func (out *mapped) add(a *appJSON, mode networkMode, declared []declaration, task *taskJSON, health sources.Health, reason string, addresses addressing) {
	for i, d := range declared {
		port := &out.app.Ports[i]
		why := reason
		if why == "" {
			addr, missing := addresses.endpoint(a, mode, d, task)
			if missing == "" {
				port.Endpoints = append(port.Endpoints, sources.Endpoint{
					Address: addr, Health: health, Task: task.ID, Region: task.Region, Zone: task.Zone,
				})
				continue
			}
			why = missing
			out.waiting = out.waiting || health == sources.Healthy
		}
		port.Excluded = append(port.Excluded, sources.Excluded{Task: task.ID, Reason: why})
	}
}

// older tells whether a version is from before another. Versions are times,
// and precise to the millisecond or the second, by release.
func older(version, than string) bool {
	a, okA := parseTime(version)
	b, okB := parseTime(than)
	return okA && okB && a.Before(b)
}

// clip bounds text from outside that is shown to people.
func clip(s string) string {
	const limit = 120
	if len(s) <= limit {
		return strings.ToValidUTF8(s, "?")
	}
	return strings.ToValidUTF8(s[:limit], "?") + "…"
}
