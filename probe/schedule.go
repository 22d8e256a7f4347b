package probe

import (
	"container/heap"
	"time"

	"github.com/cespare/xxhash/v2"
)

// soon is the time over which the first probes of new targets are spread.
const soon = 3 * time.Second

// pace is how often targets are asked, so that all together keep to the rate.
type pace struct {
	// interval is of those whose app has no more than its share of the targets for which there is room in it.
	interval, sampled time.Duration
	share             float64
	// counts are how many targets each app has.
	counts map[string]int
	// each is how long after one target the rate has room for another.
	each time.Duration
}

// usable is the part of the rate that is planned for what people chose: where all of it was, each that is late would make others late.
const usable = 0.9

// paceFor stretches the intervals where there are more targets than the rate has room for: first of those that were chosen
// by chance, which keep a tenth of the rate at least, then of the apps that have the most.
func paceFor(s Settings, targets []Target) pace {
	p := pace{interval: s.Interval, sampled: s.Sample.Interval, counts: make(map[string]int)}
	chosen, sampled := 0, 0
	for _, t := range targets {
		switch {
		case t.Skip != "": // costs nothing
		case t.Sampled:
			sampled++
		default:
			chosen++
			p.counts[t.sharer()]++
		}
	}
	rate := float64(s.Rate) / 60 // a second
	room := rate * usable
	if sampled > 0 {
		room -= min(room/10, float64(sampled)/p.sampled.Seconds())
	}
	p.each = seconds(1 / room)
	p.share = share(p.counts, room*p.interval.Seconds())
	left := rate - min(room, float64(chosen)/p.interval.Seconds())
	if sampled > 0 {
		p.sampled = max(p.sampled, seconds(float64(sampled)/left))
	}
	return p
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// of returns how often a target is asked.
func (p pace) of(t Target) time.Duration {
	if t.Sampled {
		return p.sampled
	}
	return p.ofCount(p.counts[t.sharer()])
}

// ofCount returns how often each target of an app is asked that has so many.
func (p pace) ofCount(n int) time.Duration {
	if float64(n) <= p.share {
		return p.interval
	}
	return seconds(p.interval.Seconds() * float64(n) / p.share)
}

// bounds are how often the targets are asked of the app that has the fewest, and of the one that has the most.
func (p pace) bounds() (shortest, longest time.Duration) {
	fewest, most := 0, 0
	for _, n := range p.counts {
		if most = max(most, n); fewest == 0 || n < fewest {
			fewest = n
		}
	}
	return p.ofCount(fewest), p.ofCount(most)
}

// first is when a new target is asked first: soon, but so that many of one app leave half of the rate to others.
func (p pace) first(t Target, now time.Time) time.Time {
	over, interval := soon, p.of(t)
	if !t.Sampled {
		over = max(soon, 2*time.Duration(p.counts[t.sharer()])*p.each)
	}
	if over >= interval {
		return nextTime(t.ID, now.Add(-interval/2), interval)
	}
	return now.Add(time.Duration(xxhash.Sum64String(t.ID) % uint64(over)))
}

// nextTime is when a target is asked that was asked at a time: each has its place within the interval by its ID, so that
// they are spread, and stay where they are. It is at least half an interval later.
func nextTime(id string, asked time.Time, interval time.Duration) time.Time {
	least := asked.Add(interval / 2).UnixNano()
	place := int64(xxhash.Sum64String(id) % uint64(interval))
	behind := (least - place) % int64(interval)
	if behind < 0 {
		behind += int64(interval)
	}
	return time.Unix(0, least+int64(interval)-behind)
}

// queue has targets by the time at which they are due.
type queue []*entry

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	e := x.(*entry)
	e.index = len(*q)
	*q = append(*q, e)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	e.index = -1
	return e
}

// queues are those of the targets that were chosen by people, which go first, and by chance.
type queues struct{ chosen, sampled queue }

func (q *queues) of(t Target) *queue {
	if t.Sampled {
		return &q.sampled
	}
	return &q.chosen
}

func (q *queues) add(e *entry) { heap.Push(q.of(e.target), e) }

func (q *queues) remove(e *entry) {
	if e.index >= 0 {
		heap.Remove(q.of(e.target), e.index)
	}
}

// due takes out the target that is to be asked now; nil and how long to wait if there is none.
func (q *queues) due(now time.Time) (*entry, time.Duration) {
	wait := time.Hour
	for _, one := range []*queue{&q.chosen, &q.sampled} {
		if one.Len() == 0 {
			continue
		}
		if until := (*one)[0].due.Sub(now); until > 0 {
			wait = min(wait, until)
			continue
		}
		return heap.Pop(one).(*entry), 0
	}
	return nil, wait
}

// overdue is for how long the first target has been due.
func (q *queues) overdue(now time.Time) (longest time.Duration) {
	for _, one := range []queue{q.chosen, q.sampled} {
		if len(one) > 0 {
			longest = max(longest, now.Sub(one[0].due))
		}
	}
	return longest
}
