package envoy

import (
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/config/ratelimit/v3"
	commonratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/ratelimit/v3"
	setfilterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	"google.golang.org/protobuf/proto"

	"relay/collator/routing"
	"relay/internal/ratelimit"
)

// connectionQuestion is what Relay is asked about a new connection to a TCP service.
//
// It is the filter for global rate limits that asks: of all network filters it alone does so before a
// connection goes on to an instance, whoever speaks first, and waits for the answer. It does not notice a
// client that leaves meanwhile. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/network_filters/rate_limit_filter
type connectionQuestion struct {
	// domain says what it is about: one of ratelimit.WakeDomain and its neighbours.
	domain string
	// stats is the prefix of the filter's counters.
	stats string
	// relay is who is asked, and how.
	relay *corev3.GrpcService
	// node says which Envoy asks, by the filter state of keepNode.
	node bool
	// deny closes the connection if nobody answers. Else it goes on.
	deny bool
}

// filter makes the filter of a name that asks about connections to the app port of a cluster.
func (q connectionQuestion) filter(p *packer, name, cluster string) *corev3.TypedExtensionConfig {
	app, port := routing.SplitClusterName(cluster)
	var entries []*commonratelimitv3.RateLimitDescriptor_Entry
	say := func(key, value string) {
		entries = append(entries, &commonratelimitv3.RateLimitDescriptor_Entry{Key: key, Value: value})
	}
	say(ratelimit.AppKey, plainText(app))
	say(ratelimit.PortKey, strconv.Itoa(port))
	say(ratelimit.ClientKey, "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")
	if q.node {
		say(ratelimit.NodeKey, "%FILTER_STATE("+nodeState+":PLAIN)%")
	}
	return p.extension(name, &ratelimitv3.RateLimit{
		StatPrefix: q.stats, Domain: q.domain, Timeout: q.relay.Timeout, FailureModeDeny: q.deny,
		Descriptors:      []*commonratelimitv3.RateLimitDescriptor{{Entries: entries}},
		RateLimitService: &rlsv3.RateLimitServiceConfig{GrpcService: q.relay, TransportApiVersion: corev3.ApiVersion_V3},
	})
}

// asksNothing makes the filter of a name that does nothing, for where no connection has to wait.
func asksNothing(p *packer, name string) *corev3.TypedExtensionConfig {
	return p.extension(name, &setfilterstatev3.Config{})
}

// questionDiscovery takes a filter that asks, or asks nothing, from the ADS stream. Its chain has it in either
// case: another chain would end the connections of this one.
func questionDiscovery(name string) *listenerv3.Filter {
	return discoveredForConnections(name, &ratelimitv3.RateLimit{}, &setfilterstatev3.Config{})
}

// discoveredForConnections is a network filter with a configuration of one of these types that comes by the
// ADS stream.
func discoveredForConnections(name string, configs ...proto.Message) *listenerv3.Filter {
	return &listenerv3.Filter{Name: name, ConfigType: &listenerv3.Filter_ConfigDiscovery{ConfigDiscovery: discovery(configs...)}}
}
