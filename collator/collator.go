// Package collator turns apps and certificates into Envoy resources. It keeps what
// each source said last, and for each fleet an index of who wants what. When something
// changes it builds and publishes only the resources that the change concerns.
//
// This package is the loop. What it decides by is in routing, the messages of Envoy are
// in envoy, and explain says to people why it decided so.
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
	"relay/credentials"
	"relay/internal/panics"
	"relay/internal/problem"
	"relay/sources"
	"relay/xds"
)

// Publisher takes the resources of one fleet: an xds.Store. A Change is one consistent
// step. Apply returns the revision that has it.
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

	// What follows belongs to the loop. Others may read read, apps, deployments and tails,
	// with the lock held.
	mu          sync.RWMutex
	read        map[string]*sources.App // by id, as the sources gave them
	apps        map[string]*sources.App // by id, the last good version of each as cleanApp made it
	deployments map[string]deployment   // by the name under which they are routed
	tails       map[string]Tailing      // by subject; never modified, but replaced
	// policyProblems are what cleanPolicy left out of apps. Few apps have any.
	policyProblems map[string][]problem.Problem
	// failedApps are those of which the last read could not be used, and why.
	failedApps map[string]string
	// work is what this round deals with.
	work notes
	// unfinished is set while a round runs. If it is set when a round begins, the round
	// before panicked.
	unfinished   bool
	certificates map[string]certificateRead // by source
	served       *servedCertificates
	authorities  *clientAuthorities
	// nextAuthority is when an authority of clients is out of date; zero if none will be.
	nextAuthority  time.Time
	authorityReads authorityReads
	credentials    *appCredentials
	// nextSelection is when a certificate becomes valid or expires; zero if none does.
	nextSelection                  time.Time
	appsSynced, certificatesSynced atomic.Bool
	// appsPublished and certificatesPublished are closed by the loop.
	appsPublished, certificatesPublished chan struct{}
	certificateViews                     atomic.Pointer[[]CertificateView]
	coverage                             *coverage
	groups                               *groupIndex
	loggedUnserved                       map[string]struct{} // apps, until they are in a fleet
	empty                                *emptyPorts
	recorded                             recorded
	catalog                              *catalog

	cleanPolicy func(*sources.App) (*sources.App, []problem.Problem, error)
	now         func() time.Time
}

var (
	_ sources.Sink    = (*Collator)(nil)
	_ certs.StoreSink = (*Collator)(nil)

	_ credentials.Sink = (*Collator)(nil)
)

// New returns a Collator that publishes each fleet of the configuration to the
// publisher of the same name. It does nothing before Serve.
func New(cfg Config, publishers map[string]Publisher, logger *slog.Logger, registerer prometheus.Registerer) (*Collator, error) {
	if err := cfg.check(publishers); err != nil {
		return nil, err
	}
	cfg.ACMEApp = cmp.Or(cfg.ACMEApp, "/marathon-acme")
	c := &Collator{
		cfg: cfg, log: logger, inbox: newInbox(), problems: newProblemSet(),
		apps: make(map[string]*sources.App), read: make(map[string]*sources.App),
		deployments:    make(map[string]deployment),
		policyProblems: make(map[string][]problem.Problem), failedApps: make(map[string]string),
		certificates: make(map[string]certificateRead), authorities: newClientAuthorities(), credentials: newAppCredentials(),
		served: &servedCertificates{}, coverage: newCoverage(), groups: newGroupIndex(), loggedUnserved: make(map[string]struct{}), empty: newEmptyPorts(), catalog: newCatalog(),
		appsPublished: make(chan struct{}), certificatesPublished: make(chan struct{}),
		cleanPolicy: cleanPolicy, now: time.Now,
	}
	c.metrics = newMetrics(registerer)
	c.registerCoverage(registerer)
	c.registerEmpty(registerer)
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

// Serve publishes what sources say, until the context ends. After it returned or
// panicked it may be called again, and goes on where it was.
func (c *Collator) Serve(ctx context.Context) error {
	if c.unfinished {
		c.recorded.cause = "everything was built again, since a round failed"
		c.reindex()
	}
	// It fires when a certificate becomes valid or expires, and when a port has had no task
	// for long.
	timer := time.NewTimer(math.MaxInt64)
	defer timer.Stop()
	for {
		c.round()
		if next := earlier(earlier(c.nextSelection, c.nextAuthority), c.empty.next()); !next.IsZero() {
			timer.Reset(next.Sub(c.now()))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.inbox.signal:
		case <-timer.C:
		}
	}
}

// round deals with everything that sources have said so far.
func (c *Collator) round() {
	c.inbox.take(&c.work)
	c.unfinished = true
	start := c.now()
	c.merge(&c.work)
	if due := c.nextSelection; !due.IsZero() && !c.now().Before(due) {
		c.recorded.cause = "a certificate became valid or ended"
		c.selectCertificates()
	}
	c.recheckAuthorities()
	c.nextAuthority = c.nextAuthorityEnd()
	c.updateTails(c.work.tails)
	if c.appsSynced.Load() {
		for _, f := range c.fleets {
			f.publish()
		}
		c.recorded = recorded{}
		c.checkCoverage()
		c.reportUnnamed()
		c.tellEmpty()
		c.checkDomains()
		for _, f := range c.fleets {
			f.reportACME()
		}
		c.announce()
	}
	c.metrics.buildSeconds.Observe(c.now().Sub(start).Seconds())
	c.inbox.done(c.work.upTo)
	c.work = notes{}
	c.unfinished = false
}

// merge takes in what sources said, and marks in each fleet what it changes.
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
	if len(t.tlsSecrets) > 0 {
		c.recorded.cause = "keys of session tickets or authorities of clients were read again"
	}
	c.mergeAuthorities(t.authorities)
	c.mergeCredentials(t.credentials)
	if len(t.certs) > 0 {
		c.mergeCertificates(t.certs)
	}
}

