package collator

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"relay/internal/hostname"
	"relay/sources"
	"relay/xds"
)

// Explanation is the way from the labels of apps to what Envoys are told, for
// one domain or app. It is made from the apps when it is asked for: nothing is
// kept ready, and the loop is not waited for.
type Explanation struct {
	// Subject is the domain or app id, as Relay writes it.
	Subject string `json:"subject"`
	// Known is false when no app claims the domain, or when there is no such app;
	// Near then holds domains and apps with names like it.
	Known bool     `json:"known"`
	Near  []string `json:"near,omitempty"`
	// Domains has an entry for each fleet in which an app claims the domain; of an
	// app, for each of its domains and fleets.
	Domains []DomainView `json:"domains,omitempty"`
	// Services are the TCP services of the app, or those of the domain or TCP port.
	Services []ServiceView `json:"services,omitempty"`
	// Apps are those that claim the domain, or the one app.
	Apps []ExplainedApp `json:"apps,omitempty"`
	// Needs are the resources by which this works, by fleet.
	Needs map[string][]xds.Key `json:"-"`
}

// ExplainedApp is an app and its ports.
type ExplainedApp struct {
	ID      string `json:"id"`
	Version string `json:"version,omitempty"`
	// Group is the name under which the app is routed together with others.
	Group    string          `json:"group,omitempty"`
	Ports    []ExplainedPort `json:"ports"`
	Problems []Problem       `json:"problems,omitempty"`
}

// ExplainedPort is a port and its tasks. Fleets and Cluster are empty when no
// fleet of this Relay takes the port.
type ExplainedPort struct {
	Index   int      `json:"index"`
	Name    string   `json:"name,omitempty"`
	Groups  []string `json:"groups,omitempty"`
	Fleets  []string `json:"fleets,omitempty"`
	Cluster string   `json:"cluster,omitempty"`
	Domains []string `json:"domains,omitempty"`
	// Connections says how Envoy connects to the tasks, where that is special.
	Connections []string            `json:"connections,omitempty"`
	Endpoints   []ExplainedEndpoint `json:"endpoints,omitempty"`
	Excluded    []ExplainedExcluded `json:"excluded,omitempty"`
}

// ExplainedEndpoint is a task in rotation.
type ExplainedEndpoint struct {
	Address string `json:"address"`
	Health  string `json:"health"`
	Task    string `json:"task,omitempty"`
}

// ExplainedExcluded is a task that gets no requests, and why.
type ExplainedExcluded struct {
	Task   string `json:"task"`
	Reason string `json:"reason"`
}

// Explain explains a domain, the app with the given id, or a TCP port, as
// "tcp/5432". Of a domain in a wildcard domain it says which of the two answers.
// It costs a look at every app.
func (c *Collator) Explain(subject string) Explanation {
	subject = strings.TrimSpace(subject)
	if app, ok := c.App(subject); ok {
		return c.explainApp(app)
	}
	if port, ok := strings.CutPrefix(subject, tcpPrefix); ok {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			if e := c.explainPort(subject, uint16(n)); e.Known {
				return e
			}
		}
	}
	if domain, err := hostname.Domain(subject); err == nil {
		if e := c.explainDomain(domain); e.Known {
			return e
		}
		subject = domain
	}
	if app, ok := c.App("/" + strings.Trim(subject, "/")); ok {
		return c.explainApp(app)
	}
	return Explanation{Subject: subject, Near: near(subject, c.names())}
}

// routedApps returns all apps as they are routed; they are never modified.
func (c *Collator) routedApps() []*sources.App {
	c.mu.RLock()
	defer c.mu.RUnlock()
	apps := make([]*sources.App, 0, len(c.apps))
	for _, app := range c.apps {
		if app.Deployment == nil {
			apps = append(apps, app)
		}
	}
	for _, group := range c.groups {
		apps = append(apps, group.merged)
	}
	return apps
}

// names returns every domain and app id.
func (c *Collator) names() []string {
	seen := make(map[string]struct{})
	for _, app := range c.routedApps() {
		for _, port := range app.Ports {
			for _, domain := range slices.Concat(port.Domains, port.ACMEDomains) {
				seen[domain] = struct{}{}
			}
			if port.TCP != nil && port.TCP.Port != 0 {
				seen[tcpListener(port.TCP.Port)] = struct{}{}
			}
		}
	}
	c.mu.RLock()
	ids := slices.AppendSeq(make([]string, 0, len(c.read)), maps.Keys(c.read))
	c.mu.RUnlock()
	for _, id := range ids {
		seen[id] = struct{}{}
	}
	return slices.Sorted(maps.Keys(seen))
}

