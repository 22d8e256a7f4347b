// Package collator turns apps and certificates into Envoy resources. It holds
// what every source said last, and for each fleet an index of who wants what;
// when something changes it builds and publishes only the resources that the
// change concerns.
package collator

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
	"relay/internal/panics"
	"relay/sources"
	"relay/xds"
)

// Publisher takes the resources of one fleet. A Change is one consistent step;
// Apply returns the revision that has it.
type Publisher interface {
	Apply(xds.Change) uint64
}

// Collator implements sources.Sink and certs.Sink, and publishes to fleets.
type Collator struct {
	cfg      Config
	log      *slog.Logger
	metrics  *metrics
	inbox    *inbox
	problems *problemSet
	fleets   []*fleetState

	// What follows belongs to the loop, which alone writes apps, read and groups.
	mu     sync.RWMutex               // for readers of apps, read and groups other than the loop
	apps   map[string]*sources.App    // mapped, the last good of each
	read   map[string]*sources.App    // as the source gave them
	groups map[string]deploymentGroup // by the name under which they are routed
	// misfits have what was left out when the policy of an app was mapped, for the
	// few of which something was; unmapped are those whose last read could not be.
	misfits  map[string][]sources.Problem
	unmapped map[string]struct{}
	taken    notes
	// unfinished is set during a round: still set at its start, the one before
	// panicked.
	unfinished                     bool
	certificates                   map[string]certificateRead
	serving                        *serving
	nextSelection                  time.Time
	appsSynced, certificatesSynced atomic.Bool
	// appsPublished and certificatesPublished are closed by the loop.
	appsPublished, certificatesPublished chan struct{}
	certificateViews                     atomic.Pointer[[]CertificateView]
	coverage                             *coverage

	mapPolicy func(*sources.App) (*sources.App, []sources.Problem, error)
	now       func() time.Time
}

var (
	_ sources.Sink = (*Collator)(nil)
	_ certs.Sink   = (*Collator)(nil)
)

// New returns a Collator that publishes each fleet of the configuration to the
// publisher of that name. It does nothing before Serve.
func New(cfg Config, publishers map[string]Publisher, logger *slog.Logger, registerer prometheus.Registerer) (*Collator, error) {
	if err := cfg.check(publishers); err != nil {
		return nil, err
	}
	cfg.ACMEApp = cmp.Or(cfg.ACMEApp, "/marathon-acme")
	c := &Collator{
		cfg: cfg, log: logger, inbox: newInbox(), problems: newProblemSet(),
		apps: make(map[string]*sources.App), read: make(map[string]*sources.App),
		groups:  make(map[string]deploymentGroup),
		misfits: make(map[string][]sources.Problem), unmapped: make(map[string]struct{}),
		certificates: make(map[string]certificateRead),
		serving:      &serving{}, coverage: newCoverage(),
		appsPublished: make(chan struct{}), certificatesPublished: make(chan struct{}),
		mapPolicy: mapPolicy, now: time.Now,
	}
	c.metrics = newMetrics(registerer, c.problems)
	registerer.MustRegister(coverageMetrics{c})
	for _, f := range cfg.Fleets {
		f.ACMEApp = cfg.ACMEApp
		state := newFleetState(f, publishers[f.Name], c)
		if c.fleets = append(c.fleets, state); f.HasHTTPS() {
			c.coverage.fleets[f.Name] = state.coverage
		}
	}
	c.certificateViews.Store(&[]CertificateView{})
	if len(cfg.CertificateSources) == 0 {
		c.selectCertificates()
	}
	return c, nil
}

// Serve publishes what sources note, until the context ends. It may be called
// again after it returned or panicked, and goes on from what it had.
func (c *Collator) Serve(ctx context.Context) error {
	if c.unfinished {
		c.reindex()
	}
	// Only for certificates that become valid or expire.
	timer := time.NewTimer(math.MaxInt64)
	defer timer.Stop()
	for {
		c.round()
		if !c.nextSelection.IsZero() {
			timer.Reset(c.nextSelection.Sub(c.now()))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.inbox.signal:
		case <-timer.C:
		}
	}
}

// round deals with everything noted so far.
func (c *Collator) round() {
	c.inbox.take(&c.taken)
	c.unfinished = true
	start := c.now()
	c.merge(&c.taken)
	if due := c.nextSelection; !due.IsZero() && !c.now().Before(due) {
		c.selectCertificates()
	}
	if c.appsSynced.Load() {
		for _, f := range c.fleets {
			f.publish()
		}
		c.cover()
		c.announce()
	}
	c.metrics.rounds.Inc()
	c.metrics.buildSeconds.Observe(c.now().Sub(start).Seconds())
	c.inbox.done(c.taken.upTo)
	c.taken = notes{}
	c.unfinished = false
}

func (c *Collator) merge(t *notes) {
	if t.synced {
		listed := make(map[string]struct{}, len(t.all))
		for _, app := range t.all {
			if app != nil {
				listed[app.ID] = struct{}{}
				c.setApp(app)
			}
		}
		for id := range c.read {
			if _, ok := listed[id]; !ok {
				c.removeApp(id)
			}
		}
		c.appsSynced.Store(true)
	}
	for id, app := range t.apps {
		if app != nil {
			c.setApp(app)
		} else {
			c.removeApp(id)
		}
	}
	for _, f := range c.fleets {
		f.setTLSSecrets(t.tlsSecrets)
	}
	if len(t.certs) > 0 {
		c.mergeCertificates(t.certs)
	}
}

