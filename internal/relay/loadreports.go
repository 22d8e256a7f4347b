package relay

import (
	"net/netip"
	"sync"
	"time"

	"relay/admin"
	"relay/admin/api"
	"relay/collator"
	"relay/collator/routing"
	"relay/traffic"
)

// loadReports tells the admin endpoint of the load that Envoys report.
type loadReports struct {
	loads    *traffic.Loads
	collator *collator.Collator
	fleets   []string
	// all are the loads of apps and clusters, and reporters when each Envoy reported last. They
	// are looked at all together, and seldom.
	all       recently[*allLoads]
	reporters recently[map[[2]string]time.Time]

	mu        sync.Mutex
	cluster   string // whose instances were looked at last
	at        time.Time
	instances map[string]*api.Load
	known     bool
}

var _ admin.Load = (*loadReports)(nil)

// allLoads are by the name under which an app is routed, and by cluster.
type allLoads struct{ apps, clusters map[string]*api.Load }

// recently keeps a value for as long as people do not see the difference.
type recently[T any] struct {
	mu    sync.Mutex
	at    time.Time
	value T
}

// keptFor is how long.
const keptFor = time.Second

func (k *recently[T]) get(look func() T) T {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); now.Sub(k.at) >= keptFor {
		k.at, k.value = now, look()
	}
	return k.value
}

func loadOf(l traffic.Load) *api.Load {
	return &api.Load{Requests: l.Requests, Errors: l.Errors, Requests10m: l.Requests10m, Errors10m: l.Errors10m, InProgress: int(l.InProgress)}
}

func addLoad(sums map[string]*api.Load, name string, l traffic.Load) {
	one, sum := loadOf(l), sums[name]
	if sum == nil {
		sums[name] = one
		return
	}
	sum.Requests, sum.Errors = sum.Requests+one.Requests, sum.Errors+one.Errors
	sum.Requests10m, sum.Errors10m = sum.Requests10m+one.Requests10m, sum.Errors10m+one.Errors10m
	sum.InProgress += one.InProgress
}

func (r *loadReports) look() *allLoads {
	all := &allLoads{make(map[string]*api.Load), make(map[string]*api.Load)}
	r.loads.Each(func(_, cluster string, l traffic.Load) {
		id, _ := routing.SplitClusterName(cluster)
		addLoad(all.apps, id, l)
		addLoad(all.clusters, cluster, l)
	})
	return all
}

// TotalLoad is nil until an Envoy reports.
func (r *loadReports) TotalLoad() *api.Load {
	if len(r.reported()) == 0 {
		return nil
	}
	return loadOf(r.loads.Total())
}

// FleetLoad is nil until an Envoy of the fleet reports.
func (r *loadReports) FleetLoad(fleet string) *api.Load {
	for envoy := range r.reported() {
		if envoy[0] == fleet {
			return loadOf(r.loads.Fleet(fleet))
		}
	}
	return nil
}

// AppLoad is that of all ports of an app, or of the apps that are routed as one with it.
func (r *loadReports) AppLoad(app string) *api.Load {
	return r.all.get(r.look).apps[r.collator.RoutedID(app)]
}

// PortLoad is that of a cluster in all fleets.
func (r *loadReports) PortLoad(cluster string) *api.Load { return r.all.get(r.look).clusters[cluster] }

// InstanceLoad has Envoys report the instances of the cluster for a while. It is nil until they do.
func (r *loadReports) InstanceLoad(cluster, address string) *api.Load {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); r.cluster != cluster || now.Sub(r.at) >= keptFor {
		r.cluster, r.at, r.instances, r.known = cluster, now, make(map[string]*api.Load), false
		for _, fleet := range r.fleets {
			r.loads.Watch(fleet, cluster)
			for at, l := range r.loads.Endpoints(fleet, cluster) {
				addLoad(r.instances, netip.AddrPortFrom(at.Addr().Unmap(), at.Port()).String(), l)
			}
			if _, known := r.loads.Open(fleet, cluster); known {
				r.known = true
			}
		}
	}
	if l := r.instances[address]; l != nil || !r.known {
		return l
	}
	return &api.Load{} // Envoys have told of others alone
}

// reported is when each Envoy reported last, by its fleet and id.
func (r *loadReports) reported() map[[2]string]time.Time {
	return r.reporters.get(func() map[[2]string]time.Time {
		last := make(map[[2]string]time.Time)
		for _, one := range r.loads.Reporters() {
			last[[2]string{one.Fleet, one.NodeID}] = one.Last
		}
		return last
	})
}

// EnvoyLoad is that of one Envoy, and when it reported last.
func (r *loadReports) EnvoyLoad(fleet, id string) (*api.Load, time.Time) {
	last := r.reported()[[2]string{fleet, id}]
	if l, ok := r.loads.Envoy(fleet, id); ok {
		return loadOf(l), last
	}
	return nil, last
}

// FillSeries sets the requests and errors.
func (r *loadReports) FillSeries(s *api.Series) {
	from := r.loads.Series("")
	fill(s, s.Requests, from.Start, from.Requests)
	fill(s, s.Errors, from.Start, from.Errors)
}

// fill sets the values of a series of which the first begins at a time; the steps are the same.
func fill(s *api.Series, values api.Values, start time.Time, from []float64) {
	step := time.Duration(s.Step) * time.Second
	first := int(start.Sub(s.Start) / step)
	for i, v := range from {
		if at := first + i; at >= 0 && at < len(values) {
			values[at] = api.Value(v)
		}
	}
}
