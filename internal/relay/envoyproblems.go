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
	for _, s := range streams {
		if s.NoClusters {
			problems = append(problems, problem.Problem{
				Kind: problem.Envoy, Subject: fmt.Sprintf("fleet %s, Envoy %s", s.Fleet, s.NodeID), Item: "clusters",
				Reason: fmt.Sprintf("it has been connected since %s and has not asked for clusters: new apps get 503 there. "+
					"See whether its bootstrap has cds_config (relay bootstrap), and which clusters are warming (its /clusters and log); else restart it",
					stamp(s.Since)),
			})
		}
	}
	return problems
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
