// Package relay is the running program. It builds the parts from a configuration, starts
// each under a supervisor, and lets the admin endpoint show what they know. The table of
// the parts, which says what each reads and feeds, is in Relay.Serve.
package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/thejerf/suture/v4"
	"google.golang.org/grpc"

	"relay/admin"
	"relay/certs/renewal"
	"relay/collator"
	"relay/collator/history"
	"relay/connections/accept"
	"relay/connections/hold"
	"relay/connections/rebalance"
	"relay/connections/slots"
	"relay/internal/authz"
	"relay/internal/graphite"
	"relay/internal/logs"
	"relay/internal/ratelimit"
	"relay/internal/scrape"
	"relay/passwords"
	"relay/scaling/queue"
	"relay/sources"
	"relay/traffic"
	"relay/xds"
)

// Relay is the running program: the parts, and who feeds whom.
type Relay struct {
	config   *Config
	log      *slog.Logger
	syslog   *logs.Syslog // nil if the log goes to standard error alone
	registry *prometheus.Registry

	// The sources, and what stands in for them.
	apps         sources.Source
	certificates []certificateSource
	credentials  []credentialSource
	states       []stateKeeper
	tlsFiles     *downstreamFiles // nil if there are none

	// From what was read to what Envoys are sent.
	collator           *collator.Collator
	reminders          *renewal.Reminders
	authorityReminders *renewal.AuthorityReminders
	gate               *gate
	stores             map[string]*xds.Store // by fleet
	history            *history.History      // of what is published
	xds                *xds.Server
	limits             fleetLimits[map[int]string]
	// serviceLimits are what limits is, of TCP services whose TLS Envoy ends.
	serviceLimits fleetLimits[serviceLimits]

	// What Envoys report.
	connections *traffic.Connections
	failures    *traffic.Failures
	loads       *traffic.Loads
	tails       *tails

	slots       *slots.Stage        // nil if the state is not saved
	balancer    *rebalance.Balancer // of connections that last
	scaling     *scalingParts       // nil if Relay may not change the number of instances
	accept      *accept.Service
	passwords   *passwords.Service
	hold        *hold.Service
	deployments *deploymentParts
	probes      *probeParts  // nil if nothing is asked from outside
	statusPage  *PublicPage  // nil if there is none
	knownEnvoys *knownEnvoys // nil if the state is not saved

	graphite *graphite.Sender // nil if metrics do not go there

	// The ports.
	admin                      *admin.Server
	adminURL                   string
	xdsTLS, adminTLS           *serverTLS
	xdsListener, adminListener net.Listener
	portCertificates           *portCertificates
}

// New builds all parts and opens the listeners: what cannot be bound ends the
// program at the start. The configuration must be valid.
func New(config Config, log *slog.Logger) (*Relay, error) {
	registry := prometheus.NewRegistry()
	return build(config, log, registry, recoveringRegisterer{registry, log})
}

// build is New with what metrics are registered with, and gathered from.
func build(config Config, log *slog.Logger, registry *prometheus.Registry, registerer prometheus.Registerer) (*Relay, error) {
	config.readErrorPages()
	log, syslog := throughSyslog(config.Syslog, log, registerer)
	r := &Relay{config: &config, log: log, syslog: syslog, registry: registry, xdsTLS: config.xdsTLS(), adminTLS: config.adminTLS()}
	registerer.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, build := range []func(prometheus.Registerer) error{r.newCollator, r.newScaling, r.newAccept, r.newHold, r.newPasswords, r.newSources, r.newXDS, r.newProbes} {
		if err := build(registerer); err != nil {
			return nil, err
		}
	}
	if err := r.listen(); err != nil {
		return nil, err
	}
	r.newDeployments()
	for _, build := range []func(prometheus.Registerer) error{r.newStatusPage, r.newAdmin} {
		if err := build(registerer); err != nil {
			return nil, errors.Join(err, r.closeListeners())
		}
	}
	r.portCertificates = newPortCertificates(log, registerer, portCertificate{"xds", r.xdsTLS}, portCertificate{"admin", r.adminTLS}, portCertificate{"status-page", config.StatusPage.serverTLS()})
	scrape.Register(registerer, r.countProblems, problemsGauge, failingGauge)
	registerBuild(registerer, config.Version)
	r.newGraphite(registerer)
	return r, nil
}

