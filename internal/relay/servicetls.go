package relay

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"relay/collator"
	"relay/collator/envoy"
	"relay/internal/problem"
	"relay/xds"
)

// serviceTLSProblems says which TCP services are not opened by Envoys that cannot keep strangers from the
// instances: see envoy.ServiceTLSSince.
func (r *Relay) serviceTLSProblems(envoys map[string][]xds.StreamStatus) (problems []problem.Problem) {
	if len(envoys) == 0 {
		return nil
	}
	limits := r.serviceLimits.get(maps.Keys(r.stores), r.collator.Apps, serviceLimitsOf)
	for _, fleet := range slices.Sorted(maps.Keys(envoys)) {
		all := limits[fleet]
		oldest := slices.DeleteFunc(slices.Clone(envoys[fleet]), func(s xds.StreamStatus) bool { return !s.Before(envoy.ServiceTLSSince) })
		for _, one := range []struct {
			envoys []xds.StreamStatus
			apps   string
			since  int
			what   string
		}{
			{oldest, all.services, envoy.ServiceTLSSince, "the port of TCP services with TLS_TERMINATE"},
			{envoys[fleet], all.behindProxy, envoy.ServiceTLSBehindProxySince, "the port of TCP services with TLS_TERMINATE and accept-proxy"},
		} {
			if len(one.envoys) == 0 || one.apps == "" {
				continue
			}
			p := versionProblem(fleet, one.envoys, fmt.Sprintf("of version %s, older than 1.%d: they do not open %s (%s), as strangers would reach the instances. Install Envoy 1.%d or newer (docs/compatibility.md)",
				someOf(versionsOf(one.envoys), maxVersions), one.since, one.what, one.apps, one.since))
			p.Item, p.Severity = "service TLS", problem.Failing
			problems = append(problems, p)
		}
	}
	return problems
}

// serviceLimits are the apps of a fleet with services whose TLS Envoy ends, for people to read; those behind
// the PROXY protocol need a newer Envoy than the others.
type serviceLimits struct{ services, behindProxy string }

// serviceLimitsOf finds the services of a fleet whose TLS Envoy ends.
func serviceLimitsOf(fleet string, apps []collator.AppView) serviceLimits {
	var services, behindProxy []string
	for _, app := range apps {
		for i, port := range app.Routed.Ports {
			if port.TCP == nil || port.TCP.ServiceTLS == nil || i >= len(app.Ports) || !slices.Contains(app.Ports[i].Fleets, fleet) {
				continue
			}
			if port.TCP.AcceptProxy {
				behindProxy = append(behindProxy, app.ID)
			}
			services = append(services, app.ID)
		}
	}
	list := func(ids []string) string {
		if len(ids) == 0 {
			return ""
		}
		return strings.TrimSpace(someOf(slices.Compact(ids), maxApps))
	}
	return serviceLimits{list(services), list(behindProxy)}
}
