package relay

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"relay/collator"
	"relay/collator/envoy"
	"relay/internal/problem"
	"relay/xds"
)

// maxVersions and maxApps are how many versions and apps one problem names.
const maxVersions, maxApps = 5, 5

// lacking are the Envoys of a fleet that are older than a minor version of Envoy 1 which brought something, and not
// older than the one before that did.
type lacking struct {
	fleet string
	since int
}

// versionProblems are the fleets with Envoys that are older than Relay supports, and those with
// Envoys that lack what apps of the fleet need: one for a fleet, and for each version that brought something.
func (r *Relay) versionProblems(streams []xds.StreamStatus) []problem.Problem {
	old, limited := make(map[string][]xds.StreamStatus), make(map[lacking][]xds.StreamStatus)
	brought := envoy.FeaturesSince()
	closing := make(map[string][]xds.StreamStatus) // those that end no TLS of TCP services
	for _, s := range streams {
		if s.Before(envoy.ServiceTLSBehindProxySince) {
			closing[s.Fleet] = append(closing[s.Fleet], s)
		}
		if s.Age() == xds.OlderEnvoy {
			old[s.Fleet] = append(old[s.Fleet], s)
		} else if i := slices.IndexFunc(brought, s.Before); i >= 0 {
			limited[lacking{s.Fleet, brought[i]}] = append(limited[lacking{s.Fleet, brought[i]}], s)
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
	for _, fleet := range slices.Sorted(maps.Keys(limits)) {
		for _, since := range brought {
			envoys := limited[lacking{fleet, since}]
			if reason := limits[fleet][since]; reason != "" && len(envoys) > 0 {
				of := fmt.Sprintf("of version %s, older than 1.%d: ", someOf(versionsOf(envoys), maxVersions), since)
				problems = append(problems, versionProblem(fleet, envoys, of+reason))
			}
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