// newCollator builds the collator and the stores that it publishes to, with what
// follows what it publishes.
func (r *Relay) newCollator(registerer prometheus.Registerer) error {
	r.stores = make(map[string]*xds.Store)
	publishers := make(map[string]collator.Publisher)
	for _, f := range r.config.Fleets {
		store := xds.NewStore()
		store.ClustersOnDemand, store.Outdated = f.ClustersOnDemand, r.outdated
		r.stores[f.Name], publishers[f.Name] = store, store
	}
	var err error
	config := r.config.collatorConfig()
	r.history = newHistory(r.stores)
	config.History = r.history
	r.loads = traffic.NewLoads(slices.Collect(maps.Keys(r.stores)), r.hasCluster)
	if r.config.Scaling.Enabled {
		r.scaling = &scalingParts{queues: newQueues()}
		config.Queues = r.scaling.queues.routed
	}
	if r.collator, err = collator.New(config, publishers, r.log.With("part", "collator"), registerer); err != nil {
		return err
	}
	r.gate = &gate{
		stores: r.stores, grace: r.config.Certificates.Grace, log: r.log,
		apps: r.collator.AppsPublished(), certificates: r.collator.CertificatesPublished(),
	}
	r.authorityReminders = renewal.NewAuthorities(r.collator, r.log.With("part", "certificates"), registerer)
	r.reminders = renewal.New(r.collator, r.log.With("part", "certificates"), registerer)
	return nil
}

// newSources builds what feeds the collator.
func (r *Relay) newSources(registerer prometheus.Registerer) error {
	var err error
	if r.tlsFiles, err = newDownstreamFiles(r.config, r.collator, r.log); err != nil {
		return err
	}
	keepers, err := newStateKeepers(r.config, r.log, registerer)
	if err != nil {
		return err
	}
	saved := keepers.savedBefore()
	apps := throughNames(saved, keepers.log, r.throughSlots(keepers, saved, keepers.apps(r.throughScaling(r.throughDeployments(r.throughRebalance(r.collator, registerer))))))
	certificates, err := keepers.certificates(r.collator)
	if err != nil {
		return err
	}
	credentials, err := keepers.credentials(r.collator)
	if err != nil {
		return err
	}
	r.states = keepers.all // those of apps, certificates and credentials
	if r.apps, err = newAppSource(r.config.Apps, apps, r.log, registerer); err != nil {
		return err
	}
	if r.certificates, err = newCertificateSources(r.config.Certificates, certificates, r.log, registerer); err != nil {
		return err
	}
	r.credentials, err = newCredentialSources(r.config.Credentials, credentials, r.log, registerer)
	return err
}

// newXDS builds what serves Envoys.
func (r *Relay) newXDS(registerer prometheus.Registerer) error {
	r.xds = xds.NewServer(r.stores, r.log.With("part", "xds"), registerer)
	reports := r.newReports()
	loads := traffic.NewLoadServer(r.loads, r.xds.Connected)
	r.xds.Replaced = r.loads.Replaced
	r.xds.Services = func(g grpc.ServiceRegistrar) {
		reports.Register(g, r.xds.Admit)
		loads.Register(g, r.xds.Admit)
		r.registerConnections(g)
		r.registerChecks(g)
		r.scaling.register(r, g)
	}
	r.xds.PerRequest = []string{ratelimit.Method, authz.Method}
	if r.scaling != nil {
		r.xds.Answered = r.scaling.wake
		r.xds.PerRequest = append(r.xds.PerRequest, queue.Method)
	}
	scrape.Register(registerer, r.countUnreachable, unreachableGauge)
	scrape.Register(registerer, r.countLoad, requestsCounter, requestErrorsCounter, inProgressGauge, reportersGauge)
	owners := &ownerCounts{owned: r.collator.Owned, cluster: r.loads.ClusterCounters, crashed: r.failures.Crashed, apps: make(map[ownedApp]*ownedCount)}
	scrape.Register(registerer, owners.count, appRequestsCounter, appErrorsCounter, appCrashedCounter, appsLeftOutGauge)
	r.failures.Register(registerer)
	if !r.xdsTLS.enabled() {
		return nil
	}
	var err error
	if r.xds.TLS, err = r.xdsTLS.listen(); err != nil {
		return fmt.Errorf("--xds-cert: %w", err)
	}
	r.xds.Authorize = newClientRules(r.xdsTLS, r.config.Fleets).authorize
	return nil
}

// XDSAddr is where Envoys connect.
func (r *Relay) XDSAddr() net.Addr { return r.xdsListener.Addr() }

// AdminURL is the admin endpoint, such as "http://127.0.0.1:9090".
func (r *Relay) AdminURL() string { return r.adminURL }

