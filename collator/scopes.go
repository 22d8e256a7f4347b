package collator

import (
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	acmePrefix     = "/.well-known/acme-challenge/"
	forwardedProto = "x-forwarded-proto"
	wildcardPrefix = "*."
)

// domainRoutes is what a domain does.
type domainRoutes struct {
	domain string
	// cluster takes the requests; without one they get 404.
	cluster  string
	redirect bool
	// acmeCluster takes ACME challenges on plain HTTP; empty for none.
	acmeCluster string
}

// scopeBuilder holds what all scopes of a fleet share.
type scopeBuilder struct {
	options Options
	// httpsPort is the port of the redirect to https; 0 when the fleet has none.
	httpsPort uint32
}

// buildScope makes the scope of a single domain. Its virtual host takes any
// host: the scope's key has decided already.
func (b scopeBuilder) buildScope(d domainRoutes) (*routev3.ScopedRouteConfiguration, error) {
	var p packer
	scope := newScope(d.domain)
	scope.RouteConfiguration.VirtualHosts = []*routev3.VirtualHost{b.virtualHost(&p, d, "*")}
	return scope, p.err
}

// buildZone makes the scope of a wildcard domain and of all domains under it,
// to which the hosts filter maps every host of the zone.
func (b scopeBuilder) buildZone(domains []domainRoutes) (*routev3.ScopedRouteConfiguration, error) {
	var p packer
	scope := newScope(domains[0].domain)
	// The port stays in the header, for the app to see.
	scope.RouteConfiguration.IgnorePortInHostMatching = true
	for _, d := range domains {
		// A trailing dot is part of the host that Envoy compares.
		scope.RouteConfiguration.VirtualHosts = append(scope.RouteConfiguration.VirtualHosts,
			b.virtualHost(&p, d, d.domain, d.domain+"."))
	}
	return scope, p.err
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
			ValidateClusters:       wrapperspb.Bool(false),
			RequestHeadersToRemove: []string{scopeHeader},
		},
	}
}

func (b scopeBuilder) virtualHost(p *packer, d domainRoutes, hosts ...string) *routev3.VirtualHost {
	vhost := &routev3.VirtualHost{Name: d.domain, Domains: hosts}
	if d.acmeCluster != "" {
		vhost.Routes = append(vhost.Routes, &routev3.Route{
			Match:  plainHTTP(acmePrefix),
			Action: b.forward(p, d.acmeCluster),
		})
	}
	if d.redirect && b.httpsPort != 0 {
		vhost.Routes = append(vhost.Routes, &routev3.Route{Match: plainHTTP("/"), Action: b.redirect()})
	}
	if d.cluster != "" {
		vhost.Routes = append(vhost.Routes, &routev3.Route{
			Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
			Action: b.forward(p, d.cluster),
		})
	}
	return vhost
}

// plainHTTP matches requests that came without TLS. Envoy sets the header
// itself, whatever the client sent.
func plainHTTP(prefix string) *routev3.RouteMatch {
	return &routev3.RouteMatch{
		PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: prefix},
		Headers: []*routev3.HeaderMatcher{{
			Name: forwardedProto,
			HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
				MatchPattern: &matcherv3.StringMatcher_Exact{Exact: "http"},
			}},
		}},
	}
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

func (b scopeBuilder) forward(p *packer, cluster string) *routev3.Route_Route {
	return &routev3.Route_Route{Route: &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster},
		// How long an answer may take is the app's business; silence is ended by
		// the idle timeout.
		Timeout:     durationpb.New(0),
		IdleTimeout: durationpb.New(b.options.StreamIdleTimeout),
		RetryPolicy: b.retryPolicy(p),
	}}
}

// retryPolicy tries another endpoint when a request cannot have reached the
// app: its instances come and go before Envoy can know.
func (b scopeBuilder) retryPolicy(p *packer) *routev3.RetryPolicy {
	if b.options.Retries == 0 {
		return nil
	}
	return &routev3.RetryPolicy{
		RetryOn:    strings.Join([]string{"connect-failure", "refused-stream", "reset-before-request"}, ","),
		NumRetries: wrapperspb.UInt32(b.options.Retries),
		RetryHostPredicate: []*routev3.RetryPolicy_RetryHostPredicate{{
			Name: "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{
				TypedConfig: p.pack(&previoushostsv3.PreviousHostsPredicate{}),
			},
		}},
		HostSelectionRetryMaxAttempts: 3,
	}
}
