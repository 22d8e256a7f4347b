package collator

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
)

// deploymentPrefix begins the names of deployments. The ids of apps begin with a
// slash, so neither is taken for the other.
const deploymentPrefix = "deployment-group/"

// routedID is the name under which an app is routed: its id, or the name of its
// deployment, which stays the same while apps of the deployment come and go.
func routedID(app *sources.App) string {
	if app.Deployment == nil {
		return app.ID
	}
	return deploymentPrefix + strings.Trim(app.Deployment.Group, "/")
}

// RoutedID returns the name under which an app is routed: its id, or the name of its deployment.
func (c *Collator) RoutedID(id string) string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if app := c.apps[id]; app != nil {
		return routedID(app)
	}
	return id
}

// routed returns the app that is routed under a name, nil if there is none.
func (c *Collator) routed(id string) *sources.App {
	if strings.HasPrefix(id, deploymentPrefix) {
		return c.deployments[id].merged
	}
	return alone(c.apps[id])
}

// definedBy returns the id of the app whose labels count for what is routed under a name: its own, or that of the
// oldest app of a deployment. It is the id to go by where an app may have something since it is that app: anybody may
// call a deployment as he likes.
func (c *Collator) definedBy(routed string) string {
	if strings.HasPrefix(routed, deploymentPrefix) {
		return c.deployments[routed].definer
	}
	return routed
}

// alone returns the app if it is not part of a deployment, else nil.
func alone(app *sources.App) *sources.App {
	if app == nil || app.Deployment != nil {
		return nil
	}
	return app
}

// deployment is the versions of a service while one takes over from the other, each
// an app of its own. Other readers than the loop share it: it is never modified, and a
// change makes a new one.
type deployment struct {
	members map[string]*sources.App // by id
	// merged is the one app that fleets route, as definer, one of the members, defines it.
	merged  *sources.App
	definer string
}

// route tells the fleets that an app has changed. before is nil for a new app, after
// for a removed one.
func (c *Collator) route(id string, before, after *sources.App) {
	c.catalogue(id)
	c.groups.update(before, after)
	c.updateEmpty(id, alone(before), alone(after))
	c.tellQueues(id, alone(before), alone(after))
	for _, f := range c.fleets {
		f.updateApp(id, alone(before), alone(after))
	}
	c.updateCredentialUser(id)
	was, is := before != nil && before.Deployment != nil, after != nil && after.Deployment != nil
	if was {
		c.updateDeployment(routedID(before), id, after)
	}
	if is && !(was && routedID(before) == routedID(after)) {
		c.updateDeployment(routedID(after), id, after)
	}
	c.updateUsers(id, before, after)
}

// updateDeployment makes a deployment anew after one of its members has changed, left
// it, or joined it.
func (c *Collator) updateDeployment(name, id string, member *sources.App) {
	before := c.deployments[name].merged
	members := make(map[string]*sources.App, len(c.deployments[name].members)+1)
	maps.Copy(members, c.deployments[name].members)
	delete(members, id)
	if member != nil && routedID(member) == name {
		members[id] = member
	}
	updated := deployment{members: members, merged: merge(name, slices.Collect(maps.Values(members)))}
	together, left := together(slices.Collect(maps.Values(members)))
	if len(together) > 0 {
		updated.definer = together[0].ID
	}
	c.problems.set(owner{problem.TCP, "", inGroups, name}, left...)
	c.mu.Lock()
	if updated.merged == nil {
		delete(c.deployments, name)
	} else {
		c.deployments[name] = updated
	}
	c.mu.Unlock()
	c.updateEmpty(name, before, updated.merged)
	c.tellQueues(name, before, updated.merged)
	for _, f := range c.fleets {
		f.updateApp(name, before, updated.merged)
	}
	c.updateCredentialUser(name)
}

