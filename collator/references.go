package collator

import (
	"cmp"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/xds"
)

// references knows what the published resources name, so that nothing is removed
// that one of them still needs: a resource that cannot be built stays as it was,
// while the state has moved on. Endpoints are named by their cluster, without an
// entry.
type references struct {
	names map[xds.Key][]xds.Key
	// counts has by how many resources each is named.
	counts map[xds.Key]int
	// kept are published, and are to be removed when nothing names them.
	kept map[xds.Key]struct{}
}

func newReferences() *references {
	return &references{names: make(map[xds.Key][]xds.Key), counts: make(map[xds.Key]int), kept: make(map[xds.Key]struct{})}
}

// set notes what a published resource names; nothing when it is removed.
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
	delete(r.kept, key)
}

// keep notes that a resource is wanted after all.
func (r *references) keep(key xds.Key) { delete(r.kept, key) }

// settle returns what is to be removed together with the change: of that which it
// removes, and of that which was kept before, what nothing names once it is
// applied. The rest is kept. It costs what the change costs.
func (r *references) settle(change xds.Change, names map[xds.Key][]xds.Key) []xds.Key {
	lost := make(map[xds.Key]int) // by how many fewer each will be named
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
		_, isKept := r.kept[key]
		if _, isWanted := wanted[key]; isKept && !isWanted {
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
			_, clusterKept := r.kept[cluster]
			_, clusterGone := gone[cluster]
			if r.counts[key] > lost[key] || key.Type == xds.Endpoint && clusterKept && !clusterGone {
				r.kept[key] = struct{}{}
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

// removalOrder has what names others before what they name.
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
		slices.SortFunc(names, compareKeys)
		return slices.Clip(slices.Compact(names))
	}
	if s, ok := f.services.Opened(key.Name); ok && key.Type == xds.Listener {
		return []xds.Key{{Type: xds.Cluster, Name: s.Cluster()}}
	}
	return nil
}

func (f *fleetState) namedByHTTPS(chains []routing.TLSChain, passed []routing.Service) []xds.Key {
	var names []xds.Key
	add := func(t xds.Type, name string) { names = append(names, xds.Key{Type: t, Name: name}) }
	for _, chain := range chains {
		add(xds.Secret, chain.Secret)
	}
	for _, s := range passed {
		add(xds.Cluster, s.Cluster())
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
