package marathon

import "sync"

// marks collects what has to be read again. Marking never blocks, and marking
// twice is marking once, so that the event stream is always drained at once.
type marks struct {
	mu      sync.Mutex
	pending map[string]markKind
	order   []string
	full    bool
	paced   bool          // a full read that may wait a little
	wake    chan struct{} // holds one
}

// markKind tells why an app is to be read.
type markKind uint8

const (
	// repeated: it was read already and is looked at again.
	repeated markKind = iota
	// changed: an event or a new address of its agents names it.
	changed
)

func newMarks() *marks {
	return &marks{pending: map[string]markKind{}, wake: make(chan struct{}, 1)}
}

func (m *marks) add(kind markKind, ids ...string) {
	if len(ids) == 0 {
		return
	}
	m.mu.Lock()
	for _, id := range ids {
		old, known := m.pending[id]
		if !known {
			m.order = append(m.order, id)
		}
		m.pending[id] = max(old, kind)
	}
	m.mu.Unlock()
	m.signal()
}

// addFull asks for a full read.
func (m *marks) addFull() {
	m.mu.Lock()
	m.full = true
	m.mu.Unlock()
	m.signal()
}

// addFullPaced asks for a full read that need not be at once.
func (m *marks) addFullPaced() {
	m.mu.Lock()
	m.paced = true
	m.mu.Unlock()
	m.signal()
}

func (m *marks) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *marks) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.order)
}

// next takes the app that has waited longest.
func (m *marks) next() (id string, kind markKind, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.order) == 0 {
		return "", 0, false
	}
	id = m.order[0]
	m.order = m.order[1:]
	kind = m.pending[id]
	delete(m.pending, id)
	return id, kind, true
}

// all takes everything: a full read that starts now covers it.
func (m *marks) all() map[string]markKind {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := m.pending
	m.pending, m.order, m.full, m.paced = map[string]markKind{}, nil, false, false
	return taken
}

func (m *marks) wantsFull() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.full
}

// takePaced tells whether a full read is asked for that may wait a little, and
// forgets it.
func (m *marks) takePaced() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	paced := m.paced
	m.paced = false
	return paced
}
