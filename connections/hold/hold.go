// Package hold has new connections to TCP services wait while there is no instance (RELAY_{n}_HOLD):
// a database moves to another machine, and its clients notice only that it took a moment. Envoys ask
// it before such a connection goes on, and do not ask while there is an instance.
package hold

import (
	"container/list"
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"relay/connections/waiting"
	"relay/internal/ratelimit"
)

// Port is what is known of an app port.
type Port struct {
	// Hold is how long connections wait; 0 if they do not.
	Hold time.Duration
	// Ready is set if there is an instance that takes connections.
	Ready bool
}

// Apps says what there is. Its methods return at once, and may be called by many goroutines.
type Apps interface {
	// Port returns what is known of a port of an app, by its routed id. One that is not known, or not
	// of the fleet, has the zero Port.
	Port(fleet, app string, port int) Port
}

// Envoys says what an Envoy has. The node is empty if an Envoy did not say who it is.
type Envoys interface {
	// Serves reports whether the Envoy has its resources from this Relay.
	Serves(fleet, node string) bool
	// WaitFor returns nil when the Envoy has acknowledged the cluster and a usable endpoint of an
	// app port. It returns an error when the context ends, or when the Envoy is not served any more.
	WaitFor(ctx context.Context, fleet, node, app string, port int) error
}

// Limits bound what waits.
type Limits struct {
	// PerPort is how many connections wait for an app port at most, of which one client may have
	// half, and InAll for all.
	PerPort, InAll int
	// Longest is how long a connection waits at most while the apps are not known. Then its Envoy is told to ask
	// another Relay.
	Longest time.Duration
}

// DefaultLimits are what a Relay has memory for.
func DefaultLimits() Limits {
	return Limits{PerPort: 5000, InAll: 20_000, Longest: 30 * time.Second}
}

// onceKnown is how long a connection waits at least when the apps are known: its instance may be there already.
const onceKnown = 500 * time.Millisecond

// Service answers Envoys.
type Service struct {
	// Ready, if it is set before the first question, is closed when the apps are known.
	Ready   <-chan struct{}
	apps    Apps
	envoys  Envoys
	limits  Limits
	log     *slog.Logger
	metrics *waiting.Metrics
	// full and ended limit how often it is logged that connections are closed.
	full, ended rate.Sometimes

	mu      sync.Mutex
	ports   map[portKey]*port
	groups  map[groupKey]*group
	waiting int
	// runs is set while a goroutine looks whether there are instances.
	runs bool
}

// portKey is an app port.
type portKey struct {
	app  string
	port int
}

// port has the connections that wait for an app port.
type port struct {
	waiting list.List // of *held, in order of arrival
	clients map[netip.Prefix]int
}

// New returns a service that holds nothing. Its metrics are registered.
func New(apps Apps, envoys Envoys, limits Limits, log *slog.Logger, registerer prometheus.Registerer) *Service {
	s := &Service{
		apps: apps, envoys: envoys, limits: limits, log: log, ports: make(map[portKey]*port), groups: make(map[groupKey]*group),
		full: waiting.Seldom(), ended: waiting.Seldom(),
	}
	s.metrics = newMetrics(registerer, s)
	return s
}

// outcome is what becomes of a connection. Its text is the result in metrics.
type outcome string

const (
	waited     outcome = "waited"    // until there was an instance
	tooLate    outcome = "too_late"  // it waited for as long as the app says
	full       outcome = "full"      // too many wait
	left       outcome = "left"      // the client is gone, or Relay ends
	elsewhere  outcome = "elsewhere" // another Relay serves the Envoy
	notHeld    outcome = "not_held"  // the app holds none any more
	failedWait outcome = "failed"    // the Envoy left while it was waited for
)

// Connection answers whether a connection may go on, when it may. It is a ratelimit.Answer.
func (s *Service) Connection(ctx context.Context, q ratelimit.Question) (within bool, err error) {
	o := s.outcome(ctx, q)
	s.metrics.Results.WithLabelValues(string(o)).Inc()
	switch o {
	case elsewhere, left, failedWait:
		// If it is Relay that ends, Envoy asks the next one.
		return false, status.Error(codes.Unavailable, "this Relay does not serve the Envoy: ask the next one")
	case full:
		s.full.Do(func() {
			s.log.Warn("a connection to a TCP service without an instance was closed: as many wait as may", "event", "hold_full",
				"app", q.App, "port", q.Port, "per_port", s.limits.PerPort, "in_all", s.limits.InAll)
		})
	case tooLate:
		s.ended.Do(func() {
			s.log.Warn("a connection to a TCP service was closed: no instance came while it waited", "event", "hold_ended", "app", q.App, "port", q.Port)
		})
	}
	return o == waited || o == notHeld, nil
}

func (s *Service) outcome(ctx context.Context, q ratelimit.Question) outcome {
	if !s.envoys.Serves(q.Fleet, q.Node) {
		return elsewhere
	}
	limit, known := s.limits.Longest, s.Ready
	if s.known() {
		known = nil
		if limit = s.apps.Port(q.Fleet, q.App, q.Port).Hold; limit == 0 {
			return notHeld
		}
	}
	began := time.Now()
	h := s.enter(q)
	if h == nil {
		return full
	}
	defer s.leave(h)
	defer func() { s.metrics.Waited.Observe(time.Since(began).Seconds()) }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case <-known:
			known = nil
			if limit = s.apps.Port(q.Fleet, q.App, q.Port).Hold; limit == 0 {
				return notHeld
			}
			timer.Reset(max(time.Until(began.Add(limit)), onceKnown))
		case <-h.group.done:
			return h.group.became
		case <-h.closed:
			return full
		case <-timer.C:
			if known != nil {
				return elsewhere // or here again: Envoy knows how long it may wait
			}
			return tooLate
		case <-ctx.Done():
			return left
		}
	}
}

// known reports whether the apps are known.
func (s *Service) known() bool {
	select {
	case <-s.Ready:
		return true
	default:
		return s.Ready == nil
	}
}

// Waiting returns how many connections wait.
func (s *Service) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting
}
