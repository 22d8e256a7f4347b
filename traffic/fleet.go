package traffic

import (
	"math"
	"slices"
	"sync"
	"time"
)

const (
	// maxClusters is how many clusters of a fleet are kept, and maxReporters how many of its
	// Envoys. More are not.
	maxClusters, maxReporters = 100_000, 10_000
	// forgetCluster is how many steps after the last report of it a cluster is forgotten: it has
	// no rates then.
	forgetCluster = stepsInTen + kept
	// forgetReporter is how long after its last report an Envoy is told of still.
	forgetReporter = time.Hour
	// goneAfter is how long after its last report an Envoy's requests count as in progress: longer
	// than the longest interval, and the 5 s after which an Envoy opens another stream.
	goneAfter = 45 * time.Second
)

// fleet is what the Envoys of a fleet report.
type fleet struct {
	name  string
	known func(fleet, cluster string) bool
	began time.Time // as that of Loads

	mu       sync.Mutex
	clusters map[string]*cluster
	envoys   map[string]*envoy // by node id
	history  history
	// from is when Envoys began to count, in steps; 0 if they have not yet. Covered is up to when
	// they have.
	from, covered float64
	// requests and errors are all that were ever reported, and inProgress what is open now.
	requests, errors, inProgress uint64
	expired                      time.Time // when expire has looked last
	swept                        int64     // the step in which forgetClusters has
	watches                      watches
	opens                        opens
	// pace is how often Envoys are to report at least; 0 is as usual.
	pace time.Duration

	// knownSince and knownUntil are as in Use, and reportedUntil up to when all have reported, unless
	// no Envoy does.
	knownSince, knownUntil, reportedUntil time.Time
	noStreams                             bool
	// indexes are numbers for clusters, of which some are free. Reporting is the set of those in
	// the report that is being read.
	indexes   uint32
	free      []uint32
	reporting bitset
	// forgotten is the newest time at which one of the clusters that were forgotten was used, or
	// since when that is known, as in cluster.
	forgotten time.Duration
	// followed are the clusters whose concurrency somebody asks for.
	followed map[*cluster]struct{}
}

// cluster is the load of one cluster, from all Envoys.
type cluster struct {
	window
	inProgress uint64
	// requests and errors are all that were reported since it is known.
	requests, errors uint64
	// seen is the step of the last report.
	seen int64
	// since is from when on it is known how it was used, and used when it was last; see Use. They
	// count from the time that fleet.began is.
	since, used time.Duration
	followed    *concurrency // if somebody asks for it
	index       uint32
	// hidden is how many requests were in progress when Envoys were sent the cluster in another version,
	// and hiddenAt when that was; see Replaced.
	hidden   uint32
	hiddenAt time.Duration
}

// envoy is what one Envoy reported of all its clusters.
type envoy struct {
	window
	from        float64
	since, last time.Time
	// streams are those on which it reports, and those that ended a moment ago. There is more than one if
	// Envoys have the same node id.
	streams []*reporter
}

// reporter is a stream on which an Envoy reports.
type reporter struct {
	envoy  *envoy
	last   time.Time // of the last report
	closed bool
	// endpointsFrom is since when the Envoy is asked to report endpoints; zero if it is not.
	endpointsFrom time.Time
	// open is what is in progress, by cluster, and by endpoint of those that are watched.
	open          []openRequests
	openEndpoints []openEndpoint
	openAt        []openAt
	inProgress    uint64
	// reportedAt is when the last report came, and before when the one before did; reported are the
	// indexes of the clusters in the last.
	reportedAt, before time.Time
	reported           bitset
	resumed            bool // what is here is of an earlier stream
}

type openRequests struct {
	cluster *cluster
	n       uint32
}

func newFleet(name string, known func(fleet, cluster string) bool, began time.Time) *fleet {
	return &fleet{name: name, known: known, began: began, knownSince: began, noStreams: true, clusters: make(map[string]*cluster), envoys: make(map[string]*envoy), watches: newWatches(), opens: make(opens), followed: make(map[*cluster]struct{})}
}

