package queue

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics has no label for apps, of which there may be any number.
type metrics struct {
	results *prometheus.CounterVec
	waited  prometheus.Histogram
}

// Waiting is how many requests wait for an instance.
func (s *Service) Waiting() int { return int(s.waiting.Load()) }

func newMetrics(s *Service, registerer prometheus.Registerer) *metrics {
	factory := promauto.With(registerer)
	m := &metrics{
		results: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "relay_queue_requests_total",
			Help: "Requests to app ports with a queue: that got an instance at once, that waited for one, that were refused as busy, whose client left while it waited, and that were not counted.",
		}, []string{"result"}),
		waited: factory.NewHistogram(prometheus.HistogramOpts{
			Name:    "relay_queue_wait_seconds",
			Help:    "How long requests waited for an instance, of those that had to.",
			Buckets: []float64{.005, .02, .1, .5, 2, 10, 30, 120, 600},
		}),
	}
	for _, result := range []string{"at_once", "waited", "busy", "left", "uncounted"} {
		m.results.WithLabelValues(result)
	}
	factory.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "relay_queue_waiting", Help: "Requests that wait for an instance.",
	}, func() float64 { return float64(s.waiting.Load()) })
	return m
}
