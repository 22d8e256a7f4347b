package relay

import (
	"time"

	"relay/internal/scrape"
	"relay/traffic"
	"relay/xds"
)

// hasCluster reports whether a fleet has a cluster: the load of others does not count.
func (r *Relay) hasCluster(fleet, cluster string) bool {
	return r.stores[fleet].Has(xds.Cluster, cluster)
}

var (
	requestsCounter      = scrape.NewCounter("relay_requests_total", "Requests and TCP connections to apps, as Envoys report them; each try of a request counts.", "fleet")
	requestErrorsCounter = scrape.NewCounter("relay_request_errors_total",
		"Requests that an app answered with 5xx, or did not answer, and those that were refused since too many were in progress.", "fleet")
	inProgressGauge = scrape.NewGauge("relay_requests_in_progress", "Requests, WebSockets and TCP connections that are open.", "fleet")
	reportersGauge  = scrape.NewGauge("relay_load_reporters", "Envoys that report their load. With an older bootstrap they do not.", "fleet")
)

// countLoad tells the load that Envoys report.
func (r *Relay) countLoad(set scrape.Set) {
	reporters := make(map[string]int)
	for _, one := range r.loads.Reporters() {
		if one.Reports(time.Now()) {
			reporters[one.Fleet]++
		}
	}
	for fleet := range r.stores {
		requests, errors := r.loads.Counters(fleet)
		set(requestsCounter, float64(requests), fleet)
		set(requestErrorsCounter, float64(errors), fleet)
		set(inProgressGauge, float64(r.loads.Fleet(fleet).InProgress), fleet)
		set(reportersGauge, float64(reporters[fleet]), fleet)
	}
}

// Loads returns the load that Envoys report.
func (r *Relay) Loads() *traffic.Loads { return r.loads }