// join begins a stream of an Envoy. It is nil if there are too many.
func (f *fleet) join(id string, now time.Time) *reporter {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.envoys[id]
	if e == nil {
		if len(f.envoys) >= maxReporters && !f.forgetReporters(now, 0) {
			return nil
		}
		e = new(envoy)
		f.envoys[id] = e
	}
	if now.Sub(e.last) > goneAfter {
		e.from, e.window = 0, window{}
	}
	e.since, e.last = now, now
	// What the Envoy has open it says anew. A stream before may not be known to be broken.
	r := &reporter{envoy: e, last: now}
	for _, before := range e.streams {
		f.dropOpen(before, now)
		if before.closed {
			r.take(before)
		}
	}
	e.streams = slices.DeleteFunc(e.streams, func(r *reporter) bool { return r.closed })
	e.streams = append(e.streams, r)
	f.noteKnown(now, false)
	return r
}

// leave ends a stream. What is in progress stays for a while: the Envoy likely comes back.
func (f *fleet) leave(r *reporter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.closed = true
}

// report takes one report of a stream, and returns in how many steps of clusters it counts. Now is
// the time since 1970.
func (f *fleet) report(r *reporter, raw []byte, at time.Time, now time.Duration) (steps int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire(at)
	f.forgetClusters(int64(now / Step))
	r.last, r.envoy.last = at, at
	f.dropOpen(r, at)
	var longest time.Duration
	var sum tally
	err = eachCluster(raw, func(c *clusterReport) {
		if n := f.count(r, c, at, now); n > 0 {
			longest = max(longest, c.interval)
			steps += n
			sum.add(c.tally)
		}
	})
	f.noteReport(r, at)
	// An Envoy counts all clusters over the same interval, but new ones.
	counted := spanOf(now, longest)
	counted.each(sum, historySteps+kept, func(step int64, part tally) {
		r.envoy.add(step, part)
		if p := f.history.at(step); p != nil {
			p.requests += uint64(part.requests)
			p.errors += uint64(part.errors)
		}
	})
	if longest > 0 {
		f.cover(r.envoy, counted)
	}
	return steps, err
}

// count adds what is reported of a cluster, and returns in how many steps; 0 if it does not count.
func (f *fleet) count(r *reporter, c *clusterReport, at time.Time, now time.Duration) (steps int) {
	to := f.cluster(c.name)
	if to == nil {
		return 0
	}
	steps = 1
	to.seen = int64(now / Step)
	f.noteUse(r, to, c, at)
	if c.inProgress > 0 {
		to.followed.advance(f.began, at, to.inProgress)
		to.inProgress += uint64(c.inProgress)
		r.inProgress += uint64(c.inProgress)
		f.inProgress += uint64(c.inProgress)
		r.open = append(r.open, openRequests{to, c.inProgress})
	}
	if w := f.watches.of[string(c.name)]; w != nil {
		steps += w.count(r, c, now)
	}
	if o := f.opens[string(c.name)]; o != nil {
		steps += o.count(r, c)
	}
	if c.tally == (tally{}) {
		return steps
	}
	f.requests += uint64(c.requests)
	f.errors += uint64(c.errors)
	to.requests += uint64(c.requests)
	to.errors += uint64(c.errors)
	spanOf(now, c.interval).each(c.tally, newestSteps, func(step int64, part tally) {
		to.add(step, part)
		steps++
	})
	return steps
}

// cluster returns that of a name; nil if it is not to be counted.
func (f *fleet) cluster(name []byte) *cluster {
	if c := f.clusters[string(name)]; c != nil {
		return c
	}
	if len(name) == 0 || len(name) > maxName || len(f.clusters) >= maxClusters || !f.known(f.name, string(name)) {
		return nil
	}
	c := &cluster{index: f.indexes}
	if n := len(f.free); n > 0 {
		c.index, f.free = f.free[n-1], f.free[:n-1]
	} else {
		f.indexes++
	}
	f.clusters[string(name)] = c
	return c
}

