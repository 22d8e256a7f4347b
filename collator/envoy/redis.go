package envoy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	redisproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/redis_proxy/v3"
	networkinputsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
	"relay/internal/secret"
)

// NoCluster is the cluster of keys that are with an app that may not be used. It refuses all commands. No app is called so: ids begin
// with a slash.
const NoCluster = "none"

// redisTimeout is how long a server may take for a command. While a client waits for one that hangs, none of its
// other commands are answered.
const redisTimeout = 5 * time.Second

// RedisAccess is what a listener of Redis depends on besides its service.
type RedisAccess struct {
	// Passwords are those that clients may show: the first element has those of new connections. Those after it
	// let nobody in: they have the filter chains of connections that were let in by them before, which end with
	// their chain. Without passwords there is one element, which is empty.
	Passwords [][]secret.String
	// Closed lets nobody in.
	Closed bool
	// Prefixes are the clusters of keys that begin so.
	Prefixes map[string]string
}

// redisChain has what comes before redis_proxy. Envoy connects to servers for commands alone, which come after the TLS
// handshake, and after what a connection waits for.
func redisChain(s routing.Service) *listenerv3.FilterChain {
	chain := &listenerv3.FilterChain{
		Name:             "service/" + s.Cluster(),
		FilterChainMatch: &listenerv3.FilterChainMatch{SourcePrefixRanges: cidrRanges(s.Networks)},
	}
	if s.Paced {
		chain.Filters = append(chain.Filters, acceptDiscovery(s.Cluster()))
	}
	return chain
}

// redisListener makes the chains of a listener of Redis out of its one chain, whose filters come before
// redis_proxy. Other passwords make another chain, and a matcher says which chain new connections get: so a
// change of passwords ends no connection. (redis_proxy cannot come by the ADS stream: Envoy 1.40 crashes when a client that is
// connected says something after another one has come.) See
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener.proto#envoy-v3-api-field-config-listener-v3-listener-filter-chain-matcher
func redisListener(p *packer, listener *listenerv3.Listener, s routing.Service, access RedisAccess) {
	var chains []*listenerv3.FilterChain
	names := make(map[string]bool)
	newest := make(map[string]string) // by the chain of the listener
	for i, passwords := range access.Passwords {
		proxy := &listenerv3.Filter{Name: "redis_proxy", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: p.pack(redisProxy(s, passwords, access.Prefixes))}}
		for _, c := range listener.FilterChains {
			chain := proto.CloneOf(c)
			chain.Name += passwordsTag(c.Name, passwords)
			if names[chain.Name] {
				continue // connections of the older one end
			}
			names[chain.Name] = true
			chain.FilterChainMatch = nil
			chain.Filters = append(chain.Filters, proxy)
			chains = append(chains, chain)
			if i == 0 {
				newest[c.Name] = chain.Name
			}
		}
	}
	pick := func(c *listenerv3.FilterChain) *xdsmatcherv3.Matcher_OnMatch { return chainNamed(p, newest[c.Name]) }
	// There is no chain of this name: nobody is let in.
	listener.FilterChainMatcher = &xdsmatcherv3.Matcher{OnNoMatch: chainNamed(p, "closed")}
	if !access.Closed {
		m := serverNameMatcher(p, listener.FilterChains, pick)
		m = sourceMatcher(p, &networkinputsv3.SourceIPInput{}, listener.FilterChains[0].FilterChainMatch.GetSourcePrefixRanges(), m)
		listener.FilterChainMatcher = sourceMatcher(p, &networkinputsv3.DirectSourceIPInput{}, listener.FilterChains[0].FilterChainMatch.GetDirectSourcePrefixRanges(), m)
	}
	listener.FilterChains = chains
	if s.TLS == nil {
		noticeLostClients(listener) // connections have no idle timeout
	}
}

