package collator

import (
	"slices"
	"strings"

	"relay/certs"
)

// hasName reports whether the Envoys of a fleet are given the certificate for a
// server name.
func (f Fleet) hasName(name string) bool {
	return len(f.ServerNames) == 0 || slices.ContainsFunc(f.ServerNames, func(pattern string) bool {
		zone, wildcard := cutWildcard(pattern)
		return name == pattern || wildcard && strings.HasSuffix(name, "."+zone)
	})
}

// ownChains leaves out the server names, and the certificates of them, that are
// none of the fleet's. All have the default certificate.
func (f Fleet) ownChains(chains []tlsChain, secrets map[string]*certs.Certificate) ([]tlsChain, map[string]*certs.Certificate) {
	if len(f.ServerNames) == 0 {
		return chains, secrets
	}
	var own []tlsChain
	ownSecrets := make(map[string]*certs.Certificate)
	for _, chain := range chains {
		if chain.name != defaultChain {
			chain.serverNames = slices.DeleteFunc(slices.Clone(chain.serverNames), func(name string) bool { return !f.hasName(name) })
			if len(chain.serverNames) == 0 {
				continue
			}
		}
		own = append(own, chain)
		ownSecrets[chain.secret] = secrets[chain.secret]
	}
	return own, ownSecrets
}
