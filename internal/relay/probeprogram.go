package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/thejerf/suture/v4"

	"relay/admin"
	"relay/admin/api"
	"relay/admin/client"
	"relay/internal/panics"
	"relay/probe"
	"relay/probe/discover"
)

// ProbeProgram asks from outside, away from any Relay: what Relays say, or said last.
type ProbeProgram struct {
	parts      *probeParts
	registry   *prometheus.Registry
	log        *slog.Logger
	server     *admin.Server // nil without a port
	url        string
	listener   net.Listener
	statusPage *PublicPage
}

// NewProbeProgram reads the settings and opens the ports: what cannot be used ends the program at the start. The
// configuration must be valid.
func NewProbeProgram(config ProbeConfig, log *slog.Logger) (*ProbeProgram, error) {
	settings, err := config.Probes.settings()
	if err != nil {
		return nil, err
	}
	p := &ProbeProgram{registry: prometheus.NewRegistry(), log: log}
	registerer := recoveringRegisterer{p.registry, log}
	registerer.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registerBuild(registerer, config.Version)
	var relays []discover.Relay
	for _, one := range config.Relays {
		r, err := newRemoteRelay(one)
		if err != nil {
			return nil, err
		}
		relays = append(relays, discover.Relay{Name: r.name, Read: r.read})
	}
	if p.parts, err = newProbeParts(settings, relays, log, registerer); err != nil {
		return nil, err
	}
	if p.statusPage, err = NewPublicPage(config.StatusPage, p.parts.own(), log, registerer); err != nil {
		return nil, err
	}
	if config.Port.Address == "" {
		return p, nil
	}
	if err := p.listen(config); err != nil {
		p.statusPage.close()
		return nil, err
	}
	return p, nil
}

// listen opens the port.
func (p *ProbeProgram) listen(config ProbeConfig) error {
	access, err := config.Port.access()
	if err != nil {
		return err
	}
	served := admin.Config{Gatherer: p.registry, Log: p.log.With("part", "listen"), Version: config.Version, Access: access, Probing: remoteProbing{p.parts}}
	if p.statusPage != nil {
		served.Incidents = incidentReports{p.statusPage.Monitor}
	}
	scheme := "http://"
	if t := (&serverTLS{PortTLS: config.Port.TLS, protocols: []string{"http/1.1"}, optionalClient: true}); t.enabled() {
		if served.TLS, err = t.listen(); err != nil {
			return fmt.Errorf("--listen-cert: %w", err)
		}
		scheme = "https://"
	}
	if p.listener, err = net.Listen("tcp", config.Port.Address); err != nil {
		return fmt.Errorf("cannot show what was found (--listen %s): %w", config.Port.Address, bindCure(err))
	}
	p.server, p.url = admin.NewForProbes(served, p.listener), scheme+p.listener.Addr().String()
	return nil
}

// URL is where what was found can be asked for, such as "http://127.0.0.1:9116"; empty without a port.
func (p *ProbeProgram) URL() string { return p.url }

// Found is what was found last.
func (p *ProbeProgram) Found(q probe.Query) api.Probes { return p.parts.engine.Answer(q) }

// Serve asks until the context ends. A part that fails is started again alone.
func (p *ProbeProgram) Serve(ctx context.Context) error {
	defer p.close()
	spec := (&Relay{log: p.log}).supervision()
	supervisor := suture.New("relay probe", spec)
	add := func(name string, part suture.Service) {
		alone := suture.New(name, spec)
		alone.Add(namedPart{name, part})
		supervisor.Add(alone)
	}
	add("probe targets", p.parts.discovery) // Relays -> what is asked
	add("probes", p.parts.engine)           // what is asked -> Envoys, which answer
	add("devices", p.parts.devices)         // agents call -> probes
	if p.statusPage != nil {
		add("status page", p.statusPage) // probes of all places, and incidents -> the public
	}
	if p.server != nil {
		add("listen", server{p.server.Serve}) // what was found -> people, Prometheus, status pages
	}
	p.log.Info("probing", "event", "probing", "place", p.parts.place, "listen", p.url)
	err := supervisor.Serve(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Once asks each target once. Relays that cannot be read are an error, and nothing is asked if none can.
func (p *ProbeProgram) Once(ctx context.Context) (api.Probes, error) {
	defer p.close()
	err := p.parts.discovery.Refresh(ctx)
	if err != nil && !p.parts.discovery.Known() {
		return api.Probes{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	called := make(chan error, 1)
	go func() { called <- panics.Catch(func() error { return p.parts.devices.Serve(ctx) }) }()
	p.parts.engine.Once(ctx)
	if stopped := ctx.Err(); stopped != nil {
		err = errors.Join(stopped, err)
	}
	cancel()
	if failed := <-called; failed != nil && !errors.Is(failed, context.Canceled) {
		err = errors.Join(err, failed)
	}
	return p.Found(probe.Query{Limit: maxOwn}), err
}

func (p *ProbeProgram) close() {
	if p.listener != nil {
		_ = p.listener.Close()
	}
	p.statusPage.close()
}

// remoteProbing is what a program that is no Relay knows of probes: what it found.
type remoteProbing struct{ parts *probeParts }

// Targets implements admin.Probing.
func (remoteProbing) Targets(admin.TargetQuery) api.ProbeTargets { return api.ProbeTargets{} }

// Found implements admin.Probing.
func (p remoteProbing) Found(q admin.ProbeQuery) (api.Probes, bool) { return p.parts.found(q) }

// Peers implements admin.Probing.
func (remoteProbing) Peers() []string { return nil }

// remoteRelay asks a Relay by HTTP. Its files are read again after a failure: a token may be another one by then.
type remoteRelay struct {
	name     string
	settings client.Settings
	client   *client.Client // nil after a failure
}

func newRemoteRelay(settings client.Settings) (*remoteRelay, error) {
	settings.Timeout = 10 * time.Second
	c, err := client.New(settings)
	if err != nil {
		return nil, err
	}
	return &remoteRelay{name: c.Address(), settings: settings, client: c}, nil
}

// read is called by one goroutine at a time.
func (r *remoteRelay) read(ctx context.Context, q discover.Query) (targets api.ProbeTargets, err error) {
	if r.client == nil {
		if r.client, err = client.New(r.settings); err != nil {
			return targets, err
		}
	}
	defer func() {
		if err != nil {
			r.client.Close()
			r.client = nil
		}
	}()
	query := url.Values{"epoch": {strconv.FormatInt(q.Epoch, 10)}}
	if q.Sample > 0 {
		query.Set("sample", strconv.Itoa(q.Sample))
	}
	answer, err := r.client.Get(ctx, "probes/targets", query)
	if err != nil {
		return targets, err
	}
	if !answer.Found {
		return targets, errors.New(answer.Reason())
	}
	return targets, json.Unmarshal(answer.Body, &targets)
}
