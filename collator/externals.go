package collator

import (
	"fmt"

	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
	"relay/xds"
)

// externals counts the apps that have Envoys ask a host outside, by the name of its cluster.
type externals struct {
	hosts map[string]routing.External
	apps  map[string]int
}

func newExternals() *externals {
	return &externals{hosts: make(map[string]routing.External), apps: make(map[string]int)}
}

// updateExternals takes in which hosts outside an app has Envoys ask. A host has a cluster while an app does. Either version
// may be nil.
func (f *fleetState) updateExternals(id string, before, after *sources.App) {
	x := f.externals
	for _, e := range f.Externals(id, before) {
		if x.apps[e.Cluster()]--; x.apps[e.Cluster()] == 0 {
			delete(x.apps, e.Cluster())
			delete(x.hosts, e.Cluster())
			f.mark(xds.Cluster, e.Cluster())
		}
	}
	for _, e := range f.Externals(id, after) {
		if x.apps[e.Cluster()]++; x.apps[e.Cluster()] == 1 {
			x.hosts[e.Cluster()] = e
			f.mark(xds.Cluster, e.Cluster())
		}
	}
	var problems []problem.Problem
	for i := range routing.PortCount(after) {
		if !f.Routes(id, after, i) {
			continue
		}
		for _, asked := range after.Ports[i].URLs() {
			if _, _, reason := f.Ask(asked.URL); reason != "" {
				problems = append(problems, problem.Problem{
					App: id, Subject: fmt.Sprintf("port %d, RELAY_%[1]d_%s", i, asked.Setting), Severity: problem.Failing,
					Reason: reason + "; " + asked.Without, Action: "name another host, or have the fleet changed",
				})
			}
		}
	}
	f.c.problems.set(owner{problem.App, f.Name, inExternals, id}, problems...)
}