func (c *Collator) explainDomain(domain string) Explanation {
	e := Explanation{Subject: domain, Needs: make(map[string][]xds.Key)}
	apps, names := c.routedApps(), nameSet(domain)
	claimants := make(map[string]struct{})
	for _, f := range c.fleets {
		on, services := claimsOn(apps, f.Fleet, names), f.servicesIn(apps)
		view, claims := c.domainView(on, f, domain, f.passes(services, on))
		https := &HTTPSView{}
		if view != nil {
			https = &view.HTTPS
		}
		if f.hasHTTPS() {
			e.addServices(f.passThrough(services, on, domain, https))
		}
		if view == nil {
			continue
		}
		e.Domains = append(e.Domains, *view)
		e.need(f.Fleet, *view)
		for _, claim := range claims {
			claimants[claim.app] = struct{}{}
		}
	}
	for _, s := range e.Services {
		claimants[s.App] = struct{}{}
	}
	c.addClaimants(&e, claimants)
	e.Known = len(e.Domains)+len(e.Services) > 0
	return e
}

// addClaimants adds the apps behind the names under which they are routed.
func (c *Collator) addClaimants(e *Explanation, claimants map[string]struct{}) {
	for _, id := range slices.Sorted(maps.Keys(claimants)) {
		for _, member := range c.membersOf(id) {
			if app, ok := c.App(member); ok {
				e.Apps = append(e.Apps, c.explained(app))
			}
		}
	}
}

// membersOf returns the ids of the apps that are routed under a name.
func (c *Collator) membersOf(routed string) []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if group, ok := c.groups[routed]; ok {
		return slices.Sorted(maps.Keys(group.members))
	}
	return []string{routed}
}

func (c *Collator) explainApp(app AppView) Explanation {
	e := Explanation{Subject: app.ID, Known: true, Apps: []ExplainedApp{c.explained(app)}, Needs: make(map[string][]xds.Key)}
	apps := c.routedApps()
	var own []string
	for _, port := range app.Ports {
		own = slices.Concat(own, port.Domains, port.ACMEDomains)
	}
	names := nameSet(own...)
	// An app may have hundreds of domains, and there are many apps.
	rivals := slices.DeleteFunc(slices.Clone(apps), func(other *sources.App) bool { return !mentions(other, names) })
	for _, f := range c.fleets {
		on := claimsOn(rivals, f.Fleet, names)
		passes := f.passes(f.servicesIn(apps), on)
		domains := make(map[string]struct{})
		for _, port := range app.Ports {
			if !slices.Contains(port.Fleets, f.Name) {
				continue
			}
			e.needCluster(f.Name, port.Cluster)
			for _, domain := range slices.Concat(port.Domains, port.ACMEDomains) {
				domains[domain] = struct{}{}
			}
		}
		for _, domain := range slices.Sorted(maps.Keys(domains)) {
			if view, _ := c.domainView(on, f, domain, passes); view != nil {
				e.Domains = append(e.Domains, *view)
				e.need(f.Fleet, *view)
			}
		}
	}
	routed := app.ID
	if group := e.Apps[0].Group; group != "" {
		routed = group
	}
	c.explainServices(&e, routed, apps, names)
	return e
}

func (c *Collator) explained(app AppView) ExplainedApp {
	c.mu.RLock()
	shown := c.shown(app.ID)
	c.mu.RUnlock()
	out := ExplainedApp{ID: app.ID, Version: app.Version, Problems: app.Problems, Ports: make([]ExplainedPort, len(app.Ports))}
	routed := cmp.Or(shown.merged, shown.app)
	if shown.merged != nil {
		out.Group = routed.ID
	}
	for i, port := range app.Ports {
		p := ExplainedPort{Index: port.Index, Name: port.Name, Fleets: port.Fleets, Cluster: port.Cluster, Domains: port.Domains}
		if routed != nil && i < len(routed.Ports) {
			p.Groups = routed.Ports[i].Groups
			p.Connections = connectionWords(routed.Ports[i])
		}
		for _, e := range port.Endpoints {
			p.Endpoints = append(p.Endpoints, ExplainedEndpoint{e.Address.String(), e.Health.String(), e.Task})
		}
		for _, x := range port.Excluded {
			p.Excluded = append(p.Excluded, ExplainedExcluded{x.Task, x.Reason})
		}
		out.Ports[i] = p
	}
	return out
}

// need notes what a domain needs in the Envoys of a fleet.
func (e *Explanation) need(f Fleet, view DomainView) {
	e.add(f.Name, xds.Listener, httpListener)
	e.add(f.Name, xds.Scope, view.Domain)
	if _, wildcard := cutWildcard(view.Domain); wildcard {
		e.add(f.Name, xds.Scope, wildcardsScope)
	}
	for _, rule := range view.Rules {
		if rule.Outcome == Serves {
			for _, target := range rule.Targets {
				e.needCluster(f.Name, target.Cluster)
			}
		}
	}
	if view.ACMECluster != "" {
		e.needCluster(f.Name, view.ACMECluster)
	}
	if used := view.HTTPS.Certificate; used != nil {
		e.add(f.Name, xds.Listener, httpsListener)
		e.add(f.Name, xds.Secret, used.Secret)
	}
}

func (e *Explanation) needCluster(fleet, name string) {
	e.add(fleet, xds.Cluster, name)
	e.add(fleet, xds.Endpoint, name)
}

func (e *Explanation) add(fleet string, t xds.Type, name string) {
	key := xds.Key{Type: t, Name: name}
	if !slices.Contains(e.Needs[fleet], key) {
		e.Needs[fleet] = append(e.Needs[fleet], key)
	}
}
