package envoy

import (
	"cmp"
	"fmt"
	"slices"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	ipv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/input_matchers/ip/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/internal/hostname"
)

// hostPattern matches server names as the TLS inspector gives them: in lower case. With
// certificates on demand Envoy asks Relay by xDS for the secret with the name that a client
// sent. Only what looks like a host may get there: "*" would ask for all secrets, and
// bytes that are no UTF-8 would end the stream.
const hostPattern = `[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?`

// noChain is the name of a filter chain that does not exist: Envoy closes the connection.
const noChain = "none"

// matchServerNames moves the choice of a filter chain from the filter_chain_match of each
// chain to one matcher of the listener. It chooses as Envoy would. In addition, a server
// name that no chain has, and that looks like a host name, gets the chain named otherwise.
// See
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/matching/matching_listener
func matchServerNames(p *packer, listener *listenerv3.Listener, otherwise string) {
	var m chainMatcher
	m.serverName = &xdscorev3.TypedExtensionConfig{Name: "server_name", TypedConfig: p.pack(&networkv3.ServerNameInput{})}
	exact := make(map[string]*xdsmatcherv3.Matcher_OnMatch)
	var wildcards []suffixMatch
	for _, chain := range listener.FilterChains {
		match := chain.GetFilterChainMatch()
		chain.FilterChainMatch = nil
		for _, network := range match.GetSourcePrefixRanges() {
			// The networks are part of the name. So other networks make it another chain,
			// and Envoy ends the connections of this one: some may not be allowed any more.
			chain.Name += fmt.Sprintf(" %s/%d", network.GetAddressPrefix(), network.GetPrefixLen().GetValue())
		}
		choice := m.choose(p, chain.Name, match)
		for _, name := range match.GetServerNames() {
			if parent, ok := hostname.CutWildcard(name); ok {
				wildcards = append(wildcards, suffixMatch{"." + parent, choice})
			} else {
				exact[name] = choice
			}
		}
		if len(match.GetServerNames()) == 0 {
			m.byDefault = choice
		}
	}
	listener.FilterChainMatcher = m.build(p, exact, wildcards, otherwise)
}

// chainMatcher makes the matcher of a listener.
type chainMatcher struct {
	serverName *xdscorev3.TypedExtensionConfig // the input
	// byDefault is the choice for all other connections, such as those without a server
	// name; if it is nil they are closed.
	byDefault *xdsmatcherv3.Matcher_OnMatch
}

// suffixMatch is the choice for the names below a wildcard.
type suffixMatch struct {
	suffix string
	choice *xdsmatcherv3.Matcher_OnMatch
}

// build makes the matcher: exact names first, then wildcards, then whatever looks like a
// host name.
func (m *chainMatcher) build(p *packer, exact map[string]*xdsmatcherv3.Matcher_OnMatch, wildcards []suffixMatch, otherwise string) *xdsmatcherv3.Matcher {
	// The longest wildcard counts, so it is tried first.
	slices.SortFunc(wildcards, func(a, b suffixMatch) int {
		return cmp.Or(cmp.Compare(len(b.suffix), len(a.suffix)), cmp.Compare(a.suffix, b.suffix))
	})
	list := new(xdsmatcherv3.Matcher_MatcherList)
	for _, w := range wildcards {
		list.Matchers = append(list.Matchers, &xdsmatcherv3.Matcher_MatcherList_FieldMatcher{
			Predicate: predicate(m.serverName, &xdsmatcherv3.StringMatcher{
				MatchPattern: &xdsmatcherv3.StringMatcher_Suffix{Suffix: w.suffix},
			}),
			OnMatch: w.choice,
		})
	}
	list.Matchers = append(list.Matchers, &xdsmatcherv3.Matcher_MatcherList_FieldMatcher{
		Predicate: predicate(m.serverName, regex(hostPattern)),
		OnMatch:   chainAction(p, otherwise),
	})
	matcher := &xdsmatcherv3.Matcher{
		MatcherType: &xdsmatcherv3.Matcher_MatcherList_{MatcherList: list},
		OnNoMatch:   m.byDefault,
	}
	if len(exact) == 0 {
		return matcher
	}
	return &xdsmatcherv3.Matcher{
		MatcherType: &xdsmatcherv3.Matcher_MatcherTree_{MatcherTree: &xdsmatcherv3.Matcher_MatcherTree{
			Input:    m.serverName,
			TreeType: &xdsmatcherv3.Matcher_MatcherTree_ExactMatchMap{ExactMatchMap: &xdsmatcherv3.Matcher_MatcherTree_MatchMap{Map: exact}},
		}},
		OnNoMatch: nested(matcher),
	}
}

// choose leads to a chain, if the client is from one of the networks of the chain's match.
func (m *chainMatcher) choose(p *packer, chain string, match *listenerv3.FilterChainMatch) *xdsmatcherv3.Matcher_OnMatch {
	if len(match.GetSourcePrefixRanges()) == 0 {
		return chainAction(p, chain)
	}
	source := &xdscorev3.TypedExtensionConfig{Name: "source_ip", TypedConfig: p.pack(&networkv3.SourceIPInput{})}
	return nested(within(p, source, match.GetSourcePrefixRanges(), chainAction(p, chain)))
}

// within leads on if an address is in one of the networks. Otherwise Envoy closes the
// connection.
func within(p *packer, address *xdscorev3.TypedExtensionConfig, networks []*corev3.CidrRange, on *xdsmatcherv3.Matcher_OnMatch) *xdsmatcherv3.Matcher {
	return &xdsmatcherv3.Matcher{
		MatcherType: &xdsmatcherv3.Matcher_MatcherList_{MatcherList: &xdsmatcherv3.Matcher_MatcherList{
			Matchers: []*xdsmatcherv3.Matcher_MatcherList_FieldMatcher{{
				Predicate: &xdsmatcherv3.Matcher_MatcherList_Predicate{
					MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
						SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
							Input: address,
							Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_CustomMatch{
								CustomMatch: &xdscorev3.TypedExtensionConfig{Name: "networks", TypedConfig: p.pack(&ipv3.Ip{
									CidrRanges: networks, StatPrefix: "networks",
								})},
							},
						},
					},
				},
				OnMatch: on,
			}},
		}},
		OnNoMatch: chainAction(p, noChain),
	}
}

// chainAction leads to the chain with a name.
func chainAction(p *packer, chain string) *xdsmatcherv3.Matcher_OnMatch {
	return &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
		Action: &xdscorev3.TypedExtensionConfig{Name: chain, TypedConfig: p.marshal(wrapperspb.String(chain))},
	}}
}

// nested leads to another matcher.
func nested(m *xdsmatcherv3.Matcher) *xdsmatcherv3.Matcher_OnMatch {
	return &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Matcher{Matcher: m}}
}

// predicate compares an input with a value.
func predicate(input *xdscorev3.TypedExtensionConfig, value *xdsmatcherv3.StringMatcher) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{
		MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
			SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
				Input:   input,
				Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{ValueMatch: value},
			},
		},
	}
}

// regex matches a whole value.
func regex(pattern string) *xdsmatcherv3.StringMatcher {
	return &xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_SafeRegex{SafeRegex: &xdsmatcherv3.RegexMatcher{
		EngineType: &xdsmatcherv3.RegexMatcher_GoogleRe2{GoogleRe2: &xdsmatcherv3.RegexMatcher_GoogleRE2{}},
		Regex:      pattern,
	}}}
}
