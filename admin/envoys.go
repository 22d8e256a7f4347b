package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"relay/admin/api"
	"relay/xds"
)

// envoys answers /api/v1/envoys.
func (s *Server) envoys(_ *http.Request, q query) (any, error) {
	text, fleet, state := q.text("q"), q.values["fleet"], q.values["state"]
	entries := filter(s.allEnvoys(s.cfg.Views.Fleets()), true, func(e api.Envoy) bool {
		return (strings.Contains(strings.ToLower(e.ID), text) || strings.Contains(e.Address, text)) &&
			(fleet == "" || e.Fleet == fleet) && (state == "" || string(e.State) == state)
	})
	shown, page := pageOf(entries, q, envoyName, nil)
	return api.Envoys{Envoys: orEmpty(shown), Page: page}, nil
}

// envoyName orders Envoys by fleet and id. Two may have the same id: that is a mistake that
// people have to see, so the address tells them apart.
func envoyName(e api.Envoy) string { return e.Fleet + "\x00" + e.ID + "\x00" + e.Address }

// allEnvoys returns the Envoys that are connected, and those that were lately.
func (s *Server) allEnvoys(fleets []FleetView) []api.Envoy {
	all := slices.Clone(s.cfg.Views.Disconnected())
	for _, f := range fleets {
		for _, status := range f.Envoys {
			all = append(all, s.envoyOf(f.Name, status))
		}
	}
	slices.SortFunc(all, func(a, b api.Envoy) int { return cmp.Compare(envoyName(a), envoyName(b)) })
	return all
}

func (s *Server) envoyOf(fleet string, status xds.StreamStatus) api.Envoy {
	e := api.Envoy{
		Fleet: fleet, ID: status.NodeID, Version: status.Version, Zone: status.Zone, Address: status.Address,
		Connected: status.Since, CertificateExpires: status.CertificateExpires, State: api.EnvoyState(status.State()),
	}
	for _, t := range status.Types {
		e.Behind += t.Behind
		e.Lacking += t.StaleCount
	}
	if s.cfg.Load != nil {
		e.Load, e.Reported = s.cfg.Load.EnvoyLoad(fleet, e.ID)
	}
	return e
}

// envoy answers /api/v1/envoys/external/edge-1. Of two with the same id, the one that connected
// last is meant.
func (s *Server) envoy(r *http.Request, _ query) (any, error) {
	fleet, id := r.PathValue("fleet"), r.PathValue("id")
	var found *api.EnvoyStory
	for _, f := range s.cfg.Views.Fleets() {
		for _, status := range f.Envoys {
			if f.Name == fleet && status.NodeID == id && (found == nil || status.Since.After(found.Connected)) {
				found = &api.EnvoyStory{Envoy: s.envoyOf(fleet, status), Types: typesOf(status.Types)}
			}
		}
	}
	if found == nil {
		for _, e := range s.cfg.Views.Disconnected() {
			if e.Fleet == fleet && e.ID == id {
				found = &api.EnvoyStory{Envoy: e}
			}
		}
	}
	if found == nil {
		return nil, unknown(fmt.Sprintf("no Envoy %q of a fleet %q is connected, or was within the last hour", id, fleet))
	}
	found.LastFailures = s.lastFailures(FailureQuery{Fleet: fleet, Envoy: id})
	return found, nil
}

func typesOf(types []xds.TypeStatus) []api.EnvoyType {
	all := make([]api.EnvoyType, len(types))
	for i, t := range types {
		all[i] = api.EnvoyType{
			Type: t.Type.String(), Sent: t.Sent, Acked: t.Acked, Resources: t.Resources, Lacking: t.StaleCount, Behind: t.Behind, InFlight: t.InFlight,
		}
		for _, l := range t.Stale {
			all[i].Lacks = append(all[i].Lacks, api.Lacking{
				Name: l.Name, By: string(l.By), Since: l.Since, Error: redact(l.Message), Retry: l.Retry, Older: l.HasOlder,
			})
		}
	}
	return all
}

// fleetsJSON answers /api/v1/fleets.
func (s *Server) fleetsJSON(*http.Request, query) (any, error) {
	list := api.Fleets{Fleets: []api.Fleet{}}
	for _, f := range s.cfg.Views.Fleets() {
		fleet := api.Fleet{Name: f.Name, Revision: f.Revision, Resources: f.Resources, Envoys: []api.FleetEnvoy{}}
		for _, e := range f.Envoys {
			fleet.Envoys = append(fleet.Envoys, api.FleetEnvoy{
				ID: e.NodeID, Version: e.Version, Address: e.Address, Connected: e.Since, CertificateExpires: e.CertificateExpires, Types: typesOf(e.Types),
			})
		}
		list.Fleets = append(list.Fleets, fleet)
	}
	return list, nil
}
