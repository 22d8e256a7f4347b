package relay

import (
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"relay/connections/accept"
	"relay/internal/ratelimit"
	"relay/scaling/wake"
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
	for _, address := range takingRequests(of.Endpoints) {
		limits.Instances = append(limits.Instances, accept.Instance{Address: address})
	}
	return limits
}

// newAccept builds what paces new connections to TCP services.
func (r *Relay) newAccept(registerer prometheus.Registerer) error {
	r.accept = accept.New(acceptApps{r}, accept.DefaultLimits(), r.log.With("part", "accept"), registerer)
	r.accept.Ready = r.collator.AppsPublished()
	return nil
}

// registerConnections adds the service that Envoys ask before connections to TCP services.
func (r *Relay) registerConnections(g grpc.ServiceRegistrar) {
	answers := map[string]ratelimit.Answer{accept.Domain: r.accept.Connection}
	if r.scaling != nil {
		answers[wake.ConnectionDomain] = r.scaling.wake.Connection
	}
	ratelimit.Register(g, r.xds.AdmitRequest, answers)
}
