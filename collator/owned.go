package collator

import (
	"slices"

	"relay/collator/routing"
	"relay/sources"
)

// OwnedApp is an app that says whose it is. It is never modified.
type OwnedApp struct {
	// ID is the name under which it is routed: apps of a deployment group have the same.
	ID, Owner string
	// Fleets are those that route a port of it, Clusters those of its ports.
	Fleets, Clusters []string
}

func ownerOf(app *sources.App) string {
	if app == nil {
		return ""
	}
	return app.Owner
}

// noteOwned notes whether an app says whose it is. The caller holds the lock.
func (c *Collator) noteOwned(id string, app *sources.App) {
	if ownerOf(app) == "" {
		c.catalog.owned.set(id, nil)
		return
	}
	routed := routedID(app)
	owned := &OwnedApp{ID: routed, Owner: app.Owner}
	for i, port := range app.Ports {
		owned.Fleets = append(owned.Fleets, c.fleetsOf(port)...)
		owned.Clusters = append(owned.Clusters, routing.ClusterName(routed, i))
	}
	slices.Sort(owned.Fleets)
	owned.Fleets = slices.Compact(owned.Fleets)
	c.catalog.owned.set(id, owned)
}

// Owned returns the apps that say whose they are, ordered by id: those of a deployment group one by one, though they
// are routed as one. Nobody may modify the list.
func (c *Collator) Owned() []*OwnedApp {
	x := c.catalog
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.owned.all()
}
