package slots

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"relay/sources"
)

// Parts is how many parts the ports are in when Relays compare slots: what differs is found part by part.
const Parts = 64

// Port is what one Relay tells another of a port whose requests are hashed.
type Port struct {
	// App is the name under which the app is routed, and Port the index of the port.
	App  string
	Port int
	// Seen is a digest of what slots rest on: the instances, which of them take ids, and how many may have a slot.
	Seen string
	// Slots are those of instances that take ids, by the id of the task, or the address if there is none.
	Slots map[string]int
	// Kept are those that other instances had, which drain or are away.
	Kept map[string]int
	// Freed are slots that instances have left, the last one at the end.
	Freed []int
}

// sum has digests of a port: they are equal at Relays that know the same.
type sum struct {
	part int
	// seen is of the instances alone, and all of their slots, too.
	seen string
	all  uint64
}

// sumOf returns the digests of a port.
func sumOf(app string, port int, now []instance, limit int, known places) sum {
	where := digest(fmt.Sprintf("%q %d", app, port))
	seen := make([]string, len(now))
	for i, in := range now {
		seen[i] = fmt.Sprintf("%q %t", in.name, in.takes)
	}
	slices.Sort(seen)
	of := make([]string, 0, len(known.of))
	for name, p := range known.of {
		of = append(of, fmt.Sprintf("%q %d %t", name, p.slot, p.takes))
	}
	slices.Sort(of)
	text := fmt.Sprintf("%016x", digest(fmt.Sprint(limit, seen)))
	return sum{part: int(where % Parts), seen: text, all: digest(fmt.Sprint(where, text, of, known.freed))}
}

func digest(text string) uint64 {
	all := sha256.Sum256([]byte(text))
	return binary.BigEndian.Uint64(all[:])
}

// told is what other Relays are told of a port.
func told(app string, port int, seen string, known places) Port {
	p := Port{App: app, Port: port, Seen: seen, Slots: make(map[string]int), Kept: make(map[string]int), Freed: known.freed}
	for name, at := range known.of {
		if at.takes {
			p.Slots[name] = at.slot
		} else {
			p.Kept[name] = at.slot
		}
	}
	return p
}

// places is the reverse of told. What can be no slot is left out.
func (p Port) places() places {
	good := func(slot int) bool { return slot >= 1 && slot <= sources.MaxEndpoints }
	known := places{of: make(map[string]place, len(p.Slots)+len(p.Kept))}
	for _, all := range []map[string]int{p.Kept, p.Slots} {
		for name, slot := range all {
			if good(slot) {
				known.of[name] = place{slot, false}
			}
		}
	}
	for name := range p.Slots {
		if at, ok := known.of[name]; ok {
			known.of[name] = place{at.slot, true}
		}
	}
	for _, slot := range p.Freed {
		if good(slot) {
			known.freed = append(known.freed, slot)
		}
	}
	return known
}

func (p places) equal(other places) bool {
	return maps.Equal(p.of, other.of) && slices.Equal(p.freed, other.freed)
}

// Began is when the source was read for the first time, or zero.
func (s *Stage) Began() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began
}

// Digests returns one of each part of what is known; nil if there is no port whose requests are hashed. Relays with equal
// digests give equal slots.
func (s *Stage) Digests() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.digests()
}

func (s *Stage) digests() []uint64 {
	if s.began.IsZero() {
		return nil
	}
	var all []uint64
	for _, g := range s.groups {
		for _, of := range g.sums {
			if all == nil {
				all = make([]uint64, Parts)
			}
			all[of.part] ^= of.all
		}
	}
	return all
}

// Known returns which parts differ from those with these digests, and all ports in them, in order. Without digests that is
// all that is known.
func (s *Stage) Known(digests []uint64) (parts []int, ports []Port) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.digests()
	for part := range Parts {
		if at(own, part) != at(digests, part) {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return nil, nil
	}
	for name, g := range s.groups {
		for port, of := range g.sums {
			if slices.Contains(parts, of.part) {
				ports = append(ports, told(name, port, of.seen, g.ports[port]))
			}
		}
	}
	slices.SortFunc(ports, func(a, b Port) int {
		return cmp.Or(strings.Compare(a.App, b.App), cmp.Compare(a.Port, b.Port))
	})
	return parts, ports
}

func at(digests []uint64, part int) uint64 {
	if part >= len(digests) {
		return 0
	}
	return digests[part]
}

// Compare takes over slots from what another Relay says of the parts that differ. It asks counts about each port in them:
// comparable is whether the other one knows the port, with the same instances in the same state, and what is returned, whether
// its slots are taken over then. It returns the names of the apps that have other slots now.
func (s *Stage) Compare(parts []int, ports []Port, counts func(app string, port int, comparable bool) bool) (changed []string) {
	type key struct {
		app  string
		port int
	}
	theirs := make(map[key]Port, len(ports))
	for _, p := range ports {
		theirs[key{p.App, p.Port}] = p
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began.IsZero() {
		return nil
	}
	touched := make(map[string]bool)
	for name, g := range s.groups {
		for port, of := range g.sums {
			if !slices.Contains(parts, of.part) {
				continue
			}
			said, ok := theirs[key{name, port}]
			comparable := ok && said.Seen == of.seen
			if !counts(name, port, comparable) || !comparable {
				continue
			}
			if known := said.places(); !known.equal(g.ports[port]) {
				g.ports[port], touched[name] = known, true
			}
		}
	}
	more := s.handOn(nil, touched)
	if len(more) == 0 {
		return nil
	}
	for _, app := range more {
		changed = append(changed, nameOf(app))
	}
	sources.Because(s.next, "another Relay gives other slots")
	s.next.UpdateApps(more, nil)
	return slices.Compact(slices.Sorted(slices.Values(changed)))
}

// takeOver begins with the slots of another Relay, in place of those of the same ports that were saved.
func (s *Stage) takeOver(ports []Port) {
	for _, p := range ports {
		if p.Port < 0 || p.Port >= sources.MaxPorts {
			continue
		}
		if s.groups[p.App] == nil {
			s.groups[p.App] = newGroup()
		}
		s.groups[p.App].ports[p.Port] = p.places()
	}
}
