// Package rebalance evens out how many connections the instances of TCP services have, for apps that ask
// for it: of instances that have more than their share, some connections end, and their clients connect
// anew.
//
// A Stage stands between the source and what routes apps. It shows a Balancer the apps that ask for it, and
// hands all on, with a note at each endpoint of which connections end (sources.Shed). The Balancer decides by
// a rule that is a pure function (next), from what Envoys report.
package rebalance

import (
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"relay/sources"
)

// Loads is what Envoys report of load: see traffic.Loads.
type Loads interface {
	// FollowOpen is what is open at the endpoints of a cluster that have some, and whether that is known.
	FollowOpen(fleet, cluster string) (at map[netip.AddrPort]uint64, known bool)
}

// View says how apps are routed, and which Envoys there are. Its methods return at once.
type View interface {
	// Routed returns the name under which an app is routed, by its id, and the app as it is, with those that
	// are routed as one with it. It is nil if none is.
	Routed(id string) (name string, app *sources.App)
	// Serving are the fleets that route a port, by the routed name of the app.
	Serving(name string, port int) []string
	// Counting are the Envoys of a fleet that tell how many connections they have, and why it is not known of
	// all of them; empty if it is.
	Counting(fleet string) (nodes []string, doubt string)
	// Unreachable are the instances of a cluster to which Envoys could not connect lately.
	Unreachable(cluster string) map[netip.AddrPort]bool
	// Cluster is the name of the cluster of an app port, by the routed name of the app.
	Cluster(app string, port int) string
}

// Config is what a Balancer is made of.
type Config struct {
	Loads Loads
	View  View
	// Registerer gets the metrics.
	Registerer prometheus.Registerer
}

// wants reports whether a port asks for it.
func wants(port sources.Port) bool {
	return port.TCP != nil && !port.TCP.Implicit && port.TCP.Rebalance > 0
}
