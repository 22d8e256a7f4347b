package hold

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
			Name: "relay_hold_connections_total",
			Help: "New connections to TCP services without an instance: that waited until there was one, that were closed (too many waited, the wait was too long), whose client left, of whose Envoy another Relay had to be asked, and which did not have to wait any more.",
		}, []string{"result"}),
		waited: factory.NewHistogram(prometheus.HistogramOpts{
			Name:    "relay_hold_wait_seconds",
			Help:    "How long new connections to TCP services without an instance waited.",
			Buckets: []float64{.01, .1, .5, 1, 5, 15, 30, 60, 120, 300},
		}),
	}
	for _, o := range []outcome{waited, tooLate, full, left, elsewhere, notHeld, failedWait} {
		m.results.WithLabelValues(string(o))
	}
	factory.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "relay_hold_waiting", Help: "New connections to TCP services that wait for an instance.",
	}, func() float64 { return float64(s.Waiting()) })
	return m
}
