package slots

import (
	"cmp"
	"slices"
	"strings"

	"relay/sources"
)

// Slot says which slot an instance has.
type Slot struct {
	// App is the name under which the app is routed, and Port the index of the port.
	App  string
	Port int
	// Instance is the id of the task, or its address if it has none.
	Instance string
	Slot     int
	// Takes is set if ids of the slot go to the instance: one that drains has a slot, too.
	Takes bool
}

// Slots returns all that were given and are known, in order. It may be called at any time.
func (s *Stage) Slots() (all []Slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, g := range s.groups {
		for port, known := range g.ports {
			for instance, p := range known.of {
				all = append(all, Slot{App: name, Port: port, Instance: instance, Slot: p.slot, Takes: p.takes})
			}
		}
	}
	slices.SortFunc(all, func(a, b Slot) int {
		return cmp.Or(strings.Compare(a.App, b.App), cmp.Compare(a.Port, b.Port), strings.Compare(a.Instance, b.Instance))
	})
	return all
}

// takeOver begins with the slots of another Relay, in place of those of the same ports that were saved.
func (s *Stage) takeOver(all []Slot) {
	type at struct {
		app  string
		port int
	}
	ports := make(map[at]places)
	for _, one := range all {
		if one.Slot < 1 || one.Slot > sources.MaxEndpoints || one.Port < 0 || one.Port >= sources.MaxPorts {
			continue
		}
		p, ok := ports[at{one.App, one.Port}]
		if !ok {
			p = places{of: make(map[string]place)}
			ports[at{one.App, one.Port}] = p
		}
		p.of[one.Instance] = place{one.Slot, one.Takes}
	}
	for where, known := range ports {
		if s.groups[where.app] == nil {
			s.groups[where.app] = newGroup()
		}
		s.groups[where.app].ports[where.port] = known
	}
}
