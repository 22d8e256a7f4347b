package xds

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	streams                                         *prometheus.GaugeVec
	requests, responses, resources, removals, bytes *prometheus.CounterVec
	rejections                                      *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, stores map[string]*Store) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "relay", Subsystem: "xds", Name: name, Help: help}, labels)
		r.MustRegister(v)
		return v
	}
	m := &metrics{
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "relay", Subsystem: "xds", Name: "streams", Help: "Connected Envoys.",
		}, []string{"fleet"}),
		requests:   counter("requests_total", "Requests received, ACKs and NACKs included.", "type"),
		responses:  counter("responses_total", "Responses sent.", "type"),
		resources:  counter("resources_sent_total", "Resources sent.", "type"),
		removals:   counter("removals_sent_total", "Removals sent.", "type"),
		bytes:      counter("response_bytes_total", "Bytes of the responses sent.", "type"),
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
