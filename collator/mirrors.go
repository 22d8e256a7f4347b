package collator

import (
	"slices"

	"relay/collator/routing"
	"relay/sources"
	"relay/xds"
)

// noteMirrors counts who sends copies of requests to which clusters, as a port of an app does now. These have one cluster more, for all copies.
func (u *uses) noteMirrors(id string, clusters []string, mark func(cluster string)) {
	change := func(clusters []string, by int) {
		for _, cluster := range clusters {
			before := u.mirrored[cluster]
			if u.mirrored[cluster] = before + by; u.mirrored[cluster] == 0 {
				delete(u.mirrored, cluster)
			}
			if (before == 0) != (u.mirrored[cluster] == 0) {
				mark(cluster)
			}
		}
	}
	before := u.mirrors[id]
	change(clusters, 1)
	change(before, -1)
	if len(clusters) == 0 {
		delete(u.mirrors, id)
	} else {
		u.mirrors[id] = clusters
	}
}

// mirrorsOf returns the clusters to which an app sends copies, given what became of what it names.
func mirrorsOf(app *sources.App, found map[int]map[sources.AppRef]routing.Reference) (clusters []string) {
	for port, references := range found {
		for _, use := range app.Ports[port].Uses() {
			if cluster := references[use.AppRef].Cluster; use.Setting == sources.MirrorSetting && cluster != "" {
				clusters = append(clusters, cluster)
			}
		}
	}
	return clusters
}

// markMirror marks the cluster for copies of requests to an app port, as updateApp does with that of the port.
func (f *fleetState) markMirror(id string, before, after *sources.App, port int) {
	cluster := routing.ClusterName(id, port)
	if f.uses.mirrored[cluster] == 0 {
		return
	}
	name := routing.MirrorCluster(cluster)
	if f.Routes(id, before, port) != f.Routes(id, after, port) || !f.ConnectionsOf(before, port).Equal(f.ConnectionsOf(after, port)) {
		f.markCluster(name)
	} else if !slices.Equal(routing.EndpointsOf(before, port), routing.EndpointsOf(after, port)) {
		f.mark(xds.Endpoint, name)
	}
}
