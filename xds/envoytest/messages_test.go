package envoytest_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	directresponsev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/direct_response/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// fromADS has Envoy ask by its stream, and wait for so long; 0 is for ever.
func fromADS(wait time.Duration) *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion:    corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		InitialFetchTimeout:   durationpb.New(wait),
	}
}

func inline(text string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: text}}
}

func socket(address string, port uint16) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: address, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(port)},
	}}}
}

func filter(t *testing.T, config proto.Message) *listenerv3.Filter {
	t.Helper()
	return &listenerv3.Filter{Name: "filter", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed(t, config)}}
}

func router(t *testing.T) *hcmv3.HttpFilter {
	t.Helper()
	return &hcmv3.HttpFilter{Name: "router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: packed(t, &routerv3.Router{})}}
}

// answering is a listener that says a text to whoever connects.
func (e *testEnvoy) answering(name, text string) *listenerv3.Listener {
	e.t.Helper()
	return &listenerv3.Listener{
		Name: name, Address: socket("127.0.0.1", e.ports[name]),
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{filter(e.t, &directresponsev3.Config{Response: inline(text)})}}},
	}
}

func (e *testEnvoy) httpListener(manager *hcmv3.HttpConnectionManager) *listenerv3.Listener {
	e.t.Helper()
	return &listenerv3.Listener{
		Name: "http", Address: socket("127.0.0.1", e.ports[""]),
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{filter(e.t, manager)}}},
	}
}

func (e *testEnvoy) tlsListener(chains ...*listenerv3.FilterChain) *listenerv3.Listener {
	e.t.Helper()
	return &listenerv3.Listener{
		Name: "tls", Address: socket("127.0.0.1", e.ports[""]), FilterChains: chains,
		ListenerFilters: []*listenerv3.ListenerFilter{{
			Name: "tls_inspector", ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: packed(e.t, &tlsinspectorv3.TlsInspector{})},
		}},
	}
}

// chainWith is the filter chain for clients that ask for NAME.test.
func chainWith(t *testing.T, name string, common *tlsv3.CommonTlsContext) *listenerv3.FilterChain {
	t.Helper()
	return &listenerv3.FilterChain{
		Name: name, FilterChainMatch: &listenerv3.FilterChainMatch{ServerNames: []string{name + ".test"}},
		Filters: []*listenerv3.Filter{filter(t, &directresponsev3.Config{Response: inline("hello")})},
		TransportSocket: &corev3.TransportSocket{Name: "envoy.transport_sockets.tls", ConfigType: &corev3.TransportSocket_TypedConfig{
			TypedConfig: packed(t, &tlsv3.DownstreamTlsContext{CommonTlsContext: common}),
		}},
	}
}

// secretOf names a secret that a listener waits for, but not for long.
func secretOf(name string) *tlsv3.SdsSecretConfig {
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: fromADS(100 * time.Millisecond)}
}

// routesThatSay answer every request with a text.
func routesThatSay(text string) *routev3.RouteConfiguration {
	return &routev3.RouteConfiguration{Name: "routes", VirtualHosts: []*routev3.VirtualHost{{
		Name: "all", Domains: []string{"*"}, Routes: []*routev3.Route{{
			Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
			Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{
				Status: http.StatusOK, Body: inline(text),
			}},
		}},
	}}}
}

// scopeByHost takes the host of a request for the key of its scope.
func scopeByHost() *hcmv3.ScopedRoutes_ScopeKeyBuilder {
	return &hcmv3.ScopedRoutes_ScopeKeyBuilder{Fragments: []*hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder{{
		Type: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor_{
			HeaderValueExtractor: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor{
				Name:        ":authority",
				ExtractType: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor_Index{},
			},
		},
	}}}
}

// at is the address of a listener.
func (e *testEnvoy) at(name string) string { return fmt.Sprintf("127.0.0.1:%d", e.ports[name]) }

// said is what a server says before it closes the connection.
func said(address string) (string, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(maxWait))
	text, err := io.ReadAll(conn)
	return string(text), err
}

// get asks the HTTP listener for a host; without an answer the status is 0.
func (e *testEnvoy) get(host string) (status int, body string, header http.Header) {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.t.Context(), http.MethodGet, "http://"+e.at("")+"/", nil)
	if err != nil {
		e.t.Fatal(err)
	}
	req.Host, req.Close = host, true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", nil
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, "", nil
	}
	return resp.StatusCode, string(text), resp.Header
}
