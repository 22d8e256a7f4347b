package probe

import (
	"cmp"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
)

// sharer is who shares rate, places and series with others: an app, or what is of none.
func (t Target) sharer() string { return cmp.Or(t.App, "//"+t.Name) }

// share is how many of its things each may have, so that all together have no more than there is room for: who has fewer
// has all of them, and the others have the same number. It is the largest of the counts if there is room for all.
func share(counts map[string]int, room float64) float64 {
	sorted := make([]int, 0, len(counts))
	for _, n := range counts {
		sorted = append(sorted, n)
	}
	slices.Sort(sorted)
	for i, n := range sorted {
		each := room / float64(len(sorted)-i)
		if float64(n) > each {
			return each
		}
		room -= float64(n)
	}
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[len(sorted)-1])
}

// fairest orders targets so that the first of them are of as many apps as can be: the first of each, then the second of each.
// Those that were chosen by chance come last. The order stays the same while the targets do.
func fairest(targets []Target) {
	hashes := make(map[string]uint64, len(targets))
	for _, t := range targets {
		hashes[t.ID] = xxhash.Sum64String(t.ID)
	}
	byHash := func(a, b Target) int {
		return cmp.Or(compareBool(a.Sampled, b.Sampled), cmp.Compare(hashes[a.ID], hashes[b.ID]), cmp.Compare(a.ID, b.ID))
	}
	slices.SortFunc(targets, byHash)
	before, ranks := make(map[string]int), make(map[string]int, len(targets))
	for _, t := range targets {
		ranks[t.ID] = before[t.sharer()]
		before[t.sharer()]++
	}
	slices.SortStableFunc(targets, func(a, b Target) int {
		return cmp.Or(compareBool(a.Sampled, b.Sampled), cmp.Compare(ranks[a.ID], ranks[b.ID]))
	})
}

// groups are those that must not take all places for probes: an app that answers slowly, and an Envoy that does not answer.
func (t Target) groups() []string {
	if t.Envoy == "" {
		return []string{"app " + t.sharer()}
	}
	return []string{"app " + t.sharer(), "envoy " + t.Fleet + "/" + t.Envoy}
}

// places says who has the places for probes, and who waits for one. A group waits while it has as many places as are free: so
// however many hang, some are free for those that do not. Of an Envoy that answers only its apps are such groups.
type places struct {
	taken   map[string]int
	waiting map[string][]*entry
}

func newPlaces() places { return places{make(map[string]int), make(map[string][]*entry)} }

// take takes a place for a target, or has it wait until others have ended. free counts the place that is to be taken.
func (p places) take(one *entry, free int, answers bool) bool {
	one.groups = one.target.groups()
	limited := one.groups
	if answers {
		limited = limited[:1]
	}
	for _, group := range limited {
		if p.taken[group] > 0 && p.taken[group] >= free {
			p.waiting[group] = append(p.waiting[group], one)
			return false
		}
	}
	for _, group := range one.groups {
		p.taken[group]++
	}
	return true
}

// leave gives a place back, and returns those that may try again.
func (p places) leave(groups []string, free int) (again []*entry) {
	for _, group := range groups {
		if p.taken[group]--; p.taken[group] <= 0 {
			delete(p.taken, group)
		}
	}
	for group, all := range p.waiting {
		if p.taken[group] > 0 && p.taken[group] >= free {
			continue
		}
		again = append(again, all[0])
		if p.waiting[group] = all[1:]; len(all) == 1 {
			delete(p.waiting, group)
		}
	}
	return again
}

// forget drops those that are no targets any more.
func (p places) forget() {
	for group, all := range p.waiting {
		if all = slices.DeleteFunc(all, func(one *entry) bool { return one.gone }); len(all) == 0 {
			delete(p.waiting, group)
		} else {
			p.waiting[group] = all
		}
	}
}

// overdue is for how long the first of those that wait has been due.
func (p places) overdue(now time.Time) (longest time.Duration) {
	for _, all := range p.waiting {
		longest = max(longest, now.Sub(all[0].due))
	}
	return longest
}
