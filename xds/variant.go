package xds

import "google.golang.org/grpc/mem"

// OrWithout gives a resource a variant, for Envoys that do not report an extension which the
// resource needs. Both are of the same type and name.
func (r Resource) OrWithout(extension string, other Resource) Resource {
	r.needs, r.variant = extension, &other
	r.Version += " or " + other.Version
	return r
}

// variant is what Envoys without an extension are sent in place of a resource.
type variant struct {
	// needs is the extension that the resource needs.
	needs   string
	wire    mem.Buffer
	version version
	// changedAt is the revision at which the variant changed last, and mainChangedAt the one
	// at which the resource did.
	changedAt, mainChangedAt uint64
	// acknowledged is as in entry.
	acknowledged uint32
}

// setVariant notes the variant of a resource that is being set. Same tells that the resource
// itself stays the same. It reports whether the variant changed.
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
	case !had: // there was no variant, so nobody noted when the resource changed
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

// variantFor returns the variant of a resource if that is what an Envoy is sent.
func (t *table) variantFor(id uint32, envoy *envoyNode) (v *variant, ok bool) {
	if len(t.variants) == 0 {
		return v, false
	}
	v, ok = t.variants[id]
	return v, ok && !envoy.has(v.needs)
}

// changedFor reports, of a resource that changed after a revision, whether what an Envoy is
// sent of it did.
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
