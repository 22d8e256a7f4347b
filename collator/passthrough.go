package collator

import (
	"maps"
	"slices"

	"relay/collator/routing"
)

// httpsParts returns what the https listener is made of, without what is left out of
// it: the certificates, each with the names that it answers, and the services.
func (f *fleetState) httpsParts() ([]routing.TLSChain, []routing.Service) {
	passed := f.passedServices()
	chains := routing.WithoutNames(f.chains, passed)
	if f.failed.leavesOutAny(httpsKey) {
		chains = routing.WithoutSecrets(chains, func(secret string) bool { return f.failed.leavesOut(httpsKey, part{secret: secret}) })
	}
	return routing.LeaveToWildcards(chains), passed
}

// passedTo returns the service that gets the TLS connections for a server name: of
// those that want them, the one with the lowest app id, then the lowest port. There is
// none if that service is closed, or if an app with a lower id has the name in HTTP mode:
// then a certificate answers.
func (f *fleetState) passedTo(name string) (routing.Service, bool) {
	wanting := f.wantingTLS(name)
	if !f.passes(wanting, name) {
		return routing.Service{}, false
	}
	return wanting[0], true
}

// passes reports whether TLS for a name is passed through to the first of the services that
// want it.
func (f *fleetState) passes(wanting []routing.Service, name string) bool {
	if len(wanting) == 0 || wanting[0].Closed {
		return false
	}
	_, lost := routing.WinningHTTPClaim(f.domains.claims[name], wanting[0])
	return !lost
}

// wantingTLS returns the services that want the TLS connections for a server name, in
// order, without those that are left out of the https listener.
func (f *fleetState) wantingTLS(name string) []routing.Service {
	wanting := f.services.Names[name]
	if len(wanting) == 0 || !f.failed.leavesOutAny(httpsKey) {
		return wanting
	}
	return slices.DeleteFunc(slices.Clone(wanting), func(s routing.Service) bool {
		return f.failed.leavesOut(httpsKey, part{AppPort: s.AppPort})
	})
}

// passedServices returns the services behind the https listener, each with the server
// names that it got.
func (f *fleetState) passedServices() []routing.Service {
	byCluster := make(map[string]routing.Service)
	for _, name := range slices.Sorted(maps.Keys(f.services.Names)) {
		s, ok := f.passedTo(name)
		if !ok {
			continue
		}
		cluster := s.Cluster()
		s.Names = append(byCluster[cluster].Names, name)
		byCluster[cluster] = s
	}
	return slices.SortedFunc(maps.Values(byCluster), routing.CompareServices)
}
