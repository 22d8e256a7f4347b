// Package explain says why something is or isn't routed: from the labels of apps to
// what Envoys are told, and how far each of them has come with it.
package explain

import (
	"maps"
	"slices"
	"strings"
	"time"

	"relay/collator"
	"relay/collator/routing"
	"relay/internal/hostname"
	"relay/internal/problem"
	"relay/sources"
	"relay/xds"
)

// Explanation is the way from the labels of apps to what Envoys are sent, for one domain,
// app or TCP port. It is made when somebody asks: nothing is kept for it, and it does not
// wait for the loop.
type Explanation struct {
	// Subject is the domain or app id, as Relay writes it.
	Subject string `json:"subject"`
	// Known is false if no app claims the domain or port, and there is no such app. Then
	// Near has domains and apps with names like it. What only ports claim that no fleet of
	// this Relay serves is known, without Domains and Services.
	Known bool     `json:"known"`
	Near  []string `json:"near,omitempty"`
	// Domains has an entry for each fleet in which an app claims the domain; for an app,
	// one for each of its domains and fleets.
	Domains []Domain `json:"domains,omitempty"`
	// Services are the TCP services that want the domain or TCP port, or what the app
	// wants.
	Services []Service `json:"services,omitempty"`
	// Apps are those that claim the domain, or the one app.
	Apps []App `json:"apps,omitempty"`
	// LeftOut says which apps name the domain in vain, and why; for an app, which domains it
	// names in vain.
	LeftOut []LeftOut `json:"leftOut,omitempty"`
	// Needs are the resources that it takes in the Envoys of each fleet.
	Needs map[string][]xds.Key `json:"-"`
	// NotReady says why Envoys are not served everything yet.
	NotReady []string `json:"notReady,omitempty"`
	// Fleets are those concerned, with their Envoys.
	Fleets []Fleet `json:"fleets,omitempty"`
	// Refused says which Envoys were refused lately, and why, if one of Fleets has none. It is
	// not known for which fleet each came.
	Refused []string `json:"refused,omitempty"`
}

// App is an app and its ports.
type App struct {
	ID      string `json:"id"`
	Version string `json:"version,omitempty"`
	// Deployment is the name under which the app is routed together with others.
	Deployment string `json:"group,omitempty"`
	Ports      []Port `json:"ports"`
	// Stopped is set if the app is scaled to 0.
	Stopped bool `json:"stopped,omitempty"`
	// Maintenance is set if all requests are answered by a page that says so.
	Maintenance bool `json:"maintenance,omitempty"`
	// Owner is who is told when the app fails (RELAY_OWNER).
	Owner string `json:"owner,omitempty"`
	// Scaling says what Relay does with the number of instances; nil if nothing.
	Scaling  *AppScaling       `json:"scaling,omitempty"`
	Problems []problem.Problem `json:"problems,omitempty"`
	// Notes say why tasks are judged or reached as they are, where that is not obvious.
	Notes []Note `json:"notes,omitempty"`
}

// AppScaling is what Relay does with the number of instances of an app.
type AppScaling struct {
	// Phase is such as "asleep", Since when it is so, and Reason says why.
	Phase  string    `json:"phase"`
	Since  time.Time `json:"since,omitzero"`
	Reason string    `json:"reason,omitempty"`
	// Text says when the app sleeps, or what keeps it awake, or what it waits for.
	Text string `json:"text"`
	// Size says why there are as many instances, and Trouble why the last try to change that failed.
	Size    string `json:"size,omitempty"`
	Trouble string `json:"trouble,omitempty"`
	// Sleeps is set if requests wait until the app has started.
	Sleeps bool `json:"sleeps,omitempty"`
	// Events are the last decisions, and what came of them, the newest first.
	Events []string `json:"events,omitempty"`
}

// Note is something to know about a task.
type Note struct {
	Task string `json:"task"`
	Text string `json:"text"`
}

// Port is a port of an app and its tasks. Fleets and Cluster are empty if no fleet of this
// Relay routes the port.
type Port struct {
	Index  int      `json:"index"`
	Name   string   `json:"name,omitempty"`
	Groups []string `json:"groups,omitempty"`
	Fleets []string `json:"fleets,omitempty"`
	// OtherGroups are the first few of Groups that are no fleet of this Relay.
	OtherGroups []string `json:"otherGroups,omitempty"`
	Cluster     string   `json:"cluster,omitempty"`
	Domains     []string `json:"domains,omitempty"`
	// Probe says how it is asked from outside (RELAY_n_PROBE).
	Probe string `json:"probe,omitempty"`
	// Connections says how Envoy connects to the tasks, where that is not the default.
	Connections []string   `json:"connections,omitempty"`
	Endpoints   []Endpoint `json:"endpoints,omitempty"`
	Excluded    []Excluded `json:"excluded,omitempty"`
}

