package xds

import (
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/mem"
)

// kind is what decides which form of a resource an Envoy is sent.
type kind struct {
	node       string
	version    string
	bit        uint32   // of the version, see versionBit
	extensions []string // sorted
}

// kindOf reads what an Envoy tells of itself. See
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/core/v3/base.proto#config-core-v3-node
func kindOf(node *corev3.Node) *kind {
	k := &kind{node: node.GetId(), version: envoyVersion(node)}
	for _, e := range node.GetExtensions() {
		k.extensions = append(k.extensions, e.GetName())
	}
	slices.Sort(k.extensions)
	return k
}

func (k *kind) has(extension string) bool {
	_, ok := slices.BinarySearch(k.extensions, extension)
	return ok
}

// Or gives a resource a second form, for Envoys that do not report the extension
// which the first one needs. Both are of the same type and name.
func (r Resource) Or(extension string, other Resource) Resource {
	r.needs, r.other = extension, &other
	r.Version += " or " + other.Version
	return r
}

// secondForm is what Envoys without an extension are sent.
type secondForm struct {
	needs   string
	wire    mem.Buffer
	version version
	// first and second are the revisions at which each form changed last.
	first, second uint64
	// acknowledged is as in entry.
	acknowledged uint32
}

// setSecond notes the second form of a resource that is being set, whose first
// one stays the same or not. It reports whether the second one changed.
func (t *table) setSecond(id uint32, r Resource, same bool, revision uint64) (changed bool) {
	before, had := t.second[id]
	if r.other == nil {
		delete(t.second, id)
		return had
	}
	if !had {
		before = new(secondForm)
	}
	after := &secondForm{needs: r.needs, wire: r.other.wire, version: r.other.hash, first: before.first, second: before.second}
	switch {
	case !same:
		after.first = revision
	case !had: // it was the only form
		after.first = t.entries[id].revision
	}
	changed = before.version != after.version || before.needs != after.needs
	if changed {
		after.second = revision
	} else {
		after.acknowledged = before.acknowledged
	}
	t.second[id] = after
	return changed
}

// secondFor returns the second form if it is the one for an Envoy.
func (t *table) secondFor(id uint32, envoy *kind) (form *secondForm, ok bool) {
	if len(t.second) == 0 {
		return form, false
	}
	form, ok = t.second[id]
	return form, ok && !envoy.has(form.needs)
}

// changedFor reports whether what an Envoy is sent for an id changed after a
// revision at which the id did.
func (t *table) changedFor(id uint32, envoy *kind, revision uint64) bool {
	if len(t.second) == 0 {
		return true
	}
	form, ok := t.second[id]
	if !ok {
		return true
	}
	if envoy.has(form.needs) {
		return form.first > revision
	}
	return form.second > revision
}
