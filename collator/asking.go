package collator

import (
	"maps"

	"relay/collator/routing"
	"relay/sources"
)

// noteAsking notes which clusters of other apps have to answer before requests to an app go on: they are asked also while their app
// sleeps. Envoys keep them then, without an instance. Else they would keep the instances of before, which the scopes
// name: somebody else may be at their addresses by now, and let everybody in.
func (f *fleetState) noteAsking(user string, is map[string]struct{}) {
	was := f.asks[user]
	if maps.Equal(was, is) {
		return
	}
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	for cluster := range was {
		if delete(f.askedBy[cluster], user); len(f.askedBy[cluster]) == 0 {
			delete(f.askedBy, cluster)
			f.markCluster(cluster)
		}
	}
	for cluster := range is {
		if f.askedBy[cluster] == nil {
			f.askedBy[cluster] = make(map[string]struct{})
			f.markCluster(cluster)
		}
		f.askedBy[cluster][user] = struct{}{}
	}
	if f.asks[user] = is; len(is) == 0 {
		delete(f.asks, user)
	}
}

// hasCluster reports whether Envoys have the cluster of an app port now: as routing.Fleet says, and while others ask it.
func (f *fleetState) hasCluster(id string, app *sources.App, port int) bool {
	return f.HasCluster(id, app, port) || len(f.askedBy[routing.ClusterName(id, port)]) > 0 && f.Routes(id, app, port)
}

// ScopesAsking returns the scopes, by fleet, whose requests wait for an answer of an app though they are to others. If it
// sleeps, they wake it. name is the one under which it is routed.
func (c *Collator) ScopesAsking(name string) map[string][]string {
	app := c.Routed(name)
	users := make(map[string]struct{})
	c.mu.RLock()
	for _, f := range c.fleets {
		for i := range routing.PortCount(app) {
			maps.Copy(users, f.askedBy[routing.ClusterName(name, i)])
		}
	}
	c.mu.RUnlock()
	scopes := make(map[string][]string)
	for user := range users {
		for fleet, domains := range c.ScopesOf(c.Routed(user)) {
			scopes[fleet] = append(scopes[fleet], domains...)
		}
	}
	return scopes
}
