package envoy

import (
	"fmt"
	"slices"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matchingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/matching/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"relay/collator/routing"
)

// routeMetadata is the metadata of a route that filters of its first chain look at.
const routeMetadata = "route"

// routeFilterNames are the filters of the listeners that run the filters of a route, in order.
//
// There are several since Envoy leaves out the filters of a chain that come after one which waited:
// they would let in whom they should keep out. So a filter that may wait is the last one of its
// chain, and what comes after it is in the chain of the next of these.
//
// Each of them takes memory of each scope that leaves it out: see BenchmarkLabels. A sixth would take as much as
// the five together.
var routeFilterNames = []string{"route", "route/2", "route/3", "route/4", "route/5"}

// perRouteFilters makes the filters that run the filters of a route: those which the route's
// ExtensionWithMatcherPerRoute names, and none without one. So no listener
// changes when the first app asks for one, and other routes pay nothing. They look at the
// route when the request reaches them. Filters that listeners had, and routes enabled, would
// not do: Envoy decides about those before the hosts filter has found the route. So no
// password was asked for if the host had upper case, or was below a wildcard domain.
//
// They cost a request a little even where they have nothing to run. So scopes without such routes
// leave them out.
func perRouteFilters(p *packer) (filters []*hcmv3.HttpFilter) {
	config := p.pack(&matchingv3.ExtensionWithMatcher{
		XdsMatcher:      &xdsmatcherv3.Matcher{},
		ExtensionConfig: p.extension("composite", &compositev3.Composite{}),
	})
	for _, name := range routeFilterNames {
		filters = append(filters, &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: config}})
	}
	return filters
}

// filterChains are the filters that a route asks for, in order: one chain for each of routeFilterNames.
type filterChains struct {
	p      *packer
	chains []oneChain
	// waits is set if the last filter of the last chain may wait.
	waits bool
	// refuse, if it is set, is for the chain that comes next.
	refuse *refusal
}

// refusal answers the requests that fit in place of a chain.
type refusal struct {
	fit    *xdsmatcherv3.Matcher_MatcherList_Predicate
	filter *corev3.TypedExtensionConfig
}

// oneChain is one of them, for the requests that fit; for all if fit is nil.
type oneChain struct {
	filters []*corev3.TypedExtensionConfig
	fit     *xdsmatcherv3.Matcher_MatcherList_Predicate
	refuse  *refusal
}

func (c *filterChains) begin(chain oneChain) {
	chain.refuse, c.refuse = c.refuse, nil
	c.chains = append(c.chains, chain)
}

// add adds a filter that decides at once.
func (c *filterChains) add(name string, config proto.Message) {
	if len(c.chains) == 0 || c.waits {
		c.begin(oneChain{})
		c.waits = false
	}
	last := &c.chains[len(c.chains)-1]
	last.filters = append(last.filters, c.p.extension(name, config))
}

// addWaiting adds a filter that may have a request wait: for an answer from elsewhere, for time to pass, or for
// the body of the request.
func (c *filterChains) addWaiting(name string, config proto.Message) {
	c.add(name, config)
	c.waits = true
}

// addWaitingIf adds a filter that may have the requests wait that fit, and is for these alone. It has a
// chain for itself.
func (c *filterChains) addWaitingIf(fit *xdsmatcherv3.Matcher_MatcherList_Predicate, name string, config proto.Message) {
	c.begin(oneChain{filters: []*corev3.TypedExtensionConfig{c.p.extension(name, config)}, fit: fit})
	c.waits = true
}

// tooMany reports whether there are more chains than filters that run them.
func (c *filterChains) tooMany() bool {
	n := len(c.chains)
	if c.refuse != nil {
		n++
	}
	return n > len(routeFilterNames)
}

// perRoute returns the configuration of a route by which the listeners run the filters; nil if there are none.
// Envoys before 1.38 know no chains: see scopeResource.
func (c *filterChains) perRoute() map[string]*anypb.Any {
	if c.refuse != nil {
		c.begin(oneChain{})
	}
	if len(c.chains) == 0 {
		return nil
	}
	if c.tooMany() {
		c.p.fail(fmt.Errorf("asks for %d things of a request that take time, one after the other: there may be %d", len(c.chains), len(routeFilterNames)))
		return nil
	}
	config := make(map[string]*anypb.Any, len(c.chains))
	for i, chain := range c.chains {
		config[routeFilterNames[i]] = c.p.pack(&matchingv3.ExtensionWithMatcherPerRoute{XdsMatcher: chain.matcher(c.p)})
	}
	return config
}

