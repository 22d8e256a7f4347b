package xds

// EnvoyState says how far an Envoy is.
type EnvoyState string

// The states. An Envoy that is behind and lacks something counts as rejecting.
const (
	UpToDate EnvoyState = "up to date"
	// IsBehind is of one that has asked for nothing yet, is to be sent something, or has not
	// acknowledged it.
	IsBehind EnvoyState = "behind"
	// Rejecting is of one that lacks what it, or others of its version, rejected.
	Rejecting EnvoyState = "rejecting"
)

// State says how far the Envoy is.
func (s StreamStatus) State() EnvoyState {
	var p position
	for _, t := range s.Types {
		p.add(t.Behind > 0 || t.InFlight, t.StaleCount > 0)
	}
	return p.state()
}

// EnvoyStates counts the connected Envoys, by fleet and state. Each fleet has each state. It
// costs a look at what changed since each Envoy was last sent something, and at no resource.
func (s *Server) EnvoyStates() map[string]map[EnvoyState]int {
	all := make(map[string]map[EnvoyState]int)
	for fleet := range s.stores {
		all[fleet] = map[EnvoyState]int{UpToDate: 0, IsBehind: 0, Rejecting: 0}
	}
	for _, st := range s.connected() {
		all[st.info.Fleet][st.session.envoyState()]++
	}
	return all
}

func (s *session) envoyState() EnvoyState {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var p position
	for t := range s.types {
		ts := &s.types[t]
		if !ts.subscribed {
			continue
		}
		ts.collectChanges(&s.store.tables[t], s.store.revision)
		p.add(!ts.toSend.IsEmpty() || !ts.toRemove.IsEmpty() || ts.inFlight != nil, len(ts.stale) > 0)
	}
	return p.state()
}

// position is what the types of an Envoy say of its state.
type position struct{ asked, behind, rejecting bool }

func (p *position) add(behind, rejecting bool) {
	p.asked, p.behind, p.rejecting = true, p.behind || behind, p.rejecting || rejecting
}

func (p *position) state() EnvoyState {
	switch {
	case p.rejecting:
		return Rejecting
	case p.behind || !p.asked:
		return IsBehind
	}
	return UpToDate
}
