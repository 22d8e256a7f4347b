package routing

import (
	"relay/internal/secret"
	"relay/sources"
)

// Connections says how Envoy connects to the instances of a port: all that a cluster
// depends on. What changes often is in the endpoints.
type Connections struct {
	sources.Upstream
	// Sticky lets clients stay with an instance that takes no new clients.
	Sticky bool
	// TCP is set if connections carry something else than HTTP.
	TCP bool
	// SaysWho has instances told, by the PROXY protocol's version 2, what the certificate of a client
	// says.
	SaysWho bool
	// Redis is set if they carry commands of Redis. RedisCredential names what lets Envoys in then, if the servers ask for
	// that, and RedisPassword is it; ConnectionsOf leaves it out.
	Redis           bool
	RedisCredential string
	RedisPassword   secret.String
	// Queued has Relay name the instance that takes a request.
	Queued bool
	// Mirror is set for copies of requests, for whose answers nobody waits.
	Mirror bool
	// HostOfInstance has each instance get its own address as the host.
	HostOfInstance bool
}

// ConnectionsOf returns the connections of an app port. The app may be nil.
func (f *Fleet) ConnectionsOf(app *sources.App, port int) Connections {
	var c Connections
	if app == nil || port >= len(app.Ports) {
		return c
	}
	if u := app.Ports[port].Upstream; u != nil {
		c.Upstream = *u
	}
	if h := app.Ports[port].HTTP; h != nil {
		c.Sticky = h.KeepsClients()
		c.HostOfInstance = h.Shaping != nil && h.Shaping.HostOfInstance && h.Shaping.Host == ""
	}
	c.TCP, c.Queued = IsTCP(app.Ports[port]), f.Queues(app.Ports[port])
	if c.TCP && app.Ports[port].TCP.Redis != nil {
		c.Redis, c.RedisCredential = true, app.Ports[port].TCP.Redis.ServerPassword
	}
	c.SaysWho = c.TCP && app.Ports[port].TCP.ServiceTLS != nil && c.ProxyProtocol == 2
	return c
}

// Equal reports whether two clusters would be the same.
func (c Connections) Equal(other Connections) bool {
	return c.Sticky == other.Sticky && c.HostOfInstance == other.HostOfInstance && c.TCP == other.TCP && c.SaysWho == other.SaysWho && c.Queued == other.Queued && c.Redis == other.Redis && c.RedisCredential == other.RedisCredential && c.RedisPassword == other.RedisPassword && c.Upstream.Equal(&other.Upstream)
}

// CannotVerify reports whether a port asks that the certificates of its instances be
// verified, and the fleet has no authorities for that.
func (f *Fleet) CannotVerify(port sources.Port) bool {
	return port.Upstream != nil && port.Upstream.TLS != nil && port.Upstream.TLS.Verify && len(f.UpstreamCA) == 0
}
