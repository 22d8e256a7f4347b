package relay

import (
	"maps"
	"slices"

	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/traffic"
)

// newReports builds what keeps the failures that Envoys report, and the service that takes them.
func (r *Relay) newReports() *traffic.Server {
	r.connections = traffic.NewConnections()
	r.failures = traffic.NewFailures(slices.Collect(maps.Keys(r.stores)), func(fleet, cluster string) (app string, port int) {
		if !r.hasCluster(fleet, cluster) {
			return "", -1 // an Envoy tells of its own fleet alone
		}
		return routing.SplitClusterName(cluster)
	})
	reports := traffic.NewServer()
	reports.Handle(envoy.ConnectionsLog, r.connections.Log)
	reports.Handle(envoy.FailuresLog, r.failures.Log, r.connections.Log) // TCP has no other log
	r.tails = newTails(r)
	reports.Handle(envoy.TailLog, r.tails.requests.Log)
	return reports
}
