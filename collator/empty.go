package collator

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/collator/routing"
	"relay/internal/problem"
	"relay/internal/scrape"
	"relay/internal/secret"
	"relay/sources"
)

const (
	// emptyGrace is how long a port may be without a task before people are told: an app that
	// starts, or restarts its one instance, is no problem.
	emptyGrace = time.Minute
	// maxTasksNamed is how many tasks people are told of where none is in rotation.
	maxTasksNamed = 3
)

// emptyPorts are the app ports that some fleet serves and that have no task in rotation.
type emptyPorts struct {
	mu    sync.Mutex // the loop alone writes; metrics read
	ports map[routing.AppPort]emptyPort
	// waiting are those of which people are told later, in the order of their times.
	waiting []waitingPort
	// atOnce is set while nothing is known of before: then people are told at once.
	atOnce bool
}

type emptyPort struct {
	since   time.Time
	told    bool     // or would be, were the app not stopped
	stopped bool     // as sources.App.Stopped
	asleep  bool     // stopped by Relay: the next request starts it
	fleets  []string // that serve the port
	reason  string
}

type waitingPort struct {
	routing.AppPort
	since time.Time
}

func newEmptyPorts() *emptyPorts {
	return &emptyPorts{ports: make(map[routing.AppPort]emptyPort), atOnce: true}
}

// forget has everything found again. It is told at once, as it may have been before.
func (x *emptyPorts) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ports, x.waiting, x.atOnce = make(map[routing.AppPort]emptyPort), nil, true
}

// updateEmpty takes in a change of what is routed under a name. Either version may be nil.
// It looks further only at ports without a task.
func (c *Collator) updateEmpty(id string, before, after *sources.App) {
	x := c.empty
	changed := false
	var serving [][]string // by port
	for i := range max(routing.PortCount(before), routing.PortCount(after)) {
		port := routing.AppPort{App: id, Port: i}
		if i < routing.PortCount(after) && len(after.Ports[i].Endpoints) == 0 {
			if serving == nil {
				serving = c.serving(id, after)
			}
			if len(serving[i]) > 0 {
				x.set(port, after, serving[i], c.now())
				changed = true
				continue
			}
		}
		if i < routing.PortCount(before) && len(before.Ports[i].Endpoints) == 0 {
			changed = x.remove(port) || changed
		}
	}
	if changed {
		c.doubtApp(before)
		c.doubtApp(after)
		c.reportEmpty(id, max(routing.PortCount(before), routing.PortCount(after)))
	}
}

// serving returns the fleets that serve each port of an app: a domain or TCP service of it,
// or ACME challenges by it.
func (c *Collator) serving(id string, app *sources.App) [][]string {
	by := make([][]string, len(app.Ports))
	for _, f := range c.fleets {
		services, _ := f.ServicesOf(id, app)
		for i, port := range app.Ports {
			if !f.Routes(id, app, i) {
				continue
			}
			if len(port.Domains) > 0 && !routing.IsTCP(port) || id == f.ACMEApp && i == 0 ||
				slices.ContainsFunc(services, func(s routing.Service) bool { return s.Port == i }) {
				by[i] = append(by[i], f.Name)
			}
		}
	}
	return by
}

// set notes that a port has no task. The time counts anew for an app that was stopped.
func (x *emptyPorts) set(port routing.AppPort, app *sources.App, fleets []string, now time.Time) {
	was, known := x.ports[port]
	is := emptyPort{since: now, told: x.atOnce, stopped: app.Stopped, asleep: app.Stopped && app.Gated, fleets: fleets, reason: emptyReason(app, port.Port)}
	if known && (is.stopped || !was.stopped) {
		is.since, is.told = was.since, was.told
	} else if !is.told {
		x.waiting = append(x.waiting, waitingPort{port, now})
	}
	x.mu.Lock()
	x.ports[port] = is
	x.mu.Unlock()
}

// rotation says whether a port has a task in rotation, as people are told.
type rotation uint8

const (
	inRotation rotation = iota
	isEmpty
	isStopped
	isAsleep
)

// says is for others than the loop.
func (x *emptyPorts) says(port routing.AppPort) rotation {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch e := x.ports[port]; {
	case e.asleep:
		return isAsleep
	case e.stopped:
		return isStopped
	case e.told:
		return isEmpty
	}
	return inRotation
}

