package relay

import (
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"relay/admin"
	"relay/admin/api"
	"relay/collator/routing"
	"relay/connections/accept"
	"relay/internal/ratelimit"
)

// acceptApps says which instances there are for connections that wait for their turn.
type acceptApps struct{ relay *Relay }

var _ accept.Apps = acceptApps{}

// Port implements accept.Apps.
func (a acceptApps) Port(fleet, name string, port int) accept.Port {
	c := a.relay.collator
	app := c.Routed(name)
	if app == nil || port >= len(app.Ports) || app.Ports[port].TCP == nil || !c.Routes(fleet, name, port) {
		return accept.Port{}
	}
	of := app.Ports[port]
	limits := accept.Port{AcceptRate: of.TCP.AcceptRate, AddressRate: of.TCP.AddressRate}
	if limits.AcceptRate == 0 {
		return limits
	}
	open := a.open(name, port)
	for _, address := range takingRequests(of.Endpoints) {
		limits.Instances = append(limits.Instances, accept.Instance{Address: address, Connections: open[address]})
	}
	return limits
}

// open returns how many connections each instance has on all Envoys, or nil if not all tell.
func (a acceptApps) open(name string, port int) map[netip.AddrPort]int {
	sum := make(map[netip.AddrPort]int)
	for _, fleet := range rebalanceView(a).Serving(name, port) {
		at, known := a.relay.loads.FollowOpen(fleet, routing.ClusterName(name, port))
		if !known {
			return nil
		}
		for address, n := range at {
			sum[address] += int(n)
		}
	}
	return sum
}

// newAccept builds what paces new connections to TCP services.
func (r *Relay) newAccept(registerer prometheus.Registerer) error {
	r.accept = accept.New(acceptApps{r}, accept.DefaultLimits(), r.log.With("part", "accept"), registerer)
	r.accept.Ready = r.collator.AppsPublished()
	return nil
}

// registerConnections adds the service that Envoys ask before connections to TCP services.
func (r *Relay) registerConnections(g grpc.ServiceRegistrar) {
	answers := map[string]ratelimit.Answer{ratelimit.AcceptDomain: r.accept.Connection, ratelimit.HoldDomain: r.hold.Connection}
	if r.scaling != nil {
		answers[ratelimit.WakeDomain] = r.scaling.wake.Connection
	}
	ratelimit.Register(g, r.xds.AdmitRequest, answers)
}

// acceptReports tells the admin endpoint which connections wait.
type acceptReports struct{ relay *Relay }

var _ admin.Waiting = acceptReports{}

// PortWaiting implements admin.Waiting.
func (r acceptReports) PortWaiting(cluster string) *api.WaitingConnections {
	d := r.relay.accept.Depth(routing.SplitClusterName(cluster))
	if d.Waiting == 0 {
		return nil
	}
	return &api.WaitingConnections{
		Connections: d.Waiting, PerSecond: d.Rate, Left: d.Left.Seconds(), Longest: time.Since(d.Oldest).Seconds(),
	}
}
