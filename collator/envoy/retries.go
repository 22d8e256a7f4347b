package envoy

import (
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/sources"
)

// otherHost has a request tried again on another endpoint. Every route has it.
var otherHost = packOnce(&previoushostsv3.PreviousHostsPredicate{})

// retryPolicy tries another endpoint when a request cannot have reached the
// app: its instances come and go before Envoy can know.
func (b scopeBuilder) retryPolicy(h sources.HTTP) *routev3.RetryPolicy {
	retries, conditions := b.Options.Retries, []string{"connect-failure", "refused-stream", "reset-before-request"}
	if h.NumRetries != nil {
		retries = *h.NumRetries
	}
	if len(h.RetryOn) > 0 {
		conditions = h.RetryOn
	}
	if retries == 0 {
		return nil
	}
	return &routev3.RetryPolicy{
		RetryOn:    strings.Join(conditions, ","),
		NumRetries: wrapperspb.UInt32(retries),
		RetryHostPredicate: []*routev3.RetryPolicy_RetryHostPredicate{{
			Name: "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{
				TypedConfig: otherHost(),
			},
		}},
		HostSelectionRetryMaxAttempts: 3,
	}
}
