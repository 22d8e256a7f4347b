// Package marathon is the source that reads apps from Marathon: which apps it runs,
// where their tasks are, and how they are to be routed.
//
// Marathon's event stream only names what may have changed. What is true is read by
// GET. So a Watcher subscribes first, then reads everything once, and then reads single
// apps as events name them. None of that waits for a timer. One read of an app is in
// flight at a time; if the app is named meanwhile, one more read follows. Timers are for
// what events cannot tell: a lost event, a read that came too early, a dead connection.
package marathon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/coalesce"
	"relay/internal/panics"
	"relay/sources"
)

var _ sources.Source = (*Watcher)(nil)

// Watcher is the sources.Source of one Marathon cluster. Create it with New.
type Watcher struct {
	cfg      Config
	client   *client
	sink     sources.Sink
	log      *slog.Logger
	metrics  *metrics
	told     told // what the log was told of apps
	resolver *resolver
	pending  *pendingReads

	serving  sync.Mutex // locked while Serve runs
	attempts attempts   // used by Serve only
	lastFull uint64     // number of the full read that was applied last; used by Serve only

	reloads *coalesce.Requests // answered when a full read is applied

	mu     sync.Mutex
	apps   map[string]*knownApp // by id
	reads  uint64               // reads started
	synced bool                 // a full read was applied since the process started
	state  state
}

// New returns a Watcher for the cluster in cfg that feeds sink. The sink is
// called from one goroutine at a time. The metrics are registered with
// registerer unless it is nil; one registerer takes those of one Watcher. An error
// names the setting to correct and never repeats a URL.
func New(cfg Config, sink sources.Sink, logger *slog.Logger, registerer prometheus.Registerer) (*Watcher, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.LookupHost == nil {
		cfg.LookupHost = lookupHost
	}
	w := &Watcher{
		cfg: cfg, client: c, sink: sink, log: logger, metrics: newMetrics(registerer),
		pending: newPendingReads(), reloads: coalesce.NewRequests(), apps: map[string]*knownApp{},
		attempts: attempts{min: cfg.BackoffMin, max: cfg.BackoffMax, reset: cfg.BackoffReset, servers: len(c.servers)},
	}
	w.resolver = newResolver(cfg.LookupHost, cfg.PreferIPv6, func(apps []string) {
		w.pending.add(cause{isChange: true, words: "the address of an agent changed"}, apps...)
	},
		func(host, note string) {
			w.log.Warn("the name of an agent is not what it should be", "event", "agent_name_doubtful", "agent", clip(host), "reason", note)
		})
	return w, nil
}

func lookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// Serve implements sources.Source. It makes one connection to Marathon, reads
// everything, follows the changes until something fails, and returns why.
//
// Serve waits before it connects, since only the Watcher knows how far the last
// connection got: BackoffMin to BackoffMax with jitter, and from BackoffMin on after a
// connection that lasted BackoffReset. If the last connection ended before its first
// full read, Serve takes the next URL. So a supervisor should call Serve again at once.
func (w *Watcher) Serve(ctx context.Context) error {
	if !w.serving.TryLock() {
		return errors.New("marathon: Serve is running already")
	}
	defer w.serving.Unlock()
	if err := sleep(ctx, w.attempts.wait); err != nil {
		return err
	}
	server := w.client.servers[w.attempts.server%len(w.client.servers)]
	c := newConnection(ctx, w, target{base: server.url, origin: server})
	err := errors.New("panic") // what remains if run does not return
	defer func() { c.end(ctx, err) }()
	err = c.run()
	if bug, ok := errors.AsType[*panics.Error](err); ok { // of another goroutine
		panic(fmt.Sprintf("%v\n%s", bug.Value, bug.Stack))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return sources.Logged(fmt.Errorf("marathon %s: %w", server.url, err))
}

// Reload implements sources.Source. Without a connection to Marathon it waits for one.
func (w *Watcher) Reload(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	applied := w.reloads.Ask()
	w.pending.addFull("asked for by a hook")
	if err := applied.Wait(ctx); err != nil {
		return fmt.Errorf("marathon: the full read was not applied in time: %w", err)
	}
	return nil
}
