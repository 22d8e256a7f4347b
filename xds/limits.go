package xds

import (
	"context"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Limits keep a client that is broken, or means harm, from harming the others.
type Limits struct {
	// Streams is how many Envoys may be connected, and StreamsPerAddress how many
	// of them from one address.
	Streams, StreamsPerAddress int
	// ConnectionStreams is how many streams a connection may have: an Envoy needs
	// one.
	ConnectionStreams uint32
	// ConnectionRequests is how many streams a connection may have if there are methods of which
	// an Envoy has a stream for each request. An Envoy that needs more opens another connection.
	ConnectionRequests uint32
	// Idle is how many connections without an Envoy's stream there may be, and
	// IdlePerAddress how many of them from one address; the oldest are closed. All
	// Envoys of a fleet may come at the same time, from behind one address.
	Idle, IdlePerAddress int
	// Handshake is how long a client may take for the handshakes of TLS and HTTP/2.
	// One without a stream is disconnected FirstRequest later.
	Handshake time.Duration
	// Names is how many names of one type an Envoy may be subscribed to.
	Names int
	// RequestsPerSecond is how many requests an Envoy may send on its own, not to
	// answer a response; it may be Burst ahead. More are read later.
	RequestsPerSecond float64
	Burst             int
	// FirstRequest is how long a stream may stay open without a request.
	FirstRequest time.Duration
	// Stall is how long an Envoy may leave a response unread before its
	// connection is closed. An Envoy that is given tens of thousands of clusters
	// is busy for half a minute.
	Stall time.Duration
}

// DefaultLimits are far above what Envoys do.
func DefaultLimits() Limits {
	return Limits{
		Streams: 10_000, StreamsPerAddress: 5000, ConnectionStreams: 10, ConnectionRequests: 5000, Idle: 10_000, IdlePerAddress: 1000,
		Names: 1_000_000, RequestsPerSecond: 5000, Burst: 10_000,
		Handshake: 10 * time.Second, FirstRequest: 15 * time.Second, Stall: 2 * time.Minute,
	}
}

// pace returns when a request that answers nothing may be handled.
func (l Limits) pace() *rate.Limiter {
	return rate.NewLimiter(rate.Limit(l.RequestsPerSecond), l.Burst)
}

// tooMany refuses more names than the limit.
func (l Limits) tooMany(t Type, n int) error {
	if n <= l.Names {
		return nil
	}
	return status.Errorf(codes.ResourceExhausted, "%d names of %s are subscribed to, %d are allowed", n, t, l.Names)
}

// watchdog calls a function when something takes too long.
type watchdog struct {
	timer *time.Timer
	limit time.Duration
}

func newWatchdog(limit time.Duration, expired func()) *watchdog {
	w := &watchdog{limit: limit, timer: time.AfterFunc(limit, expired)}
	w.timer.Stop()
	return w
}

// during runs f, and watches how long it takes.
func (w *watchdog) during(f func() error) error {
	w.timer.Reset(w.limit)
	defer w.timer.Stop()
	return f()
}

// firstRequest waits for the first request of a stream. The time that the request waited for
// others does not count.
func firstRequest(ctx context.Context, limit time.Duration, waiting func() time.Duration, receive func() error) error {
	received := make(chan error, 1)
	go func() { received <- receive() }()
	start, before := time.Now(), waiting()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case err := <-received:
			return err
		case <-timer.C:
			left := limit - time.Since(start) + waiting() - before
			if left <= 0 {
				return status.Errorf(codes.DeadlineExceeded, "no request came within %s", limit)
			}
			timer.Reset(left)
		case <-ctx.Done():
			// gRPC ends a stream whose request it does not take; only this says why.
			return <-received
		}
	}
}
