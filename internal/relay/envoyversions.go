package relay

import (
	"fmt"
	"maps"
	"slices"

	"relay/collator"
	"relay/internal/hostname"
	"relay/internal/problem"
	"relay/sources"
	"relay/xds"
)

// chainsSince is the minor version of Envoy 1 from which on Envoys know chains of filters. Those
// before reject the domains of routes with filters, and find no host below a wildcard domain.
const chainsSince = 38

// maxVersions and maxApps are how many versions and apps one problem names.
const maxVersions, maxApps = 5, 5

// versionProblems are the fleets with Envoys that are older than Relay supports, and those with
// Envoys that lack what apps of the fleet need: one of each kind for a fleet.
func (r *Relay) versionProblems(streams []xds.StreamStatus) []problem.Problem {
	old, limited := make(map[string][]xds.StreamStatus), make(map[string][]xds.StreamStatus)
	for _, s := range streams {
		switch {
		case s.Age() == xds.OlderEnvoy:
			old[s.Fleet] = append(old[s.Fleet], s)
		case s.Before(chainsSince):
			limited[s.Fleet] = append(limited[s.Fleet], s)
		}
	}
	var problems []problem.Problem
	for _, fleet := range slices.Sorted(maps.Keys(old)) {
		problems = append(problems, versionProblem(fleet, old[fleet], xds.OlderEnvoyReason(versionsOf(old[fleet])...)))
	}
	if len(limited) == 0 {
		return problems
	}
	apps := r.collator.Apps()
	for _, fleet := range slices.Sorted(maps.Keys(limited)) {
		if reason := limitsOf(fleet, apps); reason != "" {
			of := fmt.Sprintf("of version %s, older than 1.%d: ", someOf(versionsOf(limited[fleet]), maxVersions), chainsSince)
			problems = append(problems, versionProblem(fleet, limited[fleet], of+reason))
		}
	}
	return problems
}

func versionProblem(fleet string, envoys []xds.StreamStatus, reason string) problem.Problem {
	var nodes []string
	for _, s := range envoys {
		nodes = append(nodes, s.NodeID)
	}
	slices.Sort(nodes)
	return problem.Problem{
		Kind: problem.Envoy, Item: "version", Reason: reason,
		Subject: fmt.Sprintf("fleet %s, Envoy %s", fleet, someOf(slices.Compact(nodes), maxNodes)),
	}
}

func versionsOf(envoys []xds.StreamStatus) (versions []string) {
	for _, s := range envoys {
		versions = append(versions, s.Version)
	}
	slices.Sort(versions)
	versions = slices.Compact(versions)
	return versions[:min(len(versions), maxVersions)]
}

// limitsOf says what of a fleet's apps needs a newer Envoy; nothing if that is nothing.
func limitsOf(fleet string, apps []collator.AppView) string {
	var filtered []string
	wildcards := 0
	for _, app := range apps {
		needs := false
		for i, port := range app.Ports {
			if !slices.Contains(port.Fleets, fleet) {
				continue
			}
			for _, d := range port.Domains {
				if _, wildcard := hostname.CutWildcard(d); wildcard {
					wildcards++
				}
			}
			needs = needs || i < len(app.Routed.Ports) && needsFilters(app.Routed.Ports[i].HTTP) && len(port.Domains) > 0
		}
		if needs {
			filtered = append(filtered, app.ID)
		}
	}
	var reason string
	if len(filtered) > 0 {
		reason = fmt.Sprintf("they reject the domains of %d apps with a password, allowed networks, sticky sessions or "+
			"HTTP_BACKEND_REVPROXY_PATH (%s)", len(filtered), someOf(filtered, maxApps))
	}
	if wildcards > 0 {
		if reason != "" {
			reason += ", and "
		} else {
			reason = "they "
		}
		reason += fmt.Sprintf("answer 404 for hosts below %d wildcard domains", wildcards)
	}
	if reason == "" {
		return ""
	}
	return reason + fmt.Sprintf(". Install Envoy 1.%d or newer (docs/compatibility.md)", chainsSince)
}

// needsFilters reports whether requests to a port go through filters of its route.
func needsFilters(h *sources.HTTP) bool {
	return h != nil && (h.BasicAuth != nil || len(h.AllowedNetworks) > 0 || h.Sticky || h.LocationPrefix != "")
}
