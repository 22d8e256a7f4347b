// Package queue bounds the requests in progress at each instance of an app port, and has more
// wait in order of arrival. Envoys ask it for each request to such a port (see Service); no other
// request comes here.
package queue

import (
	"context"
	"net/netip"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"relay/internal/questions"
	"relay/sources"
)

// attributesOf is the name under which Envoy sends attributes.
const attributesOf = "envoy.filters.http.ext_proc"

const (
	// DefaultTimeout is how long a request waits if the app does not say.
	DefaultTimeout = 30 * time.Second
	// newFor is for how long at most the first requests of an instance wait until Envoy has it.
	newFor = 300 * time.Millisecond
	// forgetAfter is how long at least a line is kept that nobody uses.
	forgetAfter = time.Minute
	// maxRetryAfter bounds when a client that was refused is told to come again.
	maxRetryAfter = 30 * time.Second
)

// Port is what there is of an app port. It is never modified.
type Port struct {
	// Queue is nil if requests are not counted.
	Queue *sources.Queue
	// Endpoints are the instances that take requests now: the healthy ones, none twice.
	Endpoints []netip.AddrPort
	// Stopped is set if there shall be no instance, so that nobody waits for one.
	Stopped bool
}

// Apps says which instances there are.
type Apps interface {
	// Endpoints returns what there is of a port of an app, by its routed id. The channel is closed
	// when it should be asked again. An app that is not known has the zero Port.
	Endpoints(app string, port int) (Port, <-chan struct{})
}

// Envoys says what an Envoy has.
type Envoys interface {
	// Serves reports whether the Envoy has its resources from this Relay.
	Serves(fleet, node string) bool
	// WaitFor returns when the Envoy has acknowledged the endpoints of an app port as they are
	// now, or the context ends.
	WaitFor(ctx context.Context, fleet, node, app string, port int) error
}

// Method is the full name of the method that Envoys call, by a stream for each request.
const Method = extprocv3.ExternalProcessor_Process_FullMethodName

// Limits bound what the service keeps.
type Limits struct {
	// Waiting is how many requests wait at most, over all app ports. One more is refused.
	Waiting int
}

// DefaultLimits are what a Relay has memory for: 30 kB a request that waits.
func DefaultLimits() Limits { return Limits{Waiting: 20_000} }

// Depth is how many requests are in the line of an app port.
type Depth struct {
	Waiting, InProgress, Instances int
	// Oldest is when the first of those that wait came; zero if none waits.
	Oldest time.Time
}

// New returns a service. Its metrics are registered.
func New(apps Apps, envoys Envoys, limits Limits, registerer prometheus.Registerer) *Service {
	s := &Service{apps: apps, envoys: envoys, limits: limits, stop: make(chan struct{})}
	s.metrics = newMetrics(s, registerer)
	return s
}

// timeout is how long a request waits.
func (l *line) timeout() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.port.Queue == nil || l.port.Queue.Timeout == 0 {
		return DefaultTimeout
	}
	return l.port.Queue.Timeout
}

// retryAfter is when a client that was refused may come again: nobody knows how long requests
// take, but those that wait now have been answered or refused by then.
func (l *line) retryAfter() time.Duration {
	return min(max(time.Second, l.timeout()), maxRetryAfter)
}

// asked is whose request Envoy asks about.
type asked struct {
	key
	fleet, node string
}

// askedBy reads the first message of a stream.
func askedBy(message *extprocv3.ProcessingRequest) (a asked, err error) {
	if message.GetRequestHeaders() == nil {
		return a, status.Error(codes.InvalidArgument, "the head of a request comes first")
	}
	attributes := message.GetAttributes()[attributesOf].GetFields()
	a.app = attributes[questions.QueueApp].GetStringValue()
	port := attributes[questions.QueuePort].GetNumberValue()
	a.fleet, a.node = attributes[questions.QueueFleet].GetStringValue(), attributes[questions.QueueNode].GetStringValue()
	if a.port = int(port); a.app == "" || port != float64(a.port) || a.port < 0 || len(a.app) > sources.MaxIDBytes {
		return a, status.Error(codes.InvalidArgument, "a request without the app and port of its route")
	}
	return a, nil
}