func (x *emptyPorts) remove(port routing.AppPort) bool {
	if _, known := x.ports[port]; !known {
		return false
	}
	x.mu.Lock()
	delete(x.ports, port)
	x.mu.Unlock()
	return true
}

// emptyReason says why no task of a port is in rotation, and what the source says of the last one
// that failed.
func emptyReason(app *sources.App, port int) string {
	reason := whyEmpty(app.Ports[port].Excluded)
	if routing.Crashed(app) {
		f := app.Orchestration.Failure
		reason += fmt.Sprintf(". The last task that failed, %s, ended with %s: %s",
			sources.Clip(f.Task), sources.Clip(f.State), sources.ClipReason(secret.Mask(cmp.Or(f.Message, "nothing is said of why"))))
	}
	return reason
}

func whyEmpty(excluded []sources.Excluded) string {
	if len(excluded) == 0 {
		return "no task is in rotation: the app has none, or none with an address that Envoy can use"
	}
	var words []string
	for _, e := range excluded[:min(len(excluded), maxTasksNamed)] {
		words = append(words, sources.Clip(e.Task)+" "+sources.Clip(e.Reason))
	}
	list := strings.Join(words, "; ")
	if more := len(excluded) - maxTasksNamed; more > 0 {
		list += fmt.Sprintf("; and %d more", more)
	}
	return "no task is in rotation: " + list
}

// reportEmpty says which of the first ports of an app have no task. That people scaled an app
// to 0 is no problem.
func (c *Collator) reportEmpty(id string, ports int) {
	var problems []problem.Problem
	for i := range ports {
		if e := c.empty.ports[routing.AppPort{App: id, Port: i}]; e.told && !e.stopped {
			one := problem.Problem{Subject: fmt.Sprintf("port %d", i), Reason: e.reason}
			if app := c.routed(id); i < routing.PortCount(app) && len(app.Ports[i].Domains) == 1 {
				one.Domain = app.Ports[i].Domains[0]
			}
			problems = append(problems, one)
		}
	}
	c.problems.set(owner{problem.Tasks, "", inApp, id}, fewProblems(problems)...)
}

// next is when people are to be told of the next port; zero for never.
func (x *emptyPorts) next() time.Time {
	for len(x.waiting) > 0 {
		first := x.waiting[0]
		if e := x.ports[first.AppPort]; !e.told && e.since.Equal(first.since) {
			return first.since.Add(emptyGrace)
		}
		x.waiting = x.waiting[1:]
	}
	return time.Time{}
}

// tellEmpty tells of the ports that have had no task for long enough.
func (c *Collator) tellEmpty() {
	x := c.empty
	x.atOnce = false
	due := make(map[string]struct{})
	for at := x.next(); !at.IsZero() && !c.now().Before(at); at = x.next() {
		port := x.waiting[0].AppPort
		e := x.ports[port]
		e.told = true
		x.mu.Lock()
		x.ports[port] = e
		x.mu.Unlock()
		due[port.App] = struct{}{}
	}
	for id := range due {
		c.doubtApp(c.routed(id))
		c.reportEmpty(id, routing.PortCount(c.routed(id)))
	}
}

// count returns how many ports of each fleet people are told of, and how many are of apps that
// are stopped.
func (x *emptyPorts) count() (told, stopped map[string]int) {
	told, stopped = make(map[string]int), make(map[string]int)
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range x.ports {
		for _, fleet := range e.fleets {
			switch {
			case e.stopped:
				stopped[fleet]++
			case e.told:
				told[fleet]++
			}
		}
	}
	return told, stopped
}

var emptyGauge = scrape.NewGauge("relay_ports_without_task",
	"App ports with a domain or TCP service in a fleet, for which no task has been in rotation for a minute. "+
		"Stopped are those of apps that are scaled to 0.", "fleet", "stopped")

// registerEmpty registers what is counted of ports without a task.
func (c *Collator) registerEmpty(registerer prometheus.Registerer) {
	scrape.Register(registerer, func(set scrape.Set) {
		if !c.AppsSynced() {
			return
		}
		told, stopped := c.empty.count()
		for _, f := range c.fleets {
			set(emptyGauge, float64(told[f.Name]), f.Name, "false")
			set(emptyGauge, float64(stopped[f.Name]), f.Name, "true")
		}
	}, emptyGauge)
}

// earlier returns the earlier of two times, of which either may be zero: never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
