package collator

import (
	"slices"
	"strings"
	"sync"

	"relay/collator/routing"
	"relay/sources"
)

// catalog has what people search, sort and count: it costs as little to look at with many apps
// as with few. The loop alone writes it, app by app, so that it is never behind.
type catalog struct {
	mu      sync.Mutex
	byID    map[string]catalogued
	apps    ordered[*AppEntry]
	claims  map[string][]nameClaim // by domain, sorted
	domains ordered[*DomainEntry]
	// asked are the apps that say how they are asked from outside, by id.
	asked map[string]struct{}
	// owned are those that say whose they are.
	owned ordered[*OwnedApp]
	// endpoints, leftOut and inNoFleet are sums over byID.
	endpoints, leftOut, inNoFleet int
	// states are those of the domains that some fleet routes.
	states map[string]DomainState
	served Served // the counts of states
	// closed are those of the domains of which nobody is let in.
	closed map[string]struct{}

	// doubtful are the domains of which the state has to be looked up. They belong to the loop.
	doubtful map[string]struct{}
}

// catalogued is an app as it is counted.
type catalogued struct {
	app   *sources.App
	entry *AppEntry
	// endpoints, leftOut and inNoFleet are what it adds to the sums.
	endpoints, leftOut int
	inNoFleet          bool
}

// nameClaim is an app port that names a domain.
type nameClaim struct {
	routing.AppPort
	cluster string
	fleets  []string
}

// AppEntry is an app in a list, with what people search by. It is never modified.
type AppEntry struct {
	ID string
	// Fleets are those that route a port of it, Domains those that its ports name.
	Fleets, Domains []string
	// text is the id in lower case; domains are in lower case already.
	text string
}

// Has reports whether the id or a domain has a text in it, which is in lower case.
func (e *AppEntry) Has(text string) bool {
	return strings.Contains(e.text, text) || slices.ContainsFunc(e.Domains, func(d string) bool { return strings.Contains(d, text) })
}

// DomainEntry is a domain that apps name. It is never modified.
type DomainEntry struct {
	Name string
	// Apps are the ids of those that name it, Fleets those that route a port of these.
	Apps, Fleets []string
	// Clusters are those of the app ports.
	Clusters []string
}

func newCatalog() *catalog {
	return &catalog{
		byID: make(map[string]catalogued), apps: newOrdered[*AppEntry](),
		claims: make(map[string][]nameClaim), domains: newOrdered[*DomainEntry](), asked: make(map[string]struct{}), owned: newOrdered[*OwnedApp](),
		states: make(map[string]DomainState), closed: make(map[string]struct{}), doubtful: make(map[string]struct{}),
	}
}

// Counts are sums over all apps: those that were read, the domains that they name, and the tasks
// that are in rotation.
type Counts struct{ Apps, Domains, Endpoints int }

// Counts returns the sums. They cost nothing.
func (c *Collator) Counts() Counts {
	x := c.catalog
	x.mu.Lock()
	defer x.mu.Unlock()
	return Counts{Apps: len(x.byID), Domains: len(x.claims), Endpoints: x.endpoints}
}

// AppEntries returns all apps, ordered by id. Nobody may modify the list.
func (c *Collator) AppEntries() []*AppEntry {
	x := c.catalog
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.apps.all()
}

// DomainEntries returns all domains, ordered by name. Nobody may modify the list.
func (c *Collator) DomainEntries() []*DomainEntry {
	x := c.catalog
	x.mu.Lock()
	defer x.mu.Unlock()
	for name := range x.domains.pending {
		x.domains.pending[name] = newDomainEntry(name, x.claims[name])
	}
	return x.domains.all()
}

// newDomainEntry returns the entry of a domain; nil if no app names it.
func newDomainEntry(name string, claims []nameClaim) *DomainEntry {
	if len(claims) == 0 {
		return nil
	}
	e := &DomainEntry{Name: name}
	for _, c := range claims { // ordered by app
		if n := len(e.Apps); n == 0 || e.Apps[n-1] != c.App {
			e.Apps = append(e.Apps, c.App)
		}
		e.Clusters = append(e.Clusters, c.cluster)
		e.Fleets = append(e.Fleets, c.fleets...)
	}
	for _, list := range []*[]string{&e.Clusters, &e.Fleets} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return e
}

