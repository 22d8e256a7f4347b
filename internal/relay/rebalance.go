package relay

import (
	"fmt"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"relay/admin"
	"relay/admin/api"
	"relay/collator/routing"
	"relay/connections/rebalance"
	"relay/sources"
	"relay/traffic"
)

// throughRebalance returns what a source feeds in place of next, for the connections of apps that ask for it
// to be evened out.
func (r *Relay) throughRebalance(next sources.Sink, registerer prometheus.Registerer) sources.Sink {
	stage := rebalance.NewStage(next)
	r.balancer = rebalance.New(rebalance.Config{Loads: r.loads, View: rebalanceView{r}, Registerer: registerer}, stage)
	return stage
}

// rebalanceView says to the balancer how apps are routed, and which Envoys count their connections.
type rebalanceView struct{ relay *Relay }

var _ rebalance.View = rebalanceView{}

// Routed implements rebalance.View.
func (v rebalanceView) Routed(id string) (name string, app *sources.App) {
	name = v.relay.collator.RoutedID(id)
	return name, v.relay.collator.Routed(name)
}

// Serving implements rebalance.View.
func (v rebalanceView) Serving(name string, port int) (fleets []string) {
	c := v.relay.collator
	app := c.Routed(name)
	if app == nil || port >= len(app.Ports) {
		return nil
	}
	for _, fleet := range c.FleetsOf(app.Ports[port].Groups) {
		if c.Routes(fleet, name, port) {
			fleets = append(fleets, fleet)
		}
	}
	return fleets
}

// Counting implements rebalance.View.
func (v rebalanceView) Counting(fleet string) (nodes []string, doubt string) {
	envoys, _ := v.relay.xds.Envoys(fleet)
	for _, e := range envoys {
		if e.Before(traffic.SilentBefore) {
			doubt = fmt.Sprintf("Envoy %s is %s, which does not tell of connections that are silent: that takes 1.%d", e.NodeID, e.Version, traffic.SilentBefore)
		}
		nodes = append(nodes, e.NodeID)
	}
	if silent := v.relay.loads.Silent(fleet, nodes); len(silent) > 0 && doubt == "" {
		doubt = fmt.Sprintf("Envoy %s has not reported its load lately%s", silent[0], andMore(len(silent)-1))
	}
	if len(nodes) == 0 {
		doubt = "no Envoy of the fleet " + fleet + " is connected to this Relay"
	}
	return nodes, doubt
}

// Unreachable implements rebalance.View.
func (v rebalanceView) Unreachable(cluster string) map[netip.AddrPort]bool {
	var all map[netip.AddrPort]bool
	for _, u := range v.relay.connections.Unreachable() {
		if u.Cluster != cluster {
			continue
		}
		if all == nil {
			all = make(map[netip.AddrPort]bool)
		}
		all[u.Address] = true
	}
	return all
}

// Cluster implements rebalance.View.
func (v rebalanceView) Cluster(app string, port int) string { return routing.ClusterName(app, port) }

// rebalanceReports tells the admin endpoint what goes on with connections.
type rebalanceReports struct{ relay *Relay }

var _ admin.Rebalance = rebalanceReports{}

// PortRebalance implements admin.Rebalance.
func (r rebalanceReports) PortRebalance(cluster string) *api.Rebalance {
	app, port := routing.SplitClusterName(cluster)
	story, ok := r.relay.balancer.Story(app, port)
	if !ok {
		return nil
	}
	return &api.Rebalance{Phase: string(story.Phase), Text: story.Text, Since: story.Since.UTC(), Ended: story.Ended}
}
