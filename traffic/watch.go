package traffic

import (
	"net/netip"
	"time"
)

const (
	// watchFor is how long after the last look at a cluster its endpoints are followed.
	watchFor = 30 * time.Second
	// maxWatched is how many clusters of a fleet are followed at a time, and maxEndpoints how
	// many endpoints of each.
	maxWatched, maxEndpoints = 200, 2000
)

// watches are the clusters of a fleet at whose endpoints somebody looks. Envoys report endpoints
// of all clusters, or of none: so they do only while there is one.
type watches struct {
	of map[string]*watch
	// changed is closed and replaced when the first comes, or the pace is another.
	changed chan struct{}
}

// watch is the load of a cluster's endpoints.
type watch struct {
	until     time.Time
	from      int64     // the step in which the watch begins
	began     time.Time // the same, more exactly
	endpoints map[netip.AddrPort]*endpoint
	// counted is of what time endpoints were reported.
	counted span
}

type endpoint struct {
	window
	inProgress uint64
	// requests and errors are all since the watch began.
	requests, errors uint64
	seen             int64
}

type openEndpoint struct {
	endpoint *endpoint
	n        uint32
}

func newWatches() watches { return watches{of: make(map[string]*watch), changed: make(chan struct{})} }

// watch follows the endpoints of a cluster for a while.
func (w *watches) watch(cluster string, now time.Time, step int64) {
	w.expire(now)
	one := w.of[cluster]
	if one == nil {
		if len(w.of) >= maxWatched {
			return
		}
		if len(w.of) == 0 {
			w.tell()
		}
		one = &watch{from: step, began: now, endpoints: make(map[netip.AddrPort]*endpoint)}
		w.of[cluster] = one
	}
	one.until = now.Add(watchFor)
}

// tell has streams look anew at what their Envoys are to report.
func (w *watches) tell() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// expire ends the watches at which nobody looks any more.
func (w *watches) expire(now time.Time) {
	for cluster, one := range w.of {
		if now.After(one.until) {
			delete(w.of, cluster)
		}
	}
}

// forgetEndpoints forgets those of which Envoys have told nothing for long.
func (w *watches) forgetEndpoints(step int64) {
	for _, one := range w.of {
		for address, e := range one.endpoints {
			if e.inProgress == 0 && step-e.seen > forgetCluster {
				delete(one.endpoints, address)
			}
		}
	}
}

// count adds what is reported of the endpoints, and returns in how many steps.
func (w *watch) count(r *reporter, c *clusterReport, now time.Duration) (steps int) {
	at := spanOf(now, c.interval)
	_ = c.eachEndpoint(func(address netip.AddrPort, of counts) { // the same bytes were read before
		steps++
		e := w.endpoints[address]
		if e == nil {
			if len(w.endpoints) >= maxEndpoints {
				return
			}
			e = new(endpoint)
			w.endpoints[address] = e
		}
		if w.counted == (span{}) {
			w.counted = at
		}
		w.counted.end = at.end
		e.seen = int64(now / Step)
		e.requests += uint64(of.requests)
		e.errors += uint64(of.errors)
		at.each(of.tally, newestSteps, func(step int64, part tally) {
			e.add(step, part)
			steps++
		})
		if of.inProgress > 0 {
			e.inProgress += uint64(of.inProgress)
			r.openEndpoints = append(r.openEndpoints, openEndpoint{e, of.inProgress})
		}
	})
	return steps
}

// loads returns the load of each endpoint. A watch that began less than a minute ago has rates
// since it began.
func (w *watch) loads(end int64) map[netip.AddrPort]Load {
	loads := make(map[netip.AddrPort]Load, len(w.endpoints))
	for address, e := range w.endpoints {
		l := e.load(float64(w.from), end)
		if end-w.from < stepsInMinute {
			seconds := max(w.counted.end-w.counted.begin, 0.1) * Step.Seconds()
			l.Requests, l.Errors = float64(e.requests)/seconds, float64(e.errors)/seconds
			l.Requests10m, l.Errors10m = l.Requests, l.Errors
		}
		l.InProgress = e.inProgress
		loads[address] = l
	}
	return loads
}