func chainNamed(p *packer, name string) *xdsmatcherv3.Matcher_OnMatch {
	return &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
		Action: &xdscorev3.TypedExtensionConfig{Name: "chain", TypedConfig: p.marshal(wrapperspb.String(name))},
	}}
}

// passwordsTag tells apart the chains of passwords. It is so short that it confirms no guess.
func passwordsTag(chain string, passwords []secret.String) string {
	if len(passwords) == 0 {
		return ""
	}
	hash := sha256.New()
	for _, text := range append([]secret.String{secret.String(chain)}, passwords...) {
		_, _ = hash.Write(fmt.Appendf(nil, "%d:%s", len(text), string(text)))
	}
	return "/" + hex.EncodeToString(hash.Sum(nil))[:3]
}

// redisProxy spreads commands over servers by their keys. See
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/filters/network/redis_proxy/v3/redis_proxy.proto
func redisProxy(s routing.Service, passwords []secret.String, prefixes map[string]string) *redisproxyv3.RedisProxy {
	proxy := &redisproxyv3.RedisProxy{
		// One for all services: there are a thousand counters for each.
		StatPrefix: "redis",
		Settings:   &redisproxyv3.RedisProxy_ConnPoolSettings{OpTimeout: durationpb.New(redisTimeout), EnableHashtagging: true},
		PrefixRoutes: &redisproxyv3.RedisProxy_PrefixRoutes{
			CatchAllRoute: &redisproxyv3.RedisProxy_PrefixRoutes_Route{Cluster: s.Cluster()},
		},
	}
	for _, password := range passwords {
		proxy.DownstreamAuthPasswords = append(proxy.DownstreamAuthPasswords, inlineBytes([]byte(password)))
	}
	for _, of := range s.Redis.Prefixes {
		proxy.PrefixRoutes.Routes = append(proxy.PrefixRoutes.Routes, &redisproxyv3.RedisProxy_PrefixRoutes_Route{
			Prefix: of.Prefix, Cluster: cmp.Or(prefixes[of.Prefix], NoCluster),
		})
	}
	return proxy
}

// serverNameMatcher picks one of the chains, by the server name that each has; one for a wildcard by how the name ends,
// and the longest counts. The last one has no name.
func serverNameMatcher(p *packer, chains []*listenerv3.FilterChain, pick func(*listenerv3.FilterChain) *xdsmatcherv3.Matcher_OnMatch) *xdsmatcherv3.Matcher {
	input := xdsExtension(p, "server_name", &networkinputsv3.ServerNameInput{})
	exact := &xdsmatcherv3.Matcher_MatcherTree_MatchMap{Map: make(map[string]*xdsmatcherv3.Matcher_OnMatch)}
	wildcards := make(map[string]*xdsmatcherv3.Matcher_OnMatch)
	m := &xdsmatcherv3.Matcher{}
	for _, c := range chains {
		names := c.GetFilterChainMatch().GetServerNames()
		if len(names) == 0 {
			m.OnNoMatch = pick(c)
		} else if end, ok := strings.CutPrefix(names[0], "*"); ok {
			wildcards[end] = pick(c)
		} else {
			exact.Map[names[0]] = pick(c)
		}
	}
	list := &xdsmatcherv3.Matcher_MatcherList{}
	for _, end := range slices.SortedFunc(maps.Keys(wildcards), func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) }) {
		list.Matchers = append(list.Matchers, &xdsmatcherv3.Matcher_MatcherList_FieldMatcher{OnMatch: wildcards[end], Predicate: endsWith(input, end)})
	}
	if len(list.Matchers) > 0 {
		m.MatcherType = &xdsmatcherv3.Matcher_MatcherList_{MatcherList: list}
	}
	if len(exact.Map) == 0 {
		return m
	}
	return &xdsmatcherv3.Matcher{
		MatcherType: &xdsmatcherv3.Matcher_MatcherTree_{MatcherTree: &xdsmatcherv3.Matcher_MatcherTree{
			Input: input, TreeType: &xdsmatcherv3.Matcher_MatcherTree_ExactMatchMap{ExactMatchMap: exact},
		}},
		OnNoMatch: &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Matcher{Matcher: m}},
	}
}

