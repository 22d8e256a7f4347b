package envoy

import (
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/sources"
)

// hostAttempts is how often Envoy picks an instance for a retry before it takes one that was
// tried already. It has picked another by then: with LEAST_REQUEST and one of two instances
// dead, each pick is the dead one with a probability of 3/4, as it has the fewest requests,
// and (3/4)^100 is below 1e-12. All of them together take tens of microseconds.
const hostAttempts = 100

// otherHost has a request retried on another endpoint.
var otherHost = packOnce(&previoushostsv3.PreviousHostsPredicate{})

// retryPolicy has a request retried on another endpoint if it cannot have reached the
// app: instances come and go before Envoy knows.
func (b scopeBuilder) retryPolicy(h sources.HTTP) *routev3.RetryPolicy {
	retries, conditions := b.Options.Retries, []string{"connect-failure", "refused-stream", "reset-before-request"}
	if h.NumRetries != nil {
		retries = *h.NumRetries
	}
	if len(h.RetryOn) > 0 {
		conditions = h.RetryOn
	}
	if retries == 0 {
		// Without a policy, Envoy would retry once what repeats asks for.
		return &routev3.RetryPolicy{NumRetries: wrapperspb.UInt32(0)}
	}
	policy := &routev3.RetryPolicy{
		RetryOn:    strings.Join(conditions, ","),
		NumRetries: wrapperspb.UInt32(retries),
		RetryHostPredicate: []*routev3.RetryPolicy_RetryHostPredicate{{
			Name: "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{
				TypedConfig: otherHost(),
			},
		}},
		HostSelectionRetryMaxAttempts: hostAttempts,
	}
	if len(h.RetryOn) == 0 {
		// Another instance can be tried at once. While Envoy waits, the body of the request
		// comes in: what does not fit into the buffer is lost, and the request with it.
		policy.RetryBackOff = &routev3.RetryPolicy_RetryBackOff{BaseInterval: durationpb.New(time.Millisecond)}
	}
	return policy
}
