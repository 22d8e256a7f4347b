package history

import (
	"math"
	"time"
)

const (
	// Step is the time of one point of a Series, and steps how many there are: an hour.
	Step  = 10 * time.Second
	steps = 360
	// A bucket of times ends at a millisecond times a power of 2; there are bucketsPerDouble
	// of them until the time has doubled.
	bucketsPerDouble = 4
	buckets          = 80
)

// Series is the last hour, the oldest point first; its last point is not complete.
type Series struct {
	Start time.Time
	// Changes counts what was published in each step.
	Changes []int
	// P50 and P99 are the seconds until all Envoys had half of the changes, and nearly all of
	// them, that came to all Envoys in the step; nil where none did. They are up to a fifth too
	// high.
	P50, P99 []*float64
}

// Summary is the last hour in one.
type Summary struct {
	// Changes counts what was published.
	Changes int `json:"changes"`
	// P50 and P99 are as those of Series.
	P50 *float64 `json:"p50,omitempty"`
	P99 *float64 `json:"p99,omitempty"`
}

// series counts in a ring.
type series struct{ ring [steps]step }

type step struct {
	number  int64 // since 1970
	changes int
	times   [buckets]uint32
}

func (s *series) at(now time.Time) *step {
	number := now.Unix() / int64(Step/time.Second)
	p := &s.ring[int(((number%steps)+steps)%steps)]
	if p.number != number {
		*p = step{number: number}
	}
	return p
}

func (s *series) change(now time.Time) { s.at(now).changes++ }

func (s *series) converged(now time.Time, took time.Duration) { s.at(now).times[bucketOf(took)]++ }

func bucketOf(took time.Duration) int {
	ms := float64(took) / float64(time.Millisecond)
	if ms <= 1 {
		return 0
	}
	return min(buckets-1, int(math.Ceil(bucketsPerDouble*math.Log2(ms))))
}

// quantile returns the end of the bucket that has it, in seconds; nil of nothing.
func quantile(times *[buckets]uint32, q float64) *float64 {
	total := uint64(0)
	for _, n := range times {
		total += uint64(n)
	}
	if total == 0 {
		return nil
	}
	want, seen := uint64(math.Ceil(q*float64(total))), uint64(0)
	for i, n := range times {
		if seen += uint64(n); seen >= want {
			seconds := math.Exp2(float64(i)/bucketsPerDouble) / 1000
			return &seconds
		}
	}
	return nil
}

// each calls f with each step of the last hour, the oldest first; nil where nothing happened.
func (s *series) each(now time.Time, f func(i int, p *step)) {
	last := now.Unix() / int64(Step/time.Second)
	for i := range steps {
		number := last - steps + 1 + int64(i)
		if p := &s.ring[int(((number%steps)+steps)%steps)]; p.number == number {
			f(i, p)
		} else {
			f(i, nil)
		}
	}
}

// Series returns the last hour.
func (h *History) Series() Series {
	h.mu.RLock()
	defer h.mu.RUnlock()
	now := h.now()
	s := Series{
		Start:   now.Truncate(Step).Add(-(steps - 1) * Step),
		Changes: make([]int, steps), P50: make([]*float64, steps), P99: make([]*float64, steps),
	}
	h.series.each(now, func(i int, p *step) {
		if p != nil {
			s.Changes[i], s.P50[i], s.P99[i] = p.changes, quantile(&p.times, 0.5), quantile(&p.times, 0.99)
		}
	})
	return s
}

// LastHour sums up the last hour.
func (h *History) LastHour() (sum Summary) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	var times [buckets]uint32
	h.series.each(h.now(), func(_ int, p *step) {
		if p == nil {
			return
		}
		sum.Changes += p.changes
		for i, n := range p.times {
			times[i] += n
		}
	})
	sum.P50, sum.P99 = quantile(&times, 0.5), quantile(&times, 0.99)
	return sum
}
