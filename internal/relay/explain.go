package relay

import (
	"maps"
	"slices"

	"relay/admin"
	"relay/collator"
	"relay/xds"
)

// Explanation is what the admin endpoint says about a domain or an app.
type Explanation struct {
	collator.Explanation
	// NotReady says why Envoys are not served yet.
	NotReady []string `json:"notReady,omitempty"`
	// Fleets are those concerned, with their Envoys.
	Fleets []ExplainedFleet `json:"fleets,omitempty"`
}

// ExplainedFleet is the Envoys of a fleet, and how many resources the subject
// needs there.
type ExplainedFleet struct {
	Name   string           `json:"name"`
	Needs  int              `json:"needs"`
	Envoys []ExplainedEnvoy `json:"envoys,omitempty"`
}

// ExplainedEnvoy is how far a connected Envoy has come with these resources.
type ExplainedEnvoy struct {
	ID           string          `json:"id"`
	Version      string          `json:"version,omitempty"`
	Address      string          `json:"address"`
	Acknowledged int             `json:"acknowledged"`
	Waiting      []ExplainedNeed `json:"waiting,omitempty"`
}

// ExplainedNeed is a resource that an Envoy has not acknowledged.
type ExplainedNeed struct {
	Type  string `json:"type"`
	Name  string `json:"name"`
	State string `json:"state"`
	// Rejected says more of what was rejected.
	Rejected *admin.LackView `json:"rejected,omitempty"`
}

// notYet is the state of what is on demand and nobody has needed.
const notYet = "loaded when a request needs it"

// Explain says how a domain or an app is routed, from its labels to each Envoy.
func (r *Relay) Explain(subject string) (any, bool) {
	e := r.explain(subject)
	return e, e.Known
}

func (r *Relay) explain(subject string) Explanation {
	e := Explanation{Explanation: r.collator.Explain(subject), NotReady: r.NotReady()}
	lazy := make(map[string][]xds.Type) // what is on demand, by fleet
	for _, f := range r.config.Fleets {
		if f.ClustersOnDemand {
			lazy[f.Name] = append(lazy[f.Name], xds.Cluster, xds.Endpoint)
		}
		if f.CertificatesOnDemand {
			lazy[f.Name] = append(lazy[f.Name], xds.Secret)
		}
	}
	for _, fleet := range slices.Sorted(maps.Keys(e.Needs)) {
		needs := e.Needs[fleet]
		view := ExplainedFleet{Name: fleet, Needs: len(needs)}
		for _, p := range r.xds.Progress(fleet, needs) {
			view.Envoys = append(view.Envoys, explainEnvoy(p, needs, lazy[fleet]))
		}
		e.Fleets = append(e.Fleets, view)
	}
	return e
}

func explainEnvoy(p xds.EnvoyProgress, needs []xds.Key, lazy []xds.Type) ExplainedEnvoy {
	envoy := ExplainedEnvoy{ID: p.NodeID, Version: p.Version, Address: p.Address}
	for i, resource := range p.Resources {
		state := resource.Progress
		if state == xds.Acknowledged {
			envoy.Acknowledged++
			continue
		}
		need := ExplainedNeed{Type: needs[i].Type.String(), Name: needs[i].Name, State: string(state)}
		if state == xds.NotAsked && slices.Contains(lazy, needs[i].Type) {
			need.State = notYet
		}
		if state == xds.Rejected || state == xds.Quarantined {
			lack := lackView(resource.Stale)
			need.Rejected = &lack
		}
		envoy.Waiting = append(envoy.Waiting, need)
	}
	return envoy
}