func endsWith(input *xdscorev3.TypedExtensionConfig, end string) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
		SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
			Input: input, Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{
				ValueMatch: &xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_Suffix{Suffix: end}}},
		},
	}}
}

// sourceMatcher goes on for addresses of some networks; for all if there are none.
func sourceMatcher(p *packer, input proto.Message, networks []*corev3.CidrRange, then *xdsmatcherv3.Matcher) *xdsmatcherv3.Matcher {
	if len(networks) == 0 {
		return then
	}
	ranges := make([]*xdscorev3.CidrRange, len(networks))
	for i, n := range networks {
		ranges[i] = &xdscorev3.CidrRange{AddressPrefix: n.AddressPrefix, PrefixLen: n.PrefixLen}
	}
	return &xdsmatcherv3.Matcher{MatcherType: &xdsmatcherv3.Matcher_MatcherTree_{MatcherTree: &xdsmatcherv3.Matcher_MatcherTree{
		Input: xdsExtension(p, "address", input),
		TreeType: &xdsmatcherv3.Matcher_MatcherTree_CustomMatch{CustomMatch: xdsExtension(p, "networks", &xdsmatcherv3.IPMatcher{
			RangeMatchers: []*xdsmatcherv3.IPMatcher_IPRangeMatcher{{
				Ranges:  ranges,
				OnMatch: &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Matcher{Matcher: then}},
			}},
		})},
	}}}
}

func xdsExtension(p *packer, name string, config proto.Message) *xdscorev3.TypedExtensionConfig {
	return &xdscorev3.TypedExtensionConfig{Name: name, TypedConfig: p.pack(config)}
}

const redisProtocolOptions = "envoy.filters.network.redis_proxy"

// redisCluster has keys go to the servers by MAGLEV. Password is the one that the servers ask for; it may be empty.
//
// No server is ejected: which one has a key would be another matter for each Envoy, and a server that
// comes back has values from before. If all drain, they are used all the same: there is no other.
func redisCluster(p *packer, cluster *clusterv3.Cluster, password secret.String) {
	cluster.OutlierDetection = nil
	cluster.CommonLbConfig.HealthyPanicThreshold = &typev3.Percent{Value: 1}
	if password != "" {
		cluster.TypedExtensionProtocolOptions[redisProtocolOptions] = p.pack(&redisproxyv3.RedisProtocolOptions{AuthPassword: inlineBytes([]byte(password))})
	}
}

// redisHashKey is the key of a slot of a server of Redis: one by which the table's first choice for the slot is
// the entry of the same number, from 0. Envoy asks for as many entries from the beginning of the table as there are
// servers when a command is for all of them, such as FLUSHALL: by other keys it would ask some of them twice, and
// others never.
func redisHashKey(slot int) *structpb.Struct {
	if slot > len(redisKeys) {
		return hashKey(slot)
	}
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		"hash_key": structpb.NewStringValue(fmt.Sprintf("slot-%d/%s", slot, strconv.Itoa(redisKeys[slot-1]))),
	}}
}

// redisKeys were found by trying; TestRedisKeys tells what they are for. Others would move all keys.
var redisKeys = [...]int{
	22461, 86274, 14908, 34982, 31381, 4307, 6599, 27025, 17020, 66391, 8569, 176887, 29945, 47893, 51894, 2246,
	6107, 9231, 8422, 7761, 7426, 37124, 2510, 23959, 4057, 13578, 42872, 63574, 60691, 7502, 84299, 131104,
	40454, 6260, 46612, 34244, 25694, 13318, 3729, 2642, 12388, 126095, 52300, 120343, 37913, 51106, 26698, 23663,
	958, 21031, 5248, 41308, 70917, 67034, 15391, 61788, 16344, 71160, 127141, 3543, 10056, 25217, 66179, 46232,
}
