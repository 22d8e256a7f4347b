package collator

import (
	"cmp"
	"slices"

	"relay/sources"
)

// AppView is an app as people read about it.
type AppView struct {
	ID, Version string
	Ports       []PortView
	// Problems are all that concern the app, clashes and rejected resources
	// included.
	Problems []Problem
}

// PortView is a port of an AppView.
type PortView struct {
	Index int
	Name  string
	// Fleets are the configured fleets that route the port, under the name in
	// Cluster, which is empty when none does.
	Fleets               []string
	Cluster              string
	Domains, ACMEDomains []string
	RedirectToHTTPS      bool
	Endpoints            []sources.Endpoint
	Excluded             []sources.Excluded
}

// Apps returns all apps, ordered by id.
func (c *Collator) Apps() []AppView {
	byApp := make(map[string][]Problem)
	for _, p := range c.problems.all(func(p Problem) bool { return p.App != "" }) {
		byApp[p.App] = append(byApp[p.App], p)
	}
	// Apps are never modified: only the pointers are copied under the lock, so
	// that the loop waits for that alone.
	c.mu.RLock()
	apps := make([]*sources.App, 0, len(c.read))
	for id, read := range c.read {
		apps = append(apps, cmp.Or(c.apps[id], read))
	}
	c.mu.RUnlock()
	slices.SortFunc(apps, func(a, b *sources.App) int { return cmp.Compare(a.ID, b.ID) })
	views := make([]AppView, len(apps))
	for i, app := range apps {
		views[i] = c.view(app, byApp[app.ID])
	}
	return views
}

// App returns the app with the given id.
func (c *Collator) App(id string) (AppView, bool) {
	c.mu.RLock()
	app := cmp.Or(c.apps[id], c.read[id])
	c.mu.RUnlock()
	if app == nil {
		return AppView{}, false
	}
	return c.view(app, c.problems.all(func(p Problem) bool { return p.App == id })), true
}

// Problems returns all problems, ordered by app.
func (c *Collator) Problems() []Problem {
	return c.problems.all(func(Problem) bool { return true })
}

func (c *Collator) view(app *sources.App, problems []Problem) AppView {
	view := AppView{ID: app.ID, Version: app.Version, Problems: problems, Ports: make([]PortView, len(app.Ports))}
	for i, port := range app.Ports {
		var fleets []string
		for _, f := range c.fleets {
			if f.routes(app.ID, app, i) {
				fleets = append(fleets, f.Name)
			}
		}
		v := PortView{
			Index: i, Name: port.Name, Fleets: fleets,
			Domains: port.Domains, ACMEDomains: port.ACMEDomains, RedirectToHTTPS: port.RedirectToHTTPS,
			Endpoints: port.Endpoints, Excluded: port.Excluded,
		}
		if len(fleets) > 0 {
			v.Cluster = clusterName(app.ID, i)
		}
		view.Ports[i] = v
	}
	return view
}
