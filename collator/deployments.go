package collator

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"relay/collator/routing"
	"relay/sources"
)

// deploymentPrefix begins the names of deployment groups where those of apps
// begin with a slash, so that neither is taken for the other.
const deploymentPrefix = "deployment-group/"

// routedID is the name under which an app is routed: its own, or that of its
// deployment group, which stays the same while apps of the group come and go.
func routedID(app *sources.App) string {
	if app.Deployment == nil {
		return app.ID
	}
	return deploymentPrefix + strings.Trim(app.Deployment.Group, "/")
}

// routed returns what is routed under a name; nil is nothing.
func (c *Collator) routed(id string) *sources.App {
	if strings.HasPrefix(id, deploymentPrefix) {
		return c.groups[id].merged
	}
	return alone(c.apps[id])
}

// alone returns an app that is no member of a group.
func alone(app *sources.App) *sources.App {
	if app == nil || app.Deployment != nil {
		return nil
	}
	return app
}

// deploymentGroup is the apps that make up one service. It is not modified, as
// others than the loop read it: a change makes a new one.
type deploymentGroup struct {
	members map[string]*sources.App
	merged  *sources.App
}

// route tells the fleets that an app has become another; nil is none.
func (c *Collator) route(id string, before, after *sources.App) {
	for _, f := range c.fleets {
		f.updateApp(id, alone(before), alone(after))
	}
	left := ""
	if before != nil && before.Deployment != nil {
		left = routedID(before)
		c.regroup(left, id, after)
	}
	if after != nil && after.Deployment != nil && routedID(after) != left {
		c.regroup(routedID(after), id, after)
	}
}

// regroup makes a group anew after one of its members has become another.
func (c *Collator) regroup(name, id string, member *sources.App) {
	before := c.groups[name].merged
	members := make(map[string]*sources.App, len(c.groups[name].members)+1)
	maps.Copy(members, c.groups[name].members)
	delete(members, id)
	if member != nil && routedID(member) == name {
		members[id] = member
	}
	group := deploymentGroup{members: members, merged: merge(name, slices.Collect(maps.Values(members)))}
	c.mu.Lock()
	if group.merged == nil {
		delete(c.groups, name)
	} else {
		c.groups[name] = group
	}
	c.mu.Unlock()
	for _, f := range c.fleets {
		f.updateApp(name, before, group.merged)
	}
}

// merge makes one app of those of a deployment group, as marathon-lb does: the
// definition is that of the oldest, the endpoints are those of all, by port.
// For every healthy task of the newest, one of the others is drained, as soon
// as there are more tasks than are wanted in the end.
func merge(name string, members []*sources.App) *sources.App {
	if len(members) == 0 {
		return nil
	}
	slices.SortFunc(members, func(a, b *sources.App) int {
		return cmp.Or(a.Deployment.StartedAt.Compare(b.Deployment.StartedAt), cmp.Compare(a.ID, b.ID))
	})
	oldest, newest := members[0], members[len(members)-1]
	drain := drained(members[:len(members)-1], newest)
	merged := *oldest
	merged.ID = name
	merged.Problems = nil
	merged.Ports = slices.Clone(oldest.Ports)
	for i := range merged.Ports {
		port := &merged.Ports[i]
		port.Endpoints, port.Excluded = nil, nil
		for _, m := range members {
			for _, e := range routing.EndpointsOf(m, i) {
				if drain[e.Task] && m != newest {
					e.Health = sources.Draining
				}
				port.Endpoints = append(port.Endpoints, e)
			}
		}
		port.Endpoints, _ = routing.CleanEndpoints(port.Endpoints)
	}
	return &merged
}

// drained returns the tasks of the old apps that make room for the new one's.
func drained(old []*sources.App, newest *sources.App) map[string]bool {
	var tasks []string
	instances := 0
	for _, app := range old {
		tasks = append(tasks, tasksOf(app, true)...)
		instances += app.Deployment.Instances
	}
	slices.Sort(tasks)
	healthy := len(tasksOf(newest, false))
	// marathon-lb's target when none is given.
	target := cmp.Or(newest.Deployment.TargetInstances, 1)
	n := min(len(tasks), healthy, max(0, healthy+instances-target))
	drain := make(map[string]bool, n)
	for _, task := range tasks[:n] {
		drain[task] = true
	}
	return drain
}

// tasksOf returns the tasks with endpoints, sorted; of all, or those that take
// requests.
func tasksOf(app *sources.App, all bool) []string {
	var tasks []string
	for _, port := range app.Ports {
		for _, e := range port.Endpoints {
			if all || e.Health == sources.Healthy {
				tasks = append(tasks, e.Task)
			}
		}
	}
	slices.Sort(tasks)
	return slices.Compact(tasks)
}

// inGroup returns a member's endpoints of a port as they are in the group.
func inGroup(member, merged *sources.App, port int) []sources.Endpoint {
	health := make(map[string]sources.Health)
	for _, e := range routing.EndpointsOf(merged, port) {
		health[e.Task] = e.Health
	}
	endpoints := slices.Clone(routing.EndpointsOf(member, port))
	for i, e := range endpoints {
		if h, ok := health[e.Task]; ok {
			endpoints[i].Health = h
		}
	}
	return endpoints
}
