package marathon

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"relay/internal/problem"
	"relay/sources"
	"relay/sources/labels"
	"relay/sources/labels/traefik"
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
	// versions are the definitions that are known of the app.
	versions []*appDefinition
	// single tells that the answer is about one app, and failure is the last one known before.
	single  bool
	failure *sources.TaskFailure
	// traefik says how labels of Traefik are read; nil if they are not.
	traefik *traefik.Options
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
	// newest is the definition that the app has now. older are the versions of other tasks,
	// as far as they are remembered, and asked those whose definitions are to be read.
	newest *appDefinition
	older  []time.Time
	asked  []string
	// failure is the last one that is known, shown or not.
	failure *sources.TaskFailure
	// unlisted, if not nil, tells of each port that its tasks are left out.
	unlisted []bool
}

// convertApp turns an app of Marathon into what is routed. It has no side effects; equal
// answers and histories give equal results, whatever the order of tasks and labels.
func convertApp(a *appJSON, prior history, m mapping) mapped {
	mode := modeOf(a)
	declared, tooMany := declarations(a, mode)
	said, of := traefik.Read(labels.Read(a.Labels, declaredPorts(declared)), traefikApp(a, mode, declared), m.traefik)
	more := said.Ports[len(declared):]
	app := &sources.App{ID: a.ID, Version: sources.BoundedName(a.Version), Ports: said.Ports[:len(declared):len(declared)], Problems: said.Problems, Deployment: said.Deployment, Unrouted: said.Unrouted, Labels: said.Shown, Stopped: a.Instances == 0, Maintenance: said.Maintenance, Owner: said.Owner}
	if app.Deployment != nil {
		app.Deployment.Instances = a.Instances
	}

	out := mapped{app: app}
	if tooMany {
		out.problem("ports", "are more than %d: only the first are used", sources.MaxPorts)
	}
	tasks := firstByID(a.Tasks, out.listed(len(a.Tasks)), func(t taskJSON) string { return t.ID })
	if several := ambiguousNetworks(a, tasks, mode, declared, m.addressing); several != "" {
		out.problem("networks", "%s", several)
	}
	out.newest = definitionOf(a, mode, declared)
	out.addTasks(a, tasks, prior, m)
	out.addScaling(a, said, m)
	if app.Deployment == nil && slices.ContainsFunc(app.Ports, func(p sources.Port) bool { return p.Hashed() }) {
		app.Wanted = max(0, a.Instances)
	}
	out.sort()
	for i, port := range more {
		port.Endpoints, port.Excluded = app.Ports[of[i]].Endpoints, app.Ports[of[i]].Excluded
		app.Ports = append(app.Ports, port)
	}
	return out
}

// traefikApp is what labels of Traefik need to know of an app.
func traefikApp(a *appJSON, mode networkMode, declared []declaration) traefik.App {
	app := traefik.App{ID: a.ID, Labels: a.Labels, Ports: make([]traefik.Port, len(declared))}
	mappings, _ := portMappings(a)
	for i, d := range declaredPorts(declared) {
		app.Ports[i].DeclaredPort = d
		numbers := []int{declared[i].containerPort, int(d.ServicePort)}
		if mode == modeHost {
			slices.Reverse(numbers)
		}
		if mode == modeBridge && i < len(mappings) && mappings[i].HostPort != nil {
			numbers = append(numbers, *mappings[i].HostPort) // by which Traefik reaches it
		}
		for _, n := range numbers {
			if n > 0 && n < 1<<16 {
				app.Ports[i].Numbers = append(app.Ports[i].Numbers, uint16(n))
			}
		}
	}
	return app
}

// declaredPorts is what labels need to know of the declared ports.
func declaredPorts(declared []declaration) []labels.DeclaredPort {
	ports := make([]labels.DeclaredPort, len(declared))
	for i, d := range declared {
		ports[i] = labels.DeclaredPort{Name: d.name, ServicePort: d.servicePort, SpeaksHTTP: d.checkedByHTTP, UDPOnly: d.udpOnly()}
	}
	return ports
}

