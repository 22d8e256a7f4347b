package logs

import (
	"context"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"relay/internal/panics"
)

const (
	// maxWaiting bounds, in bytes, what waits for a collector.
	maxWaiting = 4 << 20
	// sendLimit is how long a message, or a connection, may take. A collector that takes longer hangs.
	sendLimit = 10 * time.Second
	// lastLimit is how long what waits is sent when Relay ends.
	lastLimit = 2 * time.Second
	// retryFirst and retryLast bound the time between two tries.
	retryFirst, retryLast = time.Second, 15 * time.Second
	// sureDatagrams is after how many datagrams in a row, a try apart, a collector is taken to be back: one to a port
	// that is closed succeeds, and only the next one fails.
	sureDatagrams = 3
)

// Syslog sends lines of the log to a collector by RFC 5424. It keeps nobody who logs waiting: what the collector does
// not take waits in a bounded buffer, and then lines are dropped and counted.
type Syslog struct {
	target target
	header header
	dial   func(context.Context) (net.Conn, error)

	mu      sync.Mutex
	waiting []string // the oldest first
	bytes   int
	lost    int           // since the collector was reached last
	added   chan struct{} // has one when there may be something new

	dropped, sent prometheus.Counter
}

// NewSyslog returns what sends to a collector; the configuration must be valid. Lines wait until Run is called.
func NewSyslog(config Config, registerer prometheus.Registerer) *Syslog {
	target, _ := config.target() // validated
	host, _ := os.Hostname()
	s := &Syslog{target: target, header: newHeader(config.Facility, host, os.Getpid()), dial: target.dial, added: make(chan struct{}, 1)}
	factory := promauto.With(registerer)
	s.dropped = factory.NewCounter(prometheus.CounterOpts{
		Name: "relay_log_lines_dropped_total", Help: "Lines of the log that the syslog collector did not get, as it was away or too slow.",
	})
	s.sent = factory.NewCounter(prometheus.CounterOpts{Name: "relay_log_lines_sent_total", Help: "Lines of the log that were sent to the syslog collector."})
	return s
}

// Handler is for what is at least as important as enabled says.
func (s *Syslog) Handler(enabled func(slog.Level) bool) slog.Handler {
	return handler{enabled: enabled, take: s.take}
}

// take puts a line into the buffer, or drops it.
func (s *Syslog) take(r slog.Record, fields []field) {
	message, err := s.header.message(r.Time, r.Level, r.Message, fields)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || s.bytes+len(message) > maxWaiting {
		s.drop()
		return
	}
	s.waiting, s.bytes = append(s.waiting, message), s.bytes+len(message)
	select {
	case s.added <- struct{}{}:
	default:
	}
}

func (s *Syslog) drop() {
	s.lost++
	s.dropped.Inc()
}

// next returns the oldest message, which stays.
func (s *Syslog) next(ctx context.Context) (message string, err error) {
	for {
		s.mu.Lock()
		if len(s.waiting) > 0 {
			message = s.waiting[0]
		}
		s.mu.Unlock()
		if message != "" {
			return message, nil
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-s.added:
		}
	}
}

// done takes away the oldest message, which was sent.
func (s *Syslog) done() {
	s.sent.Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes -= len(s.waiting[0])
	s.waiting[0] = ""
	if s.waiting = s.waiting[1:]; len(s.waiting) == 0 {
		s.waiting = nil // the room for what waited is given back
	}
}

// takeLost returns how many lines were lost, and begins anew.
func (s *Syslog) takeLost() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	lost := s.lost
	s.lost = 0
	return lost
}

func (s *Syslog) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting) == 0
}

// Start begins to send, and says by log when the collector cannot be reached and when it can. What stop finds
// waiting is sent, for two seconds at most, unless the collector is away.
func (s *Syslog) Start(log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	run := &sending{Syslog: s, log: log}
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			err := panics.Catch(func() error { return run.serve(ctx) })
			panics.Log(log, err, "part", "syslog")
			pause(ctx, retryFirst)
		}
	}()
	return sync.OnceFunc(func() {
		for deadline := time.Now().Add(lastLimit); !s.empty() && !run.isAway() && time.Now().Before(deadline); {
			pause(ctx, 5*time.Millisecond)
		}
		cancel()
		<-ended
	})
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
