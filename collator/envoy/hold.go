package envoy

import (
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/config/ratelimit/v3"
	commonratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/ratelimit/v3"
	setfilterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
)

// HoldDomain is that of the questions whether there is an instance for a connection. The descriptors are
// those of WakeDomain.
const HoldDomain = "relay.hold"

// holdSpare is how much longer than the app says Envoys wait for an answer: it is Relay that answers.
const holdSpare = time.Second

// holdAskedAgain is how often Relay is asked again if it is away. The pauses are random, and grow to twice as
// much each time: in all they are some minutes.
const holdAskedAgain = 13

// holdDiscovery takes the filter by which connections to a service wait while it has no instance from the ADS
// stream. Its chain has it whether there is one or not: another chain would end the connections of this one.
func holdDiscovery(cluster string) *listenerv3.Filter {
	return &listenerv3.Filter{
		Name: routing.HoldFilter(cluster),
		ConfigType: &listenerv3.Filter_ConfigDiscovery{ConfigDiscovery: &corev3.ExtensionConfigSource{
			ConfigSource: adsSource(15 * time.Second),
			TypeUrls:     []string{typeURL(&ratelimitv3.RateLimit{}), typeURL(&setfilterstatev3.Config{})},
		}},
	}
}

// HoldFilter makes the filter by which new connections to a service wait while it has no instance, for so long
// at most; and one that does nothing while it has one. See WakeFilter.
//
// If Relay is away, it is asked again for as long; then the connection is closed: there is nothing that
// it could go on to.
func HoldFilter(f *routing.Fleet, cluster string, hold time.Duration, waits bool) (*corev3.TypedExtensionConfig, error) {
	var p packer
	name := routing.HoldFilter(cluster)
	if !waits {
		return p.extension(name, &setfilterstatev3.Config{}), p.err
	}
	app, port := routing.SplitClusterName(cluster)
	entry := func(key, value string) *commonratelimitv3.RateLimitDescriptor_Entry {
		return &commonratelimitv3.RateLimitDescriptor_Entry{Key: key, Value: value}
	}
	relay := relayService(&p, f)
	relay.Timeout = durationpb.New(hold + holdSpare)
	relay.RetryPolicy.NumRetries = wrapperspb.UInt32(holdAskedAgain)
	config := p.extension(name, &ratelimitv3.RateLimit{
		StatPrefix: "hold", Domain: HoldDomain, Timeout: relay.Timeout, FailureModeDeny: true,
		Descriptors: []*commonratelimitv3.RateLimitDescriptor{{Entries: []*commonratelimitv3.RateLimitDescriptor_Entry{
			entry(WakeApp, strings.ReplaceAll(app, "%", "%%")), entry(WakePort, strconv.Itoa(port)),
			entry(WakeClient, "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"), entry(WakeNode, "%FILTER_STATE("+nodeState+":PLAIN)%"),
		}}},
		RateLimitService: &rlsv3.RateLimitServiceConfig{GrpcService: relay, TransportApiVersion: corev3.ApiVersion_V3},
	})
	return config, p.err
}

// attemptsWhileHeld has a connection tried again if it is refused, for about half a minute: its instance has
// just died, and Relay does not know yet. It is the same number for each service: with another one the
// listener would be another one.
func attemptsWhileHeld(proxy *tcpproxyv3.TcpProxy) {
	const longest, attempts = 500 * time.Millisecond, 120 // the pauses are random, and half as long on average
	proxy.MaxConnectAttempts = wrapperspb.UInt32(attempts)
	proxy.BackoffOptions = &corev3.BackoffStrategy{
		BaseInterval: durationpb.New(20 * time.Millisecond), MaxInterval: durationpb.New(longest),
	}
}
