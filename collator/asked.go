package collator

import (
	"slices"

	"relay/collator/routing"
	"relay/sources"
)

// Noted counts what sources have said so far. Published reports whether all up to a count is in
// the stores of the fleets: unlike Flush it does not wait.
func (c *Collator) Noted() uint64 {
	c.inbox.mu.Lock()
	defer c.inbox.mu.Unlock()
	return c.inbox.noted
}

// Published is explained at Noted.
func (c *Collator) Published(noted uint64) bool {
	c.inbox.mu.Lock()
	defer c.inbox.mu.Unlock()
	return c.inbox.applied >= noted
}

// Routed returns the app that is routed under a name: an id, or the name of a deployment group. It is nil
// if there is none, and is never modified.
func (c *Collator) Routed(name string) *sources.App {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.routed(name)
}

// ScopesOf returns the domains that an app is routed for, by fleet, sorted. The app is one of Routed.
func (c *Collator) ScopesOf(app *sources.App) map[string][]string { return c.tailedScopes(app) }

// FleetsOf returns the fleets with the names of some groups, in their order.
func (c *Collator) FleetsOf(groups []string) (fleets []string) {
	for _, f := range c.fleets {
		if slices.Contains(groups, f.Name) {
			fleets = append(fleets, f.Name)
		}
	}
	return fleets
}

// Routes reports whether a fleet has a cluster for a port of an app, by the name under which it is routed.
func (c *Collator) Routes(fleet, name string, port int) bool {
	app := c.Routed(name)
	return slices.ContainsFunc(c.fleets, func(f *fleetState) bool { return f.Name == fleet && f.Routes(name, app, port) })
}

// tellQueues tells of a routed app whose requests are counted, or were until now.
func (c *Collator) tellQueues(name string, before, after *sources.App) {
	if c.cfg.Queues != nil && (hasQueue(before) || hasQueue(after)) {
		c.cfg.Queues(name, after)
	}
}

func hasQueue(app *sources.App) bool {
	return app != nil && slices.ContainsFunc(app.Ports, func(p sources.Port) bool { return p.Queue != nil && !routing.IsTCP(p) })
}
