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

	mu       sync.Mutex
	clusters map[string]*cluster
	envoys   map[string]*envoy // by node id
	history  history
	// from is when Envoys began to count, in steps; 0 if they have not yet.
	from float64
	// requests and errors are all that were ever reported, and inProgress what is open now.
	requests, errors, inProgress uint64
	expired                      time.Time // when expire has looked last
	swept                        int64     // the step in which forgetClusters has
	watches                      watches
}

// cluster is the load of one cluster, from all Envoys.
type cluster struct {
	window
	inProgress uint64
	// seen is the step of the last report.
	seen int64
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
	// open is what is in progress, by cluster, and by endpoint of those that are watched.
	open          []openRequests
	openEndpoints []openEndpoint
	inProgress    uint64
}

type openRequests struct {
	cluster *cluster
	n       uint32
}

func newFleet(name string, known func(fleet, cluster string) bool) *fleet {
	return &fleet{name: name, known: known, clusters: make(map[string]*cluster), envoys: make(map[string]*envoy), watches: newWatches()}
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
	for _, r := range e.streams {
		f.dropOpen(r)
	}
	e.streams = slices.DeleteFunc(e.streams, func(r *reporter) bool { return r.closed })
	r := &reporter{envoy: e, last: now}
	e.streams = append(e.streams, r)
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
	f.dropOpen(r)
	var longest time.Duration
	var sum tally
	err = eachCluster(raw, func(c *clusterReport) {
		if n := f.count(r, c, now); n > 0 {
			longest = max(longest, c.interval)
			steps += n
			sum.add(c.tally)
		}
	})
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
		f.covered(r.envoy, counted)
	}
	return steps, err
}

// count adds what is reported of a cluster, and returns in how many steps; 0 if it does not count.
func (f *fleet) count(r *reporter, c *clusterReport, now time.Duration) (steps int) {
	to := f.cluster(c.name)
	if to == nil {
		return 0
	}
	steps = 1
	to.seen = int64(now / Step)
	if c.inProgress > 0 {
		to.inProgress += uint64(c.inProgress)
		r.inProgress += uint64(c.inProgress)
		f.inProgress += uint64(c.inProgress)
		r.open = append(r.open, openRequests{to, c.inProgress})
	}
	if w := f.watches.of[string(c.name)]; w != nil {
		steps += w.count(r, c, now)
	}
	if c.tally == (tally{}) {
		return steps
	}
	f.requests += uint64(c.requests)
	f.errors += uint64(c.errors)
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
	c := new(cluster)
	f.clusters[string(name)] = c
	return c
}

// covered notes that an Envoy has reported of a span. A step of which little is missing counts.
func (f *fleet) covered(e *envoy, s span) {
	first := int64(math.Ceil(s.begin - 0.2))
	if f.from = min(f.from, s.begin); f.from == 0 || !f.history.get(first-1).known && !f.history.get(first).known {
		f.from = s.begin // nothing was reported for a while
	}
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
func (f *fleet) dropOpen(r *reporter) {
	for _, o := range r.open {
		o.cluster.inProgress -= uint64(o.n)
	}
	for _, o := range r.openEndpoints {
		o.endpoint.inProgress -= uint64(o.n)
	}
	f.inProgress -= r.inProgress
	r.open, r.openEndpoints, r.inProgress = r.open[:0], r.openEndpoints[:0], 0
}

// expire forgets what Envoys have in progress that are gone, and those that are gone for long.
func (f *fleet) expire(now time.Time) {
	if now.Sub(f.expired) < time.Second {
		return
	}
	f.expired = now
	for _, e := range f.envoys {
		e.streams = slices.DeleteFunc(e.streams, func(r *reporter) bool {
			if now.Sub(r.last) <= goneAfter {
				return false
			}
			f.dropOpen(r)
			return r.closed
		})
	}
	f.watches.expire(now)
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
			delete(f.clusters, name)
		}
	}
	f.watches.forgetEndpoints(step)
}
