package collator

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
	"relay/xds"
)

// uses knows which apps name others in their settings, and what became of that in a fleet.
type uses struct {
	// users are the apps that name each, by the name under which they are routed.
	users map[string]map[string]struct{}
	// found is what each user has, by port.
	found map[string]map[int]map[sources.AppRef]routing.Reference
	// clusters are those that the scope of a domain uses beside those that take its requests.
	clusters map[string][]string
	// mirrors are the clusters to which each user sends copies of requests; mirrored counts these.
	mirrors  map[string][]string
	mirrored map[string]int
}

func newUses() *uses {
	return &uses{users: make(map[string]map[string]struct{}), found: make(map[string]map[int]map[sources.AppRef]routing.Reference), clusters: make(map[string][]string),
		mirrors: make(map[string][]string), mirrored: make(map[string]int)}
}

// updateUses takes in what an app names now, before its scopes are built. Either version may be nil.
func (f *fleetState) updateUses(id string, before, after *sources.App) {
	for _, use := range usesOf(before) {
		if users := f.uses.users[use.App]; users != nil {
			if delete(users, id); len(users) == 0 {
				delete(f.uses.users, use.App)
			}
		}
	}
	for _, use := range usesOf(after) {
		if f.uses.users[use.App] == nil {
			f.uses.users[use.App] = make(map[string]struct{})
		}
		f.uses.users[use.App][id] = struct{}{}
	}
	f.refer(id, after)
}

func usesOf(app *sources.App) (all []sources.Use) {
	for i := range routing.PortCount(app) {
		all = append(all, app.Ports[i].Uses()...)
	}
	return all
}

// refer looks up what an app names, and has built anew what that changes.
func (f *fleetState) refer(id string, app *sources.App) {
	found, asked := make(map[int]map[sources.AppRef]routing.Reference), make(map[string]struct{})
	var problems []problem.Problem
	for i := range routing.PortCount(app) {
		if !f.Routes(id, app, i) {
			continue
		}
		for _, use := range app.Ports[i].Uses() {
			reference := f.reference(id, use)
			if found[i] == nil {
				found[i] = make(map[sources.AppRef]routing.Reference)
			}
			found[i][use.AppRef] = reference
			if use.Waits && reference.Cluster != "" {
				asked[reference.Cluster] = struct{}{}
			}
			if reference.Cluster == "" {
				problems = append(problems, useProblem(i, use, reference))
			}
		}
	}
	f.c.problems.set(owner{problem.App, f.Name, inUses, id}, forApp(id, problems)...)
	f.uses.noteMirrors(id, mirrorsOf(app, found), func(cluster string) { f.markCluster(routing.MirrorCluster(cluster)) })
	before := f.uses.found[id]
	f.noteAsking(id, asked)
	if len(found) == 0 {
		delete(f.uses.found, id)
	} else {
		f.uses.found[id] = found
	}
	for i := range routing.PortCount(app) {
		if !maps.Equal(before[i], found[i]) {
			f.markPort(app.Ports[i])
		}
	}
}

// markPort has built what leads to a port.
func (f *fleetState) markPort(port sources.Port) {
	if routing.IsTCP(port) && port.TCP.Port != 0 {
		f.mark(xds.Listener, routing.TCPListener(port.TCP.Port))
	}
	for _, domain := range port.Domains {
		if len(f.domains.claims[domain]) > 0 {
			f.mark(xds.Scope, domain)
		}
	}
}

func forApp(id string, problems []problem.Problem) []problem.Problem {
	for i := range problems {
		problems[i].App = id
	}
	return problems
}

func useProblem(port int, use sources.Use, reference routing.Reference) problem.Problem {
	severity := problem.Failing
	if use.Optional {
		severity = problem.Ignored
	}
	return problem.Problem{
		Subject: fmt.Sprintf("port %d, RELAY_%[1]d_%s", port, use.Setting), Severity: severity,
		Reason: fmt.Sprintf("%s cannot be used: %s; %s", use.App, reference.Reason, use.Without),
		Action: "name another app, or have the one that is named changed (docs/sign-on.md says who may use it)",
	}
}