// matcher runs the filters of the chain for the requests that fit.
func (c oneChain) matcher(p *packer) *xdsmatcherv3.Matcher {
	var m xdsmatcherv3.Matcher
	var list xdsmatcherv3.Matcher_MatcherList
	if c.refuse != nil {
		list.Matchers = append(list.Matchers, &xdsmatcherv3.Matcher_MatcherList_FieldMatcher{Predicate: c.refuse.fit, OnMatch: run(p, c.refuse.filter)})
	}
	switch {
	case c.fit != nil:
		list.Matchers = append(list.Matchers, &xdsmatcherv3.Matcher_MatcherList_FieldMatcher{Predicate: c.fit, OnMatch: run(p, c.filters...)})
	case len(c.filters) > 0:
		m.OnNoMatch = run(p, c.filters...)
	}
	if len(list.Matchers) > 0 {
		m.MatcherType = &xdsmatcherv3.Matcher_MatcherList_{MatcherList: &list}
	}
	return &m
}

func run(p *packer, filters ...*corev3.TypedExtensionConfig) *xdsmatcherv3.Matcher_OnMatch {
	return &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
		Action: &xdscorev3.TypedExtensionConfig{Name: "run", TypedConfig: p.pack(&compositev3.ExecuteFilterAction{
			FilterChain: &compositev3.FilterChainConfiguration{TypedConfig: filters},
		})},
	}}
}

// nothingRuns is the configuration of a route for which no filters run.
var nothingRuns = packOnce(&matchingv3.ExtensionWithMatcherPerRoute{XdsMatcher: &xdsmatcherv3.Matcher{}})

// shareChains has a virtual host say what filters run for the routes of a rule, where all these would say the same: Envoy
// makes the filters anew for each route that says so itself. It is the rule that would say it most often, and no other
// one: what its filters count is its own. All other routes say for themselves what runs, be it nothing.
func shareChains(vhost *routev3.VirtualHost, rules [][]*routev3.Route) {
	for _, name := range routeFilterNames {
		var sharing []*routev3.Route
		for _, routes := range rules {
			if same := thatSayTheSame(routes, name); len(same) > len(sharing) {
				sharing = same
			}
		}
		if len(sharing) < 2 {
			continue
		}
		set(&vhost.TypedPerFilterConfig, name, sharing[0].TypedPerFilterConfig[name])
		for _, route := range vhost.Routes {
			switch {
			case slices.Contains(sharing, route):
				delete(route.TypedPerFilterConfig, name)
			case route.TypedPerFilterConfig[name] == nil:
				set(&route.TypedPerFilterConfig, name, nothingRuns())
			}
		}
	}
}

// thatSayTheSame returns the routes that say the same of a filter as the first one that says something.
func thatSayTheSame(routes []*routev3.Route, filter string) (same []*routev3.Route) {
	for _, route := range routes {
		config := route.TypedPerFilterConfig[filter]
		if config != nil && (same == nil || proto.Equal(config, same[0].TypedPerFilterConfig[filter])) {
			same = append(same, route)
		}
	}
	return same
}

// usesRouteFilters reports whether a route of a virtual host has filters.
func usesRouteFilters(vhost *routev3.VirtualHost) bool {
	return slices.ContainsFunc(routeFilterNames, func(name string) bool { return uses(vhost, name) })
}

// withoutUnused leaves those of the filters of listeners out of a scope that none of its routes uses.
func withoutUnused(f *routing.Fleet, vhost *routev3.VirtualHost) map[string]*anypb.Any {
	unused := map[string]*anypb.Any{routing.HostsFilter: disabled()}
	leaveOut := func(filter string) {
		if !uses(vhost, filter) {
			unused[filter] = disabled()
		}
	}
	for _, filter := range routeFilterNames {
		leaveOut(filter)
	}
	if f.Scaling {
		leaveOut(routing.ScalingFilter)
		leaveOut(routing.QueueFilter)
	}
	return unused
}
