package relay

import (
	"context"
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
	"relay/xds"
)

// Relay is the running program: the parts, and who feeds whom.
type Relay struct {
	config   *Config
	log      *slog.Logger
	registry *prometheus.Registry
	start    time.Time

	apps         appSource
	certificates []certificateSource
	states       []stateKeeper
	edge         *edgeFiles
	renewal      *renewal.Reminders
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

// New builds all parts and opens the listeners: what cannot be bound ends the
// program at the start. The configuration must be valid.
func New(config Config, log *slog.Logger) (*Relay, error) {
	r := &Relay{config: &config, log: log, registry: prometheus.NewRegistry(), start: time.Now(), stores: make(map[string]*xds.Store)}
	r.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registerer := containing{r.registry, log}
	publishers := make(map[string]collator.Publisher)
	for _, f := range config.Fleets {
		r.stores[f.Name] = xds.NewStore()
		r.stores[f.Name].ClustersOnDemand = f.ClustersOnDemand
		r.stores[f.Name].Outdated = r.outdated
		publishers[f.Name] = r.stores[f.Name]
	}
	var err error
	if r.collator, err = collator.New(config.collatorConfig(), publishers, log.With("part", "collator"), registerer); err != nil {
		return nil, err
	}
	r.gate = &gate{
		stores: r.stores, grace: config.Certificates.Grace, log: log,
		apps: r.collator.AppsPublished(), certificates: r.collator.CertificatesPublished(),
	}
	if r.edge, err = newEdgeFiles(&config, r.collator, log); err != nil {
		return nil, err
	}
	keeping, err := newKeeping(&config, log, registerer)
	if err != nil {
		return nil, err
	}
	if r.apps, err = newAppSource(config.Apps, keeping.apps(r.collator), log, registerer); err != nil {
		return nil, err
	}
	r.renewal = renewal.New(r.collator, log.With("part", "certificates"), registerer)
	certificates, err := keeping.certificates(r.collator)
	if err != nil {
		return nil, err
	}
	if r.certificates, err = newCertificateSources(config.Certificates, certificates, log, registerer); err != nil {
		return nil, err
	}
	r.states = keeping.keepers
	r.xds = xds.NewServer(r.stores, log.With("part", "xds"), registerer)
	r.xdsTLS, r.adminTLS = config.xdsTLS(), config.adminTLS()
	if t := r.xdsTLS; t.enabled() {
		if r.xds.TLS, err = t.listen(); err != nil {
			return nil, fmt.Errorf("--xds-cert: %w", err)
		}
		r.xds.Authorize = newClientRules(t, config.Fleets).authorize
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

// XDSAddr is where Envoys connect.
func (r *Relay) XDSAddr() net.Addr { return r.xdsListener.Addr() }

// AdminURL is the admin endpoint, such as "http://127.0.0.1:9090".
func (r *Relay) AdminURL() string { return r.adminURL }

// listen opens the ports.
func (r *Relay) listen() error {
	var err error
	if r.xdsListener, err = net.Listen("tcp", r.config.XDS.Address); err != nil {
		return fmt.Errorf("cannot serve xDS (--xds %s): %w", r.config.XDS.Address, err)
	}
	if r.adminListener, err = net.Listen("tcp", r.config.Admin.Address); err != nil {
		_ = r.xdsListener.Close()
		return fmt.Errorf("cannot serve the admin endpoint (--admin %s): %w", r.config.Admin.Address, err)
	}
	return nil
}

func (r *Relay) closeListeners() error {
	_, _ = r.xdsListener.Close(), r.adminListener.Close()
	return nil
}

// Serve runs the parts until the context ends. A part that fails or panics is started again alone,
// after a wait that grows; what the others hold stays, and no Envoy notices.
func (r *Relay) Serve(ctx context.Context) error {
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
		add(c.name(), c) // Vault or PEM files -> collator
	}
	for _, k := range r.states {
		s := k.Status()
		add("state of "+s.Source, k) // a file -> collator, while the source cannot be read
	}
	if r.edge != nil {
		add("tls files", r.edge) // files for https listeners -> collator
	}
	add("port certificates", r.portCertificates) // files of Relay's own ports -> log
	add("renewal", r.renewal)                    // certificates that the collator selected -> log
	add("collator", r.collator)                  // apps and certificates -> a store for each fleet
	add("gate", r.gate)                          // what has been read -> opens the stores
	add("xds", server{r.xdsServe})               // stores -> Envoys
	add("admin", server{r.admin.Serve})          // all of the above -> people, marathon-acme

	for _, p := range r.config.exposedSecrets() {
		r.log.Warn("a secret is open to others", "setting", p.Subject, "reason", p.Reason)
	}
	r.log.Info("serving", "version", r.config.Version, "xds", r.xdsListener.Addr(), "admin", r.adminURL, "fleets", len(r.stores))
	err := supervisor.Serve(ctx)
	if ctx.Err() != nil {
		r.log.Info("stopped")
		return nil
	}
	return err
}

func (r *Relay) xdsServe(ctx context.Context) error { return r.xds.Serve(ctx, r.xdsListener) }
