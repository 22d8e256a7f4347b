package marathon

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	events       *prometheus.CounterVec
	reads        *prometheus.CounterVec
	readFailures *prometheus.CounterVec
	fullSyncs    prometheus.Counter
	heldBack     prometheus.Counter
	lastSync     prometheus.Gauge
	connected    prometheus.Gauge
	apps         prometheus.Gauge
}

// newMetrics registers the metrics with registerer unless it is nil.
func newMetrics(registerer prometheus.Registerer) *metrics {
	register := promauto.With(registerer)
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Name: name, Help: help}
	}
	gauge := func(name, help string) prometheus.GaugeOpts {
		return prometheus.GaugeOpts{Name: name, Help: help}
	}
	m := &metrics{
		events:       register.NewCounterVec(counter("relay_marathon_events_total", "Events received from Marathon, by type."), []string{"type"}),
		reads:        register.NewCounterVec(counter("relay_marathon_reads_total", "Reads started, of single apps, of all, or of older versions of apps."), []string{"kind"}),
		readFailures: register.NewCounterVec(counter("relay_marathon_read_failures_total", "Reads that failed and changed nothing."), []string{"kind"}),
		fullSyncs:    register.NewCounter(counter("relay_marathon_full_syncs_total", "Full reads that were applied.")),
		heldBack:     register.NewCounter(counter("relay_marathon_suspicious_syncs_total", "Full reads that were held back because they lacked too many apps or were older.")),
		lastSync:     register.NewGauge(gauge("relay_marathon_last_sync_timestamp_seconds", "When a full read was last applied, in Unix time.")),
		connected:    register.NewGauge(gauge("relay_marathon_connected", "1 while the event stream is up and a full read was applied on it.")),
		apps:         register.NewGauge(gauge("relay_marathon_apps", "Apps known.")),
	}
	for _, kind := range []string{kindApp, kindFull, kindVersion} {
		m.reads.WithLabelValues(kind)
		m.readFailures.WithLabelValues(kind)
	}
	return m
}

const (
	kindApp  = "app"
	kindFull = "full"
	// kindVersion is an older version of an app.
	kindVersion = "version"
)

// event counts an event. Types that were not asked for share one label, so
// that their number stays bounded.
func (m *metrics) event(kind string) {
	if !slices.Contains(subscribed, kind) && !slices.Contains(podEvents, kind) {
		kind = "other"
	}
	m.events.WithLabelValues(kind).Inc()
}
