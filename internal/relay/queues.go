package relay

import (
	"net/netip"
	"slices"
	"sync"

	"relay/collator/routing"
	"relay/scaling/queue"
	"relay/sources"
)

// queues knows the apps whose requests are counted, as they are routed.
type queues struct {
	mu   sync.Mutex
	apps map[string]*queuedApp
}

// queuedApp is an app as it is routed. Changed is closed when it is routed in another way.
type queuedApp struct {
	app     *sources.App
	changed chan struct{}
}

var _ queue.Apps = (*queues)(nil)

func newQueues() *queues { return &queues{apps: make(map[string]*queuedApp)} }

// routed takes an app as it is routed from now on.
func (q *queues) routed(name string, app *sources.App) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if before := q.apps[name]; before != nil {
		close(before.changed)
	}
	if app == nil {
		delete(q.apps, name)
		return
	}
	q.apps[name] = &queuedApp{app, make(chan struct{})}
}

// Endpoints implements queue.Apps.
func (q *queues) Endpoints(name string, port int) (queue.Port, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	known := q.apps[name]
	if known == nil || port >= len(known.app.Ports) || routing.IsTCP(known.app.Ports[port]) {
		return queue.Port{}, nil
	}
	of := known.app.Ports[port]
	return queue.Port{Queue: of.Queue, Endpoints: takingRequests(of.Endpoints), Stopped: known.app.Stopped && !known.app.Gated}, known.changed
}

// takingRequests returns the addresses to which Envoy sends requests: of the healthy ones, or else of
// those that are degraded.
func takingRequests(endpoints []sources.Endpoint) (addresses []netip.AddrPort) {
	for _, health := range []sources.Health{sources.Healthy, sources.Degraded} {
		for _, e := range endpoints {
			if e.Health == health && !slices.Contains(addresses, e.Address) {
				addresses = append(addresses, e.Address)
			}
		}
		if len(addresses) > 0 {
			break
		}
	}
	return addresses
}