// Endpoint is a task in rotation.
type Endpoint struct {
	Address string `json:"address"`
	Health  string `json:"health"`
	Task    string `json:"task,omitempty"`
	// Unreachable says why Envoys could not connect to it lately, and what they do then;
	// empty if they could.
	Unreachable string `json:"unreachable,omitempty"`
}

// Excluded is a task that gets no requests, and why.
type Excluded struct {
	Task   string `json:"task"`
	Reason string `json:"reason"`
}

// explainer explains one moment.
type explainer struct {
	collator.Snapshot
	c *collator.Collator
}

// Explain explains a domain, the app with the given id, or a TCP port, as
// "tcp/5432". Of a domain below a wildcard domain it says which of the two answers.
// It costs a look at every app. The Explanation is without NotReady and Fleets.
func Explain(c *collator.Collator, subject string) Explanation {
	return explainer{c.Snapshot(), c}.explain(subject)
}

func (x explainer) explain(subject string) Explanation {
	e := x.find(subject)
	x.handle(e.Services)
	return e
}

func (x explainer) find(subject string) Explanation {
	subject = strings.TrimSpace(subject)
	if app, ok := x.c.App(subject); ok {
		return x.app(app)
	}
	if port, ok := routing.TCPPort(subject); ok {
		if e := x.port(subject, port); e.Known {
			return e
		}
	}
	if e, ok := x.name(subject); ok {
		return e
	}
	if app, ok := x.c.App("/" + strings.Trim(subject, "/")); ok {
		return x.app(app)
	}
	if strings.HasPrefix(subject, "tcp/") {
		return Explanation{Subject: subject, Near: near(subject, x.names())}
	}
	if host, _, around := hostname.Bare(subject); around {
		if e, ok := x.name(host); ok {
			return e
		}
		subject = host
	}
	if domain, err := hostname.Domain(subject); err == nil {
		subject = domain
	}
	return Explanation{Subject: subject, Near: near(subject, x.names())}
}

// name explains a domain, or a text that apps have for one and that is none.
func (x explainer) name(text string) (e Explanation, known bool) {
	domain, err := hostname.Domain(text)
	if err != nil {
		e = Explanation{Subject: text}
		x.addLeftOut(&e, strings.ToLower(text), nil)
		e.Known = len(e.Apps) > 0
		return e, e.Known
	}
	e = x.domain(domain)
	return e, e.Known
}

