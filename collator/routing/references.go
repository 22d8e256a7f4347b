package routing

import (
	"fmt"
	"slices"
	"strings"

	"relay/sources"
)

// Reference is another app's port that a rule or service uses, or why it cannot.
type Reference struct {
	// Cluster is empty if the port cannot be used: Reason says why.
	Cluster, Reason string
	// Gated has requests wait until Relay lets them through, as the other app sleeps or is about to.
	Gated bool
}

// MayUse says why an app may not use a port of another one; empty if it may. Requests by such a use come
// past the password and the networks of the other app. So it has to agree: by being in the same top-level
// folder, where apps are of one tenant, or by naming who uses it.
func MayUse(user string, app *sources.App, port int) (reason string) {
	if user == app.ID {
		return ""
	}
	folder := sources.TopFolder(user)
	if folder != "" && folder == sources.TopFolder(app.ID) {
		return ""
	}
	if port >= 0 && port < len(app.Ports) && slices.ContainsFunc(app.Ports[port].UsedBy, func(pattern string) bool { return matchesApp(pattern, user) }) {
		return ""
	}
	if folder == "" {
		return fmt.Sprintf("it does not let %s, which is in no folder, use its port %d by RELAY_%[2]d_USED_BY", user, port)
	}
	return fmt.Sprintf("it is in another top-level folder, and does not let %s use its port %d by RELAY_%[2]d_USED_BY", user, port)
}

// matchesApp reports whether an entry of UsedBy stands for an app.
func matchesApp(pattern, id string) bool {
	if folder, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(id, folder)
	}
	return pattern == id
}

// Refer returns the port of an app that another one may use, or why the fleet cannot serve it: id is the name
// under which the app is routed. Whether the app has instances makes no difference.
func (f *Fleet) Refer(id string, app *sources.App, use sources.Use) Reference {
	at := fmt.Sprintf("port %d of %s", use.Port, use.App)
	switch {
	case use.Port < 0 || use.Port >= PortCount(app):
		return Reference{Reason: fmt.Sprintf("%s has no port %d", use.App, use.Port)}
	case !f.Routes(id, app, use.Port):
		return Reference{Reason: at + " is not in this fleet: give it the group"}
	}
	port := app.Ports[use.Port]
	redis := port.TCP != nil && port.TCP.Redis != nil
	switch {
	case use.Redis && !redis:
		return Reference{Reason: at + " does not speak Redis"}
	case !use.Redis && IsTCP(port):
		return Reference{Reason: at + " is a TCP service, and not one of HTTP"}
	case f.CannotVerify(port):
		return Reference{Reason: at + " asks for TLS with verification, and the fleet has no authorities for that (--upstream-ca)"}
	case f.ClustersOnDemand:
		return Reference{Reason: "the fleet loads clusters on demand (clusters-on-demand), which Envoy does for those of routes alone"}
	}
	return Reference{Cluster: ClusterName(id, use.Port), Gated: use.Waits && f.gates(app)}
}

// Unsigned reports whether nobody can sign on to a rule now, as what that takes is missing. Then its requests are answered
// as if it were closed.
func (f *Fleet) Unsigned(r Rule) bool {
	s := r.HTTP.SignOn
	switch {
	case s == nil:
		return false
	case s.App != nil && r.References[s.App.AppRef].Cluster == "":
		return true
	case s.OIDC != nil && f.CannotLogIn(s.OIDC, r.Credentials[s.OIDC.ClientSecret]) != "":
		return true
	case s.JWT != nil && f.lacksKeys(r):
		return true
	}
	return s.App == nil && s.JWT == nil && s.OIDC == nil
}

// lacksKeys reports whether the public keys of the tokens of a rule cannot be had.
func (f *Fleet) lacksKeys(r Rule) bool {
	j := r.HTTP.SignOn.JWT
	if j.Keys != "" {
		_, reason := PublicKeys(r.Credentials[j.Keys])
		return reason != ""
	}
	_, _, reason := f.Ask(j.JWKS)
	return reason != ""
}

// Used are the clusters that the rules of a domain use beside those that take its requests.
func (f *Fleet) Used(d DomainRoutes) (clusters []string) {
	for _, r := range d.Rules {
		if r.HTTP.Closed || f.Unsigned(r) {
			continue
		}
		for _, e := range f.ExternalsOf(sources.Port{HTTP: &r.HTTP}) {
			clusters = append(clusters, e.Cluster())
		}
		for _, reference := range r.References {
			if reference.Cluster != "" {
				clusters = append(clusters, reference.Cluster)
			}
		}
	}
	slices.Sort(clusters)
	return slices.Compact(clusters)
}
