package collator

import (
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/sources"
)

const (
	acmePrefix     = "/.well-known/acme-challenge/"
	forwardedProto = "x-forwarded-proto"
	wildcardPrefix = "*."
)

// domainRoutes is what a domain does.
type domainRoutes struct {
	domain string
	// rules are tried in order; what none takes gets 404.
	rules []rule
	// acmeCluster takes ACME challenges on plain HTTP; empty for none.
	acmeCluster string
}

// scopeBuilder holds what all scopes of a fleet share.
type scopeBuilder struct {
	options Options
	// httpsPort is the port of the redirect to https; 0 when the fleet has none.
	httpsPort uint32
}

// buildScope makes the scope of a domain. Its virtual host takes any host: the
// scope's key has decided already.
func (b scopeBuilder) buildScope(d domainRoutes) (*routev3.ScopedRouteConfiguration, error) {
	var p packer
	scope := newScope(d.domain)
	scope.RouteConfiguration.RequestHeadersToRemove = []string{scopeHeader}
	scope.RouteConfiguration.TypedPerFilterConfig = map[string]*anypb.Any{hostsFilter: disabled()}
	scope.RouteConfiguration.VirtualHosts = []*routev3.VirtualHost{b.virtualHost(&p, d)}
	return scope, p.err
}

// buildWildcards makes the scope that tells the hosts filter which wildcard domain
// a host is under: the longest, by Envoy's rules for virtual hosts. These have no
// routes.
func buildWildcards(zones []string) *routev3.ScopedRouteConfiguration {
	scope := newScope(wildcardsScope)
	// The port stays in the header, for the app to see.
	scope.RouteConfiguration.IgnorePortInHostMatching = true
	for _, zone := range zones {
		domain := wildcardPrefix + zone
		scope.RouteConfiguration.VirtualHosts = append(scope.RouteConfiguration.VirtualHosts, &routev3.VirtualHost{
			Name: domain,
			// A trailing dot is part of the host that Envoy compares.
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
			// Or Envoy rejects all scopes of an update for one unknown cluster.
			ValidateClusters: wrapperspb.Bool(false),
		},
	}
}

func (b scopeBuilder) virtualHost(p *packer, d domainRoutes) *routev3.VirtualHost {
	vhost := &routev3.VirtualHost{Name: d.domain, Domains: []string{"*"}}
	if d.acmeCluster != "" {
		challenges := rule{path: sources.Path{Prefix: acmePrefix}, targets: []target{{cluster: d.acmeCluster}}}
		vhost.Routes = append(vhost.Routes, &routev3.Route{
			Match:  match(challenges.path, true),
			Action: b.forward(d.domain, challenges),
		})
	}
	for _, r := range d.rules {
		vhost.Routes = append(vhost.Routes, b.routes(p, d.domain, r)...)
	}
	return vhost
}

func (b scopeBuilder) redirect() *routev3.Route_Redirect {
	action := &routev3.RedirectAction{
		SchemeRewriteSpecifier: &routev3.RedirectAction_HttpsRedirect{HttpsRedirect: true},
		ResponseCode:           routev3.RedirectAction_MOVED_PERMANENTLY,
	}
	if b.httpsPort != 443 {
		action.PortRedirect = b.httpsPort
	}
	return &routev3.Route_Redirect{Redirect: action}
}

// otherHost has a request tried again on another endpoint. Every route has it.
var otherHost = packOnce(&previoushostsv3.PreviousHostsPredicate{})

// retryPolicy tries another endpoint when a request cannot have reached the
// app: its instances come and go before Envoy can know.
func (b scopeBuilder) retryPolicy(h sources.HTTP) *routev3.RetryPolicy {
	retries, conditions := b.options.Retries, []string{"connect-failure", "refused-stream", "reset-before-request"}
	if h.NumRetries != nil {
		retries = *h.NumRetries
	}
	if len(h.RetryOn) > 0 {
		conditions = h.RetryOn
	}
	if retries == 0 {
		return nil
	}
	return &routev3.RetryPolicy{
		RetryOn:    strings.Join(conditions, ","),
		NumRetries: wrapperspb.UInt32(retries),
		RetryHostPredicate: []*routev3.RetryPolicy_RetryHostPredicate{{
			Name: "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{
				TypedConfig: otherHost(),
			},
		}},
		HostSelectionRetryMaxAttempts: 3,
	}
}
