package routing

import (
	"cmp"
	"slices"

	"relay/certs"
	"relay/internal/hostname"
)

// TLSChains returns a chain for each certificate that is served, ordered by name, the
// default one last; and the certificates by their secrets.
func TLSChains(s certs.Selection) ([]TLSChain, map[string]*certs.Certificate) {
	secrets := make(map[string]*certs.Certificate)
	names := make(map[string][]string)
	leftToWildcard := make(map[string][]string)
	for name, certificate := range s.Winners {
		secret := SecretName(certificate)
		secrets[secret] = certificate
		names[secret] = append(names[secret], name)
	}
	for name, certificate := range s.LeftToWildcard {
		secret := SecretName(certificate)
		secrets[secret] = certificate
		names[secret], leftToWildcard[secret] = append(names[secret], name), append(leftToWildcard[secret], name)
	}
	chains := make([]TLSChain, 0, len(names)+1)
	for secret, serverNames := range names {
		slices.Sort(serverNames)
		slices.Sort(leftToWildcard[secret])
		chains = append(chains, TLSChain{Name: secret, Secret: secret, ServerNames: serverNames, LeftToWildcard: leftToWildcard[secret]})
	}
	slices.SortFunc(chains, func(a, b TLSChain) int { return cmp.Compare(a.Name, b.Name) })
	if s.Default != nil {
		secret := SecretName(s.Default)
		secrets[secret] = s.Default
		chains = append(chains, TLSChain{Name: DefaultChain, Secret: secret})
	}
	return chains, secrets
}

// LeaveToWildcards takes the names of LeftToWildcard off the chains, each if there is a
// chain for the wildcard over it. There is none if the fleet is not given its certificate,
// or if the wildcard is passed through: then the name stays.
func LeaveToWildcards(chains []TLSChain) []TLSChain {
	wildcards := make(map[string]bool)
	for _, chain := range chains {
		for _, name := range chain.ServerNames {
			if _, ok := hostname.CutWildcard(name); ok {
				wildcards[name] = true
			}
		}
	}
	needed := make([]TLSChain, 0, len(chains))
	for _, chain := range chains {
		if len(chain.LeftToWildcard) > 0 {
			chain.ServerNames = slices.DeleteFunc(slices.Clone(chain.ServerNames), func(name string) bool {
				_, found := slices.BinarySearch(chain.LeftToWildcard, name)
				return found && wildcards[hostname.WildcardOver(name)]
			})
			if len(chain.ServerNames) == 0 {
				continue
			}
		}
		needed = append(needed, chain)
	}
	return needed
}

// DefaultChain is the name of the chain that answers clients whose server name no
// certificate covers.
const DefaultChain = "default"

// TLSChain is a certificate and the server names for which it is served. The default
// chain has none.
type TLSChain struct {
	Name, Secret string
	ServerNames  []string // sorted
	// LeftToWildcard are those of ServerNames for which clients refuse this certificate,
	// and accept that of the wildcard over the name. Sorted.
	LeftToWildcard []string
}

// Equal reports whether two chains are the same.
func (c TLSChain) Equal(other TLSChain) bool {
	return c.Name == other.Name && c.Secret == other.Secret &&
		slices.Equal(c.ServerNames, other.ServerNames) && slices.Equal(c.LeftToWildcard, other.LeftToWildcard)
}

// WithoutNames takes from the chains the server names that are passed through to
// services.
func WithoutNames(chains []TLSChain, passed []Service) []TLSChain {
	isPassed := make(map[string]bool)
	for _, s := range passed {
		for _, name := range s.Names {
			isPassed[name] = true
		}
	}
	var left []TLSChain
	for _, chain := range chains {
		names := slices.DeleteFunc(slices.Clone(chain.ServerNames), func(name string) bool { return isPassed[name] })
		if len(names) == 0 && len(chain.ServerNames) > 0 {
			continue
		}
		chain.ServerNames = names
		left = append(left, chain)
	}
	return left
}
