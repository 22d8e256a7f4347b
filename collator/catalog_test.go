package collator

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"relay/collator/routing"
	"relay/sources"
)

// wantCatalogue compares what is kept of all apps with what a look at each of them finds.
func wantCatalogue(t *testing.T, c *Collator) {
	t.Helper()
	want, seen := Counts{Apps: len(c.read)}, make(map[string][]string)
	for _, view := range c.Apps() {
		for _, port := range view.Ports {
			want.Endpoints += len(port.Endpoints)
			for _, domain := range port.Domains {
				seen[domain] = append(seen[domain], view.ID)
			}
		}
	}
	if want.Domains = len(seen); c.Counts() != want {
		t.Fatalf("counts %+v, want %+v", c.Counts(), want)
	}
	var ids, names []string
	for _, e := range c.AppEntries() {
		ids = append(ids, e.ID)
	}
	if !slices.Equal(ids, slices.Sorted(maps.Keys(c.read))) {
		t.Fatalf("apps %v, want those of %v", ids, slices.Sorted(maps.Keys(c.read)))
	}
	for _, e := range c.DomainEntries() {
		names = append(names, e.Name)
		apps := seen[e.Name]
		slices.Sort(apps)
		if !slices.Equal(e.Apps, slices.Compact(apps)) {
			t.Fatalf("%s is of %v, want %v", e.Name, e.Apps, apps)
		}
	}
	if !slices.Equal(names, slices.Sorted(maps.Keys(seen))) {
		t.Fatalf("domains %v, want %v", names, slices.Sorted(maps.Keys(seen)))
	}
	if diff := cmp.Diff(servedByLooking(c), c.Served()); diff != "" {
		t.Fatalf("served (-by a look at all apps +kept):\n%s", diff)
	}
}

// servedByLooking counts what is served by a look at every app.
func servedByLooking(c *Collator) Served {
	s := Served{Known: true}
	snapshot := c.Snapshot()
	for _, app := range c.apps {
		if c.inNoFleet(app) {
			s.InNoFleet++
		}
		s.LeftOut += c.leftOut(app)
	}
	served, without := c.servedDomains(snapshot.Routed)
	s.Domains = len(served)
	for _, why := range without {
		switch why {
		case isStopped:
			s.Stopped++
		case isAsleep:
			s.Asleep++
		default:
			s.WithoutTask++
		}
	}
	for domain := range served {
		if slices.ContainsFunc(c.fleets, func(f *fleetState) bool { return f.closedByLooking(domain) }) {
			s.Closed++
		}
	}
	seen := make(map[string]bool) // whether it is wanted
	uncovered, known := c.UncoveredDomains()
	s.CertificatesUnknown = !known && len(c.coverage.fleets) > 0
	for _, u := range uncovered {
		seen[u.Domain] = seen[u.Domain] || u.Wanted
	}
	s.WithoutCertificate = len(seen)
	for _, wanted := range seen {
		if !wanted {
			s.NotWanted++
		}
	}
	return s
}

// closedByLooking makes the routes of a domain, or finds who gets its TLS connections.
func (f *fleetState) closedByLooking(domain string) bool {
	if wanting := f.services.Names[domain]; len(wanting) > 0 && wanting[0].Closed {
		if _, lost := routing.WinningHTTPClaim(f.domains.claims[domain], wanting[0]); !lost {
			return true
		}
	}
	return slices.ContainsFunc(f.routesOf(domain).Rules, func(r routing.Rule) bool { return r.HTTP.Closed || f.Unsigned(r) })
}

// servedDomains returns the domains that fleets route, and those of them of which requests
// find no task, and why: the worst of the reasons.
func (c *Collator) servedDomains(apps []*sources.App) (served map[string]struct{}, without map[string]rotation) {
	served, without = make(map[string]struct{}), make(map[string]rotation)
	doubtful := make(map[string]struct{})
	for _, app := range apps {
		for i, port := range app.Ports {
			if routing.IsTCP(port) && !c.passes(app, i) || !routing.IsTCP(port) && !slices.ContainsFunc(port.Groups, c.isFleet) {
				continue
			}
			empty := c.empty.says(routing.AppPort{App: app.ID, Port: i}) != inRotation
			for _, domain := range port.Domains {
				served[domain] = struct{}{}
				if empty {
					doubtful[domain] = struct{}{}
				}
			}
		}
	}
	for _, f := range c.fleets {
		for name, ports := range shown(f, apps) {
			served[name] = struct{}{}
			if slices.ContainsFunc(ports, func(p routing.AppPort) bool { return c.empty.says(p) != inRotation }) {
				doubtful[name] = struct{}{}
			}
		}
	}
	if len(doubtful) > 0 {
		for _, f := range c.fleets {
			c.findWithout(f, apps, doubtful, without)
		}
	}
	return served, without
}

