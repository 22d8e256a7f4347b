package routing

import (
	"fmt"
	"maps"
	"slices"
)

// ServiceIndex knows who wants each TCP port and, of the https listener, each
// server name. Each list is sorted: the first service counts.
type ServiceIndex struct {
	Ports map[uint16][]Service
	Names map[string][]Service
}

func NewServiceIndex() ServiceIndex {
	return ServiceIndex{Ports: make(map[uint16][]Service), Names: make(map[string][]Service)}
}

func (x ServiceIndex) Remove(s Service) {
	same := func(o Service) bool { return o.AppPort == s.AppPort }
	drop(x.Ports, s.Listen, same)
	for _, name := range s.Names {
		drop(x.Names, name, same)
	}
}

func drop[K comparable](index map[K][]Service, key K, which func(Service) bool) {
	index[key] = slices.DeleteFunc(slices.Clone(index[key]), which)
	if len(index[key]) == 0 {
		delete(index, key)
	}
}

func (x ServiceIndex) Add(s Service) {
	if s.Listen != 0 {
		x.Ports[s.Listen] = slices.SortedFunc(slices.Values(append(x.Ports[s.Listen], s)), CompareServices)
	}
	for _, name := range s.Names {
		x.Names[name] = slices.SortedFunc(slices.Values(append(x.Names[name], s)), CompareServices)
	}
}

// WantingNames returns the services that want the TLS connections for some name.
func (x ServiceIndex) WantingNames() []Service {
	all := make(map[AppPort]Service)
	for _, wanting := range x.Names {
		for _, s := range wanting {
			all[s.AppPort] = s
		}
	}
	return slices.SortedFunc(maps.Values(all), CompareServices)
}

// Opened returns the service behind a listener.
func (x ServiceIndex) Opened(listener string) (Service, bool) {
	port, ok := TCPPort(listener)
	if !ok || len(x.Ports[port]) == 0 {
		return Service{}, false
	}
	s := x.Ports[port][0]
	return s, !s.Closed
}

// HTTPHolder returns the claim by which another app keeps its domain from being
// passed through.
func HTTPHolder(claims []Claim, s Service) (Claim, bool) {
	i := slices.IndexFunc(claims, func(c Claim) bool { return c.Route })
	if i < 0 || claims[i].App >= s.App {
		return Claim{}, false
	}
	return claims[i], true
}

// HeldReason says why a name is not passed through: by the claim of HTTPHolder.
func HeldReason(c Claim) string {
	return fmt.Sprintf("%s has the domain in HTTP mode (the lowest app id wins)", c.AppPort)
}
