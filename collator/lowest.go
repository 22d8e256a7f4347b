package collator

import "container/heap"

// lowest keeps the entries with the lowest keys, up to a number.
type lowest struct {
	most int
	all  []keyed
}

type keyed struct {
	AskedDomain
	key uint64
}

// takes reports whether an entry with a key would be kept.
func (l *lowest) takes(key uint64) bool { return len(l.all) < l.most || key < l.all[0].key }

// add keeps an entry that it takes.
func (l *lowest) add(key uint64, d AskedDomain) {
	if len(l.all) < l.most {
		heap.Push(l, keyed{d, key})
		return
	}
	l.all[0] = keyed{d, key}
	heap.Fix(l, 0)
}

// Len, Less, Swap, Push and Pop implement heap.Interface: the highest key is on top.
func (l *lowest) Len() int           { return len(l.all) }
func (l *lowest) Less(i, j int) bool { return l.all[i].key > l.all[j].key }
func (l *lowest) Swap(i, j int)      { l.all[i], l.all[j] = l.all[j], l.all[i] }
func (l *lowest) Push(x any)         { l.all = append(l.all, x.(keyed)) }
func (l *lowest) Pop() any {
	last := l.all[len(l.all)-1]
	l.all = l.all[:len(l.all)-1]
	return last
}
