package envoy

import (
	"math"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	mutationrulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
)

const (
	// mostMirrored is how many copies an Envoy has under way to one app port, and how many more wait for a connection. Further
	// requests are not copied.
	mostMirrored = 100
	// longestMirror is how long a copy may take.
	longestMirror = 30 * time.Second
	// longestCopied is how many bytes the body of a request has at most that is copied: half of what Envoy keeps for an app that does not read.
	longestCopied = bufferLimit / 2
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

// withoutCopies puts routes before others that send copies: a request whose body is long, or of which that is not known, has no copy, for it would
// wait for the app that reads the copy more slowly. What is shorter is in the buffers for that app. A call by gRPC does not say how long it is.
func withoutCopies(routes []*routev3.Route) (all []*routev3.Route) {
	for _, route := range routes {
		if len(route.GetRoute().GetRequestMirrorPolicies()) > 0 {
			long := notCopied(route)
			long.Match.Headers = append(long.Match.Headers, &routev3.HeaderMatcher{Name: contentLength, HeaderMatchSpecifier: &routev3.HeaderMatcher_RangeMatch{
				RangeMatch: &typev3.Int64Range{Start: longestCopied + 1, End: math.MaxInt64},
			}})
			unknown := notCopied(route)
			absent, grpc := present(contentLength), headerBegins("content-type", "application/grpc")
			absent.InvertMatch, grpc.InvertMatch, grpc.TreatMissingHeaderAsEmpty = true, true, true
			unknown.Match.Headers = append(unknown.Match.Headers, absent, grpc, headerBegins(":method", "P"))
			all = append(all, long, unknown)
		}
		all = append(all, route)
	}
	return all
}

// headerBegins fits a header that begins so, in any case.
func headerBegins(name, prefix string) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
		MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: prefix}, IgnoreCase: true,
	}}}
}

func notCopied(route *routev3.Route) *routev3.Route {
	route = proto.CloneOf(route)
	route.GetRoute().RequestMirrorPolicies = nil
	return route
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
