package deployments

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"time"

	"relay/sources"
)

// Token tells one state from another: who decides on one may have a step made only while it is so still.
func (s *State) Token() string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %v", s.Group, s.Back)
	for _, app := range s.Apps {
		fmt.Fprintf(h, " %q %q %d", app.ID, app.Version, app.Instances)
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

// Look returns what is known of a group, which may be named with its folder, and has Envoys report its
// instances for a while. It is false if there is no such group.
func (m *Manager) Look(ctx context.Context, group string) (State, bool) {
	s, ok := m.Local(m.config.Stage.Called(group))
	if ok && m.config.Others != nil {
		m.config.Others(ctx, &s)
	}
	return s, ok
}

// Local is Look by the Envoys of this Relay alone.
func (m *Manager) Local(group string) (State, bool) {
	members, back, _ := m.config.Stage.Members(group)
	if len(members) == 0 {
		return State{}, false
	}
	s := State{Group: group, Back: back}
	for _, member := range members {
		s.Apps = append(s.Apps, shown(member))
	}
	m.count(&s)
	return s, true
}

// shown is an app as its source says.
func shown(member *sources.App) App {
	d := member.Deployment
	app := App{ID: member.ID, Version: member.Version, StartedAt: d.StartedAt, Target: d.TargetInstances, Instances: d.Instances}
	if o := member.Orchestration; o != nil {
		app.Asleep = o.Asleep > 0
	}
	seen := make(map[string]bool)
	for _, port := range member.Ports {
		for _, e := range port.Endpoints {
			if !seen[e.Task] {
				seen[e.Task] = true
				app.Tasks = append(app.Tasks, Task{ID: e.Task, Address: e.Address.String(), Health: e.Health, Leaving: e.Health == sources.Draining})
			}
		}
	}
	for _, port := range member.Ports {
		for _, e := range port.Excluded {
			if !seen[e.Task] {
				seen[e.Task] = true
				app.Out = append(app.Out, e.Task)
			}
		}
	}
	slices.SortFunc(app.Tasks, func(a, b Task) int { return strings.Compare(a.ID, b.ID) })
	slices.Sort(app.Out)
	return app
}

// counted is what Envoys have at one port of a group.
type counted struct {
	open map[netip.AddrPort]int
	// served is set if a fleet routes the port.
	served bool
	// until is up to when all is known, and missing says what is not.
	until   time.Time
	missing string
}

// count adds what Envoys have, and report.
func (m *Manager) count(s *State) {
	name := Prefix + s.Group
	routed := m.config.Routing.Routed(name)
	places := make(map[string][]place) // by task
	if routed != nil {
		for i, port := range routed.Ports {
			c := m.counted(name, i, port)
			for _, e := range port.Endpoints {
				places[e.Task] = append(places[e.Task], place{e, &c})
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	of := m.memory(s.Group)
	if of.routed != routed {
		clear(of.acknowledged)
		of.routed = routed
	}
	drains := make(map[string]bool)
	for i := range s.Apps {
		for j := range s.Apps[i].Tasks {
			t := &s.Apps[i].Tasks[j]
			t.fill(places[t.ID])
			if t.Health != sources.Draining {
				continue
			}
			drains[t.ID] = true
			if all, waiting := m.config.Routing.Drained(name, []string{t.ID}); !all {
				delete(of.acknowledged, t.ID)
				t.Waiting = waiting
			} else if of.acknowledged[t.ID].IsZero() {
				of.acknowledged[t.ID] = time.Now()
			}
			t.settle(places[t.ID], of.acknowledged[t.ID])
		}
	}
	for task := range of.acknowledged {
		if !drains[task] {
			delete(of.acknowledged, task)
		}
	}
}

// place is where a task is reached at one port.
type place struct {
	endpoint sources.Endpoint
	of       *counted
}

// counted is what the Envoys of all fleets have at a port.
func (m *Manager) counted(name string, index int, port sources.Port) counted {
	c := counted{open: make(map[netip.AddrPort]int)}
	cluster := m.config.Routing.Cluster(name, index)
	for i, fleet := range m.config.Routing.Serving(port.Groups) {
		c.served = true
		m.config.Loads.Watch(fleet, cluster)
		until := m.config.Loads.Use(fleet, cluster).Until
		if i == 0 || until.Before(c.until) {
			c.until = until
		}
		open, known := m.config.Loads.Open(fleet, cluster)
		for at, n := range open {
			c.open[at] += n
		}
		switch why := m.config.Routing.Uncounted(fleet); {
		case why != "":
			c.missing = why
		case !known && c.missing == "":
			c.missing = "Envoys have yet to report its connections"
		}
	}
	return c
}

// fill takes over how a task is routed, and what is open there.
func (t *Task) fill(places []place) {
	t.Known = slices.ContainsFunc(places, func(p place) bool { return p.of.served })
	if !t.Known {
		t.Waiting = "no fleet of this Relay routes it"
	}
	for _, p := range places {
		at := netip.AddrPortFrom(p.endpoint.Address.Addr().Unmap(), p.endpoint.Address.Port())
		t.Connections += p.of.open[at]
		if p.endpoint.Health == sources.Draining {
			t.Health = sources.Draining
		}
		if p.of.missing != "" {
			t.Known, t.Waiting = false, p.of.missing
		}
	}
}

// settle says whether what is open at a task that drains is all that there is and will be. Reports of
// before all Envoys knew that it drains may lack a connection that came after them.
func (t *Task) settle(places []place, acknowledged time.Time) {
	if acknowledged.IsZero() || !t.Known {
		return
	}
	for _, p := range places {
		if p.of.served && !p.of.until.After(acknowledged) {
			t.Waiting = "Envoys have yet to report its connections since it drains"
			return
		}
	}
	t.Settled, t.Waiting = true, ""
}

// has reports whether a group is there.
func (s *Stage) has(group string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.groups[group]) > 0
}

// Add adds what another Relay knows of a task: how many connections its Envoys have open there, whether
// that is known, and whether they have settled, as in Task.
func (t *Task) Add(open int, known, settled bool, waiting string) {
	t.Connections += open
	t.Known = t.Known && known
	if t.Settled = t.Settled && settled; !settled && t.Health == sources.Draining {
		t.Waiting = waiting
	}
}

// Moving reports whether people may be moving a group: several of its apps have instances.
func (s *Stage) Moving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ids := range s.groups {
		having := 0
		for id := range ids {
			if s.members[id].Deployment.Instances > 0 {
				having++
			}
		}
		if having > 1 {
			return true
		}
	}
	return false
}
