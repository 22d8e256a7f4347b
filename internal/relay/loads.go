package relay

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/traffic"
	"relay/xds"
)

// hasCluster reports whether a fleet has a cluster: the load of others does not count.
func (r *Relay) hasCluster(fleet, cluster string) bool {
	return r.stores[fleet].Has(xds.Cluster, cluster)
}

// loadCollector tells the load that Envoys report.
type loadCollector struct{ relay *Relay }

var (
	requestsMetric = prometheus.NewDesc("relay_requests_total",
		"Requests and TCP connections to apps, as Envoys report them; each try of a request counts.", []string{"fleet"}, nil)
	requestErrorsMetric = prometheus.NewDesc("relay_request_errors_total",
		"Requests that an app answered with 5xx, or did not answer, and those that were refused since too many were in progress.", []string{"fleet"}, nil)
	inProgressMetric = prometheus.NewDesc("relay_requests_in_progress",
		"Requests, WebSockets and TCP connections that are open.", []string{"fleet"}, nil)
	reportersMetric = prometheus.NewDesc("relay_load_reporters",
		"Envoys that report their load. With an older bootstrap they do not.", []string{"fleet"}, nil)
)

// Describe implements prometheus.Collector.
func (loadCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{requestsMetric, requestErrorsMetric, inProgressMetric, reportersMetric} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (c loadCollector) Collect(metrics chan<- prometheus.Metric) {
	loads, reporters := c.relay.loads, make(map[string]int)
	for _, r := range loads.Reporters() {
		if r.Reports(time.Now()) {
			reporters[r.Fleet]++
		}
	}
	for fleet := range c.relay.stores {
		requests, errors := loads.Counters(fleet)
		for d, v := range map[*prometheus.Desc]float64{requestsMetric: float64(requests), requestErrorsMetric: float64(errors)} {
			metrics <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, fleet)
		}
		for d, v := range map[*prometheus.Desc]float64{
			inProgressMetric: float64(loads.Fleet(fleet).InProgress), reportersMetric: float64(reporters[fleet]),
		} {
			metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, fleet)
		}
	}
}

// Loads returns the load that Envoys report.
func (r *Relay) Loads() *traffic.Loads { return r.loads }
