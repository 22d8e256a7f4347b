package envoy

import (
	"cmp"
	"regexp"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
	"relay/internal/hostname"
	"relay/sources"
)

// maxStripped is how many instructions a prefix may be so that Envoy takes the expression that
// strips it without being told that it is large.
const maxStripped = 80

// strictTransport is marathon-lb's value: half a year.
const strictTransport = "max-age=15768000"

// ruleRoutes returns the routes of a rule, in order. Where plain HTTP is handled in
// another way than HTTPS, it has a route of its own, before the one for both.
func (b scopeBuilder) ruleRoutes(p *packer, domain string, r routing.Rule, all ruleMatch) []*routev3.Route {
	p.fail(checkHandling(r.HTTP))
	r.HTTP.Closed = r.HTTP.Closed || b.Unsigned(r)
	r = b.withLogIn(r)
	var routes []*routev3.Route
	secure := b.OffersHTTPS()
	plain := all
	plain.scheme = "http"
	switch {
	case r.Redirect && secure:
		routes = append(routes, &routev3.Route{Match: plain.match(), Action: b.toHTTPS(domain), ResponseHeadersToAdd: b.locationBelow(domain)})
	case r.HTTP.Closed, r.Maintenance():
	case r.HTTP.HSTS && secure:
		routes = append(routes, b.handle(p, domain, r, plain)...)
	}
	if r.HTTP.Closed {
		return append(routes, &routev3.Route{Match: all.match(), Action: answer(forbidden)})
	}
	if r.Maintenance() {
		return append(routes, &routev3.Route{Match: all.match(), Action: answer(maintenance)})
	}
	general := b.handle(p, domain, r, all)
	if r.HTTP.HSTS && secure {
		for _, route := range general {
			// Unless the app sends the header itself.
			route.ResponseHeadersToAdd = append(route.ResponseHeadersToAdd,
				headerOption("strict-transport-security", strictTransport, corev3.HeaderValueOption_ADD_IF_ABSENT))
		}
	}
	return append(routes, general...)
}

// handle returns the routes that forward the requests of a rule that match.
func (b scopeBuilder) handle(p *packer, domain string, r routing.Rule, m ruleMatch) []*routev3.Route {
	routes := redirectRoutes(r, m)
	if r.HTTP.RootRedirect != "" && r.Path.Prefix == "/" {
		root := m.match()
		root.PathSpecifier = &routev3.RouteMatch_Path{Path: "/"}
		routes = append(routes, &routev3.Route{Match: root, Action: toPath(r.HTTP.RootRedirect)})
	}
	if routesByTarget(r) {
		routes = append(routes, withUrgent(shaping(r).Urgent, b.shareRoutes(domain, r, m))...)
	} else {
		forward := b.forward(domain, r)
		if r.HTTP.Sticky {
			for _, c := range forward.Route.GetWeightedClusters().GetClusters() {
				c.TypedPerFilterConfig = b.routeFilters(p, r, c.Name)
			}
		}
		routes = append(routes, withUrgent(shaping(r).Urgent, []*routev3.Route{{Match: m.match(), Action: forward}})...)
	}
	routes = withoutCopies(routes)
	for _, route := range routes {
		if action := route.GetRoute(); action != nil && wakesAsked(r) {
			lastAsHold(action)
		}
		cluster := cmp.Or(route.Name, r.Targets[0].Cluster)
		route.TypedPerFilterConfig = b.routeFilters(p, r, cluster)
		route.Metadata = metadataOf(r.HTTP)
		route.RequestHeadersToAdd = headerOptions(r.HTTP.RequestHeaders.Add)
		route.RequestHeadersToRemove = r.HTTP.RequestHeaders.Remove
		if len(r.HTTP.RetryOn) > 0 {
			// The app says itself what is tried again.
			route.RequestHeadersToRemove = append(slices.Clone(route.RequestHeadersToRemove), retryOnHeader)
		}
		route.ResponseHeadersToAdd = append(route.ResponseHeadersToAdd, headerOptions(r.HTTP.ResponseHeaders.Add)...)
		route.ResponseHeadersToRemove = slices.Clone(r.HTTP.ResponseHeaders.Remove)
		shapeAnswers(route, shaping(r))
		gateShare(p, route, r.Targets)
	}
	routes = b.separate(r.Targets, routes)
	if shaping(r).CORS != nil {
		routes = slices.Insert(routes, 0, b.preflight(p, r, m))
	}
	if large := m.refuseLarge(r.HTTP.RequestLimits); large != nil {
		routes = slices.Insert(routes, 0, large)
	}
	return routes
}

// forward sends requests to the clusters of a rule.
func (b scopeBuilder) forward(domain string, r routing.Rule) *routev3.Route_Route {
	action := &routev3.RouteAction{
		// Answers may take any time. The idle timeout ends those on which nothing moves.
		Timeout:     durationpb.New(0),
		IdleTimeout: durationpb.New(b.Options.StreamIdleTimeout),
		RetryPolicy: b.retryPolicy(r.HTTP),
		HashPolicy:  hashPolicy(r.HTTP.Hash),
	}
	if t := r.HTTP.Timeout; t != nil {
		action.Timeout = durationpb.New(*t)
	}
	if t := r.HTTP.IdleTimeout; t != nil {
		action.IdleTimeout = durationpb.New(*t)
	}
	if d := r.HTTP.MaxStreamDuration; d > 0 {
		action.MaxStreamDuration = &routev3.RouteAction_MaxStreamDuration{MaxStreamDuration: durationpb.New(d)}
	}
	setClusters(action, r.Targets)
	if r.HTTP.StripPrefix != "" {
		// As in marathon-lb: case does not count, and a slash after it goes, too.
		action.RegexRewrite = &matcherv3.RegexMatchAndSubstitute{
			Pattern:      regexMatcher("(?i)^"+regexp.QuoteMeta(r.HTTP.StripPrefix)+"/?(.*)", instructions(r.HTTP.StripPrefix) > maxStripped),
			Substitution: `/\1`,
		}
		if _, wildcard := hostname.CutWildcard(domain); !wildcard {
			action.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: domain}
		}
	}
	shapeForward(action, r.HTTP.Shaping)
	mirror(action, r)
	return &routev3.Route_Route{Route: action}
}

// setClusters names the one cluster, or shares requests between several. If all weights
// are 0 the first cluster takes everything: Envoy takes no list without a weight.
func setClusters(action *routev3.RouteAction, targets []routing.Target) {
	var weighted routev3.WeightedCluster
	var total uint32
	for _, t := range targets {
		weighted.Clusters = append(weighted.Clusters, &routev3.WeightedCluster_ClusterWeight{
			Name: t.Cluster, Weight: wrapperspb.UInt32(t.Weight),
		})
		total += t.Weight
	}
	if len(targets) == 1 || total == 0 {
		action.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: targets[0].Cluster}
		return
	}
	action.ClusterSpecifier = &routev3.RouteAction_WeightedClusters{WeightedClusters: &weighted}
}

func headerOptions(headers []sources.Header) []*corev3.HeaderValueOption {
	var options []*corev3.HeaderValueOption
	for _, h := range headers {
		// Envoy takes a value for a format string, by which an app could read Envoy's
		// environment.
		options = append(options, headerOption(h.Name, plainText(h.Value),
			corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
	}
	return options
}

func headerOption(name, value string, action corev3.HeaderValueOption_HeaderAppendAction) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, Value: value}, AppendAction: action}
}
