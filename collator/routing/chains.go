package routing

import (
	"cmp"
	"slices"

	"relay/certs"
	"relay/internal/hostname"
)

// TLSChains returns one chain per certificate that is used, ordered by name,
// the default one last, and the certificate behind each secret.
func TLSChains(s certs.Selection) ([]TLSChain, map[string]*certs.Certificate) {
	secrets := make(map[string]*certs.Certificate)
	names := make(map[string][]string)
	yielding := make(map[string][]string)
	for name, certificate := range s.Winners {
		secret := SecretName(certificate)
		secrets[secret] = certificate
		names[secret] = append(names[secret], name)
	}
	for name, certificate := range s.Yielding {
		secret := SecretName(certificate)
		secrets[secret] = certificate
		names[secret], yielding[secret] = append(names[secret], name), append(yielding[secret], name)
	}
	chains := make([]TLSChain, 0, len(names)+1)
	for secret, serverNames := range names {
		slices.Sort(serverNames)
		slices.Sort(yielding[secret])
		chains = append(chains, TLSChain{Name: secret, Secret: secret, ServerNames: serverNames, Yielding: yielding[secret]})
	}
	slices.SortFunc(chains, func(a, b TLSChain) int { return cmp.Compare(a.Name, b.Name) })
	if s.Default != nil {
		secret := SecretName(s.Default)
		secrets[secret] = s.Default
		chains = append(chains, TLSChain{Name: DefaultChain, Secret: secret})
	}
	return chains, secrets
}

// WithoutYielding leaves each yielding name to the wildcard over it, where there
// is a chain for that. Where there is none, be it that the fleet is not given the
// certificate or that the wildcard is passed through, the name stays.
func WithoutYielding(chains []TLSChain) []TLSChain {
	wildcards := make(map[string]bool)
	for _, chain := range chains {
		for _, name := range chain.ServerNames {
			if _, ok := hostname.CutWildcard(name); ok {
				wildcards[name] = true
			}
		}
	}
	left := make([]TLSChain, 0, len(chains))
	for _, chain := range chains {
		if len(chain.Yielding) > 0 {
			chain.ServerNames = slices.DeleteFunc(slices.Clone(chain.ServerNames), func(name string) bool {
				_, yields := slices.BinarySearch(chain.Yielding, name)
				return yields && wildcards[hostname.WildcardOver(name)]
			})
			if len(chain.ServerNames) == 0 {
				continue
			}
		}
		left = append(left, chain)
	}
	return left
}

// DefaultChain answers clients whose server name no certificate covers.
const DefaultChain = "default"

// TLSChain is a certificate and the server names it is served for. The default
// chain has none.
type TLSChain struct {
	Name, Secret string
	ServerNames  []string
	// Yielding are those of serverNames whose certificate clients refuse, and that
	// of the wildcard over them accept. Both are sorted.
	Yielding []string
}

func (c TLSChain) Equal(other TLSChain) bool {
	return c.Name == other.Name && c.Secret == other.Secret &&
		slices.Equal(c.ServerNames, other.ServerNames) && slices.Equal(c.Yielding, other.Yielding)
}

// WithoutNames takes the names that are passed through from certificates.
func WithoutNames(chains []TLSChain, passed []Service) []TLSChain {
	taken := make(map[string]bool)
	for _, s := range passed {
		for _, name := range s.Names {
			taken[name] = true
		}
	}
	var left []TLSChain
	for _, chain := range chains {
		names := slices.DeleteFunc(slices.Clone(chain.ServerNames), func(name string) bool { return taken[name] })
		if len(names) == 0 && len(chain.ServerNames) > 0 {
			continue
		}
		chain.ServerNames = names
		left = append(left, chain)
	}
	return left
}
