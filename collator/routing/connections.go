package routing

import (
	"slices"

	"relay/sources"
)

// Connections is what the cluster of a port depends on. Whatever changes often
// is in the endpoints.
type Connections struct {
	sources.Upstream
	// Sticky lets clients stay with an endpoint that takes no new ones.
	Sticky bool
	// TCP tells that what is said on connections is not HTTP.
	TCP bool
}

func ConnectionsOf(app *sources.App, port int) Connections {
	var c Connections
	if app == nil || port >= len(app.Ports) {
		return c
	}
	if u := app.Ports[port].Upstream; u != nil {
		c.Upstream = *u
	}
	if h := app.Ports[port].HTTP; h != nil {
		c.Sticky = h.Sticky
	}
	c.TCP = IsTCP(app.Ports[port])
	return c
}

func (c Connections) Equal(other Connections) bool {
	return c.Sticky == other.Sticky && c.TCP == other.TCP && c.Upstream.Equal(&other.Upstream)
}

// CannotVerify reports whether a port asks to verify certificates that nothing
// is there to verify with.
func (f *Fleet) CannotVerify(port sources.Port) bool {
	return port.Upstream != nil && port.Upstream.TLS != nil && port.Upstream.TLS.Verify && len(f.UpstreamCA) == 0
}

// Routes reports whether the fleet has a cluster for an app port; app is nil
// when there is no such app. That of the ACME app is always there, so that no
// scope depends on whether the app runs.
func (f *Fleet) Routes(id string, app *sources.App, port int) bool {
	if id == f.ACMEApp && port == 0 {
		return true
	}
	return app != nil && port >= 0 && port < len(app.Ports) && slices.Contains(app.Ports[port].Groups, f.Name)
}

func PortCount(app *sources.App) int {
	if app == nil {
		return 0
	}
	return len(app.Ports)
}
