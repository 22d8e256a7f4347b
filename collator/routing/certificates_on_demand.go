package routing

import (
	"slices"
	"strings"

	"relay/internal/hostname"
)

// Resolver says which secret answers a client, by the server name that it asks for. It
// is not modified.
type Resolver struct {
	secrets   map[string]string // by server name
	byDefault string
}

// NewResolver returns the Resolver for the chains of a fleet.
func NewResolver(chains []TLSChain) *Resolver {
	n := &Resolver{secrets: make(map[string]string)}
	for _, chain := range LeaveToWildcards(chains) {
		if chain.Name == DefaultChain {
			n.byDefault = chain.Secret
		}
		for _, name := range chain.ServerNames {
			n.secrets[name] = chain.Secret
		}
	}
	return n
}

// Resolve is an xds.Resolver. Only the names that a certificate has, spelled as it spells
// them, are permanent: clients can make up any number of others.
func (n *Resolver) Resolve(asked string) (secret string, permanent, ok bool) {
	if _, _, ok := SecretOfService(asked); ok {
		return "", false, false // it is not there yet, and no server name
	}
	name := strings.TrimSuffix(strings.ToLower(asked), ".")
	for _, candidate := range hostname.Candidates(name) {
		if secret, ok := n.secrets[candidate]; ok {
			return secret, candidate == asked, true
		}
	}
	return n.byDefault, false, n.byDefault != ""
}

// KeptInListener returns the chains that an https listener has even with certificates on
// demand: those of wildcards, for below them clients could have Envoy load any number of
// secrets; those of names below a wildcard, for Envoy would take the wildcard's chain for
// them; those of two certificates, for Envoy loads one certificate for a name; and the
// default one, for clients without a server name.
func KeptInListener(chains []TLSChain, passed []Service) (kept []TLSChain) {
	wildcards := make(map[string]bool) // by parent
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
		if chain.Name == DefaultChain || chain.Second != "" || slices.ContainsFunc(chain.ServerNames, func(name string) bool { return below(name, wildcards) }) {
			kept = append(kept, chain)
		}
	}
	return kept
}

// below reports whether a name is below one of the parents. Their wildcards are.
func below(name string, parents map[string]bool) bool {
	for parent := range hostname.Parents(name) {
		if parents[parent] {
			return true
		}
	}
	return false
}
