package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/thejerf/suture/v4"

	"relay/admin"
	"relay/certs/renewal"
	"relay/collator"
	"relay/internal/guard"
	"relay/internal/panics"
	"relay/sources"
	"relay/xds"
)

type serveCmd struct {
	Config `embed:""`
}

// Run serves until the context ends.
func (s *serveCmd) Run(ctx context.Context, out streams) error {
	log := s.logger(out.err)
	relay, err := newRelay(&s.Config, log)
	if err != nil {
		return err
	}
	return relay.serve(ctx)
}

// relay is the running program: the parts, and who feeds whom.
type relay struct {
	config   *Config
	log      *slog.Logger
	registry *prometheus.Registry
	start    time.Time

	apps         sources.Source
	certificates []certificateSource
	states       []stateKeeper
	edge         *edgeFiles
	renewal      *renewal.Watch
	collator     *collator.Collator
	gate         *gate
	stores       map[string]*xds.Store
	xds          *xds.Server
	admin        *admin.Server

	// xdsTLS and adminTLS secure the ports.
	xdsTLS, adminTLS           *serverTLS
	portCertificates           *portCertificates
	xdsListener, adminListener net.Listener
	adminURL                   string
}

// newRelay builds all parts and opens the listeners: what cannot be bound ends
// the program at the start.
func newRelay(config *Config, log *slog.Logger) (*relay, error) {
	r := &relay{config: config, log: log, registry: prometheus.NewRegistry(), start: time.Now(), stores: make(map[string]*xds.Store)}
	r.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registerer := containing{r.registry, log}
	publishers := make(map[string]collator.Publisher)
	for _, f := range config.fleets() {
		r.stores[f.Name] = xds.NewStore()
		r.stores[f.Name].ClustersOnDemand = f.Clusters == onDemand
		r.stores[f.Name].Outdated = r.outdated
		publishers[f.Name] = r.stores[f.Name]
	}
	r.gate = newGate(r.stores, config.CertsGrace, log)

	collation := config.collatorConfig()
	collation.OnAppsPublished, collation.OnCertificatesPublished = r.gate.appsPublished, r.gate.certificatesPublished
	var err error
	if r.collator, err = collator.New(collation, publishers, log.With("part", "collator"), registerer); err != nil {
		return nil, err
	}
	if r.edge, err = newEdgeFiles(config, r.collator, log); err != nil {
		return nil, err
	}
	keeping, err := newKeeping(config, log, registerer)
	if err != nil {
		return nil, err
	}
	apps, err := keeping.apps(r.collator)
	if err != nil {
		return nil, err
	}
	if r.apps, err = newAppSource(config, apps, log, registerer); err != nil {
		return nil, err
	}
	if r.renewal, err = renewal.NewWatch(r.collator, r.collator.CertificateInUse, log.With("part", "certificates"), registerer); err != nil {
		return nil, err
	}
	certificates, err := keeping.certificates(r.renewal)
	if err != nil {
		return nil, err
	}
	if r.certificates, err = newCertificateSources(config, certificates, log, registerer); err != nil {
		return nil, err
	}
	r.states = keeping.keepers
	r.xds = xds.NewServer(r.stores, log.With("part", "xds"), registerer)
	r.xdsTLS, r.adminTLS = config.xdsTLS(), config.adminTLS()
	if t := r.xdsTLS; t.enabled() {
		if r.xds.TLS, err = t.listen(); err != nil {
			return nil, fmt.Errorf("--xds-cert: %w", err)
		}
		r.xds.Authorize = config.clientRules(t).authorize
	}
	if err := r.listen(); err != nil {
		return nil, err
	}
	if err := r.newAdmin(); err != nil {
		return nil, errors.Join(err, r.closeListeners())
	}
	r.portCertificates = newPortCertificates(log, registerer, portCertificate{"xds", r.xdsTLS}, portCertificate{"admin", r.adminTLS})
	return r, nil
}

// newAdmin builds the admin endpoint.
func (r *relay) newAdmin() error {
	access, err := r.config.adminAccess()
	if err != nil {
		return err
	}
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "relay", Subsystem: "admin", Name: "refused_total",
		Help: "Connections and requests that the admin endpoint refused, by reason; the log says whose.",
	}, []string{"reason"})
	r.registry.MustRegister(refused)
	for _, kind := range guard.Kinds() {
		refused.WithLabelValues(string(kind))
	}
	config := admin.Config{
		ReloadCertificates: r.reloadCertificates, ReloadApps: r.reloadApps,
		State: r, Gatherer: r.registry, Log: r.log.With("part", "admin"), Version: version(),
		AnyMethod: r.config.SignalAnyMethod, Pprof: r.config.Pprof, Access: access,
		Refused: func(kind guard.Kind) { refused.WithLabelValues(string(kind)).Inc() },
	}
	scheme := "http://"
	if t := r.adminTLS; t.enabled() {
		if config.TLS, err = t.listen(); err != nil {
			return fmt.Errorf("--admin-cert: %w", err)
		}
		config.Access.StillGood = func(chains [][]*x509.Certificate) error { return t.stillGood(chains, time.Now()) }
		scheme = "https://"
	}
	r.admin, r.adminURL = admin.New(config, r.adminListener), scheme+r.adminListener.Addr().String()
	return nil
}

