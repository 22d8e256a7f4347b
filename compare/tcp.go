package compare

import (
	"fmt"
	"maps"
	"slices"

	"relay/collator/routing"
	"relay/compare/marathonlb"
)

// compareTCP compares what both have on the ports that marathon-lb opens for services, and
// Relay for TCP services.
func (s *Sides) compareTCP(r *Report, t *Tally) {
	onPort := make(map[int][]*marathonlb.Service)
	for _, one := range s.old.Services {
		onPort[one.ServicePort] = append(onPort[one.ServicePort], one)
	}
	for _, port := range slices.Sorted(maps.Keys(onPort)) {
		for _, one := range onPort[port] {
			r.count(t, s.compareOpened(one, onPort[port]))
		}
	}
	for _, port := range slices.Sorted(maps.Keys(s.relay.services.Ports)) {
		if len(onPort[int(port)]) > 0 {
			continue
		}
		service, opened := s.relay.services.Opened(routing.TCPListener(port))
		if !opened {
			continue
		}
		members := s.relay.members(service.App)
		f := Finding{Verdict: Different, Kind: Extra, Subject: fmt.Sprintf("tcp/%d", port), App: members[0], Old: "does not open it", New: portName(members, service.Port)}
		if skipped, known := s.skippedPort(members, service.Port); known {
			f.Reason = "for marathon-lb: " + skipped.Reason
			if p, _ := s.relay.port(members, service.Port); len(p.Endpoints) == 0 {
				f = f.expected("suspended")
			}
		}
		r.count(t, []Finding{f})
	}
}

// compareOpened compares who has the service port of a port of an app. all are the services
// that marathon-lb has on it.
func (s *Sides) compareOpened(old *marathonlb.Service, all []*marathonlb.Service) (findings []Finding) {
	f := Finding{
		Verdict: Different, Kind: TCPPort, Subject: fmt.Sprintf("tcp/%d", old.ServicePort), App: old.App,
		Old: portName(old.Members, old.Port) + " (" + old.Mode + ")",
	}
	if len(all) > 1 {
		f.Old += fmt.Sprintf(", and %d others on the same port, by chance", len(all)-1)
	}
	var wanting []routing.Service
	if old.ServicePort > 0 && old.ServicePort <= 65535 {
		wanting = s.relay.services.Ports[uint16(old.ServicePort)]
	}
	switch {
	case len(wanting) > 0 && s.relay.is(wanting[0].Cluster(), old.Members, old.Port):
		return s.compareBound(f, old, wanting[0])
	case len(wanting) > 0:
		f.New, f.Reason, f.Do = s.relay.named(wanting[0].Cluster()), "of several that want a port Relay takes the lowest app id, then the lowest port", "give each a port of its own by HAPROXY_n_PORT"
		return []Finding{f}
	case old.Mode == "http":
		return s.httpServicePort(f, old)
	}
	f.New = "does not open it"
	port, known := s.relay.port(old.Members, old.Port)
	if known && port.TCP != nil && port.TCP.Implicit && s.relay.fleet.TCP != routing.TCPAll && slices.Contains(port.Groups, s.relay.fleet.Name) {
		f.Reason = "Relay opens what labels ask for"
		f.Do = fmt.Sprintf("set HAPROXY_%d_MODE=tcp on the app, or give --tcp all", old.Port)
		return []Finding{f}
	}
	subject := fmt.Sprintf("port %d", old.Port)
	f.Reason, f.Do = s.relay.why(old.Members, old.Port, "", "MODE", "PORT", "BIND_ADDR", "ENABLED", "GROUP", subject)
	return []Finding{f}
}

// httpServicePort is about the service port of an HTTP app, which Relay does not open.
func (s *Sides) httpServicePort(f Finding, old *marathonlb.Service) []Finding {
	f.Kind, f.New = ServicePort, "does not open it"
	for _, host := range old.Hosts {
		if sendable(host) {
			return []Finding{f.expected("service port")}
		}
	}
	f.Reason = "an HTTP app without a domain has only its service port, and Relay serves HTTP by domains"
	f.Do = fmt.Sprintf("set HAPROXY_%d_VHOST, or HAPROXY_%d_MODE=tcp; nothing if nobody uses the port", old.Port, old.Port)
	return []Finding{f}
}

// compareBound compares what both let in on a port that leads to the same app port.
func (s *Sides) compareBound(f Finding, old *marathonlb.Service, service routing.Service) (findings []Finding) {
	found := func(kind Kind, was, is, reason, do string) {
		one := f
		one.Kind, one.Old, one.New, one.Reason, one.Do = kind, was, is, reason, do
		findings = append(findings, one)
	}
	if service.Closed {
		reason, do := s.relay.why(old.Members, old.Port, "", "AUTH", "BACKEND_NETWORK_ALLOWED_ACL", fmt.Sprintf("port %d", old.Port))
		found(Closed, f.Old, "does not open it", reason, do)
		return findings
	}
	if was, is := networks(old.Networks), service.Networks; !slices.Equal(was, is) {
		kind := Closed
		if len(is) == 0 || len(was) > 0 && covers(is, was) {
			kind = Open
		}
		found(kind, "lets in "+networkWords(was), "lets in "+networkWords(is), "", "look at HAPROXY_n_BACKEND_NETWORK_ALLOWED_ACL")
	}
	everywhere := []string{"*", "", "0.0.0.0", "::"}
	is := s.relay.fleet.HTTP.Addr().String()
	if service.Address.IsValid() {
		is = service.Address.String()
	}
	if was := old.BindAddress; was != is && (!slices.Contains(everywhere, was) || !slices.Contains(everywhere, is)) {
		found(TCPPort, "listens on "+was, "listens on "+is, "without HAPROXY_n_BIND_ADDR Relay takes the address of --http", "look at HAPROXY_n_BIND_ADDR")
	}
	return findings
}
