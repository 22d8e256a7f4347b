package traffic

import "time"

// span is the time that a report is about, as parts of steps since 1970.
type span struct{ begin, end float64 }

// spanOf returns the span of an interval that ends at a moment, which is given as the time since
// 1970.
func spanOf(end, interval time.Duration) span {
	return span{begin: float64(end-interval) / float64(Step), end: float64(end) / float64(Step)}
}

// first and last are the steps in which it begins and ends.
func (s span) first() int64 { return int64(s.begin) }
func (s span) last() int64  { return int64(s.end) }

// each divides what was counted over the steps of the span, as if it had come evenly: so what
// an Envoy counted while it could not report makes no peak. The parts add up to the whole. Only
// the newest steps are told of, at most so many: a window keeps no others.
func (s span) each(t tally, newest int64, f func(step int64, part tally)) {
	first, last := s.first(), s.last()
	if t == (tally{}) {
		return
	}
	if first == last {
		f(last, t)
		return
	}
	before := func(step int64) tally {
		if step == s.first() {
			return tally{}
		}
		share := (float64(step) - s.begin) / (s.end - s.begin)
		return tally{uint32(share*float64(t.requests) + 0.5), uint32(share*float64(t.errors) + 0.5)}
	}
	first = max(first, last-newest+1)
	done := before(first)
	for step := first; step <= last; step++ {
		until := t
		if step < last {
			until = before(step + 1)
		}
		part := tally{until.requests - done.requests, until.errors - done.errors}
		done = until
		if part != (tally{}) {
			f(step, part)
		}
	}
}
