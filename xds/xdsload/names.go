package xdsload

import "sync"

// Names gives resource names small numbers, the same for all Envoys of a
// process, so that what each of them holds is an array.
type Names struct {
	mu    sync.RWMutex
	ids   map[string]uint32
	names []string
}

// NewNames returns an empty set of names.
func NewNames() *Names { return &Names{ids: make(map[string]uint32)} }

// id is called with mu locked for reading.
func (n *Names) id(name []byte) uint32 {
	if id, ok := n.ids[string(name)]; ok {
		return id
	}
	n.mu.RUnlock()
	defer n.mu.RLock()
	n.mu.Lock()
	defer n.mu.Unlock()
	id, ok := n.ids[string(name)]
	if !ok {
		id = uint32(len(n.names))
		n.names = append(n.names, string(name))
		n.ids[string(name)] = id
	}
	return id
}

// all returns the names by id; what it returns is never modified.
func (n *Names) all() []string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.names
}