// catalogue takes in that an app has changed, come or gone.
func (c *Collator) catalogue(id string) {
	app := c.apps[id]
	if app == nil {
		app = c.read[id]
	}
	x := c.catalog
	x.mu.Lock()
	defer x.mu.Unlock()
	before := x.byID[id]
	if app == nil {
		delete(x.byID, id)
		delete(x.asked, id)
		x.apps.set(id, nil)
	}
	now := catalogued{app: app, entry: before.entry}
	if ownerOf(before.app) != ownerOf(app) || ownerOf(app) != "" && !samePolicy(before.app, app) {
		c.noteOwned(id, app)
	}
	if !samePolicy(before.app, app) {
		x.reclaim(before.app, -1, c)
		x.reclaim(app, 1, c)
		if app != nil {
			now.entry = c.newAppEntry(app)
			x.apps.set(id, now.entry)
			x.noteAsked(app)
		}
	}
	if app != nil {
		for _, port := range app.Ports {
			now.endpoints += len(port.Endpoints)
		}
		if app == c.apps[id] {
			now.leftOut, now.inNoFleet = c.leftOut(app), c.inNoFleet(app)
		}
		x.byID[id] = now
	}
	x.count(before, -1)
	x.count(now, 1)
}

// count adds what an app adds to the sums, or takes it off.
func (x *catalog) count(of catalogued, sign int) {
	x.endpoints += sign * of.endpoints
	x.leftOut += sign * of.leftOut
	if of.inNoFleet {
		x.inNoFleet += sign
	}
}

// reclaim adds the claims of an app, or takes them out.
func (x *catalog) reclaim(app *sources.App, sign int, c *Collator) {
	if app == nil {
		return
	}
	for i, port := range app.Ports {
		claim := nameClaim{AppPort: routing.AppPort{App: app.ID, Port: i}, cluster: routing.ClusterName(routedID(app), i), fleets: c.fleetsOf(port)}
		for _, domain := range port.Domains {
			claims := x.claims[domain]
			at, there := slices.BinarySearchFunc(claims, claim, func(a, b nameClaim) int { return a.Compare(b.AppPort) })
			if there {
				claims = slices.Delete(claims, at, at+1)
			}
			if sign > 0 {
				claims = slices.Insert(claims, at, claim)
			}
			if x.domains.set(domain, nil); len(claims) == 0 {
				delete(x.claims, domain)
			} else {
				x.claims[domain] = claims
			}
		}
	}
}

func (c *Collator) newAppEntry(app *sources.App) *AppEntry {
	e := &AppEntry{ID: app.ID, text: strings.ToLower(app.ID)}
	for _, port := range app.Ports {
		if len(port.Domains) > 0 {
			e.Domains = append(e.Domains, port.Domains...)
		}
		e.Fleets = append(e.Fleets, c.fleetsOf(port)...)
	}
	slices.Sort(e.Fleets)
	e.Fleets = slices.Clip(slices.Compact(e.Fleets))
	return e
}

// fleetsOf returns the groups of a port that are fleets.
func (c *Collator) fleetsOf(port sources.Port) (fleets []string) {
	for _, f := range c.fleets {
		if slices.Contains(port.Groups, f.Name) {
			fleets = append(fleets, f.Name)
		}
	}
	return fleets
}

// uncatalogue forgets everything, for it to be found again.
func (c *Collator) uncatalogue() {
	c.catalog.mu.Lock()
	defer c.catalog.mu.Unlock()
	fresh := newCatalog()
	x := c.catalog
	x.byID, x.apps, x.claims, x.domains, x.asked, x.owned = fresh.byID, fresh.apps, fresh.claims, fresh.domains, fresh.asked, fresh.owned
	x.endpoints, x.leftOut, x.inNoFleet = 0, 0, 0
	x.states, x.served, x.closed, x.doubtful = fresh.states, Served{}, fresh.closed, fresh.doubtful
}
