// Package gauges is for metrics that are counted when somebody asks for them. What is counted
// as it happens is a counter, gauge or histogram of the package promauto.
package gauges

import "github.com/prometheus/client_golang/prometheus"

// Gauge is a metric with a value for each combination of its labels.
type Gauge struct{ desc *prometheus.Desc }

// New describes a gauge. The name is whole, with the unit at its end, so that a search finds it.
// The values of each label must be few: a fleet, a kind, a store's entry; never what apps or
// clients choose.
func New(name, help string, labels ...string) *Gauge {
	return &Gauge{prometheus.NewDesc(name, help, labels, nil)}
}

// Set gives a gauge its value for some labels.
type Set func(g *Gauge, value float64, labels ...string)

// Register registers gauges that collect sets all at once, each time that metrics are asked for.
// A gauge that it does not set is missing. It must not look at every app: metrics are asked for
// several times a minute.
func Register(registerer prometheus.Registerer, collect func(Set), gauges ...*Gauge) {
	registerer.MustRegister(collector{gauges, collect})
}

type collector struct {
	gauges  []*Gauge
	collect func(Set)
}

// Describe implements prometheus.Collector.
func (c collector) Describe(descs chan<- *prometheus.Desc) {
	for _, g := range c.gauges {
		descs <- g.desc
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(metrics chan<- prometheus.Metric) {
	c.collect(func(g *Gauge, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, value, labels...)
	})
}
