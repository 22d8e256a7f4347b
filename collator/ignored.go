package collator

import (
	"slices"

	"relay/collator/routing"
	"relay/sources"
	"relay/xds"
)

// markIgnored marks the cluster for clients that do not count as use of an app port, as updateApp
// does with that of the port.
func (f *fleetState) markIgnored(id string, before, after *sources.App, port int) {
	name := routing.IgnoredCluster(routing.ClusterName(id, port))
	was, is := f.Separates(before, port), f.Separates(after, port)
	switch {
	case was != is, is && !f.ConnectionsOf(before, port).Equal(f.ConnectionsOf(after, port)):
		f.markCluster(name)
	case is && !slices.Equal(routing.EndpointsOf(before, port), routing.EndpointsOf(after, port)):
		f.mark(xds.Endpoint, name)
	}
}

// lacksCluster reports whether there is no cluster of the name, as there is no app port that has it,
// or the app sleeps.
func (f *fleetState) lacksCluster(name, id string, app *sources.App, port int) bool {
	if routing.IsIgnoredCluster(name) {
		return !f.Separates(app, port)
	}
	if routing.IsMirrorCluster(name) {
		return f.uses.mirrored[routing.ClusterName(id, port)] == 0 || !f.Routes(id, app, port)
	}
	return !f.hasCluster(id, app, port)
}
