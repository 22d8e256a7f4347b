package envoy

import (
	"fmt"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/ratelimit/v3"
	previousprioritiesv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/priority/previous_priorities/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
	"relay/internal/ratelimit"
	"relay/xds"
)

// AcceptSlotsTold is the name by which a bootstrap says how many clusters of Relays it has for
// questions about connections: as many as for queues.
const AcceptSlotsTold = "accepts"

// acceptCluster returns the name of the bootstrap's cluster of Relays for a slot.
func acceptCluster(slot int) string { return fmt.Sprintf("relay-accept-%d", slot) }

// acceptLongest is longer than any connection waits: it is Relay that answers.
const acceptLongest = 3 * time.Minute

// acceptDiscovery takes the filter by which new connections to a service wait from the ADS stream. In
// the chain itself, a later Relay could not change anything of it without ending the connections.
func acceptDiscovery(cluster string) *listenerv3.Filter {
	return discoveredForConnections(routing.AcceptFilter(cluster), &ratelimitv3.RateLimit{})
}

// AcceptFilter makes the filter by which new connections to a service wait until Relay says that it is
// their turn. All Envoys ask the same Relay about a service, by a cluster of the bootstrap. If Relay is
// away, connections go on.
func AcceptFilter(f *routing.Fleet, cluster string) (*corev3.TypedExtensionConfig, error) {
	return acceptFilterBy(f, cluster, acceptCluster(QueueSlot(cluster)))
}

// acceptFilterBy makes the filter for Envoys that reach Relay by a cluster of their bootstrap.
func acceptFilterBy(f *routing.Fleet, cluster, relays string) (*corev3.TypedExtensionConfig, error) {
	var p packer
	config := connectionQuestion{
		domain: ratelimit.AcceptDomain, stats: "accept",
		relay: relayCall(f, relays, acceptLongest, askUntilStarted(&p)),
	}.filter(&p, routing.AcceptFilter(cluster), cluster)
	return config, p.err
}

// askUntilStarted has the next Relay asked if one does not answer, and the first one again after the last.
// That takes some seconds, in which the only Relay may be started anew. Each connection takes another
// time. So those that wait do not all go on at one moment, if Relay stays away. The longest pause is
// also the longest time that one try may take.
func askUntilStarted(p *packer) *corev3.RetryPolicy {
	return &corev3.RetryPolicy{
		RetryOn: "connect-failure,reset,unavailable", NumRetries: wrapperspb.UInt32(6),
		RetryPriority: &corev3.RetryPolicy_RetryPriority{
			Name: "envoy.retry_priorities.previous_priorities",
			ConfigType: &corev3.RetryPolicy_RetryPriority_TypedConfig{
				TypedConfig: p.pack(&previousprioritiesv3.PreviousPrioritiesConfig{UpdateFrequency: 1}),
			},
		},
		RetryBackOff: &corev3.BackoffStrategy{
			BaseInterval: durationpb.New(100 * time.Millisecond), MaxInterval: durationpb.New(acceptLongest),
		},
	}
}

// acceptResource makes the filter for the store of a fleet. Envoys with an older bootstrap have one
// cluster of Relays: by that, each asks any Relay, and each Relay counts alone.
func acceptResource(f *routing.Fleet, key xds.Key, cluster string, msg *corev3.TypedExtensionConfig) (xds.Resource, error) {
	filter, err := Resource(key, msg)
	if err != nil {
		return xds.Resource{}, err
	}
	without, err := acceptFilterBy(f, cluster, relayCluster)
	if err != nil {
		return xds.Resource{}, err
	}
	older, err := Resource(key, without)
	return filter.OrWithout(xds.Told(AcceptSlotsTold, strconv.Itoa(QueueSlots)), older), err
}
