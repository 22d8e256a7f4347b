package relay

import (
	"github.com/prometheus/client_golang/prometheus"

	"relay/collator/routing"
	"relay/connections/hold"
)

// holdApps says whether there is an instance for connections that wait for one.
type holdApps struct{ relay *Relay }

var _ hold.Apps = holdApps{}

// Port implements hold.Apps.
func (a holdApps) Port(fleet, name string, port int) hold.Port {
	c := a.relay.collator
	app := c.Routed(name)
	if app == nil || port >= len(app.Ports) || app.Ports[port].TCP == nil || !c.Routes(fleet, name, port) {
		return hold.Port{}
	}
	of := app.Ports[port]
	return hold.Port{Hold: of.TCP.Hold, Ready: routing.TakesConnections(of.Endpoints)}
}

var _ hold.Envoys = envoyView{}

// newHold builds what has connections to TCP services wait for an instance.
func (r *Relay) newHold(registerer prometheus.Registerer) error {
	r.hold = hold.New(holdApps{r}, envoyView{r}, hold.DefaultLimits(), r.log.With("part", "hold"), registerer)
	r.hold.Ready = r.collator.AppsPublished()
	return nil
}
