package admin

import (
	"net/http"
	"time"

	"relay/admin/api"
)

// Probing is what may be asked from outside, and what was found. Its methods are called from many goroutines at once.
type Probing interface {
	// Targets are what may be asked.
	Targets(TargetQuery) api.ProbeTargets
	// Found is what was found last; false if this Relay asks nothing.
	Found(ProbeQuery) (api.Probes, bool)
	// Peers are the admin endpoints of the other Relays of the same Envoys, as URLs.
	Peers() []string
}

// TargetQuery says which targets are asked for.
type TargetQuery struct {
	// Fleet is the only one; all if it is empty.
	Fleet string
	// Sample is how many domains of each fleet are chosen by chance; Epoch chooses others.
	Sample int
	Epoch  int64
}

// ProbeQuery says which results are asked for; what is empty is not asked for. Kind and Fleet are whole.
type ProbeQuery struct {
	Text, Kind, Fleet string
	Failing           bool
	// Limit is how many there are at most. After is Next of the page before.
	Limit int
	After string
}

// maxEpoch is the last epoch.
const maxEpoch = 1 << 40

var (
	sampleParam = parameter{Name: "sample", Text: "How many domains of each fleet are there beside those with the label RELAY_{n}_PROBE, chosen by chance among those that are served: all if it is larger.", Max: api.MaxProbed}
	epochParam  = parameter{Name: "epoch", Text: "Chooses other domains by chance: a part of them with each number, and after 16 all. The same number chooses the same ones everywhere. Without it others come within six hours.", Max: maxEpoch}
	probeParams = []parameter{
		textParam, {Name: "kind", Text: "Only those that are asked so.", Values: []string{"", "http", "tcp", "grpc", "dns", "websocket", "device"}}, fleetParam,
		{Name: "state", Text: "Only those in this state.", Values: []string{"", "failing"}}, limitParam, cursorParam,
	}
)

func (s *Server) probeRoutes() []route {
	return []route{
		{Path: "/api/v1/probes", Summary: "What was found by asking from outside, those that fail first", Answer: api.Probes{}, get: s.probes, Missing: true, Params: probeParams},
		{Path: "/api/v1/probes/targets", Summary: "What may be asked from outside, and through which Envoys", Answer: api.ProbeTargets{}, get: s.probeTargets, Params: []parameter{sampleParam, epochParam, fleetParam}},
		{Path: "/api/v1/sd/envoys", Summary: "The listeners of all Envoys as targets of Prometheus (http_sd), those that left within the last hour too", Answer: []api.Targets{}, get: s.discoverEnvoys, Params: []parameter{fleetParam}},
		{Path: "/api/v1/sd/domains", Summary: "The domains, each through every Envoy of its fleets, as targets of Prometheus (http_sd)", Answer: []api.Targets{}, get: s.discoverDomains, Params: []parameter{sampleParam, epochParam, fleetParam}},
		{Path: "/api/v1/sd/relays", Summary: "This Relay and the other ones of the same Envoys as targets of Prometheus (http_sd)", Answer: []api.Targets{}, get: s.discoverRelays},
	}
}

// probes answers /api/v1/probes.
func (s *Server) probes(_ *http.Request, q query) (any, error) {
	if s.cfg.Probing != nil {
		if found, ok := s.cfg.Probing.Found(probeQueryOf(q)); ok {
			return pagedProbes(found), nil
		}
	}
	return nil, unknown("this Relay asks nothing from outside: it runs without --probes")
}

func probeQueryOf(q query) ProbeQuery {
	asked := ProbeQuery{Text: q.values["q"], Kind: q.values["kind"], Fleet: q.values["fleet"], Failing: q.values["state"] == "failing", Limit: q.limit}
	if q.after != nil {
		asked.After = q.after.Name
	}
	return asked
}

// pagedProbes has a cursor for the next page, and no secret in what was seen.
func pagedProbes(found api.Probes) api.Probes {
	if found.Next != "" {
		found.Next = position{Name: found.Next}.cursor()
	}
	for i := range found.Probes {
		p := &found.Probes[i]
		p.Reason = redact(p.Reason)
		for j := range p.Steps {
			p.Steps[j].Seen = redact(p.Steps[j].Seen)
		}
	}
	return found
}

// probeTargets answers /api/v1/probes/targets.
func (s *Server) probeTargets(_ *http.Request, q query) (any, error) { return s.targets(q), nil }

// epochOf is the one that is asked for, or that of now.
func epochOf(q query, now time.Time) int64 {
	if epoch := q.number("epoch"); epoch > 0 {
		return int64(epoch)
	}
	return now.UnixNano() / int64(6*time.Hour/api.ProbeEpochs)
}

func (s *Server) targets(q query) api.ProbeTargets {
	all := api.ProbeTargets{}
	if s.cfg.Probing != nil {
		all = s.cfg.Probing.Targets(TargetQuery{Fleet: q.values["fleet"], Sample: q.number("sample"), Epoch: epochOf(q, time.Now())})
	}
	all.Fleets, all.Domains, all.Services = orEmpty(all.Fleets), orEmpty(all.Domains), orEmpty(all.Services)
	for i := range all.Fleets {
		all.Fleets[i].Envoys = orEmpty(all.Fleets[i].Envoys)
	}
	return all
}
