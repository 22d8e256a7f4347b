package routing

import (
	"slices"
	"strings"

	"relay/internal/hostname"
)

// Resolver says which secret answers a client, by the name that it asks for.
// It does not change.
type Resolver struct {
	secrets   map[string]string // by server name
	byDefault string
}

func NewResolver(chains []TLSChain) *Resolver {
	n := &Resolver{secrets: make(map[string]string)}
	for _, chain := range WithoutYielding(chains) {
		if chain.Name == DefaultChain {
			n.byDefault = chain.Secret
		}
		for _, name := range chain.ServerNames {
			n.secrets[name] = chain.Secret
		}
	}
	return n
}

// Resolve is an xds.Resolver. Lasting are the names of certificates as they are
// written there: of all others clients can make up as many as they like.
func (n *Resolver) Resolve(asked string) (secret string, lasting, ok bool) {
	name := strings.TrimSuffix(strings.ToLower(asked), ".")
	for _, candidate := range hostname.Candidates(name) {
		if secret, ok := n.secrets[candidate]; ok {
			return secret, candidate == asked, true
		}
	}
	return n.byDefault, false, n.byDefault != ""
}

// KeptInListener returns the chains that an https listener with certificates on
// demand has all the same: those of wildcard names, for which clients could have
// Envoy load any number of secrets, and those of names below one, which Envoy
// would take for the wildcard's; and the default one, for clients without a name.
func KeptInListener(chains []TLSChain, passed []Service) (kept []TLSChain) {
	wildcards := make(map[string]bool) // by what follows the "*."
	note := func(names []string) {
		for _, name := range names {
			if parent, ok := hostname.CutWildcard(name); ok {
				wildcards[parent] = true
			}
		}
	}
	for _, chain := range chains {
		note(chain.ServerNames)
	}
	for _, s := range passed {
		note(s.Names)
	}
	for _, chain := range chains {
		if chain.Name == DefaultChain || slices.ContainsFunc(chain.ServerNames, func(name string) bool { return below(name, wildcards) }) {
			kept = append(kept, chain)
		}
	}
	return kept
}

// below reports whether a name is a wildcard of one of the parents or in one.
func below(name string, parents map[string]bool) bool {
	for parent := range hostname.Parents(name) {
		if parents[parent] {
			return true
		}
	}
	return false
}
