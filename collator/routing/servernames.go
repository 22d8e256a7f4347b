package routing

import (
	"slices"
	"strings"

	"relay/certs"
	"relay/internal/hostname"
)

// HasServerName reports whether the fleet is given the certificate for a server name.
func (f *Fleet) HasServerName(name string) bool {
	return len(f.ServerNames) == 0 || slices.ContainsFunc(f.ServerNames, func(pattern string) bool {
		parent, wildcard := hostname.CutWildcard(pattern)
		return name == pattern || wildcard && strings.HasSuffix(name, "."+parent)
	})
}

// OwnChains returns the chains with those server names that are the fleet's, and their
// certificates. Every fleet has the default certificate.
func (f *Fleet) OwnChains(chains []TLSChain, secrets map[string]*certs.Certificate) ([]TLSChain, map[string]*certs.Certificate) {
	if len(f.ServerNames) == 0 {
		return chains, secrets
	}
	var own []TLSChain
	ownSecrets := make(map[string]*certs.Certificate)
	for _, chain := range chains {
		if chain.Name != DefaultChain {
			chain.ServerNames = slices.DeleteFunc(slices.Clone(chain.ServerNames), func(name string) bool { return !f.HasServerName(name) })
			if len(chain.ServerNames) == 0 {
				continue
			}
		}
		own = append(own, chain)
		for _, secret := range chain.Secrets() {
			ownSecrets[secret] = secrets[secret]
		}
	}
	return own, ownSecrets
}