// listen opens the ports.
func (r *relay) listen() error {
	var err error
	if r.xdsListener, err = net.Listen("tcp", r.config.XDS); err != nil {
		return fmt.Errorf("cannot serve xDS (--xds %s): %w", r.config.XDS, err)
	}
	if r.adminListener, err = net.Listen("tcp", r.config.Admin); err != nil {
		_ = r.xdsListener.Close()
		return fmt.Errorf("cannot serve the admin endpoint (--admin %s): %w", r.config.Admin, err)
	}
	return nil
}

func (r *relay) closeListeners() error {
	_, _ = r.xdsListener.Close(), r.adminListener.Close()
	return nil
}

// serve runs the parts. A part that fails or panics is started again alone,
// after a wait that grows; what the others hold stays, and no Envoy notices.
func (r *relay) serve(ctx context.Context) error {
	defer func() { _ = r.closeListeners() }()
	supervisor := suture.New("relay", r.supervision())
	// Each part has a supervisor of its own, so that one that fails again and
	// again makes no other wait.
	add := func(name string, part suture.Service) {
		alone := suture.New(name, r.supervision())
		alone.Add(named{name, part})
		supervisor.Add(alone)
	}
	// part, what it reads, what it feeds
	add("apps", r.apps) // Marathon or YAML files -> collator
	for _, c := range r.certificates {
		add(c.name(), c) // Vault or PEM files -> renewal
	}
	for _, k := range r.states {
		s := k.Status()
		add("state of "+s.Source, k) // a file -> collator or renewal, while the source cannot be read
	}
	if r.edge != nil {
		add("tls files", r.edge) // files for https listeners -> collator
	}
	add("port certificates", r.portCertificates) // files of Relay's own ports -> log
	add("renewal", r.renewal)                    // certificates -> collator, log
	add("collator", r.collator)                  // apps and certificates -> a store for each fleet
	add("gate", r.gate)                          // what has been read -> opens the stores
	add("xds", server{r.xdsServe})               // stores -> Envoys
	add("admin", server{r.admin.Serve})          // all of the above -> people, marathon-acme

	for _, p := range r.config.exposedSecrets() {
		r.log.Warn("a secret is open to others", "setting", p.Subject, "reason", p.Reason)
	}
	r.log.Info("serving", "version", version(), "xds", r.xdsListener.Addr(), "admin", r.adminURL, "fleets", len(r.stores))
	err := supervisor.Serve(ctx)
	if ctx.Err() != nil {
		r.log.Info("stopped")
		return nil
	}
	return err
}

func (r *relay) supervision() suture.Spec {
	return suture.Spec{
		EventHook: r.logEvent, FailureThreshold: 10, FailureDecay: 30, FailureBackoff: 2 * time.Second,
		BackoffJitter: &suture.DefaultJitter{}, Timeout: 10 * time.Second,
	}
}

func (r *relay) xdsServe(ctx context.Context) error { return r.xds.Serve(ctx, r.xdsListener) }

// server is a part that cannot be started again, since its listener is closed
// with it: when it fails, the program ends.
type server struct {
	run func(context.Context) error
}

// Serve runs the part.
func (s server) Serve(ctx context.Context) error {
	err := s.run(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", err, suture.ErrTerminateSupervisorTree)
}

// named gives a part its name in the log.
type named struct {
	name string
	suture.Service
}

func (n named) String() string { return n.name }

func (r *relay) logEvent(event suture.Event) {
	switch e := event.(type) {
	case suture.EventServicePanic:
		r.log.Error("a part panicked and is started again", "part", e.ServiceName, "panic", e.PanicMsg, "stack", e.Stacktrace)
	case suture.EventServiceTerminate:
		if err, ok := e.Err.(error); ok {
			panics.Log(r.log, err, "part", e.ServiceName) // one that it caught on a goroutine of its own
		}
		r.log.Warn("a part failed and is started again", "part", e.ServiceName, "reason", e.Err)
	case suture.EventBackoff:
		r.log.Warn("parts fail again and again: waiting before the next start")
	case suture.EventStopTimeout:
		r.log.Warn("a part does not stop", "part", e.ServiceName)
	}
}

// reloadCertificates returns when what the stores hold now is published.
func (r *relay) reloadCertificates(ctx context.Context) error {
	errs := make([]error, len(r.certificates))
	done := make(chan struct{})
	for i, c := range r.certificates {
		go func() {
			errs[i] = panics.Catch(func() error { return c.Reload(ctx) })
			done <- struct{}{}
		}()
	}
	for range r.certificates {
		<-done
	}
	return errors.Join(append(errs, r.collator.Flush(ctx))...)
}

// reloadApps returns when what the source of apps has now is published.
func (r *relay) reloadApps(ctx context.Context) error {
	return errors.Join(r.apps.Reload(ctx), r.collator.Flush(ctx))
}
