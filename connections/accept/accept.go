// Package accept paces new connections to TCP services: each instance takes so many a second
// (RELAY_{n}_ACCEPT_RATE), and the others wait. It also limits how many a client opens
// (RELAY_{n}_ADDRESS_RATE). Envoys ask it before a connection goes on.
package accept

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"relay/connections/waiting"
	"relay/internal/questions"
	"relay/internal/ratelimit"
)

// Port is what an app port asks for, and what takes its connections. It is never modified.
type Port struct {
	// AcceptRate is how many connections a second an instance takes, AddressRate how many a client
	// may open; 0 is no limit.
	AcceptRate, AddressRate float64
	// Instances are those that take new connections.
	Instances []Instance
}

// Apps says what there is. Its methods return at once, and may be called by many goroutines.
type Apps interface {
	// Port returns what there is of a port of an app, by its routed id. One that is not known, or not
	// of the fleet, has the zero Port.
	Port(fleet, app string, port int) Port
}

// Limits bound what waits.
type Limits struct {
	// PerPort is how many connections wait for an app port at most, of which one client may have
	// half, and InAll for all.
	PerPort, InAll int
	// Wait is how long one waits at most. Of those that would wait for longer, none is kept.
	Wait time.Duration
	// Start is how long connections wait until the apps are known.
	Start time.Duration
}

// DefaultLimits are what a Relay has memory for: 30 kB a connection that waits.
func DefaultLimits() Limits {
	return Limits{PerPort: 10_000, InAll: 20_000, Wait: time.Minute, Start: 5 * time.Second}
}

const (
	// lookEvery is how often at most it is looked what there is of an app port.
	lookEvery = 100 * time.Millisecond
	// tick is the shortest time between two looks whether a connection may go on.
	tick = time.Millisecond
	// forgetAfter is how long an app port is kept that nobody connects to.
	forgetAfter = time.Minute
)

// Service answers Envoys.
type Service struct {
	// Ready, if it is set before the first question, is closed when the apps are known.
	Ready   <-chan struct{}
	apps    Apps
	limits  Limits
	log     *slog.Logger
	metrics *waiting.Metrics
	// full and flood limit how often it is logged that connections are closed.
	full, flood rate.Sometimes

	mu      sync.Mutex
	ports   map[key]*port
	waiting int
}

// key is an app port.
type key struct {
	app  string
	port int
}

// port is an app port. It is locked by Service.mu.
type port struct {
	key
	fleet   string // of the Envoy that asked last
	limits  Port
	looked  time.Time // when it was looked what there is
	used    time.Time
	pace    pace
	clients addresses
	line    line
	// runs is set while a goroutine lets connections go on.
	runs bool
}

// New returns a service that holds nothing. Its metrics are registered.
func New(apps Apps, limits Limits, log *slog.Logger, registerer prometheus.Registerer) *Service {
	s := &Service{
		apps: apps, limits: limits, log: log, ports: make(map[key]*port),
		full: waiting.Seldom(), flood: waiting.Seldom(),
	}
	s.metrics = newMetrics(registerer, s)
	return s
}

// Connection answers whether a connection may go on, when it may. It is a ratelimit.Answer.
func (s *Service) Connection(ctx context.Context, q ratelimit.Question) (within bool, err error) {
	if !s.ready(ctx) {
		return false, status.Error(codes.Unavailable, "the apps are not known yet")
	}
	in, o := s.enter(q, time.Now())
	if o == waits {
		o = s.wait(ctx, in)
	}
	s.metrics.Results.WithLabelValues(string(o)).Inc()
	switch o {
	case left:
		// If it is Relay that ends, Envoy asks the next one.
		return false, status.Error(codes.Unavailable, "the wait has ended")
	case full, late:
		s.full.Do(func() {
			s.log.Warn("a connection to a TCP service was closed: more wait than go on within the longest wait", "event", "accept_full",
				"app", q.App, "port", q.Port, "reason", string(o), "longest_wait", s.limits.Wait)
		})
	case tooMany:
		s.flood.Do(func() {
			s.log.Warn("a connection to a TCP service was closed: its client opens too many", "event", "accept_flood",
				"app", q.App, "port", q.Port, "client", questions.Client(q.Client))
		})
	}
	return o == atOnce || o == waited || o == unlimited, nil
}

// outcome is what becomes of a connection. Its text is the result in metrics.
type outcome string

const (
	waits     outcome = ""
	atOnce    outcome = "at_once"
	waited    outcome = "waited"
	left      outcome = "left" // the client is gone, or Relay ends
	full      outcome = "full"
	late      outcome = "too_late"
	tooMany   outcome = "address_rate"
	unlimited outcome = "unlimited"
)

