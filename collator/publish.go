package collator

import (
	"google.golang.org/protobuf/proto"

	"relay/xds"
)

// publish builds what is marked and publishes what that changed, in one step.
// The marks stay until the step is done.
func (f *fleetState) publish() {
	f.reportClashes()
	var change xds.Change
	for _, key := range sortedKeys(f.dirty) {
		f.add(&change, key)
	}
	if f.unresolved {
		change.Resolve = newServerNames(f.chains).resolve
	}
	if !change.Empty() {
		f.doubtPublished(change)
		revision := f.publisher.Apply(change)
		f.c.log.Debug("published", "fleet", f.Name, "revision", revision,
			"set", len(change.Set), "removed", len(change.Remove))
	}
	f.record(change)
	// Not cleared: a map that was once large takes long to walk for ever after.
	f.dirty = make(map[xds.Key]struct{})
}

// add puts one resource into the change, if it differs from what is published.
func (f *fleetState) add(change *xds.Change, key xds.Key) {
	if !f.certificatesKnown && f.hasHTTPS() && key == httpsKey {
		change.Withhold = append(change.Withhold, key)
		return
	}
	version, isPublished := f.published[key]
	_, isUnsaid := f.unsaid[key]
	resource, exists, err := f.resource(key)
	switch {
	case err != nil:
		f.fail(key, err)
		return
	case exists && (resource.Version != version || isUnsaid):
		f.c.metrics.built[key.Type].Inc()
		change.Set = append(change.Set, resource)
	case !exists && (isPublished || isUnsaid):
		change.Remove = append(change.Remove, key)
	}
	f.succeed(key)
}

// resource builds, validates and marshals.
func (f *fleetState) resource(key xds.Key) (resource xds.Resource, exists bool, err error) {
	resource, err = guarded(func() (xds.Resource, error) {
		msg, err := f.build(key)
		if err != nil || msg == nil {
			return xds.Resource{}, err
		}
		exists = true
		resource, err := newResource(key, msg)
		if err != nil || !f.CertificatesOnDemand || key != httpsKey {
			return resource, err
		}
		msg, err = f.buildHTTPS(false)
		if err != nil {
			return xds.Resource{}, err
		}
		chains, err := newResource(key, msg)
		return resource.Or(onDemandSelector, chains), err
	})
	return resource, exists, err
}

func newResource(key xds.Key, msg proto.Message) (xds.Resource, error) {
	if err := validate(msg); err != nil {
		return xds.Resource{}, err
	}
	return xds.NewResource(key.Type, key.Name, msg)
}

var httpsKey = xds.Key{Type: xds.Listener, Name: httpsListener}

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
func (f *fleetState) record(change xds.Change) {
	f.unresolved = false
	for _, resource := range change.Set {
		f.published[resource.Key] = resource.Version
		delete(f.unsaid, resource.Key)
	}
	for _, key := range change.Remove {
		delete(f.published, key)
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
	f.failed[key] = struct{}{}
	p := Problem{Subject: quoted(key)}
	if key.Type == xds.Cluster || key.Type == xds.Endpoint {
		p.App, _ = splitClusterName(key.Name)
	}
	f.c.report(ResourceProblem, f.Name, quoted(key), p, err)
}

func (f *fleetState) succeed(key xds.Key) {
	if _, ok := f.failed[key]; ok {
		delete(f.failed, key)
		f.c.problems.set(owner{ResourceProblem, f.Name, quoted(key)})
		f.c.problems.set(owner{InternalProblem, f.Name, quoted(key)})
	}
}
