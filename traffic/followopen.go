package traffic

import (
	"maps"
	"net/netip"
	"time"
)

const (
	// followOpenFor is how long after somebody asked last Envoys go on telling what is open at the endpoints of
	// a cluster.
	followOpenFor = time.Minute
	// maxFollowedOpen is of how many clusters of a fleet that is kept at a time, with maxEndpoints of each.
	maxFollowedOpen = 500
)

// opens are the clusters of a fleet of which somebody wants to know, for as long as they ask, how much is
// open at each endpoint. It keeps no rates, as watches do.
type opens map[string]*open

type open struct {
	until time.Time
	at    map[netip.AddrPort]uint64
	sum   uint64
}

// openAt is what a stream has said to be open at an endpoint.
type openAt struct {
	open    *open
	address netip.AddrPort
	n       uint32
}

// FollowOpen is Open for who asks all the time, as each Envoy of the fleet reported last. It needs no Watch, and keeps
// nothing else. It is not known at first, while an Envoy does not tell of
// endpoints yet, or if more clusters are asked for than are kept. Envoys older than SilentBefore tell
// of connections only while there are new ones: what is known of them is not all.
func (l *Loads) FollowOpen(fleetName, cluster string) (at map[netip.AddrPort]uint64, known bool) {
	l.locked(fleetName, func(f *fleet, now time.Time) {
		o := f.opens[cluster]
		if o == nil {
			if len(f.opens) >= maxFollowedOpen {
				return
			}
			if len(f.opens) == 0 && len(f.watches.of) == 0 {
				f.watches.tell()
			}
			o = &open{at: make(map[netip.AddrPort]uint64)}
			f.opens[cluster] = o
		}
		o.until = now.Add(followOpenFor)
		at, known = maps.Clone(o.at), true
		if c := f.clusters[cluster]; c != nil {
			known = o.sum == c.inProgress
		}
	})
	return at, known
}

// count adds what is reported of the endpoints, and returns in how many steps.
func (o *open) count(r *reporter, c *clusterReport) (steps int) {
	_ = c.eachEndpoint(func(address netip.AddrPort, of counts) { // the same bytes were read before
		steps++
		if of.inProgress == 0 {
			return
		}
		if _, ok := o.at[address]; !ok && len(o.at) >= maxEndpoints {
			return
		}
		o.add(address, uint64(of.inProgress))
		r.openAt = append(r.openAt, openAt{o, address, of.inProgress})
	})
	return steps
}

func (o *open) add(address netip.AddrPort, n uint64) {
	o.at[address] += n
	o.sum += n
}

// take takes back what a stream has said.
func (a *openAt) take() {
	a.open.sum -= uint64(a.n)
	if a.open.at[a.address] -= uint64(a.n); a.open.at[a.address] == 0 {
		delete(a.open.at, a.address)
	}
}

// expire ends those of which nobody asked for a while.
func (o opens) expire(now time.Time) {
	maps.DeleteFunc(o, func(_ string, one *open) bool { return now.After(one.until) })
}