// setApp cleans and routes an app, if it differs from what was read of it before.
func (c *Collator) setApp(app *sources.App) {
	if before := c.read[app.ID]; before.Equal(app) {
		return
	}
	before := c.apps[app.ID]
	c.cleanApp(app)
	c.recordApp(app.ID, before)
	c.route(app.ID, before, c.apps[app.ID])
}

// cleanApp makes of an app what the fleets use, in apps. If that fails, the last good
// version stays.
func (c *Collator) cleanApp(app *sources.App) {
	c.metrics.appsMapped.Inc()
	problems := c.policyProblems[app.ID]
	clean, err := catchPanic(func() (clean *sources.App, err error) {
		policy := c.apps[app.ID]
		if _, failed := c.failedApps[app.ID]; failed || policy == nil || !samePolicy(c.read[app.ID], app) {
			if policy, problems, err = c.cleanPolicy(app); err != nil {
				return nil, err
			}
			problems = append(problems, c.groupProblems(policy)...)
		}
		return withEndpoints(app, policy, problems), nil
	})
	if err == nil && app.ID == c.cfg.ACMEApp {
		clean.Deployment = nil // its cluster must be found under its own id
	}
	c.mu.Lock()
	c.read[app.ID] = app
	if err == nil {
		c.apps[app.ID] = clean
	}
	c.mu.Unlock()
	if err != nil {
		before := c.failedApps[app.ID]
		c.failedApps[app.ID] = err.Error()
		c.report(owner{problem.App, "", inApp, app.ID}, problem.Problem{App: app.ID}, err, before)
		return
	}
	delete(c.failedApps, app.ID)
	if delete(c.policyProblems, app.ID); len(problems) > 0 {
		c.policyProblems[app.ID] = problems
	}
	c.problems.set(owner{problem.Internal, "", inApp, app.ID})
	c.problems.set(owner{problem.App, "", inApp, app.ID}, append(c.unscaledProblems(clean), clean.Problems...)...)
	unserved := c.unservedProblems(clean)
	c.logUnserved(app.ID, unserved)
	c.problems.set(owner{problem.Unserved, "", inApp, app.ID}, unserved...)
}

func (c *Collator) removeApp(id string) {
	before := c.apps[id]
	c.mu.Lock()
	delete(c.read, id)
	delete(c.apps, id)
	c.mu.Unlock()
	delete(c.policyProblems, id)
	delete(c.failedApps, id)
	c.problems.set(owner{problem.Internal, "", inApp, id})
	c.problems.set(owner{problem.App, "", inApp, id})
	c.problems.set(owner{problem.Unserved, "", inApp, id})
	delete(c.loggedUnserved, id)
	c.recordApp(id, before)
	c.route(id, before, nil)
}

// report records an error as the problem of an owner, or as an internal one when it
// is a bug of Relay's. It logs the error unless that is what was said before.
func (c *Collator) report(o owner, p problem.Problem, err error, before string) {
	p.Reason = err.Error()
	if panics.Is(err) {
		o.kind = problem.Internal
	}
	c.problems.set(o, p)
	if p.Reason == before {
		return
	}
	if !panics.Log(c.log, err, "fleet", o.fleet, "app", p.App, "subject", p.Subject) {
		c.log.Warn("ignored: it cannot be built", "event", "build_failed", "fleet", o.fleet, "app", p.App, "subject", p.Subject, "error", err)
	}
}

// announce tells, once each, that apps and certificates are in the stores.
func (c *Collator) announce() {
	if !isClosed(c.appsPublished) {
		c.log.Info("apps published", "event", "apps_published", "apps", len(c.apps))
		close(c.appsPublished)
	}
	if c.certificatesSynced.Load() && !isClosed(c.certificatesPublished) {
		c.log.Info("certificates published", "event", "certificates_published", "summary", c.Served().String())
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

// reindex makes everything anew from what sources said: indexes, problems and every
// resource, of which those are published that differ. It follows a round that
// panicked: nobody knows how far that came.
func (c *Collator) reindex() {
	c.log.Warn("the last round did not end: building all resources again", "event", "round_repeated")
	c.problems.clear()
	c.groups = newGroupIndex()
	c.empty.forget()
	c.uncatalogue()
	for _, f := range c.fleets {
		f.reset()
	}
	c.mu.Lock()
	c.deployments = make(map[string]deployment)
	c.mu.Unlock()
	c.credentials.forgetUsers()
	for id := range c.read {
		c.failedApps[id] = ""
	}
	for id, app := range c.read {
		c.cleanApp(app)
		c.route(id, nil, c.apps[id])
	}
	c.mergeAuthorities(c.authorities.reads)
	c.mergeCredentials(c.credentials.reads)
	c.mergeCertificates(c.certificates)
}

// AppsSynced reports whether a complete read of apps was seen.
func (c *Collator) AppsSynced() bool { return c.appsSynced.Load() }

func quoted(k xds.Key) string { return fmt.Sprintf("%s %q", k.Type, k.Name) }
