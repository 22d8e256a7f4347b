// Package slots gives each instance of a port whose requests are hashed a place that it keeps: its slot.
// Envoy spreads ids over slots, so an instance that takes the slot of another one takes over exactly its
// ids, and no others move.
package slots

// instance is one of a port, as far as its slot depends on it.
type instance struct {
	name string
	// takes is set if the instance takes ids: it is healthy, and nothing drains it.
	takes bool
}

// place is what is known of an instance.
type place struct {
	slot  int
	takes bool
}

// places are those of a port, by the names of instances.
type places map[string]place

// assign returns the slot of each instance, given those from before. Slots are counted from 1.
//
//   - An instance that takes ids keeps its slot. No two of them have the same.
//   - One that drains keeps its number, and another one may take the slot: its ids go there.
//   - One that comes back, from draining or from away, gets its slot back, if nobody has it.
//   - Others get the lowest slot that is free, in the order in which they are given. Slots of instances that are
//     away, and may come back, are the last ones.
//   - If there is a limit, no more instances than that get a slot. What is left has 0. So while an app is
//     deployed anew, a new instance waits until an old one has left, and each id moves only once.
//
// No instance gets a slot above the number of those that take ids. It rests on nothing else, so Relays that saw
// the same changes agree.
func assign(now []instance, away []string, before places, limit int) []int {
	slots, taken := make([]int, len(now)), make(map[int]bool, len(now))
	takers, holders := 0, 0
	take := func(i, slot int) {
		slots[i], taken[slot] = slot, true
		holders++
	}
	for i, in := range now {
		p := before[in.name]
		if !in.takes {
			slots[i] = p.slot
			continue
		}
		takers++
		if p.takes && p.slot > 0 && !taken[p.slot] {
			take(i, p.slot)
		}
	}
	full := func() bool { return limit > 0 && holders >= limit }
	for i, in := range now {
		if p := before[in.name]; in.takes && slots[i] == 0 && p.slot > 0 && !taken[p.slot] && !full() {
			take(i, p.slot)
		}
	}
	reserved := make(map[int]bool, len(away))
	for _, name := range away {
		reserved[before[name].slot] = true
	}
	free, unreserved := 1, 1
	for i, in := range now {
		if !in.takes || slots[i] != 0 || full() {
			continue
		}
		for taken[free] {
			free++
		}
		for taken[unreserved] || reserved[unreserved] {
			unreserved++
		}
		if unreserved <= takers {
			take(i, unreserved)
		} else {
			take(i, free)
		}
	}
	return slots
}

// after returns what is to be known of the instances the next time.
func after(now []instance, slots []int, away []string, before places) places {
	known := make(places, len(now))
	for _, name := range away {
		if p := before[name]; p.slot > 0 {
			known[name] = place{slot: p.slot}
		}
	}
	for i, in := range now {
		if slots[i] > 0 {
			known[in.name] = place{slots[i], in.takes}
		}
	}
	return known
}
