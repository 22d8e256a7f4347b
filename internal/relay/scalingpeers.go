package relay

import (
	"context"

	"relay/scaling"
	"relay/scaling/peers"
)

// peerReports is what the other Relays say, to who decides about instances.
type peerReports struct{ peers *peers.Peers }

var _ scaling.Peers = peerReports{}

// Reports implements scaling.Peers.
func (p peerReports) Reports(ctx context.Context, app string) ([]scaling.Report, error) {
	reports, err := p.peers.Reports(ctx, app)
	return converted(reports), err
}

// Last implements scaling.Peers.
func (p peerReports) Last(app string) ([]scaling.Report, bool) {
	reports, all := p.peers.Last(app)
	return converted(reports), all
}

func converted(reports []peers.Report) []scaling.Report {
	all := make([]scaling.Report, len(reports))
	for i, r := range reports {
		all[i] = scaling.Report(r)
	}
	return all
}

// peerView is what this Relay tells the others.
type peerView struct{ relay *Relay }

var _ peers.Local = peerView{}

// Report implements peers.Local.
func (v peerView) Report(app string) peers.Report {
	return peers.Report(v.relay.scaling.controller.Report(app))
}

// Loads implements peers.Local.
func (v peerView) Loads() []peers.Report {
	reports := v.relay.scaling.controller.Loads()
	all := make([]peers.Report, len(reports))
	for i, r := range reports {
		all[i] = peers.Report(r)
	}
	return all
}

// Reporting implements peers.Local.
func (v peerView) Reporting(envoys []peers.Envoy) (reporting []peers.Envoy) {
	for _, e := range envoys {
		if v.relay.xds.Connected(e.Fleet, e.ID) && len(v.relay.loads.Silent(e.Fleet, []string{e.ID})) == 0 {
			reporting = append(reporting, e)
		}
	}
	return reporting
}

// Missing implements peers.Local.
func (v peerView) Missing() (missing []peers.Envoy) {
	for _, left := range v.relay.xds.Left() {
		missing = append(missing, peers.Envoy{Fleet: left.Fleet, ID: left.NodeID})
	}
	return missing
}

// elsewhere reports whether an Envoy reports to another Relay.
func (f *scalingFleets) elsewhere(fleet, id string) bool {
	return f.relay.scaling != nil && f.relay.scaling.peers.Elsewhere(peers.Envoy{Fleet: fleet, ID: id})
}
