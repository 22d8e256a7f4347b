package collator

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
	"relay/xds"
)

// markOIDC marks the secrets by which people log in at a port of an app, if it has any.
func (f *fleetState) markOIDC(id string, app *sources.App, port int) {
	if port >= routing.PortCount(app) || routing.OIDCOf(app.Ports[port].HTTP) == nil {
		return
	}
	cluster := routing.ClusterName(id, port)
	f.mark(xds.Secret, routing.OIDCClientSecret(cluster))
	f.mark(xds.Secret, routing.OIDCCookieSecret(cluster))
}

func httpOf(app *sources.App, port int) *sources.HTTP {
	if port >= routing.PortCount(app) {
		return nil
	}
	return app.Ports[port].HTTP
}

// oidcOf returns how people log in at an app port that the fleet routes; nil if they do not.
func (f *fleetState) oidcOf(cluster string) *sources.OIDC {
	id, port := routing.SplitClusterName(cluster)
	app := f.c.routed(id)
	if app == nil || !f.Routes(id, app, port) || port >= len(app.Ports) || routing.IsTCP(app.Ports[port]) {
		return nil
	}
	return routing.OIDCOf(app.Ports[port].HTTP)
}

// buildOIDCSecret makes a secret by which people log in; nil if nobody can.
func (f *fleetState) buildOIDCSecret(name string) (proto.Message, error) {
	cluster, cookies, _ := routing.SecretOfOIDC(name)
	o := f.oidcOf(cluster)
	if o == nil {
		return nil, nil
	}
	id, _ := routing.SplitClusterName(cluster)
	client, _ := f.credential(id, o.ClientSecret)
	if f.CannotLogIn(o, client) != "" {
		return nil, nil
	}
	if !cookies {
		return envoy.GenericSecret(name, client.Value), nil
	}
	key, err := routing.CookieKey(o, cluster, client.Value)
	if err != nil {
		return nil, err
	}
	return envoy.GenericSecret(name, key), nil
}

// noteSecrets remembers which secrets the scope of a domain names, so that they are removed after it.
func (f *fleetState) noteSecrets(routes routing.DomainRoutes) {
	delete(f.scopeSecrets, routes.Domain)
	for _, secret := range f.OIDCSecrets(routes.Rules) {
		f.scopeSecrets[routes.Domain] = append(f.scopeSecrets[routes.Domain], xds.Key{Type: xds.Secret, Name: secret})
	}
}

// reportLogIns says why nobody can log in at what is routed under a name, though the secret of the client is there. That a host
// may not be asked is told with all such hosts.
func (f *fleetState) reportLogIns(name string, app *sources.App) {
	var problems []problem.Problem
	for port := range routing.PortCount(app) {
		o := routing.OIDCOf(app.Ports[port].HTTP)
		if o == nil || !f.Routes(name, app, port) || routing.IsTCP(app.Ports[port]) {
			continue
		}
		client, _ := f.credential(name, o.ClientSecret)
		if client == nil {
			continue
		}
		if reason := f.CannotHaveSessions(client); reason != "" {
			problems = append(problems, problem.Problem{
				App: f.c.definedBy(name), Subject: fmt.Sprintf("port %d, log-in", port), Severity: problem.Failing,
				Reason: reason + ": every request is answered 403", Action: "mend it (docs/oidc.md)",
			})
		}
	}
	f.c.problems.set(owner{problem.App, f.Name, inCredentials, name}, problems...)
}
