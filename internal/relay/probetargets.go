package relay

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"relay/admin"
	"relay/admin/api"
	"relay/collator"
	"relay/xds"
)

// probing shows what may be asked from outside, and what was found.
type probing struct{ r *Relay }

var _ admin.Probing = probing{}

// Targets are what may be asked. It costs a look at all domains if a sample is wanted.
func (p probing) Targets(q admin.TargetQuery) api.ProbeTargets {
	wanted := func(fleet string) bool { return q.Fleet == "" || q.Fleet == fleet }
	t := api.ProbeTargets{Reading: len(p.r.NotReady()) > 0}
	envoys := p.envoys()
	for _, f := range p.r.config.Fleets {
		if wanted(f.Name) {
			t.Fleets = append(t.Fleets, probeFleet(f, envoys[f.Name]))
		}
	}
	asked, services := p.r.collator.Asked()
	for _, d := range append(asked, p.r.collator.Sample(q.Sample, uint64(q.Epoch), q.Fleet)...) {
		if d.Fleets = slices.DeleteFunc(slices.Clone(d.Fleets), func(f string) bool { return !wanted(f) }); len(d.Fleets) > 0 {
			t.Domains = append(t.Domains, p.domain(d))
		}
	}
	for _, s := range services {
		if s.Fleets = slices.DeleteFunc(slices.Clone(s.Fleets), func(f string) bool { return !wanted(f) }); len(s.Fleets) > 0 {
			if one := p.service(s); one.Probe != "" || one.Skip != "" {
				t.Services = append(t.Services, one)
			}
		}
	}
	for _, n := range []int{len(t.Domains), len(t.Services)} {
		t.Omitted += max(0, n-api.MaxProbed)
	}
	t.Domains = fairly(t.Domains, api.MaxProbed, func(d api.ProbeDomain) (string, bool) { return d.App, d.Probe != "" })
	t.Services = fairly(t.Services, api.MaxProbed, func(s api.ProbeService) (string, bool) { return s.App, true })
	return t
}

// fairly returns at most so many, in their order: those that people chose before others, and of those the first of each app
// before the second of any.
func fairly[T any](all []T, most int, of func(T) (app string, chosen bool)) []T {
	if len(all) <= most {
		return all
	}
	type place struct{ class, rank, index int }
	places, before := make([]place, len(all)), make(map[string]int)
	for i, one := range all {
		app, chosen := of(one)
		places[i] = place{rank: before[app], index: i}
		if before[app]++; !chosen {
			places[i].class = 1
		}
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.rank, b.rank), cmp.Compare(a.index, b.index))
	})
	places = places[:most]
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.index, b.index) })
	some := make([]T, most)
	for i, p := range places {
		some[i] = all[p.index]
	}
	return some
}

// envoys returns the Envoys by fleet, ordered by id: those that are connected, have left, and did not come back after a restart of
// Relay. Of two with the same id the one that connected last is meant.
func (p probing) envoys() map[string][]api.ProbeEnvoy {
	connected := make(map[[2]string]bool) // or was, in this run
	all := make(map[string][]api.ProbeEnvoy)
	streams := p.r.xds.Streams()
	slices.SortStableFunc(streams, func(a, b xds.StreamStatus) int { return b.Since.Compare(a.Since) })
	for _, s := range streams {
		if by := [2]string{s.Fleet, s.NodeID}; !connected[by] {
			connected[by] = true
			all[s.Fleet] = append(all[s.Fleet], api.ProbeEnvoy{ID: s.NodeID, Address: hostOf(s.Address)})
		}
	}
	for _, left := range p.r.xds.Left() {
		if by := [2]string{left.Fleet, left.NodeID}; !connected[by] {
			connected[by] = true
			all[left.Fleet] = append(all[left.Fleet], api.ProbeEnvoy{ID: left.NodeID, Address: hostOf(left.Address), Disconnected: left.At.UTC()})
		}
	}
	for fleet, away := range p.r.knownEnvoys.away(time.Now()) {
		for _, e := range away {
			if !connected[[2]string{fleet, e.ID}] {
				all[fleet] = append(all[fleet], e)
			}
		}
	}
	for _, envoys := range all {
		slices.SortFunc(envoys, func(a, b api.ProbeEnvoy) int { return strings.Compare(a.ID, b.ID) })
	}
	return all
}