// merge makes one app of the members of a deployment, as marathon-lb does: the
// definition is that of the oldest, and each port has the endpoints of all. For every
// healthy task of the newest app, one task of the older apps is drained, once there
// are more tasks than are wanted in the end. While people roll a deployment back, the newest app is the
// one that is drained, for the app before it. Without members it returns nil.
func merge(name string, members []*sources.App) *sources.App {
	if len(members) == 0 {
		return nil
	}
	members, _ = together(members)
	oldest := members[0]
	_, taking := sources.TakingOver(members)
	drain := sources.DrainedInDeployment(members)
	merged := *oldest
	merged.ID = name
	merged.Problems, merged.Notes, merged.Unrouted = nil, nil, nil
	merged.Stopped = !slices.ContainsFunc(members, func(m *sources.App) bool { return !m.Stopped })
	merged.Gated = gated(members)
	merged.Ports = slices.Clone(oldest.Ports)
	for i := range merged.Ports {
		port := &merged.Ports[i]
		port.Endpoints, port.Excluded = nil, nil
		for _, m := range members {
			if i < len(m.Ports) {
				port.Excluded = append(port.Excluded, m.Ports[i].Excluded...)
			}
			for _, e := range routing.EndpointsOf(m, i) {
				if drain[e.Task] && m != taking {
					e.Health = sources.Draining
				}
				port.Endpoints = append(port.Endpoints, e)
			}
		}
		port.Endpoints, _ = routing.CleanEndpoints(port.Endpoints)
		distinctSlots(port.Endpoints)
	}
	return &merged
}

// together returns the members of a deployment that are routed as one app, the oldest first, and says why
// others are not. These count on certificates of clients, or on being told who connects or signed on, where the
// oldest asks for neither: anybody would reach them, and could send the header that says who it is. Or
// they are of another tenant, who lets others in than the oldest does: anybody may say that his app is of a
// deployment, and that it is the oldest.
// So they take nothing, and nothing is drained for them.
func together(members []*sources.App) (routed []*sources.App, left []problem.Problem) {
	slices.SortFunc(members, sources.CompareInDeployment)
	for _, m := range members {
		reason := ""
		if m != members[0] && routing.OtherAccess(m, members[0]) {
			reason = "it is in another top-level folder, and has another password, other networks or a sign-on"
		}
		for i, port := range m.Ports {
			if m != members[0] && i < len(members[0].Ports) && reason == "" {
				reason = routing.CountsOnMore(port, members[0].Ports[i])
			}
		}
		if reason == "" {
			routed = append(routed, m)
			continue
		}
		left = append(left, problem.Problem{App: m.ID, Subject: "deployment group " + strings.Trim(m.Deployment.Group, "/"), Severity: problem.Failing,
			Reason: fmt.Sprintf("takes nothing: %s, and the labels of the oldest app of the group, %s, count", reason, members[0].ID),
			Action: "give both the same labels for who is let in, or deploy this one without the group"})
	}
	return routed, left
}

// distinctSlots gives endpoints other slots that take requests and have the slot of another one. Slots are given before it is
// known that a deployment is rolled back, which has other instances drain.
func distinctSlots(endpoints []sources.Endpoint) {
	taken := make(map[int]bool)
	var twice []int
	for i, e := range endpoints {
		switch {
		case e.Slot == 0 || e.Health != sources.Healthy:
		case taken[e.Slot]:
			twice = append(twice, i)
		default:
			taken[e.Slot] = true
		}
	}
	free := 1
	for _, i := range twice {
		for taken[free] {
			free++
		}
		endpoints[i].Slot, taken[free] = free, true
	}
}

// gated reports whether requests to a deployment wait: one of its members sleeps, or is about to,
// and no other can answer.
func gated(members []*sources.App) bool {
	sleeps := false
	for _, m := range members {
		switch {
		case m.Gated:
			sleeps = true
		case slices.ContainsFunc(m.Ports, func(p sources.Port) bool { return len(p.Endpoints) > 0 }):
			return false
		}
	}
	return sleeps
}

// endpointsInDeployment returns a member's endpoints of a port, with the health that
// they have in the deployment: some may be drained there.
func endpointsInDeployment(member, merged *sources.App, port int) []sources.Endpoint {
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
