package envoy

import (
	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	mutationrulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	matchingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/matching/v3"
	skipv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/matcher/action/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// retryOnHeader adds conditions to those of the route, for one request. Clients cannot set
// it, and apps do not see it. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#x-envoy-retry-on
const retryOnHeader = "x-envoy-retry-on"

// repeatable are the methods that ask for nothing to be changed, so a request that may have
// reached an app can be sent again. See https://www.rfc-editor.org/rfc/rfc9110#section-9.2.1
var repeatable = []string{"GET", "HEAD", "OPTIONS"}

// repeats has requests by such methods tried on another instance if the connection ended
// before an answer. A policy of the route cannot depend on the method, and a second route
// for each would take more memory in Envoy than all that this filter does.
func repeats(p *packer) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{
		Name: "repeats",
		ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: p.pack(&matchingv3.ExtensionWithMatcher{
			XdsMatcher: unlessHeader(p, "method", ":method", repeatable...),
			ExtensionConfig: p.extension("set", &headermutationv3.HeaderMutation{Mutations: &headermutationv3.Mutations{
				RequestMutations: []*mutationrulesv3.HeaderMutation{{Action: &mutationrulesv3.HeaderMutation_Append{
					Append: headerOption(retryOnHeader, "reset", corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD),
				}}},
			}}),
		})},
	}
}

// unlessHeader skips a filter for requests whose header has none of these values.
func unlessHeader(p *packer, input, header string, values ...string) *xdsmatcherv3.Matcher {
	type predicate = xdsmatcherv3.Matcher_MatcherList_Predicate
	var list []*predicate
	for _, value := range values {
		config := p.pack(&matcherv3.HttpRequestHeaderMatchInput{HeaderName: header})
		list = append(list, &predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
			SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
				Input: &xdscorev3.TypedExtensionConfig{Name: input, TypedConfig: config},
				Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{ValueMatch: &xdsmatcherv3.StringMatcher{
					MatchPattern: &xdsmatcherv3.StringMatcher_Exact{Exact: value},
				}},
			},
		}})
	}
	any := list[0]
	if len(list) > 1 {
		any = &predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_OrMatcher{
			OrMatcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_PredicateList{Predicate: list},
		}}
	}
	skip := &xdscorev3.TypedExtensionConfig{Name: "skip", TypedConfig: p.pack(&skipv3.SkipFilter{})}
	return &xdsmatcherv3.Matcher{MatcherType: &xdsmatcherv3.Matcher_MatcherList_{MatcherList: &xdsmatcherv3.Matcher_MatcherList{
		Matchers: []*xdsmatcherv3.Matcher_MatcherList_FieldMatcher{{
			Predicate: &predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_NotMatcher{NotMatcher: any}},
			OnMatch:   &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{Action: skip}},
		}},
	}}}
}
