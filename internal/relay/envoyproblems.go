package relay

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"relay/internal/problem"
	"relay/xds"
)

// maxNodes is how many Envoys one problem names.
const maxNodes = 5

// envoyProblems are what Envoys rejected, once for each resource and version of Envoy,
// and Envoys that do not ask for what they need.
func (r *Relay) envoyProblems() []problem.Problem {
	var problems []problem.Problem
	for _, fleet := range slices.Sorted(maps.Keys(r.stores)) {
		for _, rejected := range r.stores[fleet].Rejected() {
			problems = append(problems, rejectionProblem(fleet, rejected))
		}
	}
	streams := r.xds.Streams()
	problems = append(problems, r.versionProblems(streams)...)
	problems = append(problems, accessLogProblems(r.config.Fleets, streams)...)
	for _, s := range streams {
		problems = append(problems, clusterProblems(s)...)
	}
	return problems
}

// clusterProblems says of an Envoy that its bootstrap does not fit the fleet: whether it loads
// clusters on demand is said in both.
func clusterProblems(s xds.StreamStatus) []problem.Problem {
	p := problem.Problem{Kind: problem.Envoy, Subject: fmt.Sprintf("fleet %s, Envoy %s", s.Fleet, s.NodeID), Item: "clusters"}
	switch {
	case s.NoClusters:
		p.Reason = fmt.Sprintf("it has been connected since %s and has not asked for clusters: new apps get 503 there. "+
			"Either its bootstrap was written with --clusters on-demand, which the fleet does not have, or some of its clusters are warming", stamp(s.Since))
		p.Action = "write its bootstrap without --clusters on-demand (relay bootstrap), or give the fleet clusters: on-demand; if the bootstrap has cds_config, see which clusters are warming (its /clusters and log), or restart it"
	case s.AllClusters:
		p.Severity = problem.Ignored
		p.Reason = "it asks for all clusters, though the fleet has clusters: on-demand: it loads every app"
		p.Action = "write its bootstrap anew, with --clusters on-demand (relay bootstrap), and restart it"
	default:
		return nil
	}
	return []problem.Problem{p}
}

func rejectionProblem(fleet string, r xds.RejectedResource) problem.Problem {
	p := problem.Problem{
		Kind: problem.Envoy, Item: r.Type.String() + " " + r.Name,
		Subject: fmt.Sprintf("fleet %s, Envoy %s", fleet, someOf(r.Nodes, maxNodes)),
	}
	var reach string
	switch {
	case r.Acknowledged:
		reach = "others of its version have acknowledged the same, so see what is different on its machine"
	case r.Quarantined:
		reach = "all others of the version keep the last good one until it changes"
	default:
		reach = "no other connected Envoy of its version has acknowledged it"
	}
	p.Reason = fmt.Sprintf("rejected since %s by %d of version %s; %s (docs/rejections.md says what to do): %s", stamp(r.Since), len(r.Nodes), r.Envoy, reach, r.Message)
	return p
}

// someOf names the first of a list, and says how many more there are.
func someOf(list []string, most int) string {
	text := strings.Join(list[:min(len(list), most)], ", ")
	if more := len(list) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
