package envoy

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	mutationrulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
)

const (
	// mostMirrored is how many copies an Envoy has under way to one app port, and how many more wait for a connection. Further
	// requests are not copied.
	mostMirrored = 100
	// longestMirror is how long a copy may take.
	longestMirror = 30 * time.Second
	// mirroredHeader tells an app that a request is a copy.
	mirroredHeader = "x-relay-mirrored"
)

// secretHeaders of requests are for the app that was asked, and not in copies.
var secretHeaders = []string{"authorization", "cookie", "proxy-authorization"}

// mirror has copies of requests sent to the apps that a rule names, so far as it may use them.
func mirror(action *routev3.RouteAction, r routing.Rule) {
	for _, m := range shaping(r).Mirrors {
		cluster := r.References[m.To].Cluster
		if cluster == "" {
			continue
		}
		policy := &routev3.RouteAction_RequestMirrorPolicy{
			Cluster:                       routing.MirrorCluster(cluster),
			RuntimeFraction:               &corev3.RuntimeFractionalPercent{DefaultValue: millionths(m.Percent)},
			DisableShadowHostSuffixAppend: true,
		}
		for _, name := range secretHeaders {
			policy.RequestHeadersMutations = append(policy.RequestHeadersMutations, &mutationrulesv3.HeaderMutation{
				Action: &mutationrulesv3.HeaderMutation_Remove{Remove: name},
			})
		}
		policy.RequestHeadersMutations = append(policy.RequestHeadersMutations, &mutationrulesv3.HeaderMutation{
			Action: &mutationrulesv3.HeaderMutation_Append{Append: headerOption(mirroredHeader, "true", corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)},
		})
		action.RequestMirrorPolicies = append(action.RequestMirrorPolicies, policy)
	}
}

// boundMirror keeps what copies take in an Envoy small, whatever becomes of them.
func boundMirror(cluster *clusterv3.Cluster) {
	for _, t := range cluster.CircuitBreakers.Thresholds {
		for _, limit := range []**wrapperspb.UInt32Value{&t.MaxConnections, &t.MaxPendingRequests, &t.MaxRequests} {
			*limit = wrapperspb.UInt32(min((*limit).GetValue(), mostMirrored))
		}
		t.MaxRetries = wrapperspb.UInt32(0)
	}
}
