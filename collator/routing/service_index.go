package routing

import (
	"fmt"
	"maps"
	"slices"
)

// ServiceIndex knows which services want each TCP port, and the TLS connections for each
// server name. Each list is sorted: the first service counts.
type ServiceIndex struct {
	Ports map[uint16][]Service
	Names map[string][]Service
	// Shown are the services whose TLS Envoy ends, by the names of their certificates. Several may have one.
	Shown map[string][]Service
}

// NewServiceIndex returns an index without services.
func NewServiceIndex() ServiceIndex {
	return ServiceIndex{Ports: make(map[uint16][]Service), Names: make(map[string][]Service), Shown: make(map[string][]Service)}
}

// Remove takes a service out.
func (x ServiceIndex) Remove(s Service) {
	same := func(o Service) bool { return o.AppPort == s.AppPort }
	drop(x.Ports, s.Listen, same)
	for _, name := range s.Names {
		drop(x.Names, name, same)
	}
	for _, name := range s.ServerNames {
		drop(x.Shown, name, same)
	}
}

func drop[K comparable](index map[K][]Service, key K, which func(Service) bool) {
	index[key] = slices.DeleteFunc(slices.Clone(index[key]), which)
	if len(index[key]) == 0 {
		delete(index, key)
	}
}

// Add puts a service in.
func (x ServiceIndex) Add(s Service) {
	if s.Listen != 0 {
		x.Ports[s.Listen] = slices.SortedFunc(slices.Values(append(x.Ports[s.Listen], s)), CompareServices)
	}
	for _, name := range s.Names {
		x.Names[name] = slices.SortedFunc(slices.Values(append(x.Names[name], s)), CompareServices)
	}
	for _, name := range s.ServerNames {
		x.Shown[name] = slices.SortedFunc(slices.Values(append(x.Shown[name], s)), CompareServices)
	}
}

// WantingNames returns all services that want the TLS connections for some server name.
func (x ServiceIndex) WantingNames() []Service {
	all := make(map[AppPort]Service)
	for _, wanting := range x.Names {
		for _, s := range wanting {
			all[s.AppPort] = s
		}
	}
	return slices.SortedFunc(maps.Values(all), CompareServices)
}

// Opened returns the service behind the listener of a TCP port. ok is false if there is
// none, or if it is closed.
func (x ServiceIndex) Opened(listener string) (s Service, ok bool) {
	port, ok := TCPPort(listener)
	if !ok || len(x.Ports[port]) == 0 {
		return Service{}, false
	}
	s = x.Ports[port][0]
	return s, !s.Closed
}

// WinningHTTPClaim returns the claim by which an app with a lower id than the service's has
// the domain in HTTP mode. Then TLS for the domain is not passed through to the service. ok
// is false if there is no such claim.
func WinningHTTPClaim(claims []Claim, s Service) (winner Claim, ok bool) {
	i := slices.IndexFunc(claims, func(c Claim) bool { return c.Route })
	if i < 0 || claims[i].App >= s.App {
		return Claim{}, false
	}
	return claims[i], true
}

// NotPassedReason says why TLS is not passed through, given the WinningHTTPClaim.
func NotPassedReason(winner Claim) string {
	return fmt.Sprintf("%s has the domain in HTTP mode (the lowest app id wins)", winner.AppPort)
}
