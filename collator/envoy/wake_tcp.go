package envoy

import (
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/config/ratelimit/v3"
	commonratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/ratelimit/v3"
	setfilterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/formatter/cel/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"relay/collator/routing"
)

// By these descriptors Envoys say to Relay which connection waits: for which app port, and from which
// address.
const (
	WakeDomain = "relay.wake"
	WakeApp    = "app"
	WakePort   = "port"
	WakeClient = "client"
	WakeNode   = "node"
)

// nodeState is the filter state in which a connection has the id of the Envoy's node.
const nodeState = "relay.node"

// keepNode keeps the id of the Envoy's node, which can be said here and not in descriptors.
func keepNode(p *packer) *listenerv3.Filter {
	return &listenerv3.Filter{Name: "node", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: p.pack(&setfilterstatev3.Config{
		OnNewConnection: []*filterstatev3.FilterStateValue{{
			Key:        &filterstatev3.FilterStateValue_ObjectKey{ObjectKey: nodeState},
			FactoryKey: "envoy.string",
			Value: &filterstatev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
				Format:     &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: inline("%CEL(xds.node.id)%")},
				Formatters: []*corev3.TypedExtensionConfig{p.extension("envoy.formatter.cel", &celv3.Cel{})},
			}},
		}},
	})}}
}

// wakeDiscovery takes the filter by which connections to a service wait from the ADS stream. Its chain
// has it whether the app sleeps or not: another chain would end the connections of this one.
func wakeDiscovery(cluster string) *listenerv3.Filter {
	return &listenerv3.Filter{
		Name: routing.WakeFilter(cluster),
		ConfigType: &listenerv3.Filter_ConfigDiscovery{ConfigDiscovery: &corev3.ExtensionConfigSource{
			ConfigSource: adsSource(15 * time.Second),
			TypeUrls:     []string{typeURL(&ratelimitv3.RateLimit{}), typeURL(&setfilterstatev3.Config{})},
		}},
	}
}

// WakeFilter makes the filter by which connections to a service wait until its app is awake, while
// it sleeps; and one that does nothing while it does not.
//
// It is the one for global rate limits that holds them: of all network filters it alone asks
// before a connection goes on to an instance, whoever speaks first. Relay answers that there is no limit
// when there is an instance. It does not notice a client that leaves meanwhile. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/network_filters/rate_limit_filter
func WakeFilter(f *routing.Fleet, cluster string, waits bool) (*corev3.TypedExtensionConfig, error) {
	var p packer
	name := routing.WakeFilter(cluster)
	if !waits {
		return p.extension(name, &setfilterstatev3.Config{}), p.err
	}
	app, port := routing.SplitClusterName(cluster)
	entry := func(key, value string) *commonratelimitv3.RateLimitDescriptor_Entry {
		return &commonratelimitv3.RateLimitDescriptor_Entry{Key: key, Value: value}
	}
	config := p.extension(name, &ratelimitv3.RateLimit{
		// Without an answer the connection goes on: an app that was about to fall asleep runs still.
		StatPrefix: "wake", Domain: WakeDomain, Timeout: durationpb.New(holdLimit),
		Descriptors: []*commonratelimitv3.RateLimitDescriptor{{Entries: []*commonratelimitv3.RateLimitDescriptor_Entry{
			entry(WakeApp, strings.ReplaceAll(app, "%", "%%")), entry(WakePort, strconv.Itoa(port)),
			entry(WakeClient, "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"), entry(WakeNode, "%FILTER_STATE("+nodeState+":PLAIN)%"),
		}}},
		RateLimitService: &rlsv3.RateLimitServiceConfig{GrpcService: relayService(&p, f), TransportApiVersion: corev3.ApiVersion_V3},
	})
	return config, p.err
}
