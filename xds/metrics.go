package xds

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"relay/internal/guard"
	"relay/internal/scrape"
)

type metrics struct {
	streams *prometheus.GaugeVec
	// refused is by guard.Kind.
	refused *prometheus.CounterVec
	// rejections are by fleet and type.
	rejections map[string]*[numTypes]prometheus.Counter
	// By type.
	requests, responses, resources, removals, bytes [numTypes]prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer, stores map[string]*Store) *metrics {
	factory := promauto.With(registerer)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return factory.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	byType := func(name, help string) (counters [numTypes]prometheus.Counter) {
		v := counter(name, help, "type")
		for _, t := range Types() {
			counters[t] = v.WithLabelValues(t.String())
		}
		return counters
	}
	m := &metrics{
		streams: factory.NewGaugeVec(prometheus.GaugeOpts{
			Name: "relay_xds_streams", Help: "Connected Envoys.",
		}, []string{"fleet"}),
		requests:   byType("relay_xds_requests_total", "Requests received, ACKs and NACKs included."),
		responses:  byType("relay_xds_responses_total", "Responses sent."),
		resources:  byType("relay_xds_resources_sent_total", "Resources sent."),
		removals:   byType("relay_xds_removals_sent_total", "Removals sent."),
		bytes:      byType("relay_xds_response_bytes_total", "Bytes of the responses sent."),
		refused:    counter("relay_xds_refused_total", "Connections and streams that were refused, by reason; the log says whose.", "reason"),
		rejections: make(map[string]*[numTypes]prometheus.Counter),
	}
	for _, kind := range guard.Kinds() {
		m.refused.WithLabelValues(string(kind))
	}
	rejections := counter("relay_xds_rejections_total", "Responses that an Envoy rejected (NACK).", "fleet", "type")
	registerStores(registerer, stores)
	convergence := factory.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "relay_xds_convergence_seconds",
		Help:    "Time from a change until all Envoys that it concerns have acknowledged it.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
	}, []string{"fleet"})
	for fleet, store := range stores {
		m.streams.WithLabelValues(fleet)
		m.rejections[fleet] = new([numTypes]prometheus.Counter)
		for _, t := range Types() {
			m.rejections[fleet][t] = rejections.WithLabelValues(fleet, t.String())
		}
		seconds := convergence.WithLabelValues(fleet)
		store.OnConverged(func(c Converged) {
			if c.Envoys > 0 {
				seconds.Observe(c.Took.Seconds())
			}
		})
		factory.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "relay_xds_revision", Help: "Changes applied to the fleet's store.",
			ConstLabels: prometheus.Labels{"fleet": fleet},
		}, func() float64 { return float64(store.Revision()) })
	}
	return m
}

var (
	rejectedGauge    = scrape.NewGauge("relay_xds_rejected", "Resources that a connected Envoy rejects.", "fleet")
	quarantinedGauge = scrape.NewGauge("relay_xds_quarantined", "Resources that several Envoys of some version reject and others of it are not sent.", "fleet")
	resourcesGauge   = scrape.NewGauge("relay_xds_resources", "Resources that the fleet's Envoys are to have, by type: each domain is one of the scopes, each app port one of the clusters.", "fleet", "type")
)

// registerStores registers what is counted of the stores when it is asked for.
func registerStores(registerer prometheus.Registerer, stores map[string]*Store) {
	scrape.Register(registerer, func(set scrape.Set) {
		for fleet, store := range stores {
			rejected, quarantined := make(map[Key]bool), 0
			for _, r := range store.Rejected() {
				rejected[r.Key] = true
				if r.Quarantined {
					quarantined++
				}
			}
			set(rejectedGauge, float64(len(rejected)), fleet)
			set(quarantinedGauge, float64(quarantined), fleet)
			for t, n := range store.Counts() {
				set(resourcesGauge, float64(n), fleet, t.String())
			}
		}
	}, rejectedGauge, quarantinedGauge, resourcesGauge)
}

var (
	envoysGauge       = scrape.NewGauge("relay_envoys", "Connected Envoys, by how far they are: up_to_date, behind (they are to be sent something, or have not acknowledged it), rejecting (they lack what they, or others of their version, rejected).", "fleet", "state")
	clientExpiryGauge = scrape.NewGauge("relay_xds_client_certificate_expiry_timestamp_seconds", "When the first of the certificates expires that connected Envoys have shown, in Unix time.", "fleet")
)

// registerEnvoys registers what is counted of the connected Envoys when it is asked for.
func registerEnvoys(registerer prometheus.Registerer, s *Server) {
	scrape.Register(registerer, func(set scrape.Set) {
		first := make(map[string]time.Time)
		for _, st := range s.connected() {
			at, fleet := st.info.CertificateExpires, st.info.Fleet
			if known := first[fleet]; !at.IsZero() && (known.IsZero() || at.Before(known)) {
				first[fleet] = at
			}
		}
		for fleet, at := range first {
			set(clientExpiryGauge, float64(at.Unix()), fleet)
		}
		for fleet, states := range s.EnvoyStates() {
			for state, n := range states {
				set(envoysGauge, float64(n), fleet, strings.ReplaceAll(string(state), " ", "_"))
			}
		}
	}, envoysGauge, clientExpiryGauge)
}
