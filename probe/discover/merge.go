package discover

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"relay/admin/api"
	"relay/probe"
)

// Answer is what a Relay said last.
type Answer struct {
	api.ProbeTargets
	// Stale tells that the Relay cannot be read now. Its Envoys are asked all the same, as they may know no other Relay;
	// the rest counts for fleets of which no other Relay says anything.
	Stale bool
}

// known is what all Relays say together. Relays of the same fleet say the same, and what differs is a matter of moments.
type known struct {
	fleets map[string]*fleet
	// domains and services are by what names them.
	domains  map[domainKey]*api.ProbeDomain
	services map[serviceKey]*api.ProbeService
}

type fleet struct {
	api.ProbeFleet
	envoys map[string]api.ProbeEnvoy
	// labelled counts the labels of each domain.
	labelled map[string]int
}

type domainKey struct{ fleet, name, probe string }

type serviceKey struct {
	fleet, app string
	port       int
	probe      string
}

func merge(s probe.Settings, answers []Answer) known {
	k := known{fleets: make(map[string]*fleet), domains: make(map[domainKey]*api.ProbeDomain), services: make(map[serviceKey]*api.ProbeService)}
	for _, stale := range []bool{false, true} {
		fresh := maps.Clone(k.fleets) // those of which something newer is known
		for _, a := range answers {
			if a.Stale == stale {
				k.addFleets(a.Fleets, s.Asks)
				k.add(a.ProbeTargets, func(fleet string) bool { return s.Asks(fleet) && fresh[fleet] == nil })
			}
		}
	}
	for name, f := range k.fleets {
		if at := s.Envoys[name]; len(at) > 0 {
			f.place(at)
		}
	}
	return k
}

func (k known) addFleets(fleets []api.ProbeFleet, wanted func(fleet string) bool) {
	for _, f := range fleets {
		if wanted(f.Name) {
			k.addFleet(f)
		}
	}
}

// add takes in which domains and services one Relay has in the fleets that are wanted.
func (k known) add(t api.ProbeTargets, wanted func(fleet string) bool) {
	for _, d := range t.Domains {
		for _, name := range d.Fleets {
			f := k.fleets[name]
			if f == nil || !wanted(name) {
				continue
			}
			key := domainKey{name, d.Name, d.Probe}
			if before := k.domains[key]; before != nil {
				before.Skip, before.Sleeps = cmp.Or(before.Skip, d.Skip), before.Sleeps || d.Sleeps // what may sleep is not asked
				continue
			}
			k.domains[key] = new(d)
			if d.Probe != "" {
				f.labelled[d.Name]++
			}
		}
	}
	for _, s := range t.Services {
		for _, name := range s.Fleets {
			key := serviceKey{name, s.App, s.Port, s.Probe}
			switch before := k.services[key]; {
			case k.fleets[name] == nil || !wanted(name):
			case before != nil:
				before.Skip = cmp.Or(before.Skip, s.Skip)
			default:
				k.services[key] = new(s)
			}
		}
	}
}

func (k known) addFleet(said api.ProbeFleet) {
	f := k.fleets[said.Name]
	if f == nil {
		f = &fleet{ProbeFleet: said, envoys: make(map[string]api.ProbeEnvoy), labelled: make(map[string]int)}
		k.fleets[said.Name] = f
	}
	for _, e := range said.Envoys {
		if f.Address == "" {
			if _, err := netip.ParseAddr(e.Address); err != nil {
				continue // it connects by something else than an IP address
			}
		}
		// One that is connected to any Relay is not gone, and its address is that of now.
		if before, ok := f.envoys[e.ID]; !ok || !before.Disconnected.IsZero() && (e.Disconnected.IsZero() || e.Disconnected.After(before.Disconnected)) {
			f.envoys[e.ID] = e
		}
	}
}

// listener is where an Envoy of a fleet is asked.
type listener struct {
	id, host    string
	http, https uint16
}

// place has the Envoys where the settings say.
func (f *fleet) place(at []probe.EnvoyAddress) {
	f.envoys, f.Address = make(map[string]api.ProbeEnvoy), ""
	for _, e := range at {
		id := cmp.Or(e.ID, e.Address)
		f.envoys[id] = api.ProbeEnvoy{ID: id, Address: e.Address}
	}
}

// listeners returns where the Envoys are asked, ordered by id.
func (f *fleet) listeners(at []probe.EnvoyAddress) []listener {
	var all []listener
	for _, e := range f.envoys {
		l := listener{e.ID, cmp.Or(f.Address, e.Address), f.HTTP, f.HTTPS}
		for _, one := range at {
			if cmp.Or(one.ID, one.Address) == e.ID {
				l.http, l.https = cmp.Or(one.HTTP, l.http), cmp.Or(one.HTTPS, l.https)
			}
		}
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b listener) int { return strings.Compare(a.id, b.id) })
	return all
}
