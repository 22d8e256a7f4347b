package autoscale

import (
	"math"
	"time"
)

const (
	seconds = int64(StableWindow / time.Second)
	// parts is in how many parts the time is cut for which fewer instances must have been enough.
	// One more has begun.
	parts = 30 + 1
)

// samples are the loads of the last minute: the newest of each second that has one.
type samples struct {
	// newest is the second of the last sample.
	newest int64
	// has has a bit for each second that has a sample.
	has  uint64
	load [seconds]float32
}

// add takes a sample.
func (s *samples) add(at time.Duration, load float64) {
	second := int64(at / time.Second)
	if second-s.newest >= seconds {
		s.newest, s.has = second, 0
	}
	for s.newest < second {
		s.newest++
		s.has &^= 1 << (s.newest % seconds)
	}
	i := second % seconds
	s.has |= 1 << i
	s.load[i] = float32(min(max(load, 0), math.MaxInt32))
}

// average is the load over a window. It is false if half of the window is not known.
func (s *samples) average(at, window time.Duration) (float64, bool) {
	span := int64(window / time.Second)
	to, n, sum := int64(at/time.Second), int64(0), 0.0
	for second := max(to-span, s.newest-seconds, -1) + 1; second <= min(to, s.newest); second++ {
		if i := second % seconds; s.has&(1<<i) != 0 {
			sum += float64(s.load[i])
			n++
		}
	}
	if n == 0 || 2*n < span {
		return 0, false
	}
	return sum / float64(n), true
}

// needs is how many instances have been needed, at the most, in each part of the time for which fewer
// must have been enough.
type needs struct {
	width  time.Duration
	newest int64
	count  [parts]int32
}

// setLength says how long that time is, and reports whether it was another before: then all is forgotten.
func (n *needs) setLength(length time.Duration) bool {
	width := max(length/(parts-1), 1)
	if n.width == width {
		return false
	}
	*n = needs{width: width}
	return true
}

// add notes how many are needed.
func (n *needs) add(at time.Duration, needed int) {
	part := int64(at / n.width)
	if part-n.newest >= parts {
		n.newest, n.count = part, [parts]int32{}
	}
	for n.newest < part {
		n.newest++
		n.count[n.newest%parts] = 0
	}
	i := part % parts
	n.count[i] = max(n.count[i], int32(min(needed, math.MaxInt32)))
}

// most is how many were needed at the most. It is called after add, with the same time.
func (n *needs) most() (most int) {
	for _, c := range n.count {
		most = max(most, int(c))
	}
	return most
}

// since is for how long fewer than some number have been needed.
func (n *needs) since(at time.Duration, number int) time.Duration {
	for part := n.newest; part > max(n.newest-parts, -1); part-- {
		if int(n.count[part%parts]) >= number {
			return max(0, at-time.Duration(part+1)*n.width)
		}
	}
	return (parts - 1) * n.width
}
