package envoy

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	healthcheckv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/health_check/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
)

// healthTimeout ends connections to the health listener on which nothing moves.
const healthTimeout = time.Minute

// HealthListener makes the listener that a balancer asks whether to send requests to an Envoy.
// Every path is answered 200, and 503 after POST /healthcheck/fail
// to Envoy's own admin endpoint. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/health_check_filter
func HealthListener(f *routing.Fleet) (*listenerv3.Listener, error) {
	var p packer
	manager := &hcmv3.HttpConnectionManager{
		StatPrefix: routing.HealthListener,
		// HAProxy asks by HTTP/1.0 unless told otherwise.
		HttpProtocolOptions:       &corev3.Http1ProtocolOptions{AcceptHttp_10: true, DefaultHostForHttp_10: routing.HealthListener},
		RequestHeadersTimeout:     durationpb.New(f.Options.RequestHeadersTimeout),
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{IdleTimeout: durationpb.New(healthTimeout)},
		RouteSpecifier:            &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{Name: routing.HealthListener}},
		HttpFilters: []*hcmv3.HttpFilter{
			{Name: "health_check", ConfigType: &hcmv3.HttpFilter_TypedConfig{
				TypedConfig: p.pack(&healthcheckv3.HealthCheck{PassThroughMode: wrapperspb.Bool(false)}),
			}},
			{Name: "router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: p.pack(&routerv3.Router{})}},
		},
	}
	listener := newListener(routing.HealthListener, f.Health)
	// Clients that take all connections must not make the balancer take Envoy out.
	listener.IgnoreGlobalConnLimit = true
	listener.FilterChains = []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
		Name:       "http_connection_manager",
		ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: p.pack(manager)},
	}}}}
	return listener, p.err
}
