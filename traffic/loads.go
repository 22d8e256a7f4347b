package traffic

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Loads keeps the load that Envoys report, in a fixed size: of fleets, clusters, Envoys, and of
// the endpoints of those clusters at which somebody looks.
type Loads struct {
	fleets map[string]*fleet // never changed
	// began is the time with which steps are counted. Later times are counted from it, so that a
	// clock that is set makes no jump.
	began time.Time
}

// Reporter is an Envoy that reports its load, or did so in the last hour.
type Reporter struct {
	Fleet, NodeID string
	// Since is when it began to, on its present stream, and Last when it did last. One that has
	// lost its stream is given back after a few seconds.
	Since, Last time.Time
}

// Reports reports whether the Envoy still reports, as far as that is known at a moment.
func (r Reporter) Reports(now time.Time) bool { return now.Sub(r.Last) <= goneAfter }

// NewLoads returns a Loads for fleets. Known says whether a fleet has a cluster: others, such as
// those that an Envoy has by itself, do not count. It is asked when Envoys report a new one.
func NewLoads(fleets []string, known func(fleet, cluster string) bool) *Loads {
	l := &Loads{fleets: make(map[string]*fleet), began: time.Now()}
	for _, name := range fleets {
		l.fleets[name] = newFleet(name, known, l.began)
	}
	return l
}

// sinceEpoch returns a time as one since 1970.
func (l *Loads) sinceEpoch(t time.Time) time.Duration {
	return time.Duration(l.began.UnixNano()) + t.Sub(l.began)
}

// step returns the step of a time.
func (l *Loads) step(t time.Time) int64 { return int64(l.sinceEpoch(t) / Step) }

// read calls f for a fleet, if there is one of the name, with the newest step that is known.
func (l *Loads) read(name string, f func(fleet *fleet, end int64)) {
	l.locked(name, func(of *fleet, now time.Time) { f(of, of.settled(now, l.step)) })
}

// locked calls f for a fleet, if there is one of the name. Unlike read, it looks at no Envoy.
func (l *Loads) locked(name string, f func(fleet *fleet, now time.Time)) {
	of := l.fleets[name]
	if of == nil {
		return
	}
	now := time.Now()
	of.mu.Lock()
	defer of.mu.Unlock()
	of.expire(now)
	f(of, now)
}

// Cluster returns the load of a cluster of a fleet. It is false if no Envoy reports the cluster.
func (l *Loads) Cluster(fleetName, name string) (load Load, ok bool) {
	l.read(fleetName, func(f *fleet, end int64) {
		c := f.clusters[name]
		if ok = c != nil; ok {
			load = c.loadOf(f, end)
		}
	})
	return load, ok
}

func (c *cluster) loadOf(f *fleet, end int64) Load {
	load := c.load(f.from, end)
	load.InProgress = c.inProgress
	return load
}

// Fleet returns the load of all clusters of a fleet.
func (l *Loads) Fleet(name string) (load Load) {
	l.read(name, func(f *fleet, end int64) {
		load = f.history.load(f.from, end)
		load.InProgress = f.inProgress
	})
	return load
}

// Total returns the load of all fleets.
func (l *Loads) Total() (load Load) {
	for name := range l.fleets {
		load.add(l.Fleet(name))
	}
	return load
}

// Each calls f for every cluster that Envoys report. F must not call l.
func (l *Loads) Each(f func(fleet, cluster string, load Load)) {
	for name := range l.fleets {
		l.read(name, func(of *fleet, end int64) {
			for cluster, c := range of.clusters {
				f(name, cluster, c.loadOf(of, end))
			}
		})
	}
}

// Watch has Envoys report the endpoints of a cluster, for half a minute. Endpoints returns what
// they report.
func (l *Loads) Watch(fleetName, cluster string) {
	l.read(fleetName, func(f *fleet, _ int64) {
		if f.clusters[cluster] != nil {
			now := time.Now()
			f.watches.watch(cluster, now, l.step(now))
		}
	})
}

// Endpoints returns the load of the endpoints of a cluster that have some, if somebody watches.
// The rates are those since the watch began, until that is a minute ago.
func (l *Loads) Endpoints(fleetName, cluster string) (loads map[netip.AddrPort]Load) {
	l.read(fleetName, func(f *fleet, end int64) {
		if w := f.watches.of[cluster]; w != nil {
			loads = w.loads(end)
		}
	})
	return loads
}

// Envoy returns the load of one Envoy. It is false if the Envoy reported nothing lately.
func (l *Loads) Envoy(fleetName, id string) (load Load, ok bool) {
	l.read(fleetName, func(f *fleet, end int64) {
		e := f.envoys[id]
		if ok = e != nil; ok {
			load = e.load(e.from, end)
			for _, r := range e.streams {
				load.InProgress += r.inProgress
			}
		}
	})
	return load, ok
}

// Reporters returns the Envoys that report, or did in the last hour, by fleet and node id.
func (l *Loads) Reporters() (all []Reporter) {
	for name := range l.fleets {
		l.read(name, func(f *fleet, _ int64) {
			for id, e := range f.envoys {
				all = append(all, Reporter{Fleet: name, NodeID: id, Since: e.since, Last: e.last})
			}
		})
	}
	slices.SortFunc(all, func(a, b Reporter) int {
		return cmp.Or(cmp.Compare(a.Fleet, b.Fleet), cmp.Compare(a.NodeID, b.NodeID))
	})
	return all
}

// Counters returns how many requests and errors the Envoys of a fleet have reported since Relay
// was started.
func (l *Loads) Counters(fleetName string) (requests, errors uint64) {
	l.read(fleetName, func(f *fleet, _ int64) { requests, errors = f.requests, f.errors })
	return requests, errors
}

// ClusterCounters returns how many requests and errors the Envoys of a fleet have reported of a cluster. They
// begin at 0 again if no Envoy has had the cluster for a while.
func (l *Loads) ClusterCounters(fleetName, cluster string) (requests, errors uint64) {
	l.locked(fleetName, func(f *fleet, _ time.Time) {
		if c := f.clusters[cluster]; c != nil {
			requests, errors = c.requests, c.errors
		}
	})
	return requests, errors
}

// Series returns how the load went in the last hour: that of a fleet, or of all if name is
// empty.
func (l *Loads) Series(name string) Series {
	end := l.step(time.Now()) - 1
	var all []*history
	for _, f := range l.fleets {
		if name != "" && f.name != name {
			continue
		}
		l.read(f.name, func(f *fleet, settled int64) {
			end = min(end, settled)
			h := f.history
			all = append(all, &h)
		})
	}
	s := Series{Start: time.Unix(0, 0).Add(time.Duration(end-historySteps+1) * Step)}
	s.Requests, s.Errors = sum(all, end)
	return s
}
