package xds

import (
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/mem"
)

// kind is what decides which form of a resource an Envoy is sent.
type envoyNode struct {
	id         string
	version    string
	versionBit uint32   // of the version, see versionBit
	extensions []string // sorted
}

// kindOf reads what an Envoy tells of itself. See
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/core/v3/base.proto#config-core-v3-node
func newEnvoyNode(node *corev3.Node) *envoyNode {
	n := &envoyNode{id: node.GetId(), version: envoyVersion(node)}
	for _, e := range node.GetExtensions() {
		n.extensions = append(n.extensions, e.GetName())
	}
	slices.Sort(n.extensions)
	return n
}

func (n *envoyNode) has(extension string) bool {
	_, ok := slices.BinarySearch(n.extensions, extension)
	return ok
}

// Or gives a resource a second form, for Envoys that do not report the extension
// which the first one needs. Both are of the same type and name.
func (r Resource) OrWithout(extension string, other Resource) Resource {
	r.needs, r.variant = extension, &other
	r.Version += " or " + other.Version
	return r
}

// secondForm is what Envoys without an extension are sent.
type variant struct {
	needs   string
	wire    mem.Buffer
	version version
	// first and second are the revisions at which each form changed last.
	mainChangedAt, changedAt uint64
	// acknowledged is as in entry.
	acknowledged uint32
}

// setSecond notes the second form of a resource that is being set, whose first
// one stays the same or not. It reports whether the second one changed.
func (t *table) setVariant(id uint32, r Resource, same bool, revision uint64) (changed bool) {
	before, had := t.variants[id]
	if r.variant == nil {
		delete(t.variants, id)
		return had
	}
	if !had {
		before = new(variant)
	}
	after := &variant{needs: r.needs, wire: r.variant.wire, version: r.variant.hash, mainChangedAt: before.mainChangedAt, changedAt: before.changedAt}
	switch {
	case !same:
		after.mainChangedAt = revision
	case !had: // it was the only form
		after.mainChangedAt = t.entries[id].revision
	}
	changed = before.version != after.version || before.needs != after.needs
	if changed {
		after.changedAt = revision
	} else {
		after.acknowledged = before.acknowledged
	}
	t.variants[id] = after
	return changed
}

// secondFor returns the second form if it is the one for an Envoy.
func (t *table) variantFor(id uint32, envoy *envoyNode) (v *variant, ok bool) {
	if len(t.variants) == 0 {
		return v, false
	}
	v, ok = t.variants[id]
	return v, ok && !envoy.has(v.needs)
}

// changedFor reports whether what an Envoy is sent for an id changed after a
// revision at which the id did.
func (t *table) changedFor(id uint32, envoy *envoyNode, revision uint64) bool {
	if len(t.variants) == 0 {
		return true
	}
	v, ok := t.variants[id]
	if !ok {
		return true
	}
	if envoy.has(v.needs) {
		return v.mainChangedAt > revision
	}
	return v.changedAt > revision
}
