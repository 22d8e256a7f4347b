package collator

import (
	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/xds"
)

// publish builds what is marked and publishes what that changed, in one step.
// The marks stay until the step is done.
func (f *fleetState) publish() {
	var change xds.Change
	names := make(map[xds.Key][]xds.Key)
	keys := sortedKeys(f.dirty)
	for len(keys) > 0 && keys[0].Type == xds.Cluster {
		f.add(&change, names, keys[0])
		keys = keys[1:]
	}
	// A cluster that failed before may have marked what can name it now.
	for _, key := range sortedKeys(f.dirty) {
		if key.Type != xds.Cluster {
			f.add(&change, names, key)
		}
	}
	f.reportServices()
	if f.unresolved {
		change.Resolve = routing.NewResolver(f.chains).Resolve
	}
	change.Remove = f.references.settle(change, names)
	if !change.Empty() {
		f.doubtPublished(change)
		revision := f.publisher.Apply(change)
		f.c.log.Debug("published", "fleet", f.Name, "revision", revision,
			"set", len(change.Set), "removed", len(change.Remove))
	}
	f.record(change, names)
	// Not cleared: a map that was once large takes long to walk for ever after.
	f.dirty = make(map[xds.Key]struct{})
}

// add puts one resource into the change, if it differs from what is published,
// and notes what it names.
func (f *fleetState) add(change *xds.Change, names map[xds.Key][]xds.Key, key xds.Key) {
	if !f.certificatesKnown && f.HasHTTPS() && key == httpsKey {
		change.Withhold = append(change.Withhold, key)
		return
	}
	version, isPublished := f.published[key]
	_, isUnsaid := f.unsaid[key]
	refused := f.refused[key]
	delete(f.refused, key)
	b, err := f.resource(key)
	for err != nil && f.refuse(key) {
		b, err = f.resource(key)
	}
	f.reportRefused(key, refused)
	f.reportClashes(key)
	switch {
	case err != nil:
		f.fail(key, err)
		return
	case b.exists && (b.Version != version || isUnsaid):
		f.c.metrics.built[key.Type].Inc()
		change.Set = append(change.Set, b.Resource)
		names[key] = b.names
	case b.exists:
		f.references.keep(key)
	case isPublished || isUnsaid:
		change.Remove = append(change.Remove, key)
	}
	f.succeed(key)
}

// built is a resource as the state wants it, if it wants one.
type built struct {
	xds.Resource
	exists bool
	names  []xds.Key // of the resources that it names
}

// resource builds, validates and marshals.
func (f *fleetState) resource(key xds.Key) (built, error) {
	return guarded(func() (b built, err error) {
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
		b.Resource, err = envoy.Resource(key, msg)
		return b, err
	})
}

var httpsKey = xds.Key{Type: xds.Listener, Name: routing.HTTPSListener}

// doubtPublished has all of a change published again, should the publisher panic:
// nobody knows then what it took in.
func (f *fleetState) doubtPublished(change xds.Change) {
	for _, resource := range change.Set {
		f.unsaid[resource.Key] = struct{}{}
	}
	for _, key := range change.Remove {
		f.unsaid[key] = struct{}{}
	}
}

// record remembers what the publisher holds now.
func (f *fleetState) record(change xds.Change, names map[xds.Key][]xds.Key) {
	f.unresolved = false
	for _, resource := range change.Set {
		f.published[resource.Key] = resource.Version
		f.references.set(resource.Key, names[resource.Key])
		delete(f.unsaid, resource.Key)
	}
	for _, key := range change.Remove {
		delete(f.published, key)
		f.references.set(key, nil)
		delete(f.unsaid, key)
	}
	for _, key := range change.Withhold {
		f.unsaid[key] = struct{}{}
	}
}

// fail reports a resource that cannot be published: the one published before
// stays, and all others are not concerned.
func (f *fleetState) fail(key xds.Key, err error) {
	f.succeed(key)
	f.references.keep(key)
	f.failed[key] = struct{}{}
	p := Problem{Subject: quoted(key)}
	switch key.Type {
	case xds.Cluster, xds.Endpoint:
		p.App, _ = routing.SplitClusterName(key.Name)
	case xds.Listener:
		if s, ok := f.services.Opened(key.Name); ok {
			p.App = s.App
		}
	}
	f.c.report(ResourceProblem, f.Name, quoted(key), p, err)
	if _, ok := f.published[key]; !ok && key.Type == xds.Cluster {
		f.missing[key.Name] = struct{}{}
	}
}

func (f *fleetState) succeed(key xds.Key) {
	if _, ok := f.failed[key]; ok {
		delete(f.failed, key)
		f.clearResourceProblem(quoted(key))
	}
	if _, ok := f.missing[key.Name]; ok && key.Type == xds.Cluster {
		delete(f.missing, key.Name)
		f.markUsers(key.Name)
	}
}

func (f *fleetState) clearResourceProblem(name string) {
	f.c.problems.set(owner{ResourceProblem, f.Name, name})
	f.c.problems.set(owner{InternalProblem, f.Name, name})
}
