package slots

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"relay/sources"
)

// group is what is routed under one name: an app, or the apps of a deployment.
type group struct {
	// members are as they were read, and told as they were handed on, by id.
	members, told map[string]*sources.App
	// ports have what is known of the instances of each port that is hashed, by its index.
	ports map[int]places
	// sums are the digests of these ports, by which Relays compare them.
	sums map[int]sum
}

func newGroup() *group {
	return &group{members: make(map[string]*sources.App), told: make(map[string]*sources.App), ports: make(map[int]places)}
}

// follows reports whether an app may have slots. Of a deployment, the oldest app says whether it is hashed.
func follows(app *sources.App) bool {
	return app.Deployment != nil || slices.ContainsFunc(app.Ports, func(p sources.Port) bool { return p.Hashed() })
}

// nameOf returns the name of the group that an app belongs to. Ids of apps begin with a slash, and names of
// deployments do not.
func nameOf(app *sources.App) string {
	if app.Deployment == nil {
		return app.ID
	}
	return "deployment-group/" + strings.Trim(app.Deployment.Group, "/")
}

// memberEndpoint is an endpoint of one of the members.
type memberEndpoint struct {
	member, endpoint int
}

// waits says of a task why it has no slot yet.
const waits = "waits for the place of another one: requests are hashed, and there are as many places as instances are wanted"

// assign gives slots to the instances of all members, and returns the members as they are to be handed on.
func (g *group) assign() map[string]*sources.App {
	out := maps.Clone(g.members)
	if len(out) == 0 {
		return out
	}
	members := slices.SortedFunc(maps.Values(g.members), byAge)
	limit, drained := members[0].Wanted, map[string]bool(nil)
	if members[0].Deployment != nil {
		limit, drained = 0, sources.DrainedInDeployment(members)
	}
	ports, sums := make(map[int]places), make(map[int]sum)
	var copies []*sources.App
	for i := range members[0].Ports {
		if !members[0].Ports[i].Hashed() {
			continue
		}
		now, endpoints, away := instances(members, i, drained)
		slots := assign(now, away, g.ports[i], limit)
		ports[i] = after(now, slots, away, g.ports[i])
		sums[i] = sumOf(nameOf(members[0]), i, now, limit, ports[i])
		if copies == nil {
			copies = copyAll(members)
		}
		for n, s := range endpoints {
			set(copies[s.member], i, s.endpoint, slots[n], now[n].takes)
		}
	}
	g.ports, g.sums = ports, sums
	for _, app := range copies {
		slices.SortFunc(app.Notes, func(a, b sources.Note) int {
			return cmp.Or(strings.Compare(a.Task, b.Task), strings.Compare(a.Text, b.Text))
		})
		app.Notes = slices.Compact(app.Notes)
		out[app.ID] = app
	}
	return out
}

// byAge orders the members of a group: the oldest comes first.
func byAge(a, b *sources.App) int {
	if a.Deployment == nil || b.Deployment == nil {
		return strings.Compare(a.ID, b.ID)
	}
	return sources.CompareInDeployment(a, b)
}

// instances returns those of a port, which endpoint each is, and the names of those that are away.
func instances(members []*sources.App, port int, drained map[string]bool) (now []instance, endpoints []memberEndpoint, away []string) {
	for m, app := range members {
		if port >= len(app.Ports) {
			continue
		}
		old := m < len(members)-1
		for n, e := range app.Ports[port].Endpoints {
			now = append(now, instance{nameOfInstance(e), e.Health == sources.Healthy && !(old && drained[e.Task])})
			endpoints = append(endpoints, memberEndpoint{m, n})
		}
		for _, e := range app.Ports[port].Excluded {
			away = append(away, e.Task)
		}
	}
	return now, endpoints, away
}

// nameOfInstance returns the id of the task, or the address if there is none.
func nameOfInstance(e sources.Endpoint) string {
	if e.Task == "" {
		return e.Address.String()
	}
	return e.Task
}

// copyAll copies apps, with the endpoints of ports that are hashed in one of them: what was read is never changed.
func copyAll(members []*sources.App) []*sources.App {
	copies := make([]*sources.App, len(members))
	for i, app := range members {
		copied := *app
		copied.Notes, copied.Ports = slices.Clone(app.Notes), slices.Clone(app.Ports)
		for p := range copied.Ports {
			copied.Ports[p].Endpoints = slices.Clone(app.Ports[p].Endpoints)
		}
		copies[i] = &copied
	}
	return copies
}

// set gives an endpoint its slot. One that takes ids and has none takes nothing yet.
func set(app *sources.App, port, endpoint, slot int, takes bool) {
	e := &app.Ports[port].Endpoints[endpoint]
	e.Slot = slot
	if takes && slot == 0 {
		e.Health = sources.Draining
		app.Notes = append(app.Notes, sources.Note{Task: e.Task, Text: waits})
	}
}

// restore takes over the slots that the members have, as an earlier life of Relay gave them.
func (g *group) restore() {
	for _, app := range g.members {
		for i, port := range app.Ports {
			for _, e := range port.Endpoints {
				if e.Slot < 1 || e.Slot > sources.MaxEndpoints {
					continue
				}
				if g.ports[i].of == nil {
					g.ports[i] = places{of: make(map[string]place)}
				}
				g.ports[i].of[nameOfInstance(e)] = place{e.Slot, e.Health == sources.Healthy}
			}
		}
	}
}