// names returns every domain and app id.
func (x explainer) names() []string {
	seen := make(map[string]struct{})
	for _, app := range x.Routed {
		for _, port := range app.Ports {
			for _, domain := range slices.Concat(port.Domains, port.ACMEDomains) {
				seen[domain] = struct{}{}
			}
			if port.TCP != nil && port.TCP.Port != 0 {
				seen[routing.TCPListener(port.TCP.Port)] = struct{}{}
			}
		}
	}
	for _, id := range x.IDs {
		seen[id] = struct{}{}
	}
	for _, app := range x.Unrouted {
		for _, one := range app.Unrouted {
			seen[one.Domain] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

func (x explainer) domain(domain string) Explanation {
	e := Explanation{Subject: domain, Needs: make(map[string][]xds.Key)}
	names := nameSet(domain)
	claimants := make(map[string]struct{})
	for _, f := range x.Fleets {
		on, services := claimsOn(x.Routed, f, names), servicesIn(f, x.Routed)
		view, claims := x.view(on, f, domain, passes(f, services, on))
		https := &HTTPS{}
		if view != nil {
			https = &view.HTTPS
		}
		if f.HasHTTPS() {
			e.addServices(passThrough(f, services, on, domain, https))
		}
		e.addServices(showing(f, services, domain))
		if view == nil {
			continue
		}
		e.Domains = append(e.Domains, *view)
		e.need(f, *view)
		for _, claim := range claims {
			claimants[claim.App] = struct{}{}
		}
	}
	for _, s := range e.Services {
		claimants[s.App] = struct{}{}
	}
	if len(e.Domains)+len(e.Services) == 0 {
		// A misspelt group is a common reason to ask. A wildcard is no host that another
		// wildcard could answer for.
		if _, wildcard := hostname.CutWildcard(domain); wildcard {
			names = map[string]struct{}{domain: {}}
		}
		claimants = x.claimantsAnywhere(func(app *sources.App) bool { return mentions(app, names) })
	}
	x.addClaimants(&e, claimants)
	x.addLeftOut(&e, domain, claimants)
	e.Known = len(e.Apps) > 0
	return e
}

// claimantsAnywhere returns the apps that claim what is asked about, whether or not a
// fleet serves them.
func (x explainer) claimantsAnywhere(claims func(*sources.App) bool) map[string]struct{} {
	found := make(map[string]struct{})
	for _, app := range x.Routed {
		if claims(app) {
			found[app.ID] = struct{}{}
		}
	}
	return found
}

// addClaimants adds the apps that are routed under the ids.
func (x explainer) addClaimants(e *Explanation, claimants map[string]struct{}) {
	for _, id := range slices.Sorted(maps.Keys(claimants)) {
		for _, member := range x.Members(id) {
			if app, ok := x.c.App(member); ok {
				e.Apps = append(e.Apps, appOf(app))
			}
		}
	}
}

func (x explainer) app(app collator.AppView) Explanation {
	e := Explanation{Subject: app.ID, Known: true, Apps: []App{appOf(app)}, LeftOut: x.leftOutOf(app.ID), Needs: make(map[string][]xds.Key)}
	var own []string
	for _, port := range app.Ports {
		own = slices.Concat(own, port.Domains, port.ACMEDomains)
	}
	names := nameSet(own...)
	// Only apps with a domain in common are looked at for each domain: there may be
	// hundreds of domains, and thousands of apps.
	sharing := slices.DeleteFunc(slices.Clone(x.Routed), func(other *sources.App) bool { return !mentions(other, names) })
	for _, f := range x.Fleets {
		on := claimsOn(sharing, f, names)
		passed := passes(f, servicesIn(f, x.Routed), on)
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
			if view, _ := x.view(on, f, domain, passed); view != nil {
				e.Domains = append(e.Domains, *view)
				e.need(f, *view)
			}
		}
	}
	x.addServicesOf(&e, app.Routed, sharing, names)
	return e
}

func appOf(app collator.AppView) App {
	out := App{ID: app.ID, Version: app.Version, Stopped: app.Stopped, Maintenance: app.Maintenance, Owner: app.Owner, Problems: worstFirst(app.Problems), Ports: make([]Port, len(app.Ports))}
	routed := app.Routed
	if routed.ID != app.ID {
		out.Deployment = routed.ID
	}
	for i, port := range app.Ports {
		p := Port{Index: port.Index, Name: port.Name, Fleets: port.Fleets, OtherGroups: port.OtherGroups, Cluster: port.Cluster, Domains: port.Domains, Probe: port.Probe}
		if i < len(routed.Ports) {
			p.Groups = routed.Ports[i].Groups
			p.Connections = connectionWords(routed.Ports[i], port.LacksAuthority)
			if by := routed.Ports[i].UsedBy; len(by) > 0 {
				p.Connections = append(p.Connections, "may be used by "+strings.Join(by, ", "))
			}
		}
		for _, e := range port.Endpoints {
			p.Endpoints = append(p.Endpoints, Endpoint{Address: e.Address.String(), Health: e.Health.String(), Task: e.Task})
		}
		for _, x := range port.Excluded {
			p.Excluded = append(p.Excluded, Excluded{x.Task, x.Reason})
		}
		out.Ports[i] = p
	}
	for _, n := range app.Notes {
		out.Notes = append(out.Notes, Note(n))
	}
	return out
}

func worstFirst(problems []problem.Problem) []problem.Problem {
	all := slices.Clone(problems)
	for i := range all {
		all[i] = all[i].Complete()
	}
	problem.Sort(all)
	return all
}

// need adds what a domain needs in the Envoys of a fleet.
func (e *Explanation) need(f *routing.Fleet, view Domain) {
	e.add(f.Name, xds.Listener, routing.HTTPListener)
	e.add(f.Name, xds.Scope, view.Domain)
	if _, wildcard := hostname.CutWildcard(view.Domain); wildcard {
		e.add(f.Name, xds.Scope, routing.WildcardsScope)
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
		e.add(f.Name, xds.Listener, routing.HTTPSListener)
		e.add(f.Name, xds.Secret, used.Secret)
	}
	if second := view.HTTPS.Second; second != nil {
		e.add(f.Name, xds.Secret, second.Secret)
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
