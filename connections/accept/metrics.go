package accept

import (
	"github.com/prometheus/client_golang/prometheus"

	"relay/connections/waiting"
)

func newMetrics(registerer prometheus.Registerer, s *Service) *waiting.Metrics {
	return waiting.NewMetrics(registerer, waiting.Described{
		Results: prometheus.CounterOpts{
			Name: "relay_accept_connections_total",
			Help: "New connections to TCP services with a rate: that went on at once, or after a wait, whose client left while it waited, that were closed (too many waited, the wait was too long, the client opened too many), and to which no rate applied any more.",
		},
		Waited: prometheus.HistogramOpts{
			Name:    "relay_accept_wait_seconds",
			Help:    "How long new connections to TCP services waited for their turn, of those that had to.",
			Buckets: []float64{.01, .05, .2, 1, 5, 15, 30, 60},
		},
		Waiting: prometheus.GaugeOpts{Name: "relay_accept_waiting", Help: "New connections to TCP services that wait for their turn."},
	}, []outcome{atOnce, waited, left, full, late, tooMany, unlimited}, s.Waiting)
}
