package relay

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"google.golang.org/grpc"

	"relay/collator/routing"
	"relay/internal/ignored"
	"relay/internal/problem"
	"relay/probe"
	"relay/scaling"
	"relay/scaling/peers"
	"relay/scaling/queue"
	"relay/scaling/wake"
	"relay/sources"
	"relay/sources/marathon"
)

// scalingParts change the number of instances of apps, and hold requests that wait for instances.
// They are nil where Relay may not write to Marathon.
type scalingParts struct {
	scaler     *marathon.Scaler
	controller *scaling.Controller
	fleets     *scalingFleets
	wake       *wake.Service
	queues     *queues
	queue      *queue.Service
	peers      *peers.Peers
}

// newScaling builds what changes the number of instances.
func (r *Relay) newScaling(registerer prometheus.Registerer) error {
	c := r.config.Scaling
	if !c.Enabled {
		return nil
	}
	parts := r.scaling
	var err error
	if parts.scaler, err = marathon.NewScaler(c.Marathon); err != nil {
		return fmt.Errorf("--scaling: %w", err)
	}
	log := r.log.With("part", "scaling")
	parts.fleets = newScalingFleets(r)
	config := scaling.Config{
		Loads: r.loads, Fleets: parts.fleets, Scaler: parts.scaler, Cluster: routing.ClusterName,
		Queued: func(app string, port int) int { return parts.queue.Depth(app, port).Waiting },
		Log:    log, Registerer: registerer,
	}
	settings, err := c.Peers.config()
	if err != nil {
		return err
	}
	parts.peers = peers.New(settings, peerView{r}, log)
	promauto.With(registerer).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "relay_scaling_peers_away", Help: "Other Relays that cannot be asked who uses apps: until they can, no app is put to sleep, and none gets fewer instances.",
	}, func() float64 { return float64(len(parts.peers.Problems())) })
	if len(c.Peers.URLs) > 0 {
		config.Peers = peerReports{parts.peers}
	}
	parts.controller = scaling.New(config)
	envoys := envoyView{r}
	parts.wake = wake.New(wake.Config{
		WaitingPerApp: c.WaitingPerApp, WaitingInAll: c.WaitingInAll, Rate: c.WakeRate,
		Ignored: c.Ignored.With(probe.UserAgent), Known: r.collator.AppsPublished(), Of: r.collator.Routes,
	}, parts.controller, envoys, log, registerer)
	parts.queue = queue.New(parts.queues, envoys, queue.DefaultLimits(), registerer)
	return nil
}

// throughScaling returns what a source feeds in place of next.
func (r *Relay) throughScaling(next sources.Sink) sources.Sink {
	if r.scaling == nil {
		return next
	}
	return scaling.NewStage(r.scaling.controller, next)
}

// register adds the service that Envoys ask before requests that wait in queues.
func (p *scalingParts) register(r *Relay, g grpc.ServiceRegistrar) {
	if p == nil {
		return
	}
	p.queue.Ready = r.collator.AppsPublished()
	p.queue.Register(g, r.xds.AdmitRequest)
}

// close ends what runs besides the parts that Relay supervises.
func (p *scalingParts) close() {
	if p != nil {
		p.queue.Close()
	}
}

// problems are those of peers, and of changes that Marathon does not make, if it can be read.
func (p *scalingParts) problems(read bool) []problem.Problem {
	if p == nil {
		return nil
	}
	all := p.peers.Problems()
	if app, reason := p.controller.Refused(); app != "" && read {
		all = append(all, problem.Problem{
			Kind: problem.Source, Subject: "scaling",
			Reason: "Marathon does not let Relay change the number of instances, the last time of " + app + ": " + reason,
			Action: "see whether the user who writes may change apps (--scaling-marathon-user and the others, or else the one who reads): docs/security.md",
		})
	}
	return all
}

// config is what the package of peers needs.
func (p Peers) config() (peers.Config, error) {
	config := peers.Config{URLs: p.URLs, TokenFile: p.TokenFile}
	if p.CAFile == "" {
		return config, nil
	}
	text, err := os.ReadFile(p.CAFile)
	if err != nil {
		return config, fmt.Errorf("--peers-ca-file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return config, fmt.Errorf("--peers-ca-file %s has no certificate in PEM", p.CAFile)
	}
	config.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return config, nil
}

var _ wake.Ignored = ignored.Clients{}
