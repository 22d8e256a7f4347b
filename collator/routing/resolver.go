package routing

import (
	"strings"
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
	for _, candidate := range HostNames(name) {
		if secret, ok := n.secrets[candidate]; ok {
			return secret, candidate == asked, true
		}
	}
	return n.byDefault, false, n.byDefault != ""
}
