package marathon

import (
	"errors"
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
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

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "relay", Subsystem: "marathon", Name: name, Help: help}
	}
	gauge := func(name, help string) prometheus.GaugeOpts {
		return prometheus.GaugeOpts{Namespace: "relay", Subsystem: "marathon", Name: name, Help: help}
	}
	m := &metrics{
		events:       prometheus.NewCounterVec(counter("events_total", "Events received from Marathon, by type."), []string{"type"}),
		reads:        prometheus.NewCounterVec(counter("reads_total", "Reads started, of single apps or of all."), []string{"kind"}),
		readFailures: prometheus.NewCounterVec(counter("read_failures_total", "Reads that failed and changed nothing."), []string{"kind"}),
		fullSyncs:    prometheus.NewCounter(counter("full_syncs_total", "Full reads that were applied.")),
		heldBack:     prometheus.NewCounter(counter("suspicious_syncs_total", "Full reads that were held back because they lacked too many apps or were older.")),
		lastSync:     prometheus.NewGauge(gauge("last_sync_timestamp_seconds", "When a full read was last applied, in Unix time.")),
		connected:    prometheus.NewGauge(gauge("connected", "1 while the event stream is up and a full read was applied on it.")),
		apps:         prometheus.NewGauge(gauge("apps", "Apps known.")),
	}
	for _, kind := range []string{kindApp, kindFull} {
		m.reads.WithLabelValues(kind)
		m.readFailures.WithLabelValues(kind)
	}
	if registerer == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.events, m.reads, m.readFailures, m.fullSyncs, m.heldBack, m.lastSync, m.connected, m.apps} {
		errs = append(errs, registerer.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("marathon: register metrics: %w", err)
	}
	return m, nil
}

const (
	kindApp  = "app"
	kindFull = "full"
)

// event counts an event. Types that were not asked for share one label, so
// that their number stays bounded.
func (m *metrics) event(kind string) {
	if !slices.Contains(subscribed, kind) && !slices.Contains(podEvents, kind) {
		kind = "other"
	}
	m.events.WithLabelValues(kind).Inc()
}
