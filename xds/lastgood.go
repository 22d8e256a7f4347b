package xds

import (
	"sync/atomic"

	"github.com/RoaringBitmap/roaring/v2"
	"google.golang.org/grpc/mem"
)

// version returns the present version of a resource, or of its variant if an Envoy is sent
// that. It does not look at the entry: an Envoy may come with the versions of all resources.
func (t *table) version(id uint32, envoy *envoyNode) version {
	if v, isVariant := t.variantFor(id, envoy); isVariant {
		return v.version
	}
	return t.versions[id]
}

// wire returns the present content of a resource, or of its variant if an Envoy is sent that.
func (t *table) wire(id uint32, envoy *envoyNode) mem.Buffer {
	if v, isVariant := t.variantFor(id, envoy); isVariant {
		return v.wire
	}
	return t.entries[id].wire
}

// lastGood returns the last good version of a resource: the newest one before the present
// that Envoys of the same version acknowledged. It is 0 if none is known. Variants have none.
func (t *table) lastGood(id uint32, envoy *envoyNode) (mem.Buffer, version) {
	e := &t.entries[id]
	if _, isVariant := t.variantFor(id, envoy); isVariant || e.lastGoodFor&envoy.versionBit == 0 || e.lastGoodVersion == t.versions[id] {
		return nil, 0
	}
	return e.lastGood, e.lastGoodVersion
}

// acknowledgers returns which versions of Envoy acknowledged the present version of a
// resource, as bits. Many sessions write it at a time.
func (t *table) acknowledgers(id uint32, envoy *envoyNode) *uint32 {
	if v, isVariant := t.variantFor(id, envoy); isVariant {
		return &v.acknowledged
	}
	return &t.entries[id].acknowledged
}

// acknowledgedBy reports whether an Envoy of the same version acknowledged the present
// version of a resource.
func (t *table) acknowledgedBy(id uint32, envoy *envoyNode) bool {
	return atomic.LoadUint32(t.acknowledgers(id, envoy))&envoy.versionBit != 0
}

// acknowledge notes that an Envoy has acknowledged resources as they were at a revision. If
// it is the first of its version, it returns those that others of the version rejected.
func (t *table) acknowledge(ids *roaring.Bitmap, revision uint64, envoy *envoyNode) (rejected []uint32) {
	for it := ids.Iterator(); it.HasNext(); {
		id := it.Next()
		by := t.acknowledgers(id, envoy)
		if t.entries[id].revision > revision && t.changedFor(id, envoy, revision) || atomic.LoadUint32(by)&envoy.versionBit == envoy.versionBit {
			continue
		}
		atomic.OrUint32(by, envoy.versionBit)
		if t.rejectionsFor(id, envoy) != nil {
			rejected = append(rejected, id)
		}
	}
	return rejected
}
