package envoy

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
	"relay/internal/authz"
	"relay/internal/failure"
	"relay/internal/hostname"
	"relay/sources"
	"relay/xds"
)

const (
	acmePrefix     = "/.well-known/acme-challenge/"
	forwardedProto = "x-forwarded-proto"
)

// scopeBuilder makes the scopes of a fleet.
type scopeBuilder struct{ *routing.Fleet }

// Scope makes the scope of a domain. Its virtual host takes any host, as Envoy has
// chosen the scope by the host already.
func Scope(f *routing.Fleet, d routing.DomainRoutes) (*routev3.ScopedRouteConfiguration, error) {
	var p packer
	if !foldsHosts(d.Rules) {
		d.Rules = hashedAsSent(d.Rules)
	}
	scope := newScope(d.Domain)
	scope.RouteConfiguration.RequestHeadersToRemove = []string{scopeHeader}
	scope.RouteConfiguration.RequestHeadersToAdd = externalAddress(f)
	// Only Envoy says by it what failed: it sets the header after this.
	scope.RouteConfiguration.ResponseHeadersToRemove = []string{failure.Header}
	vhost := scopeBuilder{f}.virtualHost(&p, d)
	scope.RouteConfiguration.VirtualHosts = []*routev3.VirtualHost{vhost}
	if onlyAsks(vhost) {
		// There may be very many that sleep, of which nobody asks for most: they save memory, and not
		// the time of requests.
		takeFromAll(scope.RouteConfiguration, authz.NodeHeader, authz.RouteHeader)
		return scope, p.err
	}
	scope.RouteConfiguration.TypedPerFilterConfig = withoutUnused(f, vhost)
	return scope, p.err
}

// WildcardsScope makes the scope by which the hosts filter finds the wildcard domain that
// a host is below. It has a virtual host without routes for each wildcard domain. Envoy
// takes the longest that matches.
func WildcardsScope(parents []string) *routev3.ScopedRouteConfiguration {
	scope := newScope(routing.WildcardsScope)
	// The port stays in the header, so that the app sees it.
	scope.RouteConfiguration.IgnorePortInHostMatching = true
	for _, parent := range parents {
		domain := hostname.Wildcard(parent)
		scope.RouteConfiguration.VirtualHosts = append(scope.RouteConfiguration.VirtualHosts, &routev3.VirtualHost{
			Name: domain,
			// Envoy compares a dot at the end of a host, too.
			Domains: []string{domain, domain + "."},
		})
	}
	return scope
}

func newScope(name string) *routev3.ScopedRouteConfiguration {
	return &routev3.ScopedRouteConfiguration{
		Name: name,
		Key: &routev3.ScopedRouteConfiguration_Key{Fragments: []*routev3.ScopedRouteConfiguration_Key_Fragment{{
			Type: &routev3.ScopedRouteConfiguration_Key_Fragment_StringKey{StringKey: name},
		}}},
		RouteConfiguration: &routev3.RouteConfiguration{
			Name: name,
			// Else Envoy rejects all scopes of a response for one unknown cluster.
			ValidateClusters: wrapperspb.Bool(false),
		},
	}
}

// virtualHost makes the virtual host of a domain: ACME challenges first, then its rules.
// Browsers send requests for all names of a certificate on one connection
// (https://www.rfc-editor.org/rfc/rfc9113#name-connection-reuse), also those for a name whose
// TLS is passed through. They are told to open another one.
func (b scopeBuilder) virtualHost(p *packer, d routing.DomainRoutes) *routev3.VirtualHost {
	vhost := &routev3.VirtualHost{
		Name: d.Domain, Domains: []string{"*"},
		// Else it would be the window of a stream for clients with HTTP/2.
		RequestBodyBufferLimit: wrapperspb.UInt64(bufferLimit),
	}
	if routing.DividedByPath(d.Rules) {
		vhost.Routes = append(vhost.Routes, refuseRaw(), refuseClimbing())
	}
	if d.ACMECluster != "" {
		challenges := routing.Rule{Path: sources.Path{Prefix: acmePrefix}, Targets: []routing.Target{{Cluster: d.ACMECluster}}}
		vhost.Routes = append(vhost.Routes, &routev3.Route{
			Name:   d.ACMECluster,
			Match:  ruleMatch{path: challenges.Path, scheme: "http"}.match(),
			Action: b.forward(d.Domain, challenges),
		})
	}
	if d.Passed {
		vhost.Routes = append(vhost.Routes, &routev3.Route{
			Match:  ruleMatch{path: sources.Path{Prefix: "/"}, scheme: "https"}.match(),
			Action: answer(misdirected),
		})
	}
	if d.Tailed {
		vhost.Routes = tailed(d.Domain, "", vhost.Routes)
	}
	var rules [][]*routev3.Route
	for i, r := range d.Rules {
		routes := b.guardedRoutes(p, d.Domain, r, d.Rules[i+1:])
		if d.Tailed || r.Tailed {
			routes = tailed(d.Domain, r.Targets[0].Cluster, routes)
		}
		vhost.Routes, rules = append(vhost.Routes, routes...), append(rules, routes)
	}
	shareChains(vhost, rules)
	return vhost
}

// NamedByScope returns the clusters and scopes that a scope names, but for clusters that
// requests reach only when Relay lets them through: Relay knows which Envoy has them. They are not sorted, and
// some are there more than once.
func NamedByScope(msg proto.Message) (names []xds.Key) {
	scope, ok := msg.(*routev3.ScopedRouteConfiguration)
	if !ok {
		return nil
	}
	for _, vhost := range scope.RouteConfiguration.VirtualHosts {
		if scope.Name == routing.WildcardsScope {
			names = append(names, xds.Key{Type: xds.Scope, Name: vhost.Name})
		}
		for _, route := range vhost.Routes {
			if mayLackCluster(route) {
				continue
			}
			action := route.GetRoute()
			if cluster := action.GetCluster(); cluster != "" {
				key := xds.Key{Type: xds.Cluster, Name: cluster}
				if n := len(names); n == 0 || names[n-1] != key {
					names = append(names, key)
				}
			}
			for _, policy := range action.GetRequestMirrorPolicies() {
				names = append(names, xds.Key{Type: xds.Cluster, Name: policy.Cluster})
			}
			for _, weighted := range action.GetWeightedClusters().GetClusters() {
				names = append(names, xds.Key{Type: xds.Cluster, Name: weighted.Name})
			}
		}
	}
	return names
}
