package collator

import (
	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/internal/problem"
	"relay/xds"
)

// publish builds what is marked and publishes what that changed, in one step. The
// marks stay until the step is done, should it panic.
func (f *fleetState) publish() {
	var change xds.Change
	names := make(map[xds.Key][]xds.Key)
	keys := sortedKeys(f.marked)
	for len(keys) > 0 && keys[0].Type == xds.Cluster {
		f.add(&change, names, keys[0])
		keys = keys[1:]
	}
	// A cluster that failed before, and does not now, marked what leads to it.
	for _, key := range sortedKeys(f.marked) {
		if key.Type != xds.Cluster {
			f.add(&change, names, key)
		}
	}
	f.reportServices()
	f.reportServiceTLS()
	if f.resolverOutdated {
		change.Resolve = routing.NewResolver(f.chains).Resolve
	}
	change.Remove = f.published.references.removable(change, names)
	if !change.Empty() {
		f.published.begin(change)
		before := f.bodiesBefore(change)
		revision := f.publisher.Apply(change)
		f.record(change, revision, before)
		f.c.log.Debug("published", "event", "published", "fleet", f.Name, "revision", revision,
			"set", len(change.Set), "removed", len(change.Remove))
	}
	f.published.record(change, names)
	f.resolverOutdated = false
	// A new map: one that was large once takes long to walk even when it is empty.
	f.marked = make(map[xds.Key]struct{})
}

// add adds one resource to the change, if it differs from what is published, and to
// names what it names.
func (f *fleetState) add(change *xds.Change, names map[xds.Key][]xds.Key, key xds.Key) {
	if f.withheld(key) {
		change.Withhold = append(change.Withhold, key)
		return
	}
	version, isPublished := f.published.versions[key]
	_, isWithheld := f.published.withheld[key]
	before := f.failed.parts[key]
	delete(f.failed.parts, key)
	b, err := f.resource(key)
	for err != nil && f.leaveOut(key) {
		b, err = f.resource(key)
	}
	f.reportLeftOut(key, before)
	f.reportClashes(key)
	switch {
	case err != nil:
		f.fail(key, err)
		return
	case b.exists && (b.Version != version || isWithheld):
		f.c.metrics.built[key.Type].Inc()
		change.Set = append(change.Set, b.Resource)
		names[key] = b.names
	case b.exists:
		f.published.references.cancelRemoval(key)
	case isPublished || isWithheld:
		change.Remove = append(change.Remove, key)
	}
	f.succeed(key)
}

// withheld reports whether a resource waits for the certificates: the https listener, and the
// one that tells a balancer that an Envoy has all of its listeners.
func (f *fleetState) withheld(key xds.Key) bool {
	if f.withheldService(key) || f.lacksCredentials(key) {
		return true
	}
	return !f.certificatesKnown && f.HasHTTPS() && (key == httpsKey || key == healthKey && f.Health.IsValid())
}

// built is a resource as the state wants it.
type built struct {
	xds.Resource
	exists bool      // is false if the state wants none
	names  []xds.Key // of other resources
}

// resource builds, validates and marshals a resource. A panic is an error.
func (f *fleetState) resource(key xds.Key) (built, error) {
	return catchPanic(func() (b built, err error) {
		if key == httpsKey {
			chains, passed := f.httpsParts()
			if b.exists = f.HasHTTPS() && len(chains)+len(passed) > 0; b.exists {
				b.names = f.namedByHTTPS(chains, passed)
				b.Resource, err = envoy.HTTPSResource(&f.Fleet, chains, passed)
			}
			return b, err
		}
		msg, err := f.build(key)
		if err != nil || msg == nil {
			return b, err
		}
		b.exists, b.names = true, f.namedBy(key, msg)
		b.Resource, err = envoy.ResourceWithVariants(&f.Fleet, key, msg, func() routing.DomainRoutes { return f.routesOf(key.Name) })
		return b, err
	})
}

var (
	httpsKey  = xds.Key{Type: xds.Listener, Name: routing.HTTPSListener}
	healthKey = xds.Key{Type: xds.Listener, Name: routing.HealthListener}
)

// fail reports a resource that cannot be published. The version published before
// stays, and no other resource is concerned.
func (f *fleetState) fail(key xds.Key, err error) {
	before := f.failed.resources[key]
	f.succeed(key)
	f.published.references.cancelRemoval(key)
	f.failed.resources[key] = err.Error()
	p := problem.Problem{Subject: quoted(key)}
	switch key.Type {
	case xds.Cluster, xds.Endpoint:
		p.App, _ = routing.SplitClusterName(key.Name)
	case xds.Listener:
		if s, ok := f.services.Opened(key.Name); ok {
			p.App = s.App
		}
	}
	f.c.report(owner{problem.Resource, f.Name, inResource, quoted(key)}, p, err, before)
	if _, ok := f.published.versions[key]; !ok && key.Type == xds.Cluster {
		f.failed.clusters[key.Name] = struct{}{}
	}
}

// succeed ends the problem of a resource. If it is a cluster that did not exist, what
// leads to it is marked.
func (f *fleetState) succeed(key xds.Key) {
	if _, ok := f.failed.resources[key]; ok {
		delete(f.failed.resources, key)
		f.clearResourceProblem(quoted(key))
	}
	if _, ok := f.failed.clusters[key.Name]; ok && key.Type == xds.Cluster {
		delete(f.failed.clusters, key.Name)
		f.markUsersOf(key.Name)
	}
}

func (f *fleetState) clearResourceProblem(name string) {
	f.c.problems.set(owner{problem.Resource, f.Name, inResource, name})
	f.c.problems.set(owner{problem.Internal, f.Name, inResource, name})
}
