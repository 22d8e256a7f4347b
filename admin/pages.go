package admin

import (
	"cmp"
	"slices"

	"relay/admin/api"
)

// pageOf returns one page of a list that is ordered by name, and where the next begins. value is
// what it is sorted by, the largest first, and by name where two are the same; nil sorts by name
// alone.
func pageOf[T any](all []T, q query, name func(T) string, value func(T) float64) ([]T, api.Page) {
	page := api.Page{Total: len(all)}
	if value != nil {
		return sortedPage(all, q, page, name, value)
	}
	if q.after != nil {
		from, found := slices.BinarySearchFunc(all, q.after.Name, func(one T, after string) int { return cmp.Compare(name(one), after) })
		if found {
			from++
		}
		all = all[from:]
	}
	if len(all) > q.limit {
		all = all[:q.limit]
		page.Next = position{Sort: q.values["sort"], Name: name(all[q.limit-1])}.cursor()
	}
	return all, page
}

// sortedPage looks at every entry once, and sorts those only that are not 0: most are.
func sortedPage[T any](all []T, q query, page api.Page, name func(T) string, value func(T) float64) ([]T, api.Page) {
	type ranked struct {
		one   T
		value float64
	}
	isAfter := func(r ranked) bool {
		if q.after == nil {
			return true
		}
		return cmp.Or(cmp.Compare(q.after.Value, r.value), cmp.Compare(name(r.one), q.after.Name)) > 0
	}
	var some, none []ranked
	for _, one := range all {
		switch r := (ranked{one, value(one)}); {
		case !isAfter(r):
		case r.value > 0:
			some = append(some, r)
		case len(none) <= q.limit:
			none = append(none, r)
		}
	}
	slices.SortStableFunc(some, func(a, b ranked) int { return cmp.Compare(b.value, a.value) }) // names are in order
	some = append(some, none...)
	if len(some) > q.limit {
		some = some[:q.limit]
		last := some[q.limit-1]
		page.Next = position{Sort: q.values["sort"], Value: last.value, Name: name(last.one)}.cursor()
	}
	shown := make([]T, len(some))
	for i, r := range some {
		shown[i] = r.one
	}
	return shown, page
}
