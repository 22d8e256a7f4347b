package collator

import (
	"maps"
	"slices"
	"strings"
)

// ordered is a list by name that is put in order when somebody looks at it, and only what has
// changed since.
type ordered[T comparable] struct {
	names []string // sorted
	list  []T      // in the order of names; made anew by each change, since others read it
	// pending are the entries that have changed; the zero value is one that is gone.
	pending map[string]T
}

func newOrdered[T comparable]() ordered[T] { return ordered[T]{pending: make(map[string]T)} }

// set replaces an entry, or removes it.
func (o *ordered[T]) set(name string, entry T) { o.pending[name] = entry }

// all returns the list. Nobody may modify it.
func (o *ordered[T]) all() []T {
	if len(o.pending) == 0 {
		return o.list
	}
	var gone T
	names := make([]string, 0, len(o.names)+len(o.pending))
	list := make([]T, 0, len(o.list)+len(o.pending))
	add := func(name string, entry T) {
		if entry != gone {
			names, list = append(names, name), append(list, entry)
		}
	}
	from := 0
	for _, name := range slices.Sorted(maps.Keys(o.pending)) {
		at, found := slices.BinarySearchFunc(o.names[from:], name, strings.Compare)
		names, list = append(names, o.names[from:from+at]...), append(list, o.list[from:from+at]...)
		add(name, o.pending[name])
		if from += at; found {
			from++
		}
	}
	o.names, o.list = append(names, o.names[from:]...), append(list, o.list[from:]...)
	o.pending = make(map[string]T)
	return o.list
}
