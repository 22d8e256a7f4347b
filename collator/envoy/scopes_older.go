package envoy

import (
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"relay/collator/routing"
	"relay/sources"
	"relay/xds"
)

// ChainsSince is the minor version of Envoy 1 from which on Envoys know chains of filters, which
// the filters of routes are.
const ChainsSince = 38

// NamedChainsSince is the minor version of Envoy 1 from which on Envoys know chains of filters by
// name, by which requests wait for apps that sleep.
const NamedChainsSince = 39

// ResourceWithVariants makes a resource of a message, with another variant for older Envoys if
// they do not understand all of it. Routes returns what the scope of the domain is made of.
func ResourceWithVariants(f *routing.Fleet, key xds.Key, msg proto.Message, routes func() routing.DomainRoutes) (xds.Resource, error) {
	switch msg := msg.(type) {
	case *corev3.TypedExtensionConfig:
		switch msg.Name {
		case routing.HostsFilter:
			return hostsResource()
		case routing.QueueFilter:
			return queueResource(key, msg)
		}
		if _, ok := routing.WakesCluster(msg.Name); ok {
			return Resource(key, msg)
		}
		if cluster, ok := routing.AcceptsCluster(msg.Name); ok {
			return acceptResource(f, key, cluster, msg)
		}
	case *listenerv3.Listener:
		return tcpListenerResource(key, msg)
	case *routev3.ScopedRouteConfiguration:
		return scopeResource(f, msg, routes)
	}
	return Resource(key, msg)
}

// scopeResource makes a resource of the scope of a domain, for the store of a fleet. If some of
// its routes have filters, there is another variant for Envoys that know no chains of filters.
// They would reject the scope, and so go on with the one before, which may ask for no password.
// The variant answers 403 where one of the filters keeps requests out. Where only a convenience
// is lost, it serves without: sticky sessions, and changed Location headers. There is one variant: it is for
// all Envoys that lack one of the filters of a domain, and has none of them.
//
// If requests wait for Relay, the variant is for all Envoys that know no chains by name, and has
// them not wait. Routes for clients that do not count need what chains came with. Older Envoys are
// sent none: apps do not sleep while they are connected.
func scopeResource(f *routing.Fleet, scope *routev3.ScopedRouteConfiguration, routes func() routing.DomainRoutes) (xds.Resource, error) {
	key := xds.Key{Type: xds.Scope, Name: scope.Name}
	newResource := Resource
	if isTailed(scope) {
		newResource = passing
	}
	resource, err := newResource(key, scope)
	filters, gates := hasFilters(scope), hasGates(scope)
	if err != nil || !filters && !gates && !hasApart(scope) {
		return resource, err
	}
	d := routes()
	since := sinceOf(d.Rules)
	switch {
	case gates:
		since = max(since, NamedChainsSince)
	case foldsHosts(d.Rules):
		since = expressionsSince
	}
	msg, err := Scope(f, olderRoutes(d, filters))
	if err != nil {
		return xds.Resource{}, err
	}
	older, err := newResource(key, msg)
	return resource.OrWithout(xds.Since(since), older), err
}

// olderRoutes returns the routes without what older Envoys do not know.
func olderRoutes(d routing.DomainRoutes, filters bool) routing.DomainRoutes {
	d.Rules = slices.Clone(d.Rules)
	for i := range d.Rules {
		r := &d.Rules[i]
		r.Targets = slices.Clone(r.Targets)
		for t := range r.Targets {
			r.Targets[t].Gated, r.Targets[t].Queued, r.Targets[t].Separates = false, false, false
		}
		if h := &r.HTTP; filters {
			h.Closed = h.Closed || Restricted(h)
			for _, f := range features {
				f.leaveOut(h)
			}
		}
	}
	d.Rules = hashedAsSent(d.Rules)
	return d
}

func hasGates(scope *routev3.ScopedRouteConfiguration) bool {
	return slices.ContainsFunc(scope.RouteConfiguration.VirtualHosts, asksRelay)
}

func hasApart(scope *routev3.ScopedRouteConfiguration) bool {
	return slices.ContainsFunc(scope.RouteConfiguration.VirtualHosts, separates)
}

func hasFilters(scope *routev3.ScopedRouteConfiguration) bool {
	return slices.ContainsFunc(scope.RouteConfiguration.VirtualHosts, usesRouteFilters)
}

// feature is something that filters of a port's routes do.
type feature struct {
	// name is what it is called in problems.
	name string
	// since is the minor version of Envoy 1 from which on Envoys can do it.
	since int
	// restricts is set if it keeps requests out.
	restricts bool
	asked     func(h *sources.HTTP) bool
	// leaveOut may change fields of HTTP, and nothing that these point to.
	leaveOut func(h *sources.HTTP)
}

// features are all of them. Each filter of routeFilters belongs to one.
var features = slices.Concat([]feature{
	{"a password", ChainsSince, true, func(h *sources.HTTP) bool { return h.BasicAuth != nil }, func(h *sources.HTTP) { h.BasicAuth = nil }},
	{"allowed networks", ChainsSince, true, func(h *sources.HTTP) bool { return len(h.AllowedNetworks) > 0 }, func(h *sources.HTTP) { h.AllowedNetworks = nil }},
	{"sticky sessions", ChainsSince, false, func(h *sources.HTTP) bool { return h.Sticky }, func(h *sources.HTTP) { h.Sticky = false }},
	{"HTTP_BACKEND_REVPROXY_PATH", ChainsSince, false, func(h *sources.HTTP) bool { return h.LocationPrefix != "" }, func(h *sources.HTTP) { h.LocationPrefix = "" }},
}, signOnFeatures, limitFeatures, shapingFeatures)

// NeedsFilters reports whether requests to a port go through filters of its route.
func NeedsFilters(h *sources.HTTP) bool {
	return slices.ContainsFunc(features, func(f feature) bool { return f.asked(h) })
}

// Restricted reports whether filters of its route keep requests to a port out.
func Restricted(h *sources.HTTP) bool {
	return slices.ContainsFunc(features, func(f feature) bool { return f.restricts && f.asked(h) })
}

// Asked is what a port asks of filters of its route.
type Asked struct {
	// Name is what it is called in problems.
	Name string
	// Since is the minor version of Envoy 1 from which on Envoys can do it.
	Since int
	// Restricts is set if it keeps requests out.
	Restricts bool
}

// AskedOf returns what a port asks of filters of its route.
func AskedOf(h *sources.HTTP) (all []Asked) {
	for _, f := range features {
		if f.asked(h) {
			all = append(all, Asked{f.name, f.since, f.restricts})
		}
	}
	return all
}

// FeaturesSince returns the minor versions of Envoy 1 that brought something which ports ask of filters, the oldest
// first.
func FeaturesSince() (minors []int) {
	for _, f := range features {
		minors = append(minors, f.since)
	}
	slices.Sort(minors)
	return slices.Compact(minors)
}

// SinceOf returns the minor version of Envoy 1 from which on Envoys can do all that a port asks of filters of its
// route; ChainsSince at least.
func SinceOf(h *sources.HTTP) int {
	since := ChainsSince
	for _, f := range features {
		if f.since > since && f.asked(h) {
			since = f.since
		}
	}
	return since
}

func sinceOf(rules []routing.Rule) int {
	since := ChainsSince
	for i := range rules {
		since = max(since, SinceOf(&rules[i].HTTP))
	}
	return since
}
