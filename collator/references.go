package collator

import (
	"cmp"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/sources"
	"relay/xds"
)

// references knows which resources the published ones name, so that nothing is removed
// that another still needs. That can happen because a resource that cannot be built
// stays published as it was, while the state has moved on. A cluster names its
// endpoints, without an entry here.
type references struct {
	names map[xds.Key][]xds.Key
	// counts says how many resources name each.
	counts map[xds.Key]int
	// stillNamed are unwanted, and removed once nothing names them.
	stillNamed map[xds.Key]struct{}
}

func newReferences() *references {
	return &references{names: make(map[xds.Key][]xds.Key), counts: make(map[xds.Key]int), stillNamed: make(map[xds.Key]struct{})}
}

// set notes what a published resource names. A removed one names nothing.
func (r *references) set(key xds.Key, names []xds.Key) {
	for _, name := range r.names[key] {
		if r.counts[name]--; r.counts[name] == 0 {
			delete(r.counts, name)
		}
	}
	for _, name := range names {
		r.counts[name]++
	}
	if len(names) > 0 {
		r.names[key] = names
	} else {
		delete(r.names, key)
	}
	delete(r.stillNamed, key)
}

// cancelRemoval notes that a resource is wanted again.
func (r *references) cancelRemoval(key xds.Key) { delete(r.stillNamed, key) }

// removable returns what can be removed together with a change: of what the change
// removes and of what was stillNamed before, that which nothing names any more once the
// change is applied. The rest of it is stillNamed. names are those of the resources that
// the change sets. The work depends on the change alone.
func (r *references) removable(change xds.Change, names map[xds.Key][]xds.Key) []xds.Key {
	lost := make(map[xds.Key]int) // how many fewer resources will name each
	for _, resource := range change.Set {
		for _, name := range r.names[resource.Key] {
			lost[name]++
		}
		for _, name := range names[resource.Key] {
			lost[name]--
		}
	}
	wanted := make(map[xds.Key]struct{}, len(change.Set))
	for _, resource := range change.Set {
		wanted[resource.Key] = struct{}{}
	}
	due := make([]map[xds.Key]struct{}, len(removalOrder))
	for i := range due {
		due[i] = make(map[xds.Key]struct{})
	}
	release := func(key xds.Key) {
		_, isNamed := r.stillNamed[key]
		if _, isWanted := wanted[key]; isNamed && !isWanted {
			due[removalRank(key)][key] = struct{}{}
		}
	}
	for _, key := range change.Remove {
		due[removalRank(key)][key] = struct{}{}
	}
	for name := range lost {
		release(name)
	}
	var removed []xds.Key
	gone := make(map[xds.Key]struct{})
	for rank := range due {
		for key := range due[rank] {
			cluster := xds.Key{Type: xds.Cluster, Name: key.Name}
			_, clusterStays := r.stillNamed[cluster]
			_, clusterGone := gone[cluster]
			if r.counts[key] > lost[key] || key.Type == xds.Endpoint && clusterStays && !clusterGone {
				r.stillNamed[key] = struct{}{}
				continue
			}
			gone[key] = struct{}{}
			removed = append(removed, key)
			for _, name := range r.names[key] {
				lost[name]++
				release(name)
			}
			if key.Type == xds.Cluster {
				release(xds.Key{Type: xds.Endpoint, Name: key.Name})
			}
		}
	}
	slices.SortFunc(removed, compareKeys)
	return removed
}

// removalOrder has resources before those that they name.
var removalOrder = []func(xds.Key) bool{
	func(k xds.Key) bool { return k.Type == xds.Listener },
	func(k xds.Key) bool { return k.Type == xds.Scope && k.Name == routing.WildcardsScope },
	func(k xds.Key) bool { return k.Type == xds.Scope },
	func(k xds.Key) bool { return k.Type != xds.Endpoint },
	func(xds.Key) bool { return true },
}

func removalRank(key xds.Key) int {
	return slices.IndexFunc(removalOrder, func(is func(xds.Key) bool) bool { return is(key) })
}

func compareKeys(a, b xds.Key) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name))
}

// sortedKeys orders keys by type, then name.
func sortedKeys(keys map[xds.Key]struct{}) []xds.Key {
	return slices.SortedFunc(maps.Keys(keys), compareKeys)
}

// namedBy returns what a resource other than the https listener names, sorted.
func (f *fleetState) namedBy(key xds.Key, msg proto.Message) []xds.Key {
	if key.Type == xds.Scope {
		names := envoy.NamedByScope(msg)
		for _, cluster := range f.uses.clusters[key.Name] {
			names = append(names, xds.Key{Type: xds.Cluster, Name: cluster})
		}
		names = append(names, f.scopeSecrets[key.Name]...)
		slices.SortFunc(names, compareKeys)
		return slices.Clip(slices.Compact(names))
	}
	if s, ok := f.services.Opened(key.Name); ok && key.Type == xds.Listener {
		return namedByService(s)
	}
	return nil
}

// namedByService returns what the filter chain of a TCP service names, sorted.
func namedByService(s routing.Service) []xds.Key {
	names := []xds.Key{{Type: xds.Cluster, Name: s.Cluster()}}
	if s.Paced {
		names = append(names, xds.Key{Type: xds.ExtensionConfig, Name: routing.AcceptFilter(s.Cluster())})
	}
	if s.Holds {
		names = append(names, xds.Key{Type: xds.ExtensionConfig, Name: routing.HoldFilter(s.Cluster())})
	}
	if s.Wake != sources.WakeTCPNever {
		names = append(names, xds.Key{Type: xds.ExtensionConfig, Name: routing.WakeFilter(s.Cluster())})
	}
	if s.TLS != nil && routing.AsksForCertificates(s.TLS) {
		names = append(names, xds.Key{Type: xds.Secret, Name: routing.ClientsSecret(s.Cluster())})
	}
	// Its certificates are not among them: there may be none, and Envoy keeps a secret as long as a
	// listener names it.
	slices.SortFunc(names, compareKeys)
	return names
}

// namedByHTTPS returns what the https listener names, sorted.
func (f *fleetState) namedByHTTPS(chains []routing.TLSChain, passed []routing.Service) []xds.Key {
	var names []xds.Key
	add := func(t xds.Type, name string) { names = append(names, xds.Key{Type: t, Name: name}) }
	for _, chain := range chains {
		for _, secret := range chain.Secrets() {
			add(xds.Secret, secret)
		}
	}
	for _, s := range passed {
		names = append(names, namedByService(s)...)
	}
	if f.TLS.AsksForCertificates() {
		add(xds.Secret, routing.ClientCASecret)
	}
	if f.TLS.SharedTickets {
		add(xds.Secret, routing.TicketKeysSecret)
	}
	slices.SortFunc(names, compareKeys)
	return slices.Compact(names)
}
