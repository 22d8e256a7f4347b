package envoy

import (
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"relay/collator/routing"
	"relay/sources"
	"relay/xds"
)

// ChainsSince is the minor version of Envoy 1 from which on Envoys know chains of filters, which
// the filters of routes are.
const ChainsSince = 38

// ResourceWithVariants makes a resource of a message, with another variant for older Envoys if
// they do not understand all of it. Routes returns what the scope of the domain is made of.
func ResourceWithVariants(f *routing.Fleet, key xds.Key, msg proto.Message, routes func() routing.DomainRoutes) (xds.Resource, error) {
	switch msg := msg.(type) {
	case *corev3.TypedExtensionConfig:
		return hostsResource()
	case *routev3.ScopedRouteConfiguration:
		return scopeResource(f, msg, routes)
	}
	return Resource(key, msg)
}

// scopeResource makes a resource of the scope of a domain, for the store of a fleet. If some of
// its routes have filters, there is another variant for Envoys that know no chains of filters.
// They would reject the scope, and so go on with the one before, which may ask for no password.
// The variant answers 403 where a password or a network was asked for. Where only a convenience
// is lost, it serves without: sticky sessions, and changed Location headers.
func scopeResource(f *routing.Fleet, scope *routev3.ScopedRouteConfiguration, routes func() routing.DomainRoutes) (xds.Resource, error) {
	key := xds.Key{Type: xds.Scope, Name: scope.Name}
	newResource := Resource
	if isTailed(scope) {
		newResource = passing
	}
	resource, err := newResource(key, scope)
	if err != nil || !hasFilters(scope) {
		return resource, err
	}
	d := routes()
	d.Rules = slices.Clone(d.Rules)
	for i := range d.Rules {
		h := &d.Rules[i].HTTP
		h.Closed = h.Closed || Restricted(h)
		h.BasicAuth, h.AllowedNetworks, h.Sticky, h.LocationPrefix = nil, nil, false, ""
	}
	msg, err := Scope(f, d)
	if err != nil {
		return xds.Resource{}, err
	}
	older, err := newResource(key, msg)
	return resource.OrWithout(xds.Since(ChainsSince), older), err
}

func hasFilters(scope *routev3.ScopedRouteConfiguration) bool {
	return slices.ContainsFunc(scope.RouteConfiguration.VirtualHosts, asksForFilters)
}

// NeedsFilters reports whether requests to a port go through filters of its route.
func NeedsFilters(h *sources.HTTP) bool { return Restricted(h) || h.Sticky || h.LocationPrefix != "" }

// Restricted reports whether filters of its route keep requests to a port out.
func Restricted(h *sources.HTTP) bool { return h.BasicAuth != nil || len(h.AllowedNetworks) > 0 }
