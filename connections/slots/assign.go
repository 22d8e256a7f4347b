// Package slots gives each instance of a port whose requests are hashed a place that it keeps: its slot.
// Envoy spreads ids over slots, so an instance that takes the slot of another one takes over exactly its
// ids, and no others move.
package slots

import (
	"cmp"
	"maps"
	"slices"
)

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

// places are those of a port.
type places struct {
	of map[string]place // by the names of instances
	// freed are slots that instances have left, the last one at the end.
	freed []int
}

// assign returns the slot of each instance, given those from before. Slots are counted from 1.
//
//   - An instance that takes ids keeps its slot. No two of them have the same.
//   - One that drains keeps its number, and another one may take the slot: its ids go there.
//   - One that comes back, from draining or from away, gets its slot back, if nobody has it.
//   - Others get the slot that was left last, in the order in which they are given, or else the lowest that is free.
//     Slots of instances that are away, and may come back, are the last ones.
//   - If there is a limit, no more instances than that get a slot. What is left has 0. So while an app is
//     deployed anew, a new instance waits until an old one has left, and each id moves only once.
//
// It rests on nothing else, so Relays that saw the same changes agree.
func assign(now []instance, away []string, before places, limit int) []int {
	slots, taken := make([]int, len(now)), make(map[int]bool, len(now))
	takers, holders := 0, 0
	take := func(i, slot int) {
		slots[i], taken[slot] = slot, true
		holders++
	}
	for i, in := range now {
		p := before.of[in.name]
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
		if p := before.of[in.name]; in.takes && slots[i] == 0 && p.slot > 0 && !taken[p.slot] && !full() {
			take(i, p.slot)
		}
	}
	var next func() int
	for i, in := range now {
		if !in.takes || slots[i] != 0 || full() {
			continue
		}
		if next == nil {
			next = freeSlots(taken, away, before, takers)
		}
		take(i, next())
	}
	return slots
}

// freeSlots returns what gives the next slot for a new instance. Taken has those that are not free.
func freeSlots(taken map[int]bool, away []string, before places, takers int) (next func() int) {
	reserved := make(map[int]bool, len(away))
	for _, name := range away {
		reserved[before.of[name].slot] = true
	}
	freed := justFreed(before, taken)
	slices.Reverse(freed)
	kept := slices.Clone(freed)
	freed = slices.DeleteFunc(freed, func(slot int) bool { return reserved[slot] })
	free := 1
	return func() int {
		for ; len(freed) > 0; freed = freed[1:] {
			if !taken[freed[0]] {
				return freed[0]
			}
		}
		for taken[free] || reserved[free] {
			free++
		}
		if free <= takers {
			return free
		}
		for ; len(kept) > 0; kept = kept[1:] {
			if !taken[kept[0]] {
				return kept[0]
			}
		}
		return free
	}
}

// justFreed returns the slots that instances have left and nobody has, the last ones at the end. Of those that were left
// at once, the lowest is the last.
func justFreed(before places, taken map[int]bool) []int {
	left := make(map[int]bool)
	for _, p := range before.of {
		if p.takes && !taken[p.slot] {
			left[p.slot] = true
		}
	}
	freed := slices.DeleteFunc(slices.Clone(before.freed), func(slot int) bool { return taken[slot] || left[slot] })
	return append(freed, slices.SortedFunc(maps.Keys(left), func(a, b int) int { return cmp.Compare(b, a) })...)
}

// after returns what is to be known of the instances the next time.
func after(now []instance, slots []int, away []string, before places) places {
	known, taken := places{of: make(map[string]place, len(now))}, make(map[int]bool, len(now))
	for _, name := range away {
		if p := before.of[name]; p.slot > 0 {
			known.of[name] = place{slot: p.slot}
		}
	}
	for i, in := range now {
		if slots[i] > 0 {
			known.of[in.name] = place{slots[i], in.takes}
			taken[slots[i]] = taken[slots[i]] || in.takes
		}
	}
	known.freed = justFreed(before, taken)
	return known
}
