package xds

import (
	"slices"
	"strings"

	"google.golang.org/grpc/mem"
)

// Content is a resource of a Store. Body is the marshalled message: it is not modified, and may
// hold secrets.
type Content struct {
	Key
	Version string
	Body    []byte
}

// bodyOf returns the message within an entry of a response.
func bodyOf(wire mem.Buffer) []byte {
	entry := valueOf(wire.ReadOnlyData(), fieldResponseResources)
	return valueOf(valueOf(entry, fieldResourceBody), fieldAnyValue)
}

// Body returns the marshalled message. It is not modified, and may hold secrets.
func (r Resource) Body() []byte { return bodyOf(r.wire) }

// Bodies returns the marshalled messages of resources, in the order of the keys: nil for one that
// does not exist.
func (s *Store) Bodies(keys []Key) [][]byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	bodies := make([][]byte, len(keys))
	for i, key := range keys {
		t := &s.tables[key.Type]
		if id, ok := t.ids[key.Name]; ok && t.entries[id].presence == present {
			bodies[i] = bodyOf(t.entries[id].wire)
		}
	}
	return bodies
}

// Contents returns the resources of a type that match, by name. Copies of secrets under names that
// Envoys asked for are not among them, nor are variants.
func (s *Store) Contents(t Type, match func(name string) bool) []Content {
	var all []Content
	s.readLocked(func() {
		table := &s.tables[t]
		for id := range table.entries {
			e := &table.entries[id]
			if _, copied := table.aliases.of[uint32(id)]; e.presence == present && !copied && match(e.name) {
				all = append(all, Content{Key{t, e.name}, table.versions[id].String(), bodyOf(e.wire)})
			}
		}
	})
	slices.SortFunc(all, func(a, b Content) int { return strings.Compare(a.Name, b.Name) })
	return all
}
