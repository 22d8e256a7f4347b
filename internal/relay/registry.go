package relay

import (
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/panics"
)

// containing registers collectors so that one that panics costs its own metrics
// only: a registry calls each on a goroutine of its own, where a panic ends the
// process.
type containing struct {
	prometheus.Registerer
	log *slog.Logger
}

// Register implements prometheus.Registerer.
func (c containing) Register(collector prometheus.Collector) error {
	return c.Registerer.Register(&contained{Collector: collector, log: c.log})
}

// MustRegister implements prometheus.Registerer.
func (c containing) MustRegister(collectors ...prometheus.Collector) {
	for _, collector := range collectors {
		if err := c.Register(collector); err != nil {
			panic(err)
		}
	}
}

// contained is a collector whose first panic is logged: metrics are collected
// several times a minute.
type contained struct {
	prometheus.Collector
	log  *slog.Logger
	once sync.Once
}

// Collect implements prometheus.Collector.
func (c *contained) Collect(metrics chan<- prometheus.Metric) {
	if err := panics.Catch(func() error { c.Collector.Collect(metrics); return nil }); err != nil {
		c.once.Do(func() { panics.Log(c.log, err, "part", "metrics") })
	}
}
