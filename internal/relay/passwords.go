package relay

import (
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"relay/internal/authz"
	"relay/passwords"
	"relay/sources"
)

// passwordApps says who is let in to apps.
type passwordApps struct{ relay *Relay }

var _ passwords.Apps = passwordApps{}

// Passwords implements passwords.Apps. The app is looked up with each request: so a new hash counts at once, before any Envoy
// is told.
func (a passwordApps) Passwords(fleet, name string, port int) *sources.BasicAuth {
	c := a.relay.collator
	app := c.Routed(name)
	if app == nil || port >= len(app.Ports) || !c.Routes(fleet, name, port) {
		return nil
	}
	if h := app.Ports[port].HTTP; h != nil && !h.Closed {
		return h.BasicAuth
	}
	return nil
}

// newPasswords builds what checks passwords that Envoy cannot check.
func (r *Relay) newPasswords(registerer prometheus.Registerer) error {
	r.passwords = passwords.New(passwordApps{r}, passwords.DefaultLimits(), r.log.With("part", "passwords"), registerer)
	r.passwords.Ready = r.collator.AppsPublished()
	return nil
}

// registerChecks adds the service that Envoys ask before requests.
func (r *Relay) registerChecks(g grpc.ServiceRegistrar) {
	var sleep authz.Answer
	if r.scaling != nil {
		sleep = r.scaling.wake.Answer(r.xds.AdmitRequest)
	}
	authz.Register(g, r.passwords.Answer(r.xds.AdmitRequest), sleep)
}
