package xds

import (
	"crypto/sha256"
	"encoding/binary"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// maxTemporary is how many temporary aliases a fleet has at a time. Each costs some 25 kB in
// every Envoy that asked for it. A client that makes up names does no more than make Envoys
// forget other temporary names, and ask for them again.
const maxTemporary = 1000

// aliases are copies of resources under other names, made when an Envoy asks.
type aliases struct {
	resolve Resolver
	of      map[uint32]alias
	// temporary are the ids of those that are not permanent, oldest first. Some of them may
	// not be aliases any more.
	temporary []uint32
}

type alias struct {
	target    uint32
	version   version // of the target
	permanent bool    // as a Resolver says
}

// resolveAlias finds the target of a name, if there is one.
func (t *table) resolveAlias(name string) (a alias, ok bool) {
	if t.aliases.resolve == nil {
		return a, false
	}
	target, permanent, ok := t.aliases.resolve(name)
	if !ok {
		return a, false
	}
	id, ok := t.ids[target]
	if !ok || t.entries[id].presence != present || t.entries[id].name == name {
		return a, false
	}
	return alias{target: id, version: t.versions[id], permanent: permanent}, true
}

// makeAliases makes aliases of those ids that have no resource and can be resolved. It returns
// them, and reports whether older aliases were removed.
func (t *table) makeAliases(typ Type, ids []uint32, revision uint64) (made []uint32, evicted bool) {
	for _, id := range ids {
		name := t.entries[id].name
		if t.entries[id].presence != absent {
			continue
		}
		a, ok := t.resolveAlias(name)
		if !ok {
			continue
		}
		t.set(renamed(typ, name, t.entries[a.target].wire), revision)
		t.aliases.of[id] = a
		if !a.permanent {
			t.aliases.temporary = append(t.aliases.temporary, id)
		}
		made = append(made, id)
	}
	return made, t.evictTemporary(revision + 1)
}

// evictTemporary removes the oldest temporary aliases when there are too many, until half as
// many are left. It removes many at once, as all streams look each time what changed.
func (t *table) evictTemporary(revision uint64) (evicted bool) {
	if len(t.aliases.temporary) <= maxTemporary {
		return false
	}
	surplus := len(t.aliases.temporary) - maxTemporary/2
	for _, id := range t.aliases.temporary[:surplus] {
		if a, ok := t.aliases.of[id]; ok && !a.permanent {
			t.unset(t.entries[id].name, absent, revision)
			evicted = true
		}
	}
	t.aliases.temporary = append([]uint32(nil), t.aliases.temporary[surplus:]...)
	return evicted
}

// updateAliases brings all aliases up to date. It reports whether one changed.
func (t *table) updateAliases(typ Type, revision uint64) (changed bool) {
	for id, before := range t.aliases.of {
		name := t.entries[id].name
		now, ok := t.resolveAlias(name)
		switch {
		case !ok:
			t.unset(name, absent, revision)
		case now != before:
			t.set(renamed(typ, name, t.entries[now.target].wire), revision)
			t.aliases.of[id] = now
			if before.permanent && !now.permanent {
				t.aliases.temporary = append(t.aliases.temporary, id)
			}
		default:
			continue
		}
		changed = true
	}
	return changed
}

// renamed copies a marshalled resource under another name. Envoy wants that name
// in the message too, where all types that Relay serves have it as field 1.
func renamed(typ Type, name string, wire mem.Buffer) Resource {
	entry := valueOf(wire.ReadOnlyData(), fieldResponseResources)
	message := valueOf(valueOf(entry, fieldResourceBody), fieldAnyValue)
	body := appendString(make([]byte, 0, len(message)+len(name)), fieldName, name)
	for at := 0; at < len(message); {
		number, _, _, size, err := consumeField(message[at:])
		if err != nil {
			break // not of a message that was marshalled
		}
		if number != fieldName {
			body = append(body, message[at:at+size]...)
		}
		at += size
	}
	sum := sha256.Sum256(body)
	hash := version(binary.BigEndian.Uint64(sum[:8]))
	return Resource{
		Key: Key{typ, name}, Version: hash.String(), hash: hash,
		wire: mem.SliceBuffer(encodeResource(typ.URL(), name, hash.String(), body)),
	}
}

// valueOf returns the first value of a field of a marshalled message.
func valueOf(message []byte, wanted protowire.Number) []byte {
	for at := 0; at < len(message); {
		number, _, value, size, err := consumeField(message[at:])
		if err != nil || number == wanted {
			return value
		}
		at += size
	}
	return nil
}
