package collator

import (
	"strings"

	"relay/collator/routing"
	"relay/sources"
)

const (
	// externalSize is a cluster of a host outside, with the authorities of the web.
	externalSize = 256 << 10
	// keysSize is as many public keys as a credential may have. Those of a URL count as much: each route has its own, and
	// reads them for itself. So an app has about a hundred such routes, and cannot have Envoys ask a host all the time.
	keysSize = 16 << 10
)

// signOnSize is what it takes in a route to find out who somebody is.
func signOnSize(s *sources.SignOn) (size int) {
	if s == nil {
		return 0
	}
	for _, name := range s.Told() {
		// Each separator in a name is an expression for all of them.
		size += 2*entrySize + 2*len(name) + 10*strings.Count(name, "-")
	}
	if a := s.App; a != nil {
		size += 5*filterSize + len(a.Path)
		for _, name := range a.RequestHeaders {
			size += entrySize + len(name)
		}
	}
	if j := s.JWT; j != nil {
		size += 3*filterSize + len(j.Issuer) + len(j.JWKS)
		for _, audience := range j.Audiences {
			size += entrySize + len(audience)
		}
		for _, claim := range j.Claims {
			size += entrySize + len(claim.Claim)
		}
		size += keysSize
	}
	return size
}

// externalsSize is what the hosts outside take that a port has Envoys ask, but for those that were seen before.
func (b *budget) externalsSize(port sources.Port) (size int) {
	for _, asked := range port.URLs() {
		e, _, err := routing.ExternalOf(asked.URL)
		if _, seen := b.externals[e]; err != nil || seen {
			continue
		}
		if b.externals == nil {
			b.externals = make(map[routing.External]struct{})
		}
		b.externals[e] = struct{}{}
		size += externalSize
	}
	return size
}
