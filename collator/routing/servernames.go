package routing

import (
	"slices"
	"strings"

	"relay/certs"
	"relay/internal/hostname"
)

// HasName reports whether the Envoys of a fleet are given the certificate for a
// server name.
func (f *Fleet) HasName(name string) bool {
	return len(f.ServerNames) == 0 || slices.ContainsFunc(f.ServerNames, func(pattern string) bool {
		zone, wildcard := hostname.CutWildcard(pattern)
		return name == pattern || wildcard && strings.HasSuffix(name, "."+zone)
	})
}

// OwnChains leaves out the server names, and the certificates of them, that are
// none of the fleet's. All have the default certificate.
func (f *Fleet) OwnChains(chains []TLSChain, secrets map[string]*certs.Certificate) ([]TLSChain, map[string]*certs.Certificate) {
	if len(f.ServerNames) == 0 {
		return chains, secrets
	}
	var own []TLSChain
	ownSecrets := make(map[string]*certs.Certificate)
	for _, chain := range chains {
		if chain.Name != DefaultChain {
			chain.ServerNames = slices.DeleteFunc(slices.Clone(chain.ServerNames), func(name string) bool { return !f.HasName(name) })
			if len(chain.ServerNames) == 0 {
				continue
			}
		}
		own = append(own, chain)
		ownSecrets[chain.Secret] = secrets[chain.Secret]
	}
	return own, ownSecrets
}
