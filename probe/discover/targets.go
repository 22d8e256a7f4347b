// Package discover finds out what to ask: of what Relays say of their fleets it makes the targets of an engine of
// probes. It keeps what a Relay said last while that cannot be read.
package discover

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"relay/admin/api"
	"relay/internal/probelabel"
	"relay/probe"
)

// Targets returns what is asked by what Relays say and by the settings, ordered by ID: each domain through every Envoy of
// its fleets, each TCP service, and each virtual device. What is not to be asked now is among them, and says why.
func Targets(s probe.Settings, answers ...Answer) []probe.Target {
	k := merge(s, answers)
	targets := s.Static()
	for _, name := range slices.Sorted(maps.Keys(k.fleets)) {
		f := k.fleets[name]
		listeners := f.listeners(s.Envoys[name])
		for _, d := range k.domainsOf(f, spare*s.MaxTargets/max(1, len(listeners))+1) {
			for _, l := range listeners {
				if t, ok := f.domain(s, *d, l); ok {
					targets = append(targets, t)
				}
			}
		}
		for key, service := range k.services {
			for _, l := range listeners {
				if t, ok := f.service(s, *service, l); ok && key.fleet == name {
					targets = append(targets, t)
				}
			}
		}
		for _, d := range s.Devices {
			for _, l := range listeners {
				if len(d.Fleets) == 0 || slices.Contains(d.Fleets, name) {
					targets = append(targets, k.device(f, d, l))
				}
			}
		}
	}
	slices.SortFunc(targets, func(a, b probe.Target) int { return strings.Compare(a.ID, b.ID) })
	return targets
}

// spare is how many times as many targets are made of the domains of a fleet as are asked: the engine chooses, and of very many
// domains and Envoys not all are made for that.
const spare = 2

// domainsOf returns at most so many domains of a fleet: those that people chose before others, the first of each app before
// the second of any.
func (k known) domainsOf(f *fleet, most int) []*api.ProbeDomain {
	var all []*api.ProbeDomain
	for key, d := range k.domains {
		if key.fleet == f.Name && (key.probe != "" || f.labelled[d.Name] == 0) {
			all = append(all, d)
		}
	}
	if len(all) <= most {
		return all
	}
	slices.SortFunc(all, func(a, b *api.ProbeDomain) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Probe, b.Probe), strings.Compare(a.App, b.App))
	})
	ranks, before := make(map[*api.ProbeDomain]int, len(all)), make(map[string]int)
	for _, d := range all {
		ranks[d] = before[d.App]
		if before[d.App]++; d.Probe == "" {
			ranks[d] += api.MaxProbed // after all others
		}
	}
	slices.SortStableFunc(all, func(a, b *api.ProbeDomain) int { return cmp.Compare(ranks[a], ranks[b]) })
	return all[:most]
}

// domain returns the target of a domain through an Envoy.
func (f *fleet) domain(s probe.Settings, d api.ProbeDomain, l listener) (probe.Target, bool) {
	t := probe.Target{
		Name: d.Name, Fleet: f.Name, Envoy: l.id, ProxyProtocol: f.ProxyProtocol, ServerName: d.Name, Domain: d.Name,
		App: d.App, Port: d.Port, Owner: d.Owner, Sampled: d.Probe == "", Skip: d.Skip, Kind: probe.HTTP, Ask: probe.Ask{Path: d.Path},
	}
	if d.Probe != "" {
		if !asked(s, &t, d.Probe) || t.Kind == probe.TCP && t.Ask.Module == "" {
			return t, false
		}
		if f.labelled[d.Name] > 1 {
			t.Name += " " + d.Probe
		}
	}
	if t.Skip == "" && d.Sleeps && t.Ask.Module != "" && t.Kind != probe.HTTP {
		t.Skip = fmt.Sprintf("the app may sleep, and a module of %s cannot say that it is a probe", t.Kind)
	}
	port := l.http
	if d.HTTPS && l.https != 0 {
		t.TLS, port = true, l.https
	}
	if port == 0 {
		return t, false
	}
	if !t.TLS && t.Skip == "" && t.Kind == probe.GRPC && t.Ask.Module != "" {
		t.Skip = "a module of grpc can say by TLS alone which domain it asks for"
	}
	if t.TLS && f.ClientCertificates && t.Skip == "" {
		t.Skip = "the fleet wants a certificate of clients, and probes have none"
	}
	return f.aimed(t, l.host, port), true
}

// service returns the target of a TCP service through an Envoy.
func (f *fleet) service(s probe.Settings, of api.ProbeService, l listener) (probe.Target, bool) {
	t := probe.Target{
		Name: fmt.Sprintf("%s:%d", of.App, of.Port), Fleet: f.Name, Envoy: l.id, ProxyProtocol: of.ProxyProtocol, TLS: of.TLS, ServerName: of.ServerName,
		App: of.App, Port: of.Port, Owner: of.Owner, Skip: of.Skip, Kind: probe.TCP,
	}
	port, host := of.ServicePort, l.host
	if port == 0 { // behind the listener for HTTPS
		port, t.ProxyProtocol = l.https, f.ProxyProtocol
	} else if of.Address != "" {
		host = of.Address
	}
	if port == 0 || !asked(s, &t, of.Probe) {
		return t, false
	}
	return f.aimed(t, host, port), true
}

func (f *fleet) aimed(t probe.Target, host string, port uint16) probe.Target {
	t.Address = net.JoinHostPort(host, strconv.Itoa(int(port)))
	t.ID = f.Name + "/" + t.Envoy + "/" + t.Name
	return t
}

// asked sets how a target is asked, by its label. It is false for a label that says that it is not, or that cannot be
// read: a newer Relay may know more.
func asked(s probe.Settings, t *probe.Target, label string) bool {
	l, err := probelabel.Parse(label)
	if err != nil || l.Kind == probelabel.Off {
		return false
	}
	t.Ask = probe.Ask{Method: l.Method, Path: l.Path, Status: l.Status, StatusClass: l.Class, Contains: l.Contains, Within: l.Within}
	switch l.Kind {
	case probelabel.HTTP:
		if t.Kind = probe.HTTP; len(l.Status) == 0 && l.Class == 0 {
			t.Ask.StatusClass = 2
		}
	case probelabel.WebSocket:
		t.Kind = probe.WebSocket
	case probelabel.GRPC:
		t.Kind, t.Ask.Path = probe.GRPC, l.Name
	case probelabel.TCP:
		t.Kind = probe.TCP
	case probelabel.Module:
		kind, ok := s.ModuleKind(l.Name)
		if t.Ask.Module = l.Name; ok {
			t.Kind = kind
		} else if t.Skip == "" {
			t.Skip = fmt.Sprintf("the settings of probes have no module %s", l.Name)
		}
		if t.Skip == "" && !s.LetsUse(l.Name, t.App) {
			t.Skip = fmt.Sprintf("the settings of probes do not let the app use the module %s (module-apps)", l.Name)
		}
	default:
		return false
	}
	return true
}
