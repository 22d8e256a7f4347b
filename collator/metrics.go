package collator

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"relay/xds"
)

type metrics struct {
	appsMapped   prometheus.Counter
	buildSeconds prometheus.Histogram
	built        map[xds.Type]prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	factory := promauto.With(registerer)
	m := &metrics{
		appsMapped: factory.NewCounter(prometheus.CounterOpts{
			Name: "relay_collator_apps_mapped_total",
			Help: "Apps that differed from their last read and were mapped.",
		}),
		buildSeconds: factory.NewHistogram(prometheus.HistogramOpts{
			Name:    "relay_collator_round_seconds",
			Help:    "Time of a round, in which what sources noted is mapped, built and handed over to the stores.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}),
		built: make(map[xds.Type]prometheus.Counter),
	}
	built := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "relay_collator_resources_changed_total",
		Help: "Resources built that differed from what was published.",
	}, []string{"type"})
	for _, t := range xds.Types() {
		m.built[t] = built.WithLabelValues(t.String())
	}
	return m
}
