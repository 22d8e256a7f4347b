package explain

import (
	"maps"
	"slices"

	"relay/collator"
	"relay/collator/routing"
	"relay/xds"
)

// Fleet is the Envoys of a fleet, and how many resources the subject needs there.
type Fleet struct {
	Name   string  `json:"name"`
	Needs  int     `json:"needs"`
	Envoys []Envoy `json:"envoys,omitempty"`
}

// Envoy is how far a connected Envoy has come with these resources.
type Envoy struct {
	ID           string    `json:"id"`
	Version      string    `json:"version,omitempty"`
	Address      string    `json:"address"`
	Acknowledged int       `json:"acknowledged"`
	Waiting      []Waiting `json:"waiting,omitempty"`
}

// Waiting is a resource that an Envoy has not acknowledged.
type Waiting struct {
	Type  string `json:"type"`
	Name  string `json:"name"`
	State string `json:"state"`
	// Rejected says more of what was rejected.
	Rejected *xds.StaleResource `json:"rejected,omitempty"`
}

// OnDemand is the state of a resource on demand that no request has needed.
const OnDemand = "loaded when a request needs it"

// Streams knows how far Envoys have come: an xds.Server.
type Streams interface {
	Progress(fleet string, keys []xds.Key) []xds.EnvoyProgress
}

// Explainer explains what a running Relay does.
type Explainer struct {
	Collator *collator.Collator
	Streams  Streams
	// NotReady says why Envoys are not served everything yet.
	NotReady func() []string
	// Unreachable says why Envoys could not connect to instances lately, by cluster and address.
	Unreachable func() map[string]map[string]string
	// Refused says which Envoys were refused lately, and why.
	Refused func() []string
	// Scaling says what Relay does with the number of instances of an app; nil if nothing. It may
	// be nil itself.
	Scaling func(app string) *AppScaling
}

// Explain is like the function Explain, and says how far each Envoy has come.
func (x Explainer) Explain(subject string) Explanation {
	now := explainer{x.Collator.Snapshot(), x.Collator}
	e := now.explain(subject)
	e.NotReady = x.NotReady()
	e.addUnreachable(x.Unreachable())
	if x.Scaling != nil {
		e.addScaling(x.Scaling)
	}
	onDemand := make(map[string][]xds.Type) // by fleet
	for _, f := range now.Fleets {
		if f.ClustersOnDemand {
			onDemand[f.Name] = append(onDemand[f.Name], xds.Cluster, xds.Endpoint)
		}
		if f.CertificatesOnDemand {
			onDemand[f.Name] = append(onDemand[f.Name], xds.Secret)
		}
	}
	for _, fleet := range slices.Sorted(maps.Keys(e.Needs)) {
		needs := e.Needs[fleet]
		view := Fleet{Name: fleet, Needs: len(needs)}
		for _, p := range x.Streams.Progress(fleet, needs) {
			view.Envoys = append(view.Envoys, envoyOf(p, needs, onDemand[fleet]))
		}
		if len(view.Envoys) == 0 && e.Refused == nil {
			e.Refused = x.Refused()
		}
		e.Fleets = append(e.Fleets, view)
	}
	return e
}

// addUnreachable says of each task why Envoys could not connect to it.
func (e *Explanation) addUnreachable(reasons map[string]map[string]string) {
	for _, app := range e.Apps {
		for _, port := range app.Ports {
			for i := range port.Endpoints {
				endpoint := &port.Endpoints[i]
				if reason := reasons[port.Cluster][endpoint.Address]; reason != "" {
					endpoint.Unreachable = reason + ". " + routing.EjectionRule()
				}
			}
		}
	}
}

// addScaling says of each app what is done with its instances. What an app has no need of while it
// sleeps, no Envoy lacks.
func (e *Explanation) addScaling(of func(app string) *AppScaling) {
	for i := range e.Apps {
		app := &e.Apps[i]
		if app.Scaling = of(app.ID); app.Scaling == nil || !app.Scaling.Sleeps {
			continue
		}
		for _, port := range app.Ports {
			if len(port.Endpoints) > 0 {
				continue
			}
			for fleet, needs := range e.Needs {
				e.Needs[fleet] = slices.DeleteFunc(needs, func(k xds.Key) bool {
					return k.Name == port.Cluster && (k.Type == xds.Cluster || k.Type == xds.Endpoint)
				})
			}
		}
	}
}

func envoyOf(p xds.EnvoyProgress, needs []xds.Key, onDemand []xds.Type) Envoy {
	envoy := Envoy{ID: p.NodeID, Version: p.Version, Address: p.Address}
	for i, resource := range p.Resources {
		state := resource.Progress
		if state == xds.Acknowledged {
			envoy.Acknowledged++
			continue
		}
		need := Waiting{Type: needs[i].Type.String(), Name: needs[i].Name, State: string(state)}
		if state == xds.NotAsked && slices.Contains(onDemand, needs[i].Type) {
			need.State = OnDemand
		}
		if state == xds.Rejected || state == xds.Quarantined {
			need.Rejected = &p.Resources[i].Stale
		}
		envoy.Waiting = append(envoy.Waiting, need)
	}
	return envoy
}
