package scaling

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"relay/internal/scrape"
)

var appsGauge = scrape.NewGauge("relay_scaling_apps", "Apps that Relay may scale, by what they are doing.", "phase")

// metrics counts what is decided.
type metrics struct {
	phases  [Off + 1]int // the Controller is locked
	changes *prometheus.CounterVec
	events  *prometheus.CounterVec
	wakes   prometheus.Histogram
}

func newMetrics(registerer prometheus.Registerer, c *Controller) *metrics {
	f := promauto.With(registerer)
	m := &metrics{
		changes: f.NewCounterVec(prometheus.CounterOpts{Name: "relay_scaling_changes_total", Help: "Changes of the number of instances that Relay asked the source for, by result."}, []string{"result"}),
		events:  f.NewCounterVec(prometheus.CounterOpts{Name: "relay_scaling_decisions_total", Help: "Decisions about the number of instances, by the event in the log."}, []string{"event"}),
		wakes: f.NewHistogram(prometheus.HistogramOpts{
			Name: "relay_scaling_wake_seconds", Help: "Time from the first request for an app that slept until an instance took requests.",
			Buckets: []float64{0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600},
		}),
	}
	for name := range kinds {
		m.events.WithLabelValues(name)
	}
	for _, result := range []string{"done", "changed", "locked", "gone", "failed"} {
		m.changes.WithLabelValues(result)
	}
	if registerer != nil {
		scrape.Register(registerer, func(set scrape.Set) {
			c.mu.Lock()
			defer c.mu.Unlock()
			for p, n := range m.phases {
				set(appsGauge, float64(n), Phase(p).String())
			}
		}, appsGauge)
	}
	return m
}

// wrote counts what became of a change.
func (m *metrics) wrote(err error) { m.changes.WithLabelValues(result(err)).Inc() }
