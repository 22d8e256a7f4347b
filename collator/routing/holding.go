package routing

import (
	"net/netip"
	"slices"
	"time"

	"relay/sources"
)

// nowhere is an address that refuses every connection: nothing can listen on port 0.
var nowhere = sources.Endpoint{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)}

// Refusing are the connections of a cluster that refuses all commands of Redis.
func Refusing() Connections { return Connections{TCP: true, Redis: true} }

// RefusingEndpoints returns the one that refuses every connection.
func RefusingEndpoints() []sources.Endpoint { return []sources.Endpoint{nowhere} }

// HoldOf returns for how long new connections to a port of an app wait while it has no instance, and
// whether they do now. It is 0 if they never do.
func (f *Fleet) HoldOf(id string, app *sources.App, port int) (hold time.Duration, now bool) {
	if port >= PortCount(app) || !f.Routes(id, app, port) || app.Ports[port].TCP == nil || app.Ports[port].TCP.Redis != nil {
		return 0, false
	}
	hold = app.Ports[port].TCP.Hold
	return hold, hold > 0 && !TakesConnections(app.Ports[port].Endpoints)
}

// TakesConnections reports whether one of some endpoints takes new connections.
func TakesConnections(endpoints []sources.Endpoint) bool {
	return slices.ContainsFunc(endpoints, func(e sources.Endpoint) bool { return e.Health != sources.Draining })
}

// EndpointsFor returns the endpoints that Envoys are sent of a port.
//
// While connections wait for an instance there is one that refuses them. Envoys are told of endpoints and
// of the filter by which connections wait at two moments. A connection that comes between them is refused by
// that endpoint and tried again; without an endpoint Envoy would close it. Those that drain are left
// out then: Envoy would take the refusing one for one instance of several, and eject it. Connections that
// they have stay open.
//
// A port of Redis without servers has the one that refuses too: without an endpoint, Envoy 1.36 to 1.40 crashes when a
// client begins a transaction.
func (f *Fleet) EndpointsFor(id string, app *sources.App, port int) []sources.Endpoint {
	if _, now := f.HoldOf(id, app, port); now {
		return []sources.Endpoint{nowhere}
	}
	all := EndpointsOf(app, port)
	if len(all) == 0 && port < PortCount(app) && app.Ports[port].TCP != nil && app.Ports[port].TCP.Redis != nil {
		return []sources.Endpoint{nowhere}
	}
	return all
}