var worstFirst = []rotation{isEmpty, isStopped, isAsleep}

// findWithout adds those of the domains of which requests to a fleet find no task: another
// app may have a domain in place of the one without tasks.
func (c *Collator) findWithout(f *fleetState, apps []*sources.App, domains map[string]struct{}, without map[string]rotation) {
	claims := make(map[string][]routing.Claim)
	note := func(domain string, targets ...routing.AppPort) {
		// Of the targets, one that somebody has to start counts last; of rules, the worst.
		why := isStopped
		for _, target := range targets {
			switch is := c.empty.says(target); {
			case is == inRotation:
				return
			case is == isEmpty, is == isAsleep && why == isStopped:
				why = is
			}
		}
		if worst, known := without[domain]; known && slices.Index(worstFirst, worst) < slices.Index(worstFirst, why) {
			why = worst
		}
		without[domain] = why
	}
	for _, app := range apps {
		for _, port := range app.Ports {
			if !slices.ContainsFunc(port.Domains, func(d string) bool { _, ok := domains[d]; return ok }) {
				continue
			}
			for domain, wanted := range f.ClaimsOf(app) {
				if _, asked := domains[domain]; asked {
					claims[domain] = append(claims[domain], wanted...)
				}
			}
			break
		}
		services, _ := f.ServicesOf(app.ID, app)
		for _, s := range services {
			for _, name := range s.Names {
				if _, asked := domains[name]; asked {
					note(name, s.AppPort)
				}
			}
		}
	}
	for name, ports := range shown(f, apps) {
		for _, port := range ports {
			if _, asked := domains[name]; asked {
				note(name, port)
			}
		}
	}
	for domain, wanting := range claims {
		slices.SortFunc(wanting, routing.CompareClaims)
		rules, _ := routing.RulesOf(wanting)
		for _, rule := range rules {
			var targets []routing.AppPort
			for _, target := range rule.Targets {
				id, port := routing.SplitClusterName(target.Cluster)
				targets = append(targets, routing.AppPort{App: id, Port: port})
			}
			note(domain, targets...)
		}
	}
}

// shown returns the app ports that have a TCP port and end TLS there, by the names of their certificates.
func shown(f *fleetState, apps []*sources.App) map[string][]routing.AppPort {
	first := make(map[uint16]routing.Service)
	for _, app := range apps {
		services, _ := f.ServicesOf(app.ID, app)
		for _, s := range services {
			if has, taken := first[s.Listen]; s.Listen != 0 && (!taken || routing.CompareServices(s, has) < 0) {
				first[s.Listen] = s
			}
		}
	}
	names := make(map[string][]routing.AppPort)
	for _, s := range first {
		if s.TLS != nil && !s.Closed {
			for _, name := range s.ServerNames {
				names[name] = append(names[name], s.AppPort)
			}
		}
	}
	return names
}

// passes reports whether some fleet passes TLS through to a port.
func (c *Collator) passes(app *sources.App, port int) bool {
	return slices.ContainsFunc(c.fleets, func(f *fleetState) bool {
		services, _ := f.ServicesOf(app.ID, app)
		return slices.ContainsFunc(services, func(s routing.Service) bool { return s.Port == port && len(s.Names) > 0 })
	})
}

func TestOrderedIsInOrder(t *testing.T) {
	t.Parallel()
	o := newOrdered[string]()
	for _, step := range []struct {
		set, gone []string
		want      string
	}{
		{[]string{"c", "a"}, nil, "A C"},
		{[]string{"b", "d"}, []string{"c", "x"}, "A B D"},
		{[]string{"a"}, []string{"d"}, "A B"},
		{nil, []string{"a", "b"}, ""},
	} {
		for _, name := range step.set {
			o.set(name, strings.ToUpper(name))
		}
		for _, name := range step.gone {
			o.set(name, "")
		}
		if got := strings.Join(o.all(), " "); got != step.want {
			t.Errorf("%q, want %q", got, step.want)
		}
	}
}

