package envoy

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matchingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/matching/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"relay/collator/routing"
	"relay/xds"
)

// maxOutline is how many lines an outline has.
const maxOutline = 30

// Outline says in short what a resource has Envoys do: of a scope, which filters the requests of each
// route go through, in order, and where they go; of a listener the same for connections; of a cluster how
// an instance is chosen and reached. It is for one app, of which mine knows the clusters and domains: of a scope it has the
// routes of these clusters, by the name of the route, and of a listener the filter chains for all names or for these domains. It is
// made of what Envoys are offered, and has no value that may be secret. Other types have none.
func Outline(t xds.Type, body []byte, mine func(name string) bool) (lines []string) {
	switch t {
	case xds.Cluster:
		var c clusterv3.Cluster
		if proto.Unmarshal(body, &c) == nil {
			lines = outlineOfCluster(&c)
		}
	case xds.Listener:
		var l listenerv3.Listener
		if proto.Unmarshal(body, &l) == nil {
			lines = outlineOfListener(&l, mine)
		}
	case xds.Scope:
		var s routev3.ScopedRouteConfiguration
		if proto.Unmarshal(body, &s) == nil {
			lines = outlineOfScope(&s, mine)
		}
	}
	if over := len(lines) - maxOutline; over > 0 {
		lines = append(lines[:maxOutline], fmt.Sprintf("and %d more", over))
	}
	return lines
}

func outlineOfCluster(c *clusterv3.Cluster) []string {
	how := c.GetLbPolicy().String()
	for _, p := range c.GetLoadBalancingPolicy().GetPolicies() {
		how = p.GetTypedExtensionConfig().GetName()
	}
	lines := []string{"lb_policy " + how}
	for _, t := range c.GetCircuitBreakers().GetThresholds() {
		for _, limit := range []struct {
			name  string
			value uint32
		}{{"max_connections", t.GetMaxConnections().GetValue()}, {"max_pending_requests", t.GetMaxPendingRequests().GetValue()}, {"max_requests", t.GetMaxRequests().GetValue()}} {
			if limit.value != math.MaxUint32 && limit.value != 0 {
				lines = append(lines, fmt.Sprintf("circuit_breakers %s %s %d", t.GetPriority(), limit.name, limit.value))
			}
		}
	}
	if o := c.GetOutlierDetection(); o.GetConsecutive_5Xx().GetValue() > 0 && o.GetEnforcingConsecutive_5Xx().GetValue() > 0 {
		lines = append(lines, fmt.Sprintf("outlier_detection consecutive_5xx %d", o.GetConsecutive_5Xx().GetValue()))
	}
	if s := c.GetTransportSocket(); s != nil {
		lines = append(lines, "transport_socket "+s.GetName())
	}
	return append(lines, "connect_timeout "+c.GetConnectTimeout().AsDuration().String())
}

func outlineOfListener(l *listenerv3.Listener, mine func(string) bool) (lines []string) {
	for _, chain := range l.GetFilterChains() {
		names := slices.DeleteFunc(slices.Clone(chain.GetFilterChainMatch().GetServerNames()), func(name string) bool { return !mine(name) })
		if len(names) == 0 && len(chain.GetFilterChainMatch().GetServerNames()) > 0 {
			continue // for domains of others
		}
		var filters []string
		for _, f := range chain.GetFilters() {
			filters = append(filters, f.GetName())
		}
		who := "every client"
		if len(names) > 0 {
			who = strings.Join(names, ", ")
		}
		if n := len(chain.GetFilterChainMatch().GetSourcePrefixRanges()); n > 0 {
			if who += fmt.Sprintf(" of %d network", n); n > 1 {
				who += "s"
			}
		}
		lines = append(lines, arrows(who, strings.Join(filters, ", ")))
	}
	return lines
}

func outlineOfScope(s *routev3.ScopedRouteConfiguration, mine func(string) bool) (lines []string) {
	for _, vhost := range s.GetRouteConfiguration().GetVirtualHosts() {
		for _, r := range vhost.GetRoutes() {
			if !mine(r.GetName()) {
				continue
			}
			steps := []string{matchOf(r.GetMatch())}
			for _, name := range slices.Concat(routeFilterNames, []string{routing.ScalingFilter, routing.QueueFilter}) {
				steps = append(steps, strings.Join(filtersRun(cmp.Or(r.GetTypedPerFilterConfig()[name], vhost.GetTypedPerFilterConfig()[name])), ", "))
			}
			lines = append(lines, arrows(append(steps, actionOf(r)+changesOf(r))...))
		}
	}
	return lines
}

// arrows joins the steps that are not empty.
func arrows(steps ...string) string {
	return strings.Join(slices.DeleteFunc(steps, func(s string) bool { return s == "" }), " → ")
}

func matchOf(m *routev3.RouteMatch) string {
	var text string
	switch {
	case m.GetPath() != "":
		text = m.GetPath()
	case m.GetSafeRegex() != nil:
		text = "paths like " + shortened(m.GetSafeRegex().GetRegex())
	default:
		text = m.GetPrefix() + "*"
	}
	for _, h := range m.GetHeaders() {
		text += ", " + h.GetName()
		if value := h.GetStringMatch().GetExact(); h.GetName() == forwardedProto || h.GetName() == ":method" {
			text += " " + value // other values may be secret
		}
	}
	for _, q := range m.GetQueryParameters() {
		text += ", ?" + q.GetName()
	}
	return text
}

