package collator

import (
	"cmp"
	"net/netip"
	"slices"

	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
)

// AppView is an app as people read about it.
type AppView struct {
	ID      string `json:"id"`
	Version string `json:"version"`
	// Routed is what fleets route: the app, or the one app that is made of all apps of
	// its deployment, which has another id.
	Routed *sources.App `json:"-"`
	Ports  []PortView   `json:"ports"`
	// Stopped is set if people scaled the app to 0: that no task is in rotation is meant.
	Stopped bool `json:"stopped,omitempty"`
	// Maintenance is set if all requests are answered by a page that says so.
	Maintenance bool `json:"maintenance,omitempty"`
	// Owner is who is told when the app fails.
	Owner string `json:"owner,omitempty"`
	// Problems are all that concern the app, clashes and rejected resources
	// included.
	Problems []problem.Problem `json:"-"`
	// Notes are what is not obvious about tasks.
	Notes []sources.Note `json:"-"`
	// Labels are those of its definition, without secrets.
	Labels sources.Labels `json:"-"`
}

// PortView is a port of an AppView.
type PortView struct {
	Index int    `json:"index"`
	Name  string `json:"name,omitempty"`
	// Fleets are those that route the port. Cluster is its name there, and empty when no
	// fleet routes it.
	Fleets []string `json:"groups,omitempty"`
	// OtherGroups are the first few groups of the port that are no fleet of this Relay: they
	// may be those of another load balancer.
	OtherGroups []string `json:"otherGroups,omitempty"`
	Cluster     string   `json:"-"`
	// Probe says how the port is asked from outside, as probelabel.Parse reads it.
	Probe string `json:"probe,omitempty"`
	// TCP is nil for a port that is not one of a TCP service. LacksAuthority tells that nobody is let in for
	// want of the authority that it names.
	TCP             *sources.TCP   `json:"-"`
	LacksAuthority  bool           `json:"-"`
	Domains         []string       `json:"domains,omitempty"`
	ACMEDomains     []string       `json:"-"`
	RedirectToHTTPS bool           `json:"-"`
	Endpoints       []EndpointView `json:"endpoints,omitempty"`
	Excluded        []ExcludedView `json:"excluded,omitempty"`
}

// EndpointView is a sources.Endpoint in the words of the JSON for people.
type EndpointView struct {
	Address netip.AddrPort `json:"address"`
	Health  sources.Health `json:"health"`
	Task    string         `json:"task,omitempty"`
	Region  string         `json:"region,omitempty"`
	Zone    string         `json:"zone,omitempty"`
	// Version is that of the task's definition, if the app has a newer one.
	Version string `json:"version,omitempty"`
}

// ExcludedView is a sources.Excluded in the words of the JSON for people.
type ExcludedView struct {
	Task   string `json:"task"`
	Reason string `json:"reason"`
}

// Apps returns all apps, ordered by id.
func (c *Collator) Apps() []AppView {
	byApp := make(map[string][]problem.Problem)
	for _, p := range c.problems.all(func(p problem.Problem) bool { return p.App != "" }) {
		byApp[p.App] = append(byApp[p.App], p)
	}
	// Apps are never modified. So only the pointers are copied under the lock, and the loop
	// waits for that alone.
	c.mu.RLock()
	apps := make([]shownApp, 0, len(c.read))
	for id := range c.read {
		apps = append(apps, c.shown(id))
	}
	c.mu.RUnlock()
	slices.SortFunc(apps, func(a, b shownApp) int { return cmp.Compare(a.app.ID, b.app.ID) })
	views := make([]AppView, len(apps))
	for i, a := range apps {
		problems := byApp[a.app.ID]
		if id := routedID(a.app); id != a.app.ID {
			problems = slices.Concat(problems, byApp[id])
		}
		views[i] = c.view(a, problems)
	}
	return views
}

// App returns the app with the given id.
func (c *Collator) App(id string) (AppView, bool) {
	c.mu.RLock()
	a := c.shown(id)
	c.mu.RUnlock()
	if a.app == nil {
		return AppView{}, false
	}
	if routed := routedID(a.app); routed != id {
		return c.view(a, c.problems.of(id, routed)), true
	}
	return c.view(a, c.problems.of(id)), true
}

// shownApp is an app, and the one that is made of its deployment, if it has one.
type shownApp struct{ app, merged *sources.App }

// shown returns an app. The caller holds the lock.
func (c *Collator) shown(id string) shownApp {
	a := shownApp{app: cmp.Or(c.apps[id], c.read[id])}
	if a.app != nil && a.app.Deployment != nil {
		a.merged = c.deployments[routedID(a.app)].merged
	}
	return a
}

// Endpoints returns the endpoints of a cluster. Nobody may modify them.
func (c *Collator) Endpoints(cluster string) []sources.Endpoint {
	id, port := routing.SplitClusterName(cluster)
	c.mu.RLock()
	defer c.mu.RUnlock()
	return routing.EndpointsOf(c.routed(id), port)
}

// Problems returns all problems, ordered by app.
func (c *Collator) Problems() []problem.Problem {
	return c.problems.all(func(problem.Problem) bool { return true })
}

func (c *Collator) view(a shownApp, problems []problem.Problem) AppView {
	app, routed := a.app, cmp.Or(a.merged, a.app)
	view := AppView{ID: app.ID, Version: app.Version, Routed: routed, Problems: problems, Notes: app.Notes, Labels: app.Labels, Stopped: app.Stopped, Maintenance: app.Maintenance, Owner: app.Owner, Ports: make([]PortView, len(app.Ports))}
	for i, port := range app.Ports {
		var fleets []string
		for _, f := range c.fleets {
			if f.Routes(routed.ID, routed, i) {
				fleets = append(fleets, f.Name)
			}
		}
		v := PortView{
			Index: i, Name: port.Name, Fleets: fleets, Probe: port.Probe,
			Domains: port.Domains, ACMEDomains: port.ACMEDomains, RedirectToHTTPS: port.RedirectToHTTPS,
		}
		if tcp := port.TCP; tcp != nil && (!tcp.Implicit || len(fleets) > 0) {
			v.TCP, v.LacksAuthority = tcp, c.LacksAuthority(tcp.ServiceTLS)
		}
		if i < len(routed.Ports) {
			v.OtherGroups = c.otherGroups(routed.Ports[i])
		}
		endpoints := port.Endpoints
		if a.merged != nil {
			endpoints = endpointsInDeployment(app, a.merged, i)
		}
		for _, e := range endpoints {
			v.Endpoints = append(v.Endpoints, EndpointView{Address: e.Address, Health: e.Health, Task: e.Task, Region: e.Region, Zone: e.Zone, Version: e.Version})
		}
		for _, e := range port.Excluded {
			v.Excluded = append(v.Excluded, ExcludedView(e))
		}
		if len(fleets) > 0 {
			v.Cluster = routing.ClusterName(routed.ID, i)
		}
		view.Ports[i] = v
	}
	return view
}