// A list that somebody reads stays as it was.
func TestOrderedListsAreNotModified(t *testing.T) {
	t.Parallel()
	o := newOrdered[string]()
	for _, name := range []string{"a", "b", "c"} {
		o.set(name, name)
	}
	before := o.all()
	o.set("b", "")
	o.set("a", "x")
	o.all()
	if got := strings.Join(before, ""); got != "abc" {
		t.Errorf("it is %q now", got)
	}
}

// The states of domains say why each is not served.
func TestDomainStates(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{Fleets: []routing.Fleet{testFleet()}})
	syncApps(c, webApp("/fine", "a.test"), empty(webApp("/empty", "b.test")), stopped(webApp("/stopped", "c.test")),
		changed(webApp("/nowhere", "d.test"), func(p *sources.Port) { p.Groups = nil }))
	want := map[string]DomainState{"a.test": StateWithoutCertificate, "b.test": StateWithoutTask, "c.test": StateStopped, "d.test": StateInNoFleet}
	for _, e := range c.DomainEntries() {
		if got := c.DomainState(e); got != want[e.Name] {
			t.Errorf("%s is in state %d, want %d", e.Name, got, want[e.Name])
		}
	}
	updateApps(c, webApp("/empty", "b.test"), webApp("/nowhere"))
	if e := c.DomainEntries(); len(e) != 3 || c.DomainState(e[1]) != StateWithoutCertificate {
		t.Errorf("%d domains, the second in state %d", len(e), c.DomainState(e[1]))
	}
}

// The name of a TLS service is served as long as the service has its port.
func TestStateOfServiceName(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{Fleets: []routing.Fleet{plain()}})
	state := func() DomainState {
		e := c.DomainEntries()
		return c.DomainState(e[slices.IndexFunc(e, func(e *DomainEntry) bool { return e.Name == "devices.test" })])
	}
	syncApps(c, tlsService("/imp", 8883, "devices", "devices.test"))
	if got := state(); got != StateServed {
		t.Errorf("state %d with the port, want %d", got, StateServed)
	}
	updateApps(c, tlsService("/first", 8883, "devices", "first.test"))
	if got := state(); got != StateInNoFleet {
		t.Errorf("state %d when another app has the port, want %d", got, StateInNoFleet)
	}
	updateApps(c, webApp("/first", "first.test"))
	if got := state(); got != StateServed {
		t.Errorf("state %d with the port again, want %d", got, StateServed)
	}
}

// A domain of an app that sleeps is served: the next request starts the app.
func TestAsleepIsNoProblem(t *testing.T) {
	t.Parallel()
	fleet := plain()
	fleet.Scaling = true
	c, _ := newTest(t, Config{Fleets: []routing.Fleet{fleet}})
	syncApps(c, webApp("/fine", "a.test"), asleep(webApp("/asleep", "b.test")))
	if e := c.DomainEntries(); c.DomainState(e[0]) != StateServed || c.DomainState(e[1]) != StateAsleep {
		t.Errorf("states %d and %d", c.DomainState(e[0]), c.DomainState(e[1]))
	}
	const want = "all 2 domains are served, 1 domain is of an app that sleeps"
	if s := c.Served(); !s.All() || s.String() != want {
		t.Errorf("all: %v: %s, want %s", s.All(), s, want)
	}
	if problems := c.Problems(); len(problems) > 0 {
		t.Errorf("problems: %+v", problems)
	}
}

// What is kept is right in several fleets, and after a round that did not end.
func TestCatalogueOfSeveralFleets(t *testing.T) {
	t.Parallel()
	other := plain()
	other.Name = "internal"
	cfg := Config{Fleets: []routing.Fleet{testFleet(), other}}
	for seed := range uint64(20) {
		r := newRandom(seed, 2)
		c, _ := newTest(t, cfg)
		c.SyncApps(nil)
		for i := range 20 {
			step(r, c)
			if i == 10 {
				c.reindex()
				c.round()
			}
			wantCatalogue(t, c)
		}
	}
}