// forgetCluster forgets one that no Envoy has. Its index is free.
func (f *fleet) forgetCluster(name string, c *cluster) {
	delete(f.clusters, name)
	f.free = append(f.free, c.index)
	f.forgotten = max(f.forgotten, c.since, c.used)
	for _, e := range f.envoys {
		for _, r := range e.streams {
			r.reported.remove(c.index)
		}
	}
	delete(f.followed, c)
}

// cover notes that an Envoy has reported of a span. A step of which little is missing counts.
func (f *fleet) cover(e *envoy, s span) {
	first := int64(math.Ceil(s.begin - 0.2))
	if f.from = min(f.from, s.begin); f.from == 0 || s.begin > f.covered+1 {
		f.from = s.begin // nothing was reported for a while
	}
	f.covered = max(f.covered, s.end)
	if e.from == 0 {
		e.from = s.begin
	}
	for step := first; step <= s.last(); step++ {
		if p := f.history.at(step); p != nil {
			p.known = true
		}
	}
}

// settled returns the newest step that all Envoys have reported. The next may have come of some.
func (f *fleet) settled(now time.Time, step func(time.Time) int64) int64 {
	last := step(now) - 1
	end := last
	for _, e := range f.envoys {
		for _, r := range e.streams {
			if now.Sub(r.last) <= goneAfter {
				end = min(end, step(r.last)-1)
			}
		}
	}
	return max(end, last-maxLag)
}

// dropOpen takes away what a stream has said to be in progress.
func (f *fleet) dropOpen(r *reporter, now time.Time) {
	for _, o := range r.open {
		o.cluster.followed.advance(f.began, now, o.cluster.inProgress)
		o.cluster.inProgress -= uint64(o.n)
	}
	for _, o := range r.openEndpoints {
		o.endpoint.inProgress -= uint64(o.n)
	}
	for i := range r.openAt {
		r.openAt[i].take()
	}
	f.inProgress -= r.inProgress
	r.open, r.openEndpoints, r.openAt, r.inProgress = r.open[:0], r.openEndpoints[:0], r.openAt[:0], 0
}

// expire forgets what Envoys have in progress that are gone, and those that are gone for long.
func (f *fleet) expire(now time.Time) {
	if now.Sub(f.expired) < time.Second {
		return
	}
	f.expired = now
	gone := false
	for _, e := range f.envoys {
		e.streams = slices.DeleteFunc(e.streams, func(r *reporter) bool {
			if now.Sub(r.last) <= goneAfter {
				return false
			}
			f.dropOpen(r, now)
			gone = gone || r.closed
			return r.closed
		})
	}
	f.noteKnown(now, gone)
	f.forgetFollowed(now)
	f.watches.expire(now)
	f.opens.expire(now)
	f.forgetReporters(now, forgetReporter)
}

// forgetReporters forgets Envoys that have no stream and reported nothing for so long. It
// reports whether there were any.
func (f *fleet) forgetReporters(now time.Time, after time.Duration) bool {
	before := len(f.envoys)
	for id, e := range f.envoys {
		if len(e.streams) == 0 && now.Sub(e.last) > after {
			delete(f.envoys, id)
		}
	}
	return len(f.envoys) < before
}

// forgetClusters forgets, once a minute, the clusters that no Envoy has any more.
func (f *fleet) forgetClusters(step int64) {
	if step-f.swept < stepsInMinute {
		return
	}
	f.swept = step
	for name, c := range f.clusters {
		if c.inProgress == 0 && step-c.seen > forgetCluster {
			f.forgetCluster(name, c)
		}
	}
	f.watches.forgetEndpoints(step)
}
