// Package wake holds requests to apps that sleep. Envoys ask it before each request to such an
// app, by the external authorization service
// (https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/auth/v3/external_auth.proto). It has
// the app woken, and lets the requests through in the order in which they came.
package wake

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"

	"relay/internal/authz"
	"relay/internal/questions"
)

// Phase is what an app is doing, as far as requests are concerned.
type Phase uint8

// The phases. The zero value is of an app that is not known, or that no request wakes: its requests
// are let through, and get what Envoy has for them.
const (
	Unknown Phase = iota
	// Running has an instance that takes requests.
	Running
	// Asleep has none, and is to be woken.
	Asleep
	// Waking was woken, and no instance takes requests yet.
	Waking
	// Failed was woken, and its instances fail.
	Failed
	// Unavailable cannot be woken now: what runs it does not answer.
	Unavailable
	// unread may be any of them: the apps are not known yet.
	unread
	// foreign is of no concern to the Envoy that asks.
	foreign
)

// State is what is known of an app.
type State struct {
	Phase Phase
	// Timeout is how long a request waits; 0 is DefaultTimeout.
	Timeout time.Duration
	// Page shows browsers a page at once, in place of having them wait.
	Page bool
	// Text says how far the app is, for the page: plain text.
	Text string
}

// DefaultTimeout is how long a request waits for its app, unless the app says otherwise.
const DefaultTimeout = time.Minute

// Apps is what is known of apps. Its methods return at once, and may be called by many goroutines.
// Changed is closed when the state is another one.
type Apps interface {
	// State returns the state of a port of an app, by its routed id. It wakes nothing.
	State(app string, port int) (state State, changed <-chan struct{})
	// Used says that a request came, whatever the state is. An app that falls asleep stays awake.
	Used(app string, port int)
	// Wake says that a request of a client waits for an app that is Asleep or Unavailable. It is called
	// again after each change, as long as one of these is the phase and requests wait.
	Wake(app string, port int, by Client)
}

// Client is who has an app woken, as far as people may know.
type Client struct {
	// Domain is what was asked for; empty for a TCP service.
	Domain string
	// Network is that of the client, for an address is a person's; the zero value if it is not known.
	Network netip.Prefix
}

// Envoys says what an Envoy has. The node is empty if an Envoy did not say who it is.
type Envoys interface {
	// Serves reports whether the Envoy has its resources from this Relay.
	Serves(fleet, node string) bool
	// WaitFor returns nil when the Envoy has acknowledged the cluster and a usable endpoint of an
	// app port. It returns an error when the context ends, or when the Envoy is not served any more.
	WaitFor(ctx context.Context, fleet, node, app string, port int) error
}

// Ignored says whose requests wake nothing.
type Ignored interface {
	Ignored(userAgent string, client netip.Addr) bool
}

// Config is what the service may do.
type Config struct {
	// WaitingPerApp is how many requests may wait for one app, and WaitingInAll for all. Clients of
	// one network may have half of all.
	WaitingPerApp, WaitingInAll int
	// Rate is how many apps are woken a second.
	Rate float64
	// Ignored are clients that wake nothing; nil is nobody.
	Ignored Ignored
	// Known is closed when all apps are known: until then all requests wait. Nil is now.
	Known <-chan struct{}
	// Of reports whether a fleet serves an app port: an Envoy wakes only what is its own. Nil has
	// every fleet serve everything.
	Of func(fleet, app string, port int) bool
}

// Service answers Envoys.
type Service struct {
	config Config
	apps   Apps
	envoys Envoys
	log    *slog.Logger
	// wakes limits how many apps are woken a second.
	wakes *rate.Limiter
	// full limits how often it is logged that no more requests can wait.
	full    rate.Sometimes
	metrics *metrics
	// pace is how far apart requests of one app are let through, on one Envoy. Envoy finishes those
	// that it gets together in any order.
	pace time.Duration
	// sendLimit is how long a line waits until an Envoy was told of a request. On a busy machine that takes
	// its time: whoever came later is not to overtake. More than a second is not worth to wait for one
	// connection that is stuck.
	sendLimit time.Duration

	mu      sync.Mutex
	closed  bool
	held    int
	waiting map[string]*app // by routed id
	turns   turns
	turn    chan struct{} // has an element when there may be an app whose turn it is
}

// New returns a service that holds nothing. Run has to run for apps to be woken.
func New(config Config, apps Apps, envoys Envoys, log *slog.Logger, registerer prometheus.Registerer) *Service {
	s := &Service{
		config: config, apps: apps, envoys: envoys, log: log,
		wakes: rate.NewLimiter(rate.Limit(config.Rate), max(1, int(config.Rate))),
		full:  rate.Sometimes{First: 1, Interval: time.Minute},
		pace:  500 * time.Microsecond, sendLimit: time.Second,

		waiting: make(map[string]*app), turns: newTurns(), turn: make(chan struct{}, 1),
	}
	s.metrics = newMetrics(registerer, s)
	return s
}

// Answer returns what answers the checks of Envoys that may ask.
func (s *Service) Answer(admit questions.Admit) authz.Answer {
	return func(g grpc.ServerStream) error { return s.check(g, admit) }
}
