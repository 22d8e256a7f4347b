package envoy

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
	"relay/internal/questions"
)

// relayCall is a call of Relay by a cluster of the bootstrap, which may take so long.
func relayCall(f *routing.Fleet, cluster string, timeout time.Duration, again *corev3.RetryPolicy) *corev3.GrpcService {
	return &corev3.GrpcService{
		TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: cluster}},
		Timeout:         durationpb.New(timeout),
		// Nothing that Envoy evaluates may stand here: it dies of %CEL% in this place.
		InitialMetadata: []*corev3.HeaderValue{{Key: questions.FleetHeader, Value: plainText(f.Name)}},
		RetryPolicy:     again,
	}
}

// relayService is a service of Relay that may take long to answer. If the connection is lost, or
// Relay does not serve this Envoy, it is asked again: another Relay, if there is one.
func relayService(p *packer, f *routing.Fleet) *corev3.GrpcService {
	return relayCall(f, relayCluster, holdLimit, askAnotherRelay(p, holdRetries, holdLimit))
}

// askAnotherRelay has a Relay asked that was not asked yet, so often. Each try may take so long.
func askAnotherRelay(p *packer, retries uint32, try time.Duration) *corev3.RetryPolicy {
	return &corev3.RetryPolicy{
		RetryOn: "connect-failure,reset,unavailable", NumRetries: wrapperspb.UInt32(retries),
		RetryHostPredicate: []*corev3.RetryPolicy_RetryHostPredicate{{
			Name:       "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &corev3.RetryPolicy_RetryHostPredicate_TypedConfig{TypedConfig: p.pack(&previoushostsv3.PreviousHostsPredicate{})},
		}},
		HostSelectionRetryMaxAttempts: relayPicks,
		// Envoy takes the longest pause for the time that each try may take, too.
		RetryBackOff: &corev3.BackoffStrategy{BaseInterval: durationpb.New(holdPause), MaxInterval: durationpb.New(try)},
	}
}

// relayPicks is how often Envoy picks again until it has a Relay that was not asked yet. It picks them in turn. When
// all were asked it asks the last one that it picked. That must not be the same one each time, as it may be dead:
// so relayPicks + 1 is a prime number, and more than there are Relays.
const relayPicks = 6
