package scaling

import (
	"container/heap"
	"time"
)

// dues are the apps to look at, by when. Those at which nobody has to look are not in it.
type dues []*app

func (d dues) Len() int           { return len(d) }
func (d dues) Less(i, j int) bool { return d[i].due.Before(d[j].due) }
func (d dues) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = i+1, j+1
}

// Push implements heap.Interface.
func (d *dues) Push(x any) {
	a := x.(*app)
	*d = append(*d, a)
	a.place = len(*d)
}

// Pop implements heap.Interface.
func (d *dues) Pop() any {
	last := len(*d) - 1
	a := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	a.place = 0
	return a
}

// set has an app looked at at a time; zero is never.
func (d *dues) set(a *app, at time.Time) {
	a.due = at
	switch {
	case a.place > 0 && at.IsZero():
		heap.Remove(d, a.place-1)
	case a.place > 0:
		heap.Fix(d, a.place-1)
	case !at.IsZero():
		heap.Push(d, a)
	}
}

// pop returns the next app whose time has come, nil if there is none.
func (d *dues) pop(now time.Time) *app {
	if len(*d) == 0 || (*d)[0].due.After(now) {
		return nil
	}
	return heap.Pop(d).(*app)
}
