package traffic

import (
	"math"
	"time"
)

// Use is how a cluster of a fleet was used, as far as the Envoys of the fleet have told.
type Use struct {
	// InProgress is how many requests, WebSockets and TCP connections were open when each Envoy
	// reported last, and how many may be since of which Envoys tell nothing; see Replaced.
	InProgress uint64
	// Last is the newest moment at which a request may have come or something was in progress:
	// when the last report of one came. It is zero if none was reported.
	Last time.Time
	// Since is from when on all is known: no Envoy came, left, or began to count later than that.
	Since time.Time
	// Until is up to when all is known: what was in progress then is in InProgress, if it still
	// is. It is zero if an Envoy has not reported often enough.
	Until time.Time
}

// Idle returns since when nobody has used the cluster, as far as that is known at Until.
func (u Use) Idle() time.Time {
	if u.InProgress > 0 {
		return u.Until
	}
	if u.Last.After(u.Since) {
		return u.Last
	}
	return u.Since
}

// SilentBefore is the minor version of Envoy 1 before which Envoys tell nothing of a cluster
// without new requests, though connections to it are open. They cannot prove that it is idle.
const SilentBefore = 39

// continues is how much later than its last report an Envoy that comes back may seem to have begun to
// count: reports take a moment to arrive. If it is more, the Envoy has reported to another Relay.
const continues = time.Second

// Use returns how a cluster was used. A cluster that no Envoy reports was not. It tells nothing of
// Envoys that do not report: see Silent.
func (l *Loads) Use(fleetName, name string) (u Use) {
	l.locked(fleetName, func(f *fleet, now time.Time) {
		u.Since, u.Until = f.knownSince, f.knownUntil
		if f.noStreams {
			u.Until = now
		}
		c := f.clusters[name]
		if c == nil {
			c = &cluster{since: f.forgotten}
		}
		u.InProgress = c.inProgress
		u.InProgress += uint64(c.hiddenNow(now.Sub(f.began)))
		if since := f.began.Add(c.since); since.After(u.Since) {
			u.Since = since
		}
		if c.used > 0 {
			u.Last = f.began.Add(c.used)
		}
	})
	return u
}

// hiddenFor is how long requests count as in progress that went out of sight.
const hiddenFor = 24 * time.Hour

// Replaced says that an Envoy is about to get a cluster in another version. What it has in progress
// there goes on, but is in no report from then on: so it counts as in progress for a day, or one request
// does if nothing was known of the Envoy yet.
func (l *Loads) Replaced(fleetName, nodeID, name string) {
	l.locked(fleetName, func(f *fleet, now time.Time) {
		c := f.cluster([]byte(name))
		if c == nil {
			return
		}
		c.seen = max(c.seen, l.step(now))
		hidden := uint32(min(c.inProgress, math.MaxUint32))
		if hidden == 0 && !f.envoys[nodeID].tells(now) {
			hidden = 1
		}
		if hidden == 0 {
			c.since = max(c.since, now.Sub(f.began))
			return
		}
		c.hidden, c.hiddenAt = max(c.hiddenNow(now.Sub(f.began)), hidden), now.Sub(f.began)
	})
}

func (c *cluster) hiddenNow(now time.Duration) uint32 {
	if now-c.hiddenAt >= hiddenFor {
		return 0
	}
	return c.hidden
}

// Silent returns those of some Envoys of a fleet that do not report, or have not done so often
// enough: nobody knows what they have in progress.
func (l *Loads) Silent(fleetName string, nodeIDs []string) (silent []string) {
	l.locked(fleetName, func(f *fleet, now time.Time) {
		for _, id := range nodeIDs {
			if !f.envoys[id].tells(now) {
				silent = append(silent, id)
			}
		}
	})
	return silent
}

// tells reports whether all is known of an Envoy but the last moments.
func (e *envoy) tells(now time.Time) bool {
	if e == nil {
		return false
	}
	for _, r := range e.streams {
		if !r.before.IsZero() && now.Sub(r.last) <= goneAfter {
			return true
		}
	}
	return false
}

// noteUse notes what a report of a cluster says of its use, and from when on. What an Envoy had
// before it began to count is lost. It begins with the first report after it got the cluster, and
// the next has the cluster.
func (f *fleet) noteUse(r *reporter, to *cluster, c *clusterReport, at time.Time) {
	begin := at.Add(-c.interval)
	if !r.reported.has(to.index) || r.resumed && begin.Sub(r.reportedAt) > continues {
		to.since = max(to.since, begin.Sub(f.began))
	}
	f.reporting.add(to.index)
	if c.tally != (tally{}) || c.inProgress > 0 {
		to.used = at.Sub(f.began)
	}
}

// noteReport notes that a report was read. The first one of an Envoy tells only that the Envoy begins
// to count.
func (f *fleet) noteReport(r *reporter, at time.Time) {
	if r.reportedAt.IsZero() {
		f.knownSince = at
	}
	r.before, r.reportedAt, r.resumed = r.reportedAt, at, false
	r.reported, f.reporting = f.reporting, r.reported
	clear(f.reporting)
}

// take goes on where a stream of the same Envoy ended a moment ago.
func (r *reporter) take(before *reporter) {
	if before.reportedAt.After(r.reportedAt) {
		r.before, r.reportedAt, r.reported, r.resumed = before.before, before.reportedAt, before.reported, true
	}
}

// noteKnown notes up to when all is known. Of what an Envoy had that is gone, the end is not.
func (f *fleet) noteKnown(now time.Time, gone bool) {
	if gone {
		f.knownSince = now
	}
	f.noStreams = true
	for _, e := range f.envoys {
		for _, r := range e.streams {
			if f.noStreams || r.before.Before(f.knownUntil) {
				f.knownUntil = r.before
			}
			if f.noStreams || r.reportedAt.Before(f.reportedUntil) {
				f.reportedUntil = r.reportedAt
			}
			f.noStreams = false
		}
	}
}

// bitset is a set of small numbers.
type bitset []uint64

func (b bitset) has(i uint32) bool {
	return int(i/64) < len(b) && b[i/64]&(1<<(i%64)) != 0
}

func (b *bitset) add(i uint32) {
	for int(i/64) >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[i/64] |= 1 << (i % 64)
}

func (b bitset) remove(i uint32) {
	if int(i/64) < len(b) {
		b[i/64] &^= 1 << (i % 64)
	}
}
