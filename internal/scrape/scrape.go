// Package scrape is for metrics that are found out when somebody asks for them. What is counted
// as it happens is a counter, gauge or histogram of the package promauto.
package scrape

import "github.com/prometheus/client_golang/prometheus"

// Metric has a value for each combination of its labels.
type Metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

// NewGauge describes a gauge. The name is whole, with the unit at its end, so that a search finds
// it. The values of each label must be few: a fleet, a kind, a store's entry; never what apps or
// clients choose.
func NewGauge(name, help string, labels ...string) *Metric {
	return &Metric{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue}
}

// NewCounter describes a counter, whose name ends with _total. It is as NewGauge is.
func NewCounter(name, help string, labels ...string) *Metric {
	return &Metric{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue}
}

// Set gives a metric its value for some labels.
type Set func(m *Metric, value float64, labels ...string)

// Register registers metrics that collect sets all at once, each time that somebody asks for
// them. A metric that it does not set is missing. It must not look at every app: metrics are
// asked for several times a minute.
func Register(registerer prometheus.Registerer, collect func(Set), metrics ...*Metric) {
	registerer.MustRegister(Collector{metrics, collect})
}

// Collector is a prometheus.Collector of such metrics.
type Collector struct {
	metrics []*Metric
	collect func(Set)
}

// Describe implements prometheus.Collector.
func (c Collector) Describe(descs chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		descs <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c Collector) Collect(metrics chan<- prometheus.Metric) {
	c.collect(func(m *Metric, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(m.desc, m.kind, value, labels...)
	})
}

// IsCounter tells counters from gauges.
func (c Collector) IsCounter(desc *prometheus.Desc) bool {
	for _, m := range c.metrics {
		if m.desc == desc {
			return m.kind == prometheus.CounterValue
		}
	}
	return false
}
