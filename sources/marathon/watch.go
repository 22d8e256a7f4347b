// Package marathon watches a Marathon cluster and tells a sources.Sink which
// apps it runs, where their tasks are and how they are to be routed.
//
// Marathon's event stream only names what may have changed; what is true is
// read again by GET. A Watcher therefore subscribes first, reads everything
// once, and then reads single apps as events name them. Nothing on that way
// waits for a timer: one read of an app is in flight at a time, and whatever
// arrives meanwhile makes one more. Timers only heal what events cannot tell:
// a lost event, a read that came too early, a dead connection.
package marathon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/coalesce"
	"relay/sources"
)

// Watcher follows one Marathon cluster. Create it with New.
type Watcher struct {
	cfg      Config
	client   *client
	sink     sources.Sink
	log      *slog.Logger
	metrics  *metrics
	resolver *resolver
	marks    *marks

	serving  sync.Mutex // held by Serve
	attempts attempts   // used by Serve only
	lastFull uint64     // number of the full read that was applied last; used by Serve only

	reloads *coalesce.Requests // answered when a full read is applied

	mu     sync.Mutex
	held   map[string]*held
	reads  uint64 // reads started
	synced bool   // a full read was applied since the process started
	status Status
}

// held is what was last applied of an app. It is replaced, never modified.
type held struct {
	app     *sources.App
	history history
	read    uint64 // the number of the read that gave it
	pod     bool
}

// New returns a Watcher for the cluster in cfg that feeds sink. The sink is
// called from one goroutine at a time. The metrics are registered with
// registerer unless it is nil. An error names the setting to correct and
// never repeats a URL.
func New(cfg Config, sink sources.Sink, logger *slog.Logger, registerer prometheus.Registerer) (*Watcher, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(registerer)
	if err != nil {
		return nil, err
	}
	if cfg.LookupHost == nil {
		cfg.LookupHost = lookupHost
	}
	w := &Watcher{
		cfg: cfg, client: c, sink: sink, log: logger, metrics: m,
		marks: newMarks(), reloads: coalesce.NewRequests(), held: map[string]*held{},
		attempts: attempts{min: cfg.BackoffMin, max: cfg.BackoffMax, reset: cfg.BackoffReset, servers: len(c.servers)},
	}
	w.resolver = newResolver(cfg.LookupHost, cfg.PreferIPv6, func(apps []string) { w.marks.add(changed, apps...) })
	return w, nil
}

func lookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// String names the service for the supervisor.
func (w *Watcher) String() string { return "marathon" }

// Serve is one life of the watcher: it connects, reads everything, and
// follows the changes until something fails, and returns why. A panic leaves
// the Watcher fit for another Serve, and what the sink holds stays.
//
// The wait between two lives and the choice of the next server live in the
// Watcher, for only it knows how far a life got: Serve itself waits before it
// connects (with jitter, BackoffMin to BackoffMax, from the start again after
// a life of BackoffReset), and a life that ended before its full read sends
// the next one to the next URL. A supervisor should therefore restart it
// at once. When ctx ends, Serve returns ctx.Err(), also during the wait.
func (w *Watcher) Serve(ctx context.Context) error {
	if !w.serving.TryLock() {
		return errors.New("marathon: Serve is running already")
	}
	defer w.serving.Unlock()
	if err := sleep(ctx, w.attempts.wait); err != nil {
		return err
	}
	server := w.client.servers[w.attempts.server%len(w.client.servers)]
	l := newLife(ctx, w, target{base: server.url, origin: server})
	err := errors.New("panic") // what remains if run does not return
	defer func() { l.end(ctx, err) }()
	err = l.run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("marathon %s: %w", server.url, err)
}

// Reload reads everything once more and returns when that was applied, or
// when ctx ends. Without a connection to Marathon it waits for one.
func (w *Watcher) Reload(ctx context.Context) error {
	applied := w.reloads.Ask()
	w.marks.addFull()
	if err := applied.Wait(ctx); err != nil {
		return fmt.Errorf("marathon: the full read was not applied in time: %w", err)
	}
	return nil
}

// Status is the state of a Watcher as people are shown it. It holds no secret.
type Status struct {
	// URL is the server in use or last tried, after redirects.
	URL string
	// Connected tells that events are received and a full read was applied since; Since is when that began or ended.
	Connected bool
	Since     time.Time
	// LastSync is when a full read was last applied.
	LastSync time.Time
	// LastEvent is when the last event was received.
	LastEvent time.Time
	// Apps is the number of apps known.
	Apps int
	// LastError is the last failure, and LastErrorAt its time; a success does not clear them.
	LastError   string
	LastErrorAt time.Time
}

// Status returns the present state.
func (w *Watcher) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.status
	s.Apps = len(w.held)
	return s
}

// setConnected notes a change of the connection for Status and metrics.
func (w *Watcher) setConnected(connected bool, url string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status.Connected != connected || w.status.Since.IsZero() {
		w.status.Since = time.Now()
	}
	w.status.Connected, w.status.URL = connected, url
	value := 0.0
	if connected {
		value = 1
	}
	w.metrics.connected.Set(value)
}

func (w *Watcher) noteError(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status.LastError, w.status.LastErrorAt = err.Error(), time.Now()
}

func (w *Watcher) noteEvent() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status.LastEvent = time.Now()
}

// nextRead numbers a read that starts now. Of two answers the one whose read
// started later is the newer.
func (w *Watcher) nextRead() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads++
	return w.reads
}

// get returns what is held of an app, or nil.
func (w *Watcher) get(id string) *held {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held[id]
}

func (w *Watcher) set(id string, h *held) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h == nil {
		delete(w.held, id)
	} else {
		w.held[id] = h
	}
	w.metrics.apps.Set(float64(len(w.held)))
}