// addTasks judges the tasks and lists them.
func (out *mapped) addTasks(a *appJSON, tasks []taskJSON, prior history, m mapping) {
	ready, judge := readinessOf(a), newStandards(out.newest, m.versions)
	out.history, out.recheck = make(history, len(tasks)), ready.recheck
	list := checkResults(tasks, judge, prior, m.firstSync, m.now)
	routed, tooLong := out.isRouted(), false
	for i := range tasks {
		task := &tasks[i]
		if _, twice := out.history[task.ID]; twice || task.ID == "" {
			continue
		}
		if len(task.ID) > sources.MaxIDBytes {
			tooLong = true
			continue
		}
		by, v := judge.of(task), list[i]
		before, seen := prior[task.ID]
		health, reason := rotation(task, v.result, before, m.unreachable)
		if reason == "" && ready.waits(task, by, before, seen, m.now) {
			reason = "is not ready"
		}
		if by.age != sameVersion {
			by.use(task, out.newest, routed)
			out.waiting = out.waiting || by.age == newerVersion
		}
		out.history[task.ID] = record{result: v.remember, rotation: reason == "", unknownState: taskPhase(task) == phaseUnknown, undecided: v.undecided}
		out.add(by, task, health, reason, m.addressing)
	}
	out.addVersions(judge, tasks, list)
	out.release(outdated(tasks, judge, out.history), a.Instances)
	if tooLong {
		out.problem("tasks", "ids of more than %d bytes are not used", sources.MaxIDBytes)
	}
}

// isRouted reports whether any fleet may serve the app.
func (out *mapped) isRouted() bool {
	return out.app.Deployment != nil || slices.ContainsFunc(out.app.Ports, func(p sources.Port) bool { return len(p.Groups) > 0 })
}

func (out *mapped) problem(subject, format string, args ...any) {
	out.app.Problems = append(out.app.Problems, problem.Problem{Subject: subject, Reason: fmt.Sprintf(format, args...)})
}

// listed returns how many of the tasks are listed. If they are too many, the tasks of
// ports that no fleet serves are left out before any other.
func (out *mapped) listed(tasks int) int {
	ports := len(out.app.Ports)
	if tasks*ports <= sources.MaxEndpoints {
		return tasks
	}
	if out.app.Deployment == nil { // else another app's labels may say which fleets serve the port
		out.unlisted, ports = make([]bool, ports), 0
		for i := range out.unlisted {
			if out.unlisted[i] = len(out.app.Ports[i].Groups) == 0; !out.unlisted[i] {
				ports++
			}
		}
	}
	limit := sources.MaxEndpoints / max(ports, 1)
	if tasks > limit {
		out.problem("tasks", "are more than %d times ports: only the first %d by id are used", sources.MaxEndpoints, limit)
	}
	return min(tasks, limit)
}

// firstByID returns the first so many of all; all as they are if that is enough.
func firstByID[T any](all []T, limit int, id func(T) string) []T {
	if len(all) <= limit {
		return all
	}
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b T) int { return strings.Compare(id(a), id(b)) })
	return sorted[:limit]
}

// sort makes the result independent of the order of tasks.
func (out *mapped) sort() {
	for i := range out.app.Ports {
		slices.SortFunc(out.app.Ports[i].Endpoints, func(x, y sources.Endpoint) int { return strings.Compare(x.Task, y.Task) })
		slices.SortFunc(out.app.Ports[i].Excluded, func(x, y sources.Excluded) int { return strings.Compare(x.Task, y.Task) })
	}
	slices.SortFunc(out.app.Notes, func(x, y sources.Note) int {
		return cmp.Or(strings.Compare(x.Task, y.Task), strings.Compare(x.Text, y.Text))
	})
	out.app.Notes = slices.Compact(out.app.Notes)
}

// add puts a task into rotation, or says why not.
func (out *mapped) add(by *standard, task *taskJSON, health sources.Health, reason string, addresses addressing) {
	at, version := addresses.placeOf(by.layout(out.newest).mode, task), ""
	if by.age == olderVersion {
		version = sources.BoundedName(by.version)
	}
	for i := range out.app.Ports {
		if out.unlisted != nil && out.unlisted[i] {
			continue
		}
		port := &out.app.Ports[i]
		why := reason
		if d, there := by.declaration(i, out.newest); why == "" && !there {
			why = "does not have this port: its version, of " + by.version + ", does not declare it"
		} else if why == "" {
			addr, missing := addresses.endpoint(by.layout(out.newest), d, at)
			if missing == "" {
				port.Endpoints = append(port.Endpoints, sources.Endpoint{
					Address: addr, Health: health, Task: task.ID, Region: sources.BoundedName(task.Region), Zone: sources.BoundedName(task.Zone),
					Version: version,
				})
				continue
			}
			why = missing
			out.waiting = out.waiting || health == sources.Healthy
		}
		port.Excluded = append(port.Excluded, sources.Excluded{Task: task.ID, Reason: why})
	}
	out.noteAgent(at, task.ID)
}

// noteAgent tells what there is to tell of the address of a task's agent.
func (out *mapped) noteAgent(at *place, task string) {
	if at.note != "" {
		out.app.Notes = append(out.app.Notes, sources.Note{Task: task, Text: at.note})
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
func clip(s string) string { return sources.Clip(s) }
