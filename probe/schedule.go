package probe

import (
	"container/heap"
	"time"

	"github.com/cespare/xxhash/v2"
)

// soon is the time over which the first probes of new targets are spread.
const soon = 3 * time.Second

// pace is how often targets are asked, so that all together keep to the rate.
type pace struct{ chosen, sampled time.Duration }

// paceFor stretches the intervals where there are more targets than the rate has room for: first of those that were chosen
// by chance, which keep a tenth of the rate at least.
func paceFor(s Settings, chosen, sampled int) pace {
	rate := float64(s.Rate) / 60 // a second
	p := pace{chosen: s.Interval, sampled: s.Sample.Interval}
	room := rate
	if sampled > 0 {
		room -= min(rate/10, float64(sampled)/p.sampled.Seconds())
	}
	p.chosen = max(p.chosen, seconds(float64(chosen)/room))
	left := rate - float64(chosen)/p.chosen.Seconds()
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
	return p.chosen
}

// firstTime is when a new target is asked first.
func firstTime(id string, now time.Time) time.Time {
	return now.Add(time.Duration(xxhash.Sum64String(id) % uint64(soon)))
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