// listen opens the ports.
func (r *Relay) listen() error {
	var err error
	if r.xdsListener, err = net.Listen("tcp", r.config.XDS.Address); err != nil {
		return fmt.Errorf("cannot serve xDS (--xds %s): %w", r.config.XDS.Address, bindCure(err))
	}
	if r.adminListener, err = net.Listen("tcp", r.config.Admin.Address); err != nil {
		_ = r.xdsListener.Close()
		return fmt.Errorf("cannot serve the admin endpoint (--admin %s): %w", r.config.Admin.Address, bindCure(err))
	}
	return nil
}

func (r *Relay) closeListeners() error {
	_, _ = r.xdsListener.Close(), r.adminListener.Close()
	r.statusPage.close()
	return nil
}

// Serve runs the parts until the context ends. A part that fails or panics is started again alone,
// at once the first times and then every 2 s; what the others hold stays, and no Envoy notices.
func (r *Relay) Serve(ctx context.Context) error {
	defer func() { _ = r.closeListeners() }()
	defer r.scaling.close()
	defer r.startSyslog()()
	supervisor := suture.New("relay", r.supervision())
	// Each part has a supervisor of its own, so that one that fails again and
	// again makes no other wait.
	add := func(name string, part suture.Service) {
		alone := suture.New(name, r.supervision())
		alone.Add(namedPart{name, part})
		supervisor.Add(alone)
	}
	// part, what it reads, what it feeds
	add("apps", r.apps) // Marathon or YAML files -> collator
	for _, c := range r.certificates {
		add(c.name(), c) // Vault or PEM files -> collator
	}
	for _, c := range r.credentials {
		add(c.name(), c) // Vault or a folder -> collator
	}
	for _, k := range r.states {
		s := k.Status()
		add("state of "+s.Source, k) // a file -> collator, while the source cannot be read
	}
	if r.tlsFiles != nil {
		add("tls files", r.tlsFiles) // files for https listeners -> collator
	}
	add("port certificates", r.portCertificates) // files of Relay's own ports -> log
	add("renewal", r.reminders)                  // certificates that the collator selected -> log
	add("authorities", r.authorityReminders)     // authorities of clients -> log
	add("collator", r.collator)                  // apps and certificates -> a store for each fleet
	add("gate", r.gate)                          // what has been read -> opens the stores
	add("rebalance", server{r.balancer.Serve})   // the load that Envoys report -> which connections end -> collator
	if p := r.scaling; p != nil {
		defer p.queue.Close()
		add("scaling", p.controller)    // apps and the load that Envoys report -> Marathon, collator
		add("wake", server{p.wake.Run}) // requests that wait -> scaling
		add("peers", p.peers)           // other Relays -> scaling
	}
	r.addMonitoring(add)
	add("xds", server{r.xdsServe})      // stores -> Envoys, which report failures and load
	add("admin", server{r.admin.Serve}) // all of the above -> people, marathon-acme

	r.logSettings()
	r.log.Info("serving", "event", "serving", "version", r.config.Version, "xds", r.xdsListener.Addr(), "admin", r.adminURL, "fleets", len(r.stores))
	err := supervisor.Serve(ctx)
	if ctx.Err() != nil {
		r.log.Info("stopped", "event", "stopped")
		return nil
	}
	return err
}

// addMonitoring adds the parts that watch from outside, and tell others: they feed no other part.
func (r *Relay) addMonitoring(add func(name string, part suture.Service)) {
	if r.graphite != nil {
		add("graphite", r.graphite) // metrics -> Graphite
	}
	if r.knownEnvoys != nil {
		add("known envoys", r.knownEnvoys) // Envoys -> the next run
	}
	if p := r.probes; p != nil {
		add("probe targets", p.discovery) // apps and Envoys -> what is asked
		add("probes", p.engine)           // what is asked -> Envoys, which answer
		add("devices", p.devices)         // agents call -> probes
	}
	if r.statusPage != nil {
		add("status page", r.statusPage) // probes of all places, and incidents -> the public
	}
}

// logSettings says what is wrong with the settings.
func (r *Relay) logSettings() {
	for _, p := range r.config.Warnings {
		r.log.Warn("a mistake in the settings", "event", "setting_mistaken", "setting", p.Subject, "reason", p.Reason)
	}
	for _, p := range r.config.exposedSecrets() {
		r.log.Warn("a secret is open to others", "event", "secret_exposed", "setting", p.Subject, "reason", p.Reason)
	}
}

func (r *Relay) xdsServe(ctx context.Context) error { return r.xds.Serve(ctx, r.xdsListener) }
