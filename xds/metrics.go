package xds

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	streams    *prometheus.GaugeVec
	rejections *prometheus.CounterVec
	// By type.
	requests, responses, resources, removals, bytes [numTypes]prometheus.Counter
}

func newMetrics(r prometheus.Registerer, stores map[string]*Store) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "relay", Subsystem: "xds", Name: name, Help: help}, labels)
		r.MustRegister(v)
		return v
	}
	byType := func(name, help string) (counters [numTypes]prometheus.Counter) {
		v := counter(name, help, "type")
		for _, t := range Types() {
			counters[t] = v.WithLabelValues(t.String())
		}
		return counters
	}
	m := &metrics{
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "relay", Subsystem: "xds", Name: "streams", Help: "Connected Envoys.",
		}, []string{"fleet"}),
		requests:   byType("requests_total", "Requests received, ACKs and NACKs included."),
		responses:  byType("responses_total", "Responses sent."),
		resources:  byType("resources_sent_total", "Resources sent."),
		removals:   byType("removals_sent_total", "Removals sent."),
		bytes:      byType("response_bytes_total", "Bytes of the responses sent."),
		rejections: counter("rejections_total", "Responses that an Envoy rejected (NACK).", "fleet", "type"),
	}
	r.MustRegister(m.streams)
	for fleet, store := range stores {
		m.streams.WithLabelValues(fleet)
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "relay", Subsystem: "xds", Name: "revision", Help: "Changes applied to the fleet's store.",
			ConstLabels: prometheus.Labels{"fleet": fleet},
		}, func() float64 { return float64(store.Revision()) }))
	}
	return m
}
