package relay

import (
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/panics"
)

// recoveringRegisterer registers collectors so that one that panics costs only its
// own metrics. A registry calls each collector on a goroutine of its own, where a
// panic would end the process.
type recoveringRegisterer struct {
	prometheus.Registerer
	log *slog.Logger
}

// Register implements prometheus.Registerer.
func (c recoveringRegisterer) Register(collector prometheus.Collector) error {
	return c.Registerer.Register(&recoveringCollector{Collector: collector, log: c.log})
}

// MustRegister implements prometheus.Registerer.
func (c recoveringRegisterer) MustRegister(collectors ...prometheus.Collector) {
	for _, collector := range collectors {
		if err := c.Register(collector); err != nil {
			panic(err)
		}
	}
}

// recoveringCollector is a collector whose panics are caught. Only the first is
// logged: metrics are collected several times a minute.
type recoveringCollector struct {
	prometheus.Collector
	log  *slog.Logger
	once sync.Once
}

// Collect implements prometheus.Collector.
func (c *recoveringCollector) Collect(metrics chan<- prometheus.Metric) {
	if err := panics.Catch(func() error { c.Collector.Collect(metrics); return nil }); err != nil {
		c.once.Do(func() { panics.Log(c.log, err, "part", "metrics") })
	}
}