// hostOf is the host of a HOST:PORT.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

func probeFleet(f Fleet, envoys []api.ProbeEnvoy) api.ProbeFleet {
	return api.ProbeFleet{
		Name: f.Name, HTTP: f.HTTP.Port(), HTTPS: f.HTTPS.Port(), Address: boundAddress(cmp.Or(f.HTTPS.Addr(), f.HTTP.Addr())),
		ClientCertificates: f.TLS.RequiresCertificates(), ProxyProtocol: f.Proxies.RequiresProtocol(), Envoys: envoys,
	}
}

// boundAddress is the one address that is bound; empty if all are, or the fleet's own choice is meant.
func boundAddress(address netip.Addr) string {
	if !address.IsValid() || address.IsUnspecified() {
		return ""
	}
	return address.String()
}

func (p probing) domain(d collator.AskedDomain) api.ProbeDomain {
	entry := &collator.DomainEntry{Name: d.Name, Fleets: d.Fleets}
	one := api.ProbeDomain{
		Name: d.Name, Fleets: d.Fleets, App: d.App, Port: d.Port, Owner: d.Owner, Probe: d.Probe, Status: p.r.DomainStatus(entry),
		Sleeps: d.Sleeps && p.r.config.Scaling.Enabled, HTTPS: d.Secure || p.r.DomainCertificate(entry) != "",
	}
	if d.Probe == "" {
		one.Path = d.Path
	}
	// The status of one that sleeps may be that it has no certificate.
	one.Skip = skipped(serviceStatus[p.r.collator.RoutedState(d.Name)])
	return one
}

// skipped says why what is so is not asked. An app without a task is: people see that it does not work.
func skipped(status api.DomainStatus) string {
	switch status {
	case api.DomainAsleep:
		return "the app sleeps"
	case api.DomainStopped:
		return "the app is scaled to 0"
	}
	return ""
}

func (p probing) service(s collator.AskedService) api.ProbeService {
	tcp := s.Port.TCP
	one := api.ProbeService{
		App: s.App, Port: s.AppPort.Port, Owner: s.Owner, Fleets: s.Fleets, ServicePort: tcp.Port, Address: boundAddress(tcp.Address),
		ProxyProtocol: tcp.AcceptProxy, Probe: s.Probe, Status: serviceStatus[s.State],
	}
	exact := slices.DeleteFunc(slices.Clone(s.Port.Domains), func(name string) bool { return strings.HasPrefix(name, "*.") })
	if len(exact) > 0 && (tcp.Passthrough || tcp.ServiceTLS != nil) {
		one.ServerName = exact[0]
	}
	// Who shows no certificate where one is needed can do no more than connect.
	needs := tcp.ServiceTLS != nil && tcp.ServiceTLS.ClientCA != "" && !tcp.ServiceTLS.OptionalCertificate
	one.TLS = !needs && one.ServerName != ""
	if one.Skip = skipped(one.Status); one.Skip == "" && s.Sleeps && p.r.config.Scaling.Enabled {
		one.Skip = "the app may sleep, and a connection would keep it awake"
	}
	return one
}

var serviceStatus = map[collator.DomainState]api.DomainStatus{
	collator.StateServed: api.DomainServed, collator.StateAsleep: api.DomainAsleep,
	collator.StateStopped: api.DomainStopped, collator.StateWithoutTask: api.DomainWithoutTask,
}

// Found is what was found last.
func (p probing) Found(q admin.ProbeQuery) (api.Probes, bool) { return p.r.probes.found(q) }

// Peers are the other Relays.
func (p probing) Peers() []string { return p.r.config.Scaling.Peers.URLs }
