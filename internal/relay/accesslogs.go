package relay

import (
	"fmt"

	"relay/collator/envoy"
	"relay/internal/problem"
	"relay/xds"
)

// accessLogProblems are the fleets whose access logs go to a collector that the bootstraps of some of their Envoys do not
// name: one for a fleet.
func accessLogProblems(fleets []Fleet, streams []xds.StreamStatus) (problems []problem.Problem) {
	for _, f := range fleets {
		if !f.AccessLog.Collector {
			continue
		}
		var without []string
		for _, s := range streams {
			if s.Fleet == f.Name && !s.Told(envoy.CollectorTold, envoy.CollectorThere) {
				without = append(without, s.NodeID)
			}
		}
		if len(without) > 0 {
			problems = append(problems, problem.Problem{
				Kind: problem.Envoy, Severity: problem.Ignored, Item: "access-log", Subject: fmt.Sprintf("fleet %s, Envoy %s", f.Name, someOf(without, maxNodes)),
				Reason: "the fleet has access-log: collector, and the bootstrap names none: no access log of these Envoys goes anywhere",
				Action: "write the bootstrap anew, with --access-log-collector (relay bootstrap), and restart the Envoy",
			})
		}
	}
	return problems
}
