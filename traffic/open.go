package traffic

import (
	"net/netip"
	"time"
)

// tellsEndpoints is how long after an Envoy was asked to report endpoints the first report comes that has
// them. One that comes earlier was on its way.
const tellsEndpoints = soon / 2

// Open returns how many requests and connections are open at each endpoint of a cluster, of those that
// have some, as all Envoys of a fleet that report have told since somebody watches. Known is false until
// they have, and for a day after Envoys were sent the cluster in another version while it was used: they
// tell nothing any more of what was open before. It says nothing of Envoys that do not report: see Silent.
func (l *Loads) Open(fleetName, name string) (open map[netip.AddrPort]int, known bool) {
	l.read(fleetName, func(f *fleet, _ int64) {
		now := time.Now()
		w, c := f.watches.of[name], f.clusters[name]
		if w == nil || c == nil || c.hiddenNow(now.Sub(f.began)) > 0 {
			return
		}
		for _, e := range f.envoys {
			for _, r := range e.streams {
				if r.closed || now.Sub(r.last) > goneAfter || r.endpointsFrom.IsZero() || !r.last.After(w.began) || r.last.Sub(r.endpointsFrom) < tellsEndpoints {
					known = false
					return
				}
				known = true
			}
		}
		if !known {
			return
		}
		open = make(map[netip.AddrPort]int, len(w.endpoints))
		for address, e := range w.endpoints {
			if e.inProgress > 0 {
				open[netip.AddrPortFrom(address.Addr().Unmap(), address.Port())] = int(e.inProgress)
			}
		}
	})
	return open, known
}

// asked notes what an Envoy is asked to report from now on.
func (f *fleet) asked(r *reporter, endpoints bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !endpoints:
		r.endpointsFrom = time.Time{}
	case r.endpointsFrom.IsZero():
		r.endpointsFrom = time.Now()
	}
}
