package envoy

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	leastrequestv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/least_request/v3"
	overridehostv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/override_host/v3"
	randomv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/random/v3"
	roundrobinv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/round_robin/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	metadatav3 "github.com/envoyproxy/go-control-plane/envoy/type/metadata/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
	"relay/internal/questions"
	"relay/sources"
	"relay/xds"
)

const (
	// QueueSlots is how many clusters of Relays a bootstrap has for queues. Each begins with another
	// Relay, so that all Envoys ask the same one about an app. Of 2, 3, 4 or 6 Relays each is the first
	// of as many.
	QueueSlots = 12
	// QueueSlotsTold is the name by which a bootstrap says how many it has.
	QueueSlotsTold = "queues"

	// queueLongest is longer than any app may have its requests wait.
	queueLongest = 11 * time.Minute
)

// QueueSlot returns the slot of the app port that has a cluster. All Relays and Envoys agree on it.
func QueueSlot(cluster string) int {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(cluster)) // never fails
	return int(hash.Sum32() % QueueSlots)
}

// QueueChain returns the name of the chain of filters for app ports of a slot.
func QueueChain(slot int) string { return fmt.Sprintf("queue-%d", slot) }

// queueCluster returns the name of the bootstrap's cluster of Relays for a slot.
func queueCluster(slot int) string { return fmt.Sprintf("relay-queue-%d", slot) }

// queueFilter makes the filter that asks Relay, by a cluster of the bootstrap, which instance a
// request goes to, and holds the request until then. Relay hears by the end of its stream that the
// request has ended: so the filter stays until the trailers. If Relay is away, the request goes on
// as if there were no queue. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/ext_proc_filter
func queueFilter(p *packer, cluster string) *corev3.TypedExtensionConfig {
	return p.extension("queue", &extprocv3.ExternalProcessor{
		GrpcService: &corev3.GrpcService{
			TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: cluster}},
			RetryPolicy:     askAgain(),
		},
		FailureModeAllow: true,
		MessageTimeout:   durationpb.New(queueLongest),
		ProcessingMode: &extprocv3.ProcessingMode{
			RequestHeaderMode:   extprocv3.ProcessingMode_SEND,
			ResponseHeaderMode:  extprocv3.ProcessingMode_SKIP,
			ResponseTrailerMode: extprocv3.ProcessingMode_SEND,
		},
		// Relay needs no header of the request, and must not see cookies.
		ForwardRules: &extprocv3.HeaderForwardingRules{AllowedHeaders: &matcherv3.ListStringMatcher{Patterns: []*matcherv3.StringMatcher{{
			MatchPattern: &matcherv3.StringMatcher_Exact{Exact: ":none"},
		}}}},
		RequestAttributes: []string{questions.QueueApp, questions.QueuePort, questions.QueueFleet, questions.QueueNode},
		MetadataOptions: &extprocv3.MetadataOptions{
			ReceivingNamespaces: &extprocv3.MetadataOptions_MetadataNamespaces{Untyped: []string{questions.QueueMetadata}},
		},
	})
}

// askAgain has the next Relay asked if one does not answer: an Envoy that loses a Relay asks
// again for the requests that it holds. The longest pause is also the longest time that one try
// may take.
func askAgain() *corev3.RetryPolicy {
	return &corev3.RetryPolicy{
		RetryOn:    "connect-failure,reset,unavailable",
		NumRetries: wrapperspb.UInt32(4),
		RetryBackOff: &corev3.BackoffStrategy{
			BaseInterval: durationpb.New(20 * time.Millisecond), MaxInterval: durationpb.New(queueLongest),
		},
	}
}

// queueBalancing has a cluster send a request to the instance that Relay has chosen. Where Relay
// chose none, or one that Envoy does not have any more, the balancing of the app counts.
func queueBalancing(p *packer, balance sources.Balance) *clusterv3.LoadBalancingPolicy {
	return &clusterv3.LoadBalancingPolicy{Policies: []*clusterv3.LoadBalancingPolicy_Policy{{
		TypedExtensionConfig: p.extension("envoy.load_balancing_policies.override_host", &overridehostv3.OverrideHost{
			OverrideHostSources: []*overridehostv3.OverrideHost_OverrideHostSource{{
				Metadata: &metadatav3.MetadataKey{Key: questions.QueueMetadata, Path: []*metadatav3.MetadataKey_PathSegment{{
					Segment: &metadatav3.MetadataKey_PathSegment_Key{Key: questions.QueueInstance},
				}}},
			}},
			FallbackPolicy: policyOf(p, balance),
		}),
	}}}
}

// policyOf is the policy of a balancing for itself. Apps with a queue have no other ones: see
// routing.HasQueue.
func policyOf(p *packer, balance sources.Balance) *clusterv3.LoadBalancingPolicy {
	name, config := "envoy.load_balancing_policies.least_request", proto.Message(&leastrequestv3.LeastRequest{})
	switch balance {
	case sources.BalanceRoundRobin:
		name, config = "envoy.load_balancing_policies.round_robin", &roundrobinv3.RoundRobin{}
	case sources.BalanceRandom:
		name, config = "envoy.load_balancing_policies.random", &randomv3.Random{}
	}
	return &clusterv3.LoadBalancingPolicy{Policies: []*clusterv3.LoadBalancingPolicy_Policy{{
		TypedExtensionConfig: p.extension(name, config),
	}}}
}

// queueChains are the chains of filters for app ports with a queue, one for each slot, by name.
// They ask Relay by the clusters.
func queueChains(p *packer, clusters func(slot int) string) map[string]*compositev3.FilterChainConfiguration {
	chains := make(map[string]*compositev3.FilterChainConfiguration, QueueSlots)
	for slot := range QueueSlots {
		chains[QueueChain(slot)] = &compositev3.FilterChainConfiguration{TypedConfig: []*corev3.TypedExtensionConfig{queueFilter(p, clusters(slot))}}
	}
	return chains
}

// QueueFilter makes the filter with the chains by which requests wait for an instance. It is one
// of its own, after ScalingFilter: of a chain, Envoy leaves out what comes after a filter that
// waited.
func QueueFilter() (*corev3.TypedExtensionConfig, error) { return queueFilterBy(queueCluster) }

// queueFilterBy makes the filter for Envoys that reach Relay by these clusters.
func queueFilterBy(clusters func(slot int) string) (*corev3.TypedExtensionConfig, error) {
	var p packer
	config := p.extension(routing.QueueFilter, &compositev3.Composite{NamedFilterChains: queueChains(&p, clusters)})
	return config, p.err
}

// queueResource makes the filter for the store of a fleet. Envoys with an older bootstrap have one
// cluster of Relays: by that, each asks any Relay, and each Relay counts alone.
func queueResource(key xds.Key, msg *corev3.TypedExtensionConfig) (xds.Resource, error) {
	filter, err := Resource(key, msg)
	if err != nil {
		return xds.Resource{}, err
	}
	without, err := queueFilterBy(func(int) string { return relayCluster })
	if err != nil {
		return xds.Resource{}, err
	}
	older, err := Resource(key, without)
	return filter.OrWithout(xds.Told(QueueSlotsTold, strconv.Itoa(QueueSlots)), older), err
}
