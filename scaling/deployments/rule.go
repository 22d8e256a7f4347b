// Package deployments moves a service from one app of a deployment group to another, step by step, and
// back if people ask for it.
//
// What a step is, is a pure function (Next) of what is read of the apps, of what Envoys have
// acknowledged, and of the connections that they report. Nothing goes on by itself: each step is asked for.
// The only thing that is kept is the direction of each group: whether it is being rolled back.
package deployments

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"relay/internal/plural"
	"relay/sources"
)

// State is what is known of a deployment group.
type State struct {
	Group string
	// Apps are ordered by the time at which their deployment began: the last is the new one.
	Apps []App
	// Back is set while the group is rolled back: the app before the new one takes over.
	Back bool
}

// App is one version of the service.
type App struct {
	ID, Version string
	StartedAt   time.Time
	// Target is how many instances it shall have in the end; 0 if its labels do not say.
	Target int
	// Instances is how many there shall be now.
	Instances int
	// Asleep is set if Relay put it to sleep.
	Asleep bool
	// Tasks are in rotation, ordered by id. Out are those that are not.
	Tasks []Task
	Out   []string
}

// Task is an instance in rotation.
type Task struct {
	ID, Address string
	Health      sources.Health
	// Connections is how many requests and connections are open there, if Known.
	Connections int
	Known       bool
	// Leaving is set if the source stops the task already.
	Leaving bool
	// Settled is set if all Envoys have acknowledged that it takes nothing new, and have reported its
	// connections since. If it is not, Waiting says what for.
	Settled bool
	Waiting string
}

// healthy counts the tasks that take connections.
func (a *App) healthy() (n int) {
	for _, t := range a.Tasks {
		if t.Health == sources.Healthy {
			n++
		}
	}
	return n
}

// serves reports whether any of its tasks is in rotation and stays there.
func (a *App) serves() bool {
	return slices.ContainsFunc(a.Tasks, func(t Task) bool { return !t.Leaving })
}

// Options of a step.
type Options struct {
	// Instances is how many more the app gets that takes over; 0 is all that are missing.
	Instances int
	// Force stops tasks that drain though they have connections, or it is not known whether they do.
	Force bool
}

// Change is one change of an app at the source.
type Change struct {
	App, Version string
	From, To     int
	// Kill are the tasks that are stopped, with Cut connections of which is known.
	Kill []string
	Cut  int
	// Why says why, for people.
	Why string
}

// Plan is a step.
type Plan struct {
	// To takes over from From.
	To   string
	From []string
	// Target is how many instances To shall have.
	Target  int
	Changes []Change
	// Waiting says what is waited for: there is no other change until then.
	Waiting []string
	// Done is set if nothing is left to do.
	Done bool
}

// Next is the next step of a group. First go the tasks that drain and have no connections left, then come
// more instances of the app that takes over. Which tasks drain is the rule by which the group is routed:
// one of those that take over is healthy for each of them, so there is room at all times.
func (s *State) Next(o Options) Plan {
	to, from := s.sides()
	if to == nil {
		return Plan{Waiting: []string{"the group has one app only: there is nothing to switch"}, Done: true}
	}
	p := Plan{To: to.ID, Target: s.target(to, from)}
	left := 0
	for _, app := range from {
		p.From = append(p.From, app.ID)
		left += app.Instances
	}
	if left == 0 && to.Asleep {
		p.Done = true // it sleeps, and wakes by itself
		return p
	}
	complete := to.healthy() >= p.Target
	if s.labelled(to) == 0 && to.healthy() < left {
		p.wait("no label says how many instances %s shall have: before any is stopped it gets as many as there are", to.ID)
	} else {
		for _, app := range from {
			p.stop(app, o, complete)
		}
	}
	p.start(to, o)
	if len(p.Changes) == 0 && left > 0 && len(p.Waiting) == 0 {
		p.wait("the tasks of %s drain as soon as those of %s take their place", strings.Join(p.From, ", "), to.ID)
	}
	p.Done = left == 0 && complete && to.Instances >= p.Target
	return p
}

func (p *Plan) wait(format string, args ...any) {
	p.Waiting = append(p.Waiting, fmt.Sprintf(format, args...))
}

// sides returns the app that takes over and those from which it does; none if there is one app alone.
func (s *State) sides() (to *App, from []*App) {
	newest := len(s.Apps) - 1
	if newest < 1 {
		return nil, nil
	}
	if s.Back {
		return &s.Apps[newest-1], []*App{&s.Apps[newest]}
	}
	for i := range s.Apps[:newest] {
		from = append(from, &s.Apps[i])
	}
	return &s.Apps[newest], from
}

// labelled is how many instances the app shall have that takes over, as labels say; 0 if none does.
func (s *State) labelled(to *App) int { return cmp.Or(to.Target, s.Apps[len(s.Apps)-1].Target) }

// target is how many instances the app shall have that takes over. If no label says so, it is as many as
// the others have.
func (s *State) target(to *App, from []*App) int {
	if target := s.labelled(to); target > 0 {
		return target
	}
	others := 0
	for _, app := range from {
		others += app.Instances
	}
	return max(to.Instances, others, 1)
}

// stop plans which tasks of an app are stopped. Complete is set if what takes over is complete: then those
// that are not in rotation are not needed either.
func (p *Plan) stop(app *App, o Options, complete bool) {
	if app.Instances == 0 {
		return
	}
	c := Change{App: app.ID, Version: app.Version, From: app.Instances}
	for _, t := range app.Tasks {
		if t.Health != sources.Draining || t.Leaving || len(c.Kill) >= app.Instances {
			continue
		}
		switch {
		case t.Settled && t.Connections == 0, o.Force:
			c.Kill = append(c.Kill, t.ID)
			c.Cut += t.Connections
		case !t.Settled:
			p.wait("%s of %s drains: %s", t.ID, app.ID, cmp.Or(t.Waiting, "its connections are not known yet"))
		default:
			p.wait("%s of %s has %s", t.ID, app.ID, plural.Of(t.Connections, "connection"))
		}
	}
	if complete && !app.serves() {
		switch {
		case len(app.Out) == 0: // none runs
			c.To, c.Why = 0, "nothing of it runs"
			p.Changes = append(p.Changes, c)
			return
		case o.Force:
			c.Kill = app.Out[:min(len(app.Out), app.Instances)]
		default:
			p.wait("%s of %s not in rotation: what is open there is not known, and only --force stops them", plural.Of(len(app.Out), "task"), app.ID+" "+isAre(len(app.Out)))
		}
	}
	if len(c.Kill) == 0 {
		return
	}
	c.To = app.Instances - len(c.Kill)
	c.Why = fmt.Sprintf("%s took over, and no connection is left", p.To)
	if o.Force {
		c.Why = fmt.Sprintf("%s took over, and people said not to wait for connections (%d are open)", p.To, c.Cut)
	}
	p.Changes = append(p.Changes, c)
}

// start plans how many more instances the app gets that takes over.
func (p *Plan) start(to *App, o Options) {
	switch healthy := to.healthy(); {
	case healthy < to.Instances:
		p.wait("%s has %d of %s in rotation", to.ID, healthy, plural.Of(to.Instances, "instance"))
	case to.Instances < p.Target:
		n := p.Target
		if o.Instances > 0 {
			n = min(n, to.Instances+o.Instances)
		}
		p.Changes = append(p.Changes, Change{
			App: to.ID, Version: to.Version, From: to.Instances, To: n, Why: fmt.Sprintf("it takes over from %s, and shall have %d in the end", strings.Join(p.From, ", "), p.Target),
		})
	}
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
