package envoy

import (
	"strings"
	"time"

	mutationrulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
	"relay/internal/authz"
)

const (
	// holdLimit is longer than any app lets a request wait: it is Relay that answers.
	holdLimit = 11 * time.Minute
	// holdRetries is how often an Envoy asks again if Relay is away. The pauses are random, and
	// grow from 50 ms to twice as much each time: in all about a minute.
	holdRetries = 11
	holdPause   = 50 * time.Millisecond
)

// wakeFilters are those of the chain by which a request waits until its app is awake. Envoy has no
// other way to say which one it is that works with every bootstrap; and metadata of a route, which
// it can tell too, takes more memory than all else that an app takes which sleeps. The route takes
// the headers off: Envoy leaves out filters of a chain that come after one which waited, so there is
// none here.
func wakeFilters(p *packer, f *routing.Fleet) []*corev3.TypedExtensionConfig {
	return []*corev3.TypedExtensionConfig{p.extension("node", tellsRelay("%ROUTE_NAME%")), p.extension("ext_authz", wakeCheck(p, f))}
}

// tellsRelay says in headers of a request which Envoy asks, and for which app port.
func tellsRelay(route string) *headermutationv3.HeaderMutation {
	header := func(name, value string) *mutationrulesv3.HeaderMutation {
		return &mutationrulesv3.HeaderMutation{Action: &mutationrulesv3.HeaderMutation_Append{
			Append: headerOption(name, value, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD),
		}}
	}
	return &headermutationv3.HeaderMutation{Mutations: &headermutationv3.Mutations{
		RequestMutations: []*mutationrulesv3.HeaderMutation{header(authz.NodeHeader, "%CEL(xds.node.id)%"), header(authz.RouteHeader, route)},
	}}
}

// wakeAsked has requests wait until an app is awake that is asked about them, as if they were requests to it. If no Relay can be
// asked they go on, to the question that nobody answers.
func wakeAsked(c *filterChains, f *routing.Fleet, cluster string) {
	c.add("node", tellsRelay(strings.ReplaceAll(cluster, "%", "%%")))
	c.addWaiting("wake", wakeCheck(c.p, f))
	take := func(header string) *mutationrulesv3.HeaderMutation {
		return &mutationrulesv3.HeaderMutation{Action: &mutationrulesv3.HeaderMutation_Remove{Remove: header}}
	}
	c.add("node", &headermutationv3.HeaderMutation{Mutations: &headermutationv3.Mutations{
		RequestMutations: []*mutationrulesv3.HeaderMutation{take(authz.NodeHeader), take(authz.RouteHeader)},
	}})
}

// wakesAsked reports whether requests of a rule wait for an app that is asked about them.
func wakesAsked(r routing.Rule) bool {
	s := r.HTTP.SignOn
	return s != nil && s.App != nil && r.References[s.App.AppRef].Gated
}

// wakeCheck asks Relay whether a request may go on to its app, and waits for the answer. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/ext_authz_filter
// Relay is told of no header but those by which it knows browsers and probes, and of no body.
func wakeCheck(p *packer, f *routing.Fleet) *extauthzv3.ExtAuthz {
	exact := func(header string) *matcherv3.StringMatcher {
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: header}}
	}
	return &extauthzv3.ExtAuthz{
		TransportApiVersion: corev3.ApiVersion_V3,
		Services:            &extauthzv3.ExtAuthz_GrpcService{GrpcService: relayService(p, f)},
		AllowedHeaders: &matcherv3.ListStringMatcher{Patterns: []*matcherv3.StringMatcher{
			exact("user-agent"), exact("accept"), exact("content-type"), exact(authz.NodeHeader), exact(authz.RouteHeader),
		}},
		// An app that was about to fall asleep when Envoy lost all Relays runs still. One that sleeps has
		// no cluster, and Envoy says so.
		FailureModeAllow:           true,
		ChargeClusterResponseStats: wrapperspb.Bool(false),
	}
}
