package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"relay/collator/routing"
	"relay/sources"
)

// LeftOut is an app that names a domain in vain.
type LeftOut struct {
	App    string `json:"app"`
	Reason string `json:"reason"`
}

// maxFleetsNamed is how many fleets people are told of.
const maxFleetsNamed = 10

// addLeftOut adds the apps that name a domain and do not get it, whatever keeps it from them:
// all but the claimants, which have been added.
func (x explainer) addLeftOut(e *Explanation, domain string, claimants map[string]struct{}) {
	more := make(map[string]struct{})
	note := func(id, reason string) {
		e.LeftOut = append(e.LeftOut, LeftOut{id, reason})
		_, claims := claimants[id]
		if !claims && !slices.ContainsFunc(e.Apps, func(app App) bool { return app.ID == id }) {
			more[id] = struct{}{}
		}
	}
	for _, app := range x.Unrouted {
		for _, one := range app.Unrouted {
			if one.Domain == domain {
				note(app.ID, one.Reason)
			}
		}
	}
	for _, app := range x.Routed {
		if _, claims := claimants[app.ID]; claims && len(e.Domains)+len(e.Services) > 0 {
			continue
		}
		for i, port := range app.Ports {
			if slices.Contains(port.Domains, domain) {
				if reason := x.whyNot(port); reason != "" {
					note(app.ID, fmt.Sprintf("port %d: %s", i, reason))
				}
			}
		}
	}
	slices.SortFunc(e.LeftOut, func(a, b LeftOut) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Reason, b.Reason))
	})
	x.addClaimants(e, more)
}

// leftOutOf returns the domains that an app names in vain.
func (x explainer) leftOutOf(id string) (all []LeftOut) {
	for _, app := range x.Unrouted {
		if app.ID != id {
			continue
		}
		for _, one := range app.Unrouted {
			all = append(all, LeftOut{id, one.Domain + ": " + one.Reason})
		}
	}
	return all
}

// whyNot says why no fleet routes the domains of a port.
func (x explainer) whyNot(port sources.Port) string {
	var fleets []string
	for _, f := range x.Fleets {
		fleets = append(fleets, f.Name)
	}
	serves := slices.ContainsFunc(port.Groups, func(group string) bool { return slices.Contains(fleets, group) })
	if over := len(fleets) - maxFleetsNamed; over > 0 {
		fleets = append(fleets[:maxFleetsNamed], fmt.Sprintf("%d more", over))
	}
	list := strings.Join(fleets, ", ")
	switch {
	case len(port.Groups) == 0:
		return fmt.Sprintf("it is in no group: set HAPROXY_GROUP (in a YAML file: groups; fleets: %s)", list)
	case !serves:
		return fmt.Sprintf("its group %s is no fleet here (fleets: %s)", sources.Clip(strings.Join(port.Groups, ", ")), list)
	case routing.IsTCP(port) && port.TCP.ServiceTLS != nil:
		return fmt.Sprintf("it is the server name of a certificate of TCP port %d, and gets no requests by HTTP", port.TCP.Port)
	case routing.IsTCP(port) && !port.TCP.Passthrough:
		return "it is in tcp mode, where a domain has no effect, unless RELAY_n_TLS_PASSTHROUGH is true (in a YAML file: tlsPassthrough)"
	}
	return ""
}
