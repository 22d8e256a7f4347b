package accept

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics has no label for apps, of which there may be any number.
type metrics struct {
	results *prometheus.CounterVec
	waited  prometheus.Histogram
}

func newMetrics(registerer prometheus.Registerer, s *Service) *metrics {
	factory := promauto.With(registerer)
	m := &metrics{
		results: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "relay_accept_connections_total",
			Help: "New connections to TCP services with a rate: that went on at once, or after a wait, whose client left while it waited, that were closed (too many waited, the wait was too long, the client opened too many), and to which no rate applied any more.",
		}, []string{"result"}),
		waited: factory.NewHistogram(prometheus.HistogramOpts{
			Name:    "relay_accept_wait_seconds",
			Help:    "How long new connections to TCP services waited for their turn, of those that had to.",
			Buckets: []float64{.01, .05, .2, 1, 5, 15, 30, 60},
		}),
	}
	for _, o := range []outcome{atOnce, waited, left, full, late, tooMany, unlimited} {
		m.results.WithLabelValues(string(o))
	}
	factory.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "relay_accept_waiting", Help: "New connections to TCP services that wait for their turn.",
	}, func() float64 { return float64(s.Waiting()) })
	return m
}