// setApp maps and routes an app that differs from the last read.
func (c *Collator) setApp(app *sources.App) {
	if before := c.read[app.ID]; before.Equal(app) {
		return
	}
	before := c.apps[app.ID]
	c.remap(app)
	c.route(app.ID, before, c.apps[app.ID])
}

// remap maps an app. One that cannot be mapped keeps its last good form.
func (c *Collator) remap(app *sources.App) {
	c.metrics.appsMapped.Inc()
	left := c.misfits[app.ID]
	mapped, err := guarded(func() (mapped *sources.App, err error) {
		policy := c.apps[app.ID]
		if _, failed := c.unmapped[app.ID]; failed || policy == nil || !samePolicy(c.read[app.ID], app) {
			if policy, left, err = c.mapPolicy(app); err != nil {
				return nil, err
			}
		}
		return withEndpoints(app, policy, left), nil
	})
	if err == nil && app.ID == c.cfg.ACMEApp {
		mapped.Deployment = nil // its cluster must be found under its own id
	}
	c.mu.Lock()
	c.read[app.ID] = app
	if err == nil {
		c.apps[app.ID] = mapped
	}
	c.mu.Unlock()
	if err != nil {
		c.unmapped[app.ID] = struct{}{}
		c.report(AppProblem, "", app.ID, Problem{App: app.ID}, err)
		return
	}
	delete(c.unmapped, app.ID)
	if delete(c.misfits, app.ID); len(left) > 0 {
		c.misfits[app.ID] = left
	}
	c.problems.set(owner{InternalProblem, "", app.ID})
	c.problems.set(owner{AppProblem, "", app.ID}, problemsOf(app.ID, mapped.Problems)...)
}

func (c *Collator) removeApp(id string) {
	before := c.apps[id]
	c.mu.Lock()
	delete(c.read, id)
	delete(c.apps, id)
	c.mu.Unlock()
	delete(c.misfits, id)
	delete(c.unmapped, id)
	c.problems.set(owner{InternalProblem, "", id})
	c.problems.set(owner{AppProblem, "", id})
	c.route(id, before, nil)
}

// problemsOf makes what a source or a fleet found in an app problems of the app.
func problemsOf(app string, found []sources.Problem) []Problem {
	problems := make([]Problem, len(found))
	for i, p := range found {
		problems[i] = Problem{App: app, Subject: p.Subject, Reason: p.Reason}
	}
	return problems
}

// report records an error as a problem: of the kind given, or an internal one
// when it is a bug of Relay's.
func (c *Collator) report(kind Kind, fleet, name string, p Problem, err error) {
	if panics.Log(c.log, err, "fleet", fleet, "app", p.App, "subject", p.Subject) {
		kind = InternalProblem
	} else {
		c.log.Warn("ignored", "fleet", fleet, "app", p.App, "subject", p.Subject, "error", err)
	}
	p.Reason = err.Error()
	c.problems.set(owner{kind, fleet, name}, p)
}

// announce tells, once each, that apps and certificates are in the stores.
func (c *Collator) announce() {
	if !isClosed(c.appsPublished) {
		c.log.Info("apps published", "apps", len(c.apps))
		close(c.appsPublished)
	}
	if c.certificatesSynced.Load() && !isClosed(c.certificatesPublished) {
		c.log.Info("certificates published")
		close(c.certificatesPublished)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// AppsPublished returns a channel that is closed when the first complete read of
// apps is in the stores: everything but listeners for TLS and secrets is known.
func (c *Collator) AppsPublished() <-chan struct{} { return c.appsPublished }

// CertificatesPublished returns a channel that is closed when certificates are in
// the stores too, never before that of AppsPublished.
func (c *Collator) CertificatesPublished() <-chan struct{} { return c.certificatesPublished }

// reindex makes everything anew from what sources said, after a panic in the
// middle of a round: the fleets' indexes, the problems, and every resource, which
// is compared with what is published.
func (c *Collator) reindex() {
	c.log.Warn("the last round did not end: building all resources again")
	c.problems.clear()
	for _, f := range c.fleets {
		f.reset()
	}
	c.mu.Lock()
	c.groups = make(map[string]deploymentGroup)
	c.mu.Unlock()
	for id := range c.read {
		c.unmapped[id] = struct{}{}
	}
	for id, app := range c.read {
		c.remap(app)
		c.route(id, nil, c.apps[id])
	}
	c.mergeCertificates(c.certificates)
}

// AppsSynced reports whether a complete read of apps was seen.
func (c *Collator) AppsSynced() bool { return c.appsSynced.Load() }

// CertificatesSynced reports whether each source of certificates was read.
func (c *Collator) CertificatesSynced() bool { return c.certificatesSynced.Load() }

func quoted(k xds.Key) string { return fmt.Sprintf("%s %q", k.Type, k.Name) }