// reference returns what an app has of what it names: a port of an app that it may use and the fleet serves.
// Who may not use an app is not told whether it exists.
func (f *fleetState) reference(user string, use sources.Use) routing.Reference {
	name := f.c.named(user, use.App)
	members := f.c.membersOf(name)
	if len(members) == 0 {
		nobody := &sources.App{ID: use.App}
		members = []*sources.App{nobody}
	}
	for _, by := range f.c.membersOf(user) {
		for _, member := range members {
			if reason := routing.MayUse(by.ID, member, use.Port); reason != "" {
				return routing.Reference{Reason: "if there is such an app, " + reason}
			}
		}
	}
	app := f.c.routed(name)
	if app == nil {
		return routing.Reference{Reason: "there is no such app"}
	}
	return f.Refer(name, app, use)
}

// named returns the name under which that is routed which an app names. Where folders have deployment groups of one name,
// its own folder's is meant. The name with the folder ("deployment-group/sso@platform") is good for each of them.
func (c *Collator) named(user, name string) string {
	if app := c.apps[name]; app != nil {
		return routedID(app)
	}
	if !strings.HasPrefix(name, deploymentPrefix) {
		return name
	}
	written, folder, given := strings.Cut(name, "@")
	if members := c.membersOf(user); !given && len(members) > 0 {
		folder = sources.TopFolder(members[0].ID)
	}
	if own := written + "@" + folder; c.deployments[own].merged != nil {
		return own
	}
	if given && sources.TopFolder(c.deployments[written].definer) == folder {
		return written
	}
	return name
}

// membersOf returns the apps that are routed under a name, ordered by id.
func (c *Collator) membersOf(routed string) []*sources.App {
	if members := c.deployments[routed].members; len(members) > 0 {
		return slices.SortedFunc(maps.Values(members), func(a, b *sources.App) int { return strings.Compare(a.ID, b.ID) })
	}
	if app := alone(c.apps[routed]); app != nil {
		return []*sources.App{app}
	}
	return nil
}

// updateUsers looks again at what names an app that has changed, and at what that app names: which apps are
// routed together may have changed too.
func (c *Collator) updateUsers(id string, before, after *sources.App) {
	if samePolicy(before, after) {
		return
	}
	named := map[string]struct{}{id: {}}
	var routed []string
	for _, app := range []*sources.App{before, after} {
		if app == nil || app.Deployment == nil {
			continue
		}
		name := routedID(app)
		routed = append(routed, name)
		written, _, _ := strings.Cut(name, "@")
		named[written], named[written+"@"+sources.TopFolder(app.ID)] = struct{}{}, struct{}{}
		for member := range c.deployments[name].members {
			named[member] = struct{}{}
		}
	}
	for _, f := range c.fleets {
		users := make(map[string]struct{})
		for name := range named {
			maps.Copy(users, f.uses.users[name])
		}
		for _, name := range routed {
			if f.uses.found[name] != nil {
				users[name] = struct{}{}
			}
		}
		for user := range users {
			f.refer(user, c.routed(user))
		}
	}
}

// setReferences says in the routes of a domain what became of the apps that they name.
func (f *fleetState) setReferences(routes *routing.DomainRoutes) {
	for i := range routes.Rules {
		r := &routes.Rules[i]
		r.References = f.uses.found[r.Claim.App][r.Claim.Port]
	}
}

// noteUsed remembers which clusters a scope uses, so that they are removed after it.
func (f *fleetState) noteUsed(routes routing.DomainRoutes) {
	if used := f.Used(routes); len(used) > 0 {
		f.uses.clusters[routes.Domain] = used
	} else {
		delete(f.uses.clusters, routes.Domain)
	}
}
