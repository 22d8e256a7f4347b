package relay

import (
	"fmt"
	"maps"
	"slices"

	"relay/admin"
	"relay/admin/api"
	"relay/collator"
	"relay/collator/explain"
	"relay/xds"
)

var _ admin.Views = (*Relay)(nil)

// NotReady says what Envoys wait for.
func (r *Relay) NotReady() []string {
	var reasons []string
	if !r.gate.isOpen(r.gate.apps) {
		reasons = append(reasons, waiting("apps", appsView(r.apps.Status())))
	}
	if !r.gate.isOpen(r.gate.certificates) {
		for _, c := range r.certificates {
			if v := c.view(); v.LastSync.IsZero() {
				reasons = append(reasons, waiting("certificates", v))
			}
		}
		if len(reasons) == 0 {
			reasons = append(reasons, "certificates have been read and are not published yet")
		}
	}
	return reasons
}

func waiting(what string, v admin.SourceView) string {
	if v.LastError == "" {
		return fmt.Sprintf("%s have not been read from %s %s yet", what, v.Kind, v.Name)
	}
	return fmt.Sprintf("%s cannot be read from %s %s: %s", what, v.Kind, v.Name, v.LastError)
}

// Counts sums up the apps.
func (r *Relay) Counts() admin.Counts {
	return admin.Counts(r.collator.Counts())
}

// Sources are where apps and certificates come from.
func (r *Relay) Sources() []admin.SourceView {
	views := []admin.SourceView{appsView(r.apps.Status())}
	for _, c := range r.certificates {
		views = append(views, c.view())
	}
	for _, c := range r.credentials {
		views = append(views, c.view())
	}
	return views
}

// Fleets are all fleets with their Envoys.
func (r *Relay) Fleets() []admin.FleetView {
	envoys := make(map[string][]xds.StreamStatus)
	for _, s := range r.xds.Streams() {
		envoys[s.Fleet] = append(envoys[s.Fleet], s)
	}
	var views []admin.FleetView
	for _, name := range slices.Sorted(maps.Keys(r.stores)) {
		resources := make(map[string]int)
		for t, n := range r.stores[name].Counts() {
			resources[t.String()] = n
		}
		views = append(views, admin.FleetView{Name: name, Revision: r.stores[name].Revision(), Resources: resources, Envoys: envoys[name]})
	}
	return views
}

// AppEntries are all apps, as they are searched and sorted.
func (r *Relay) AppEntries() []*collator.AppEntry { return r.collator.AppEntries() }

// DomainEntries are all domains, as they are searched and sorted.
func (r *Relay) DomainEntries() []*collator.DomainEntry { return r.collator.DomainEntries() }

// DomainStatus says whether a domain is served.
func (r *Relay) DomainStatus(e *collator.DomainEntry) api.DomainStatus {
	switch r.collator.DomainState(e) {
	case collator.StateWithoutTask:
		return api.DomainWithoutTask
	case collator.StateStopped:
		return api.DomainStopped
	case collator.StateAsleep:
		return api.DomainAsleep
	case collator.StateWithoutCertificate:
		return api.DomainWithoutCertificate
	case collator.StateInNoFleet:
		return api.DomainInNoFleet
	}
	return api.DomainServed
}

// DomainCertificate is the certificate that clients of a domain get.
func (r *Relay) DomainCertificate(e *collator.DomainEntry) string {
	return r.collator.DomainCertificate(e)
}

// Disconnected are the Envoys that have left lately.
func (r *Relay) Disconnected() []api.Envoy {
	var all []api.Envoy
	for _, left := range r.xds.Left() {
		all = append(all, api.Envoy{
			Fleet: left.Fleet, ID: left.NodeID, Version: left.Version, Zone: left.Zone, Address: left.Address,
			Connected: left.Since, Disconnected: left.At.UTC(), State: api.EnvoyDisconnected, CertificateExpires: left.CertificateExpires,
		})
	}
	return all
}

// Unreachable says why Envoys could not connect to instances lately.
func (r *Relay) Unreachable() map[string]map[string]string { return r.unreachableInstances() }

// App is an app as it is routed.
func (r *Relay) App(id string) (collator.AppView, bool) { return r.collator.App(id) }

// Certificates are all usable certificates.
func (r *Relay) Certificates() []collator.CertificateView { return r.collator.Certificates() }

// CertificatesInShort are the same without their domains.
func (r *Relay) CertificatesInShort() []collator.CertificateView {
	return r.collator.CertificatesInShort()
}

// Authorities are those of clients.
func (r *Relay) Authorities() []collator.AuthorityView { return r.collator.Authorities() }

// Uncovered are the domains without a certificate.
func (r *Relay) Uncovered() ([]collator.UncoveredDomain, bool) { return r.collator.UncoveredDomains() }

// Served counts the domains that are not served, and the apps that are in no fleet.
func (r *Relay) Served() collator.Served { return r.collator.Served() }

// Explain says how a domain or an app is routed, from its labels to each Envoy.
func (r *Relay) Explain(subject string) (any, bool) {
	e := explain.Explainer{Collator: r.collator, Streams: r.xds, NotReady: r.NotReady, Unreachable: r.unreachableInstances, Refused: r.Refused, Scaling: r.explainScaling}.Explain(subject)
	return e, e.Known
}
