package traffic

import "time"

const (
	// followSeconds is how far back a concurrency goes, and followFor how long after somebody asked
	// for it last it is followed.
	followSeconds, followFor = 120, 2 * time.Minute
	// maxFollowed is how many clusters of a fleet are followed at a time: half a kilobyte each.
	maxFollowed = 20_000
)

// concurrency is what was in progress in each of the last seconds, in requests times seconds.
type concurrency struct {
	from, asked, until time.Time
	area               [followSeconds]float32
}

// Concurrency returns how many requests a cluster had in progress on average, over a time that is
// at most two minutes, or since somebody first asked if that is less. It is not known at first: so
// that it will be, it is followed from then on, until nobody asks any more. Between two reports of
// an Envoy, what the first told counts.
func (l *Loads) Concurrency(fleetName, name string, over time.Duration) (average float64, known bool) {
	l.locked(fleetName, func(f *fleet, now time.Time) {
		c := f.clusters[name]
		if c == nil {
			return
		}
		if c.followed == nil {
			if len(f.followed) >= maxFollowed {
				return
			}
			f.followed[c] = struct{}{}
			c.followed = &concurrency{from: now, until: now}
		}
		c.followed.asked = now
		c.followed.advance(f.began, now, c.inProgress)
		known = !f.noStreams && f.reportedUntil.After(c.followed.from)
		average = c.followed.average(f.began, now, over)
	})
	return average, known
}

// advance notes that so much was in progress since it was noted last.
func (a *concurrency) advance(began, now time.Time, inProgress uint64) {
	if a == nil || !now.After(a.until) {
		return
	}
	first, last := a.until.Sub(began), now.Sub(began)
	a.until = now
	first = max(first, last.Truncate(time.Second)-(followSeconds-1)*time.Second)
	for first < last {
		second := first.Truncate(time.Second)
		end := min(second+time.Second, last)
		slot := &a.area[second/time.Second%followSeconds]
		if first == second {
			*slot = 0
		}
		*slot += float32(inProgress) * float32((end - first).Seconds())
		first = end
	}
}

// average returns that of the last whole seconds, and of the present one.
func (a *concurrency) average(began, now time.Time, over time.Duration) float64 {
	seconds := min(max(over/time.Second, 1), followSeconds)
	last := now.Sub(began) / time.Second
	begin := max((last-seconds+1)*time.Second, a.from.Sub(began))
	if now.Sub(began) <= begin {
		return 0
	}
	sum := float32(0)
	for second := begin / time.Second; second*time.Second < now.Sub(began); second++ {
		sum += a.area[second%followSeconds]
	}
	return float64(sum) / (now.Sub(began) - begin).Seconds()
}

// forgetFollowed stops following the clusters for which nobody has asked for a while.
func (f *fleet) forgetFollowed(now time.Time) {
	for c := range f.followed {
		if now.Sub(c.followed.asked) > followFor {
			c.followed = nil
			delete(f.followed, c)
		}
	}
}
