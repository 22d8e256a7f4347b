package hold

import (
	"github.com/prometheus/client_golang/prometheus"

	"relay/connections/waiting"
)

func newMetrics(registerer prometheus.Registerer, s *Service) *waiting.Metrics {
	return waiting.NewMetrics(registerer, waiting.Described{
		Results: prometheus.CounterOpts{
			Name: "relay_hold_connections_total",
			Help: "New connections to TCP services without an instance: that waited until there was one, that were closed (too many waited, the wait was too long), whose client left, of whose Envoy another Relay had to be asked, and which did not have to wait any more.",
		},
		Waited: prometheus.HistogramOpts{
			Name:    "relay_hold_wait_seconds",
			Help:    "How long new connections to TCP services without an instance waited.",
			Buckets: []float64{.01, .1, .5, 1, 5, 15, 30, 60, 120, 300},
		},
		Waiting: prometheus.GaugeOpts{Name: "relay_hold_waiting", Help: "New connections to TCP services that wait for an instance."},
	}, []outcome{waited, tooLate, full, left, elsewhere, notHeld, failedWait}, s.Waiting)
}
