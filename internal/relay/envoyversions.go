package relay

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"relay/collator"
	"relay/collator/envoy"
	"relay/internal/hostname"
	"relay/internal/problem"
	"relay/xds"
)

// maxVersions and maxApps are how many versions and apps one problem names.
const maxVersions, maxApps = 5, 5

// versionProblems are the fleets with Envoys that are older than Relay supports, and those with
// Envoys that lack what apps of the fleet need: one of each kind for a fleet.
func (r *Relay) versionProblems(streams []xds.StreamStatus) []problem.Problem {
	old, limited := make(map[string][]xds.StreamStatus), make(map[string][]xds.StreamStatus)
	closing := make(map[string][]xds.StreamStatus) // those that end no TLS of TCP services
	for _, s := range streams {
		if s.Before(envoy.ServiceTLSBehindProxySince) {
			closing[s.Fleet] = append(closing[s.Fleet], s)
		}
		switch {
		case s.Age() == xds.OlderEnvoy:
			old[s.Fleet] = append(old[s.Fleet], s)
		case s.Before(envoy.ChainsSince):
			limited[s.Fleet] = append(limited[s.Fleet], s)
		}
	}
	var problems []problem.Problem
	for _, fleet := range slices.Sorted(maps.Keys(old)) {
		p := versionProblem(fleet, old[fleet], xds.OlderEnvoyReason(versionsOf(old[fleet])...))
		p.Severity = problem.Advice
		problems = append(problems, p)
	}
	problems = append(problems, r.serviceTLSProblems(closing)...)
	if len(limited) == 0 {
		return problems
	}
	limits := r.limits.get(maps.Keys(r.stores), r.collator.Apps, limitsOf)
	for _, fleet := range slices.Sorted(maps.Keys(limited)) {
		if reason := limits[fleet]; reason != "" {
			of := fmt.Sprintf("of version %s, older than 1.%d: ", someOf(versionsOf(limited[fleet]), maxVersions), envoy.ChainsSince)
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
		Kind: problem.Envoy, Item: "version", Reason: reason, Action: "install a newer Envoy; docs/compatibility.md says what each version lacks",
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

// fleetLimits remembers what of each fleet's apps needs a newer Envoy: to find out costs a look
// at every app, and each time that metrics are asked for it is wanted.
type fleetLimits[T any] struct {
	mu   sync.Mutex
	next time.Time // when apps are looked at again
	of   map[string]T
}

// lookCost is how much longer than a look at all apps it takes until the next one.
const lookCost = 100

// get returns what find does for each fleet. It may be a little old: looking takes 1 % of the time at
// most.
func (l *fleetLimits[T]) get(fleets iter.Seq[string], apps func() []collator.AppView, find func(fleet string, apps []collator.AppView) T) map[string]T {
	l.mu.Lock()
	defer l.mu.Unlock()
	start := time.Now()
	if start.Before(l.next) {
		return l.of
	}
	all := apps()
	l.of = make(map[string]T)
	for fleet := range fleets {
		l.of[fleet] = find(fleet, all)
	}
	now := time.Now()
	l.next = now.Add(lookCost * now.Sub(start))
	return l.of
}

// limitsOf says what of a fleet's apps needs a newer Envoy; nothing if that is nothing.
func limitsOf(fleet string, apps []collator.AppView) string {
	var closed, without []string
	wildcards := 0
	for _, app := range apps {
		restricted, filtered := false, false
		for i, port := range app.Ports {
			if !slices.Contains(port.Fleets, fleet) || len(port.Domains) == 0 {
				continue
			}
			for _, d := range port.Domains {
				if _, wildcard := hostname.CutWildcard(d); wildcard {
					wildcards++
				}
			}
			if i < len(app.Routed.Ports) && app.Routed.Ports[i].HTTP != nil {
				h := app.Routed.Ports[i].HTTP
				restricted, filtered = restricted || envoy.Restricted(h), filtered || envoy.NeedsFilters(h)
			}
		}
		switch {
		case restricted:
			closed = append(closed, app.ID)
		case filtered:
			without = append(without, app.ID)
		}
	}
	var lacks []string
	if len(closed) > 0 {
		lacks = append(lacks, fmt.Sprintf("answer 403 for %d apps with a password or allowed networks (%s)", len(closed), someOf(closed, maxApps)))
	}
	if len(without) > 0 {
		lacks = append(lacks, fmt.Sprintf("serve %d apps without the sticky sessions or HTTP_BACKEND_REVPROXY_PATH that they ask for (%s)", len(without), someOf(without, maxApps)))
	}
	if wildcards > 0 {
		lacks = append(lacks, fmt.Sprintf("answer 404 for hosts below %d wildcard domains", wildcards))
	}
	if len(lacks) == 0 {
		return ""
	}
	return fmt.Sprintf("they %s. Install Envoy 1.%d or newer (docs/compatibility.md)", strings.Join(lacks, ", and "), envoy.ChainsSince)
}