func shortened(text string) string {
	const most = 60
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// filtersRun returns the names of the filters that a composite filter runs for a route.
func filtersRun(config *anypb.Any) (names []string) {
	var inline matchingv3.ExtensionWithMatcherPerRoute
	var named compositev3.CompositePerRoute
	var run compositev3.ExecuteFilterAction
	switch {
	case config == nil:
		return nil
	case config.UnmarshalTo(&inline) == nil:
		on := inline.GetXdsMatcher().GetOnNoMatch()
		for _, some := range inline.GetXdsMatcher().GetMatcherList().GetMatchers() {
			on = some.GetOnMatch() // for some requests alone
		}
		_ = on.GetAction().GetTypedConfig().UnmarshalTo(&run)
	case config.UnmarshalTo(&named) == nil:
		_ = named.GetMatcher().GetOnNoMatch().GetAction().GetTypedConfig().UnmarshalTo(&run)
	}
	if name := run.GetFilterChainName(); name != "" {
		return []string{name}
	}
	for _, f := range run.GetFilterChain().GetTypedConfig() {
		names = append(names, f.GetName())
	}
	return names
}

func actionOf(r *routev3.Route) string {
	switch a := r.GetAction().(type) {
	case *routev3.Route_DirectResponse:
		return fmt.Sprintf("answer %d", a.DirectResponse.GetStatus())
	case *routev3.Route_Redirect:
		return redirectOf(r)
	case *routev3.Route_Route:
		if cluster := a.Route.GetCluster(); cluster != "" {
			return "cluster " + cluster
		}
		var shares []string
		for _, c := range a.Route.GetWeightedClusters().GetClusters() {
			shares = append(shares, fmt.Sprintf("%s (%d)", c.GetName(), c.GetWeight().GetValue()))
		}
		return "clusters " + strings.Join(shares, ", ")
	}
	return ""
}

// formatsOfEnvoy are the parts of a target that Envoy takes from the request.
var formatsOfEnvoy = regexp.MustCompile(`(?:%[A-Z_]+\([^%]*\)%)+`)

// redirectOf says where requests are sent: the code, and what is another than in the request.
func redirectOf(r *routev3.Route) string {
	a := r.GetRedirect()
	code := map[routev3.RedirectAction_RedirectResponseCode]int{
		routev3.RedirectAction_MOVED_PERMANENTLY: 301, routev3.RedirectAction_FOUND: 302, routev3.RedirectAction_SEE_OTHER: 303,
		routev3.RedirectAction_TEMPORARY_REDIRECT: 307, routev3.RedirectAction_PERMANENT_REDIRECT: 308,
	}[a.GetResponseCode()]
	target := a.GetHostRedirect() + a.GetPathRedirect() + a.GetPrefixRewrite() + a.GetRegexRewrite().GetSubstitution()
	if scheme := a.GetSchemeRedirect(); scheme != "" {
		target = scheme + "://" + target
	}
	if a.GetHttpsRedirect() {
		target = "https"
	}
	for _, h := range r.GetResponseHeadersToAdd() {
		if strings.EqualFold(h.GetHeader().GetKey(), "location") {
			target = h.GetHeader().GetValue()
		}
	}
	target = formatsOfEnvoy.ReplaceAllString(strings.TrimPrefix(target, "%REQ(x-forwarded-proto)%://%REQ(:authority)%"), "…")
	target, _, _ = strings.Cut(target, "?") // a query may be secret
	return fmt.Sprintf("redirect %d to %s", code, shortened(target))
}

// changesOf names what a route changes of requests and answers, by Envoy's fields. Values of headers may be secret.
func changesOf(r *routev3.Route) string {
	var changes []string
	a := r.GetRoute()
	for name, set := range map[string]bool{
		"regex_rewrite": a.GetRegexRewrite() != nil, "prefix_rewrite": a.GetPrefixRewrite() != "", "host_rewrite_literal " + a.GetHostRewriteLiteral(): a.GetHostRewriteLiteral() != "",
		"auto_host_rewrite": a.GetAutoHostRewrite().GetValue(),
		"hash_policy":       len(a.GetHashPolicy()) > 0, "priority HIGH": a.GetPriority() == corev3.RoutingPriority_HIGH,
		"timeout " + a.GetTimeout().AsDuration().String(): a.GetTimeout().AsDuration() > 0,
	} {
		if set {
			changes = append(changes, name)
		}
	}
	for _, m := range a.GetRequestMirrorPolicies() {
		changes = append(changes, "mirrored to "+m.GetCluster())
	}
	for field, headers := range map[string][]*corev3.HeaderValueOption{"request_headers_to_add": r.GetRequestHeadersToAdd(), "response_headers_to_add": r.GetResponseHeadersToAdd()} {
		var names []string
		for _, h := range headers {
			names = append(names, h.GetHeader().GetKey())
		}
		if slices.Sort(names); len(names) > 0 {
			changes = append(changes, field+" "+strings.Join(slices.Compact(names), " "))
		}
	}
	if len(changes) == 0 || r.GetRedirect() != nil {
		return ""
	}
	slices.Sort(changes)
	return " (" + strings.Join(changes, ", ") + ")"
}
