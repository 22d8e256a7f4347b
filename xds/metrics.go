package xds

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"relay/internal/guard"
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
		return factory.NewCounterVec(prometheus.CounterOpts{Namespace: "relay", Subsystem: "xds", Name: name, Help: help}, labels)
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
			Namespace: "relay", Subsystem: "xds", Name: "streams", Help: "Connected Envoys.",
		}, []string{"fleet"}),
		requests:   byType("requests_total", "Requests received, ACKs and NACKs included."),
		responses:  byType("responses_total", "Responses sent."),
		resources:  byType("resources_sent_total", "Resources sent."),
		removals:   byType("removals_sent_total", "Removals sent."),
		bytes:      byType("response_bytes_total", "Bytes of the responses sent."),
		refused:    counter("refused_total", "Connections and streams that were refused, by reason; the log says whose.", "reason"),
		rejections: make(map[string]*[numTypes]prometheus.Counter),
	}
	for _, kind := range guard.Kinds() {
		m.refused.WithLabelValues(string(kind))
	}
	rejections := counter("rejections_total", "Responses that an Envoy rejected (NACK).", "fleet", "type")
	registerer.MustRegister(newRejectedCollector(stores))
	convergence := factory.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "relay", Subsystem: "xds", Name: "convergence_seconds",
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
			Namespace: "relay", Subsystem: "xds", Name: "revision", Help: "Changes applied to the fleet's store.",
			ConstLabels: prometheus.Labels{"fleet": fleet},
		}, func() float64 { return float64(store.Revision()) })
	}
	return m
}

// rejectedCollector counts what Envoys reject when it is asked.
type rejectedCollector struct {
	rejected, quarantined *prometheus.Desc
	stores                map[string]*Store
}

func newRejectedCollector(stores map[string]*Store) rejectedCollector {
	return rejectedCollector{
		rejected:    prometheus.NewDesc("relay_xds_rejected", "Resources that a connected Envoy rejects.", []string{"fleet"}, nil),
		quarantined: prometheus.NewDesc("relay_xds_quarantined", "Resources that several Envoys of some version reject and others of it are not sent.", []string{"fleet"}, nil),
		stores:      stores,
	}
}

// Describe implements prometheus.Collector.
func (c rejectedCollector) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.rejected
	descs <- c.quarantined
}

// Collect implements prometheus.Collector.
func (c rejectedCollector) Collect(metrics chan<- prometheus.Metric) {
	for fleet, store := range c.stores {
		rejected, quarantined := make(map[Key]bool), 0
		for _, r := range store.Rejected() {
			rejected[r.Key] = true
			if r.Quarantined {
				quarantined++
			}
		}
		metrics <- prometheus.MustNewConstMetric(c.rejected, prometheus.GaugeValue, float64(len(rejected)), fleet)
		metrics <- prometheus.MustNewConstMetric(c.quarantined, prometheus.GaugeValue, float64(quarantined), fleet)
	}
}

// clientCertificates tells of the certificates of connected Envoys.
type clientCertificates struct {
	server *Server
	days   *prometheus.Desc
}

func newClientCertificates(s *Server) clientCertificates {
	return clientCertificates{s, prometheus.NewDesc("relay_xds_client_certificate_days_to_expiry",
		"Days until the first of the certificates expires that connected Envoys have shown; negative afterwards.", []string{"fleet"}, nil)}
}

// Describe implements prometheus.Collector.
func (c clientCertificates) Describe(descs chan<- *prometheus.Desc) { descs <- c.days }

// Collect implements prometheus.Collector.
func (c clientCertificates) Collect(metrics chan<- prometheus.Metric) {
	first := make(map[string]time.Time)
	c.server.mu.Lock()
	for st := range c.server.streams {
		at, fleet := st.info.CertificateExpires, st.info.Fleet
		if known := first[fleet]; !at.IsZero() && (known.IsZero() || at.Before(known)) {
			first[fleet] = at
		}
	}
	c.server.mu.Unlock()
	for fleet, at := range first {
		metrics <- prometheus.MustNewConstMetric(c.days, prometheus.GaugeValue, time.Until(at).Hours()/24, fleet)
	}
}
