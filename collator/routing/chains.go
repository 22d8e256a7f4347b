package routing

import (
	"cmp"
	"fmt"
	"slices"

	"relay/certs"
	"relay/internal/hostname"
)

// TLSChains returns a chain for each certificate that is served, and for each pair of
// certificates that are served for the same names, ordered by name, the default one last;
// and the certificates by their secrets.
func TLSChains(s certs.Selection) ([]TLSChain, map[string]*certs.Certificate) {
	secrets := make(map[string]*certs.Certificate)
	names := make(map[Pair][]string)
	leftToWildcard := make(map[Pair][]string)
	note := func(first, second *certs.Certificate) Pair {
		for _, c := range []*certs.Certificate{first, second} {
			if c != nil {
				secrets[SecretName(c)] = c
			}
		}
		return PairOf(first, second)
	}
	for name, certificate := range s.Winners {
		pair := note(certificate, s.Seconds[name])
		names[pair] = append(names[pair], name)
	}
	for name, certificate := range s.LeftToWildcard {
		pair := note(certificate, nil)
		names[pair], leftToWildcard[pair] = append(names[pair], name), append(leftToWildcard[pair], name)
	}
	chains := make([]TLSChain, 0, len(names)+1)
	for pair, serverNames := range names {
		slices.Sort(serverNames)
		slices.Sort(leftToWildcard[pair])
		chains = append(chains, TLSChain{Name: pair.chain(), Pair: pair, ServerNames: serverNames, LeftToWildcard: leftToWildcard[pair]})
	}
	slices.SortFunc(chains, func(a, b TLSChain) int { return cmp.Compare(a.Name, b.Name) })
	if s.Default != nil {
		chains = append(chains, TLSChain{Name: DefaultChain, Pair: note(s.Default, s.DefaultSecond)})
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

// TLSChain is one or two certificates and the server names for which they are served. The
// default chain has no names.
type TLSChain struct {
	Name string
	Pair
	ServerNames []string // sorted
	// LeftToWildcard are those of ServerNames for which clients refuse this certificate,
	// and accept that of the wildcard over the name. Sorted.
	LeftToWildcard []string
}

// Equal reports whether two chains are the same.
func (c TLSChain) Equal(other TLSChain) bool {
	return c.Name == other.Name && c.Pair == other.Pair &&
		slices.Equal(c.ServerNames, other.ServerNames) && slices.Equal(c.LeftToWildcard, other.LeftToWildcard)
}

// Pair has the secrets of the certificates that are served for the same names: one, or two
// with different kinds of key. Which of the two won, as it lasts longer, makes no
// difference: each renewal may change that, and connections end where a chain changes.
type Pair struct {
	// Secret is that of the only certificate, or of the one with an ECDSA key, which
	// Envoy shows to all clients that take it.
	Secret string
	// Second is that of the one with an RSA key; empty if there is only one.
	Second string
}

// PairOf returns the pair of two certificates, or of one if the second is nil.
func PairOf(first, second *certs.Certificate) Pair {
	switch {
	case second == nil:
		return Pair{Secret: SecretName(first)}
	case second.Kind == certs.ECDSA:
		first, second = second, first
	}
	return Pair{SecretName(first), SecretName(second)}
}

// Secrets are those that the pair has.
func (p Pair) Secrets() []string {
	switch {
	case p.Secret == "":
		return nil
	case p.Second == "":
		return []string{p.Secret}
	}
	return []string{p.Secret, p.Second}
}

// Has reports whether a secret is in the pair.
func (p Pair) Has(secret string) bool {
	return secret != "" && (p.Secret == secret || p.Second == secret)
}

// Without returns the pair without the secrets for which a function is true.
func (p Pair) Without(is func(secret string) bool) Pair {
	if p.Second != "" && is(p.Second) {
		p.Second = ""
	}
	if is(p.Secret) {
		p = Pair{Secret: p.Second}
	}
	return p
}

// chain names the filter chain of the pair. That of two is quoted, so it is the name of no
// secret.
func (p Pair) chain() string {
	if p.Second == "" {
		return p.Secret
	}
	return fmt.Sprintf("%q + %q", p.Secret, p.Second)
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

// WithoutSecrets takes from the chains the secrets for which a function is true.
func WithoutSecrets(chains []TLSChain, is func(secret string) bool) []TLSChain {
	left := make([]TLSChain, 0, len(chains))
	for _, chain := range chains {
		if chain.Pair = chain.Without(is); chain.Secret != "" {
			left = append(left, chain)
		}
	}
	return left
}