// ready reports whether the apps are known, after a while perhaps.
func (s *Service) ready(ctx context.Context) bool {
	select {
	case <-s.Ready:
		return true
	default:
		if s.Ready == nil {
			return true
		}
	}
	if !s.hold(1) {
		return false
	}
	defer s.hold(-1)
	timer := time.NewTimer(s.limits.Start)
	defer timer.Stop()
	select {
	case <-s.Ready:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// hold counts a connection that waits in no line, if it is one of not too many.
func (s *Service) hold(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > 0 && s.waiting >= s.limits.InAll {
		return false
	}
	s.waiting += n
	return true
}

// enter decides about a connection, or gives it a place in the line.
func (s *Service) enter(q ratelimit.Question, now time.Time) (*place, outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.port(q, now)
	if p == nil {
		return nil, unlimited
	}
	client := questions.Client(q.Client)
	if !p.clients.take(client, p.limits.AddressRate, now) {
		return nil, tooMany
	}
	if p.limits.AcceptRate == 0 && p.line.waiting == 0 {
		return nil, atOnce
	}
	if p.line.waiting == 0 && p.pace.take(now) == 0 {
		return nil, atOnce
	}
	crowded := p.line.waiting >= s.room(p) || p.line.of(client) >= waiting.OfOneClient(s.limits.PerPort)
	if crowded || s.waiting >= s.limits.InAll {
		given := p.line.giveUp(client, now)
		if given == nil && !crowded {
			given = s.fromLongest(p)
		}
		if given == nil {
			return nil, full
		}
		s.waiting--
		close(given.closed)
	}
	s.waiting++
	if !p.runs {
		p.runs = true
		go waiting.Repeat(s.log, func() (time.Duration, bool) { return s.step(p, time.Now()) })
	}
	return p.line.enter(client, now), waits
}

// fromLongest takes a connection out of the longest line, for one in the line of an app port; nil if that
// is as long.
func (s *Service) fromLongest(p *port) *place {
	longest, ok := waiting.Longest(s.ports, func(other *port) int { return other.line.waiting }, p.line.waiting)
	if !ok {
		return nil
	}
	return longest.line.giveUpLast()
}

// room is how many connections may wait for an app port: those whose turn comes in time.
func (s *Service) room(p *port) int {
	if len(p.pace.instances) == 0 {
		return s.limits.PerPort
	}
	return min(s.limits.PerPort, max(1, int(p.pace.perSecond()*s.limits.Wait.Seconds())))
}

// port returns the app port that a question is about; nil if nothing is limited.
func (s *Service) port(q ratelimit.Question, now time.Time) *port {
	k := key{q.App, q.Port}
	p := s.ports[k]
	if p == nil {
		limits := s.apps.Port(q.Fleet, q.App, q.Port)
		if limits.AcceptRate == 0 && limits.AddressRate == 0 {
			return nil
		}
		s.forget(now)
		p = &port{key: k, fleet: q.Fleet, line: newLine()}
		s.ports[k] = p
	}
	if q.Fleet != p.fleet {
		// Each Envoy asks about what is its own. What counts for it counts on: the fleet that asked before
		// may not have the app any more.
		if limits := s.apps.Port(q.Fleet, q.App, q.Port); limits.AcceptRate == 0 && limits.AddressRate == 0 {
			return nil
		}
		p.fleet = q.Fleet
	}
	p.used = now
	s.look(p, now)
	return p
}

// look sees what there is of an app port, if that is not known of a moment ago.
func (s *Service) look(p *port, now time.Time) {
	if now.Sub(p.looked) < lookEvery {
		return
	}
	p.looked, p.limits = now, s.apps.Port(p.fleet, p.app, p.key.port)
	p.pace.set(p.limits.AcceptRate, p.limits.Instances, now)
}

// forget forgets app ports that nobody connects to.
func (s *Service) forget(now time.Time) {
	for k, p := range s.ports {
		if !p.runs && now.Sub(p.used) > forgetAfter {
			delete(s.ports, k)
		}
	}
}

// wait returns when a connection may go on, or what became of it.
func (s *Service) wait(ctx context.Context, in *place) outcome {
	defer func() { s.metrics.Waited.Observe(time.Since(in.came).Seconds()) }()
	timer := time.NewTimer(s.limits.Wait)
	defer timer.Stop()
	o := left
	select {
	case <-in.turn:
		return waited
	case <-in.closed:
		return full
	case <-timer.C:
		o = late
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !in.line.leave(in) {
		return in.became() // meanwhile
	}
	s.waiting--
	return o
}

// step lets those go on that may now. It returns after how long to look again, until none waits.
func (s *Service) step(p *port, now time.Time) (pause time.Duration, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look(p, now)
	// Envoy gives connections that go on at one moment to the same instance. So there is a pause after
	// each, or after a few where there is no time for that.
	for most := 1 + int(2*p.pace.perSecond()*tick.Seconds()); p.line.waiting > 0; most-- {
		if p.limits.AcceptRate > 0 {
			if most == 0 {
				return tick, false
			}
			if wait := p.pace.take(now); wait > 0 {
				return min(max(wait, tick), lookEvery), false
			}
		}
		s.waiting--
		close(p.line.next(now).turn)
	}
	p.runs = false
	return 0, true
}

// Depth is how many connections wait for an app port.
type Depth struct {
	Waiting int
	// Rate is how many go on a second, and Left about how long it takes until the last one does.
	Rate float64
	Left time.Duration
	// Oldest is when the one came that has waited for longest; zero if none waits.
	Oldest time.Time
}

// Depth returns how many connections wait for an app port, on all Envoys that ask this Relay.
func (s *Service) Depth(app string, number int) Depth {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.ports[key{app, number}]
	if p == nil {
		return Depth{}
	}
	d := Depth{Waiting: p.line.waiting, Rate: p.pace.perSecond(), Oldest: p.line.oldest()}
	if d.Rate > 0 {
		d.Left = time.Duration(float64(d.Waiting) / d.Rate * float64(time.Second))
	}
	return d
}

// Waiting is how many connections wait.
func (s *Service) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting
}
