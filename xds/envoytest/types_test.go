package envoytest_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"relay/certs/certstest"
	"relay/xds"
	"relay/xds/envoytest"
)

// The contents of a resource, and how they are written in facts: none, two good
// ones, the second one with another byte that means nothing, a bad one, and as
// bad a one with other bytes.
const (
	none     = ""
	good     = "A"
	other    = "B"
	otherToo = "b"
	bad      = "X"
	asBad    = "x"
)

// marker is a resource that shows that Envoy has got so far.
const marker = "marker"

// noTimeout has Envoy wait for a resource for ever.
const noTimeout = 0

// resourceType is a type of resources, and how to see what Envoy does with them.
type resourceType struct {
	name string
	url  string
	// setUp sends what has Envoy ask for the names.
	setUp func(e *testEnvoy, names ...string)
	build func(e *testEnvoy, name, content string) proto.Message
	// served returns the content in force: none, good or other.
	served func(e *testEnvoy, name string) string
}

var (
	clusters   = &resourceType{"clusters", xds.Cluster.URL(), func(*testEnvoy, ...string) {}, buildCluster, servedCluster}
	endpoints  = &resourceType{"endpoints", xds.Endpoint.URL(), askForEndpoints, buildEndpoints, servedEndpoints}
	secrets    = &resourceType{"secrets", xds.Secret.URL(), askForSecrets, buildSecret, servedSecret}
	listeners  = &resourceType{"listeners", xds.Listener.URL(), askForListeners, buildListener, servedListener}
	addresses  = &resourceType{"addresses", xds.Listener.URL(), askForListeners, buildAddress, servedListener}
	scopes     = &resourceType{"scopes", xds.Scope.URL(), askForScopes, buildScope, servedScope}
	extensions = &resourceType{"extensions", xds.ExtensionConfig.URL(), askForExtensions, buildExtension, servedExtension}
)

// testEnvoy is a real Envoy, and a server that sends it anything.
type testEnvoy struct {
	*ads
	envoy *envoytest.Envoy
	ca    *certstest.CA
	// ports are those of listeners by name; "" is the one that serves the names of
	// all other types.
	ports map[string]uint16
	pairs map[string]*certstest.Issued
	// stapled is a certificate that needs an OCSP response.
	stapled *certstest.Odd
	// marks counts how often the marker was changed.
	marks int
}

func newTestEnvoy(t *testing.T, version string) *testEnvoy {
	t.Helper()
	e := &testEnvoy{ads: startADS(t), ca: certstest.TestCA(t), ports: make(map[string]uint16), pairs: make(map[string]*certstest.Issued)}
	for _, name := range []string{"", "n", "o", marker} {
		e.ports[name] = envoytest.FreePort(t)
	}
	e.envoy = envoytest.Start(t, envoytest.Options{Version: version, XDS: []string{e.address}})
	e.awaitRequest(xds.Cluster.URL())
	return e
}

// served waits until the content in force is the one wanted, if that is yet to
// come.
func (e *testEnvoy) served(typ *resourceType, name, want string) {
	e.t.Helper()
	var got string
	for deadline := time.Now().Add(maxWait); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if got = typ.served(e, name); got == want {
			return
		}
	}
	e.t.Fatalf("%s %s: %q is served, want %q", typ.name, name, got, want)
}

// reached waits until Envoy and its workers have got as far as this server: what
// is not in force then will not be.
func (e *testEnvoy) reached(typ *resourceType) {
	e.t.Helper()
	e.marks++
	content := []string{good, other}[e.marks%2]
	e.accepted(typ.url, named{marker, fmt.Sprint(e.marks), typ.build(e, marker, content)})
	e.served(typ, marker, content)
}

func buildCluster(_ *testEnvoy, name, content string) proto.Message {
	c := &clusterv3.Cluster{
		Name: name, ConnectTimeout: durationpb.New(time.Second),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		LoadAssignment:       &endpointv3.ClusterLoadAssignment{ClusterName: name},
	}
	switch content {
	case other:
		c.ConnectTimeout = durationpb.New(2 * time.Second)
	case bad:
		c.LbPolicy = clusterv3.Cluster_CLUSTER_PROVIDED // by a STATIC one it is not
	}
	return c
}

func servedCluster(e *testEnvoy, name string) string {
	text, err := e.envoy.Get(e.t.Context(), "/config_dump?resource=dynamic_active_clusters")
	if err != nil {
		e.t.Fatal(err)
	}
	var dump struct {
		Configs []struct {
			Cluster struct {
				Name    string
				Timeout string `json:"connect_timeout"`
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &dump); err != nil {
		e.t.Fatal(err)
	}
	for _, c := range dump.Configs {
		if c.Cluster.Name == name {
			return map[string]string{"1s": good, "2s": other}[c.Cluster.Timeout]
		}
	}
	return none
}

func askForEndpoints(e *testEnvoy, names ...string) {
	var all []named
	for _, name := range names {
		all = append(all, named{name, "1", clusterWithEndpoints(name, time.Second)})
	}
	e.post(xds.Cluster.URL(), all) // answered when it has endpoints
	e.awaitRequest(xds.Endpoint.URL(), names...)
}

// clusterWithEndpoints waits for its endpoints, for ever.
func clusterWithEndpoints(name string, connectTimeout time.Duration) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name: name, ConnectTimeout: durationpb.New(connectTimeout),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:     &clusterv3.Cluster_EdsClusterConfig{EdsConfig: fromADS(noTimeout)},
	}
}

func buildEndpoints(_ *testEnvoy, name, content string) proto.Message {
	address := map[string]string{good: "127.0.0.1", other: "127.0.0.2", bad: "nowhere"}[content]
	return &endpointv3.ClusterLoadAssignment{ClusterName: name, Endpoints: []*endpointv3.LocalityLbEndpoints{{
		LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{
			Endpoint: &endpointv3.Endpoint{Address: socket(address, 1)},
		}}},
	}}}
}

func servedEndpoints(e *testEnvoy, name string) string {
	text, err := e.envoy.Get(e.t.Context(), "/clusters")
	if err != nil {
		e.t.Fatal(err)
	}
	for address, content := range map[string]string{"127.0.0.1:1": good, "127.0.0.2:1": other} {
		if strings.Contains(text, name+"::"+address+"::") {
			return content
		}
	}
	return none
}

func askForSecrets(e *testEnvoy, names ...string) {
	askForListeners(e)
	e.accepted(xds.Listener.URL(), named{"tls", "1", e.certificateListener(names...)})
	e.awaitRequest(xds.Secret.URL(), names...)
}

// certificateListener has a filter chain for each of the secrets.
func (e *testEnvoy) certificateListener(names ...string) *listenerv3.Listener {
	e.t.Helper()
	var chains []*listenerv3.FilterChain
	for _, name := range names {
		chains = append(chains, chainWith(e.t, name, &tlsv3.CommonTlsContext{TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{secretOf(name)}}))
	}
	return e.tlsListener(chains...)
}

func buildSecret(e *testEnvoy, name, content string) proto.Message {
	serials := map[string]int64{good: 1, other: 2}
	pair := func(content string) *certstest.Issued {
		if e.pairs[name+content] == nil {
			e.pairs[name+content] = e.ca.TestIssue(e.t, []string{name + ".test"}, certstest.Options{Serial: serials[content]})
		}
		return e.pairs[name+content]
	}
	certificate, key := string(pair(good).Leaf), string(pair(good).Key)
	switch content {
	case other:
		certificate, key = string(pair(other).Leaf), string(pair(other).Key)
	case bad:
		key = string(pair(other).Key)
	case asBad:
		certificate, key = certificate+"\n", string(pair(other).Key)
	}
	return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
		CertificateChain: inline(certificate), PrivateKey: inline(key),
	}}}
}

func servedSecret(e *testEnvoy, name string) string {
	conn, err := tls.Dial("tcp", e.at(""), &tls.Config{ServerName: name + ".test", InsecureSkipVerify: true})
	if err != nil {
		return none
	}
	defer func() { _ = conn.Close() }()
	return map[int64]string{1: good, 2: other}[conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()]
}

func askForListeners(e *testEnvoy, _ ...string) {
	e.accepted(xds.Cluster.URL())
	e.awaitRequest(xds.Listener.URL())
}

func buildListener(e *testEnvoy, name, content string) proto.Message {
	listener := e.answering(name, content)
	if content == bad {
		listener.FilterChains[0].Filters[0] = filter(e.t, &hcmv3.HttpConnectionManager{StatPrefix: "x"}) // has no routes
	}
	return listener
}

// buildAddress makes listeners that fail by their address.
func buildAddress(e *testEnvoy, name, content string) proto.Message {
	listener := e.answering(name, content)
	if content == bad {
		listener.Address = socket("192.0.2.1", e.ports[name])
	}
	return listener
}

func servedListener(e *testEnvoy, name string) string {
	text, err := said(e.at(name))
	if err != nil {
		return none
	}
	return text
}

func askForScopes(e *testEnvoy, _ ...string) {
	askForListeners(e)
	e.accepted(xds.Listener.URL(), named{"http", "1", e.scopedListener()})
	e.awaitRequest(xds.Scope.URL())
}

// scopedListener takes its routes from scopes.
func (e *testEnvoy) scopedListener() *listenerv3.Listener {
	e.t.Helper()
	return e.httpListener(&hcmv3.HttpConnectionManager{
		StatPrefix: "http", HttpFilters: []*hcmv3.HttpFilter{router(e.t)},
		RouteSpecifier: &hcmv3.HttpConnectionManager_ScopedRoutes{ScopedRoutes: &hcmv3.ScopedRoutes{
			Name: "scopes", RdsConfigSource: fromADS(noTimeout), ScopeKeyBuilder: scopeByHost(),
			ConfigSpecifier: &hcmv3.ScopedRoutes_ScopedRds{ScopedRds: &hcmv3.ScopedRds{ScopedRdsConfigSource: fromADS(noTimeout)}},
		}},
	})
}

func buildScope(_ *testEnvoy, name, content string) proto.Message {
	routes := routesThatSay(strings.ToUpper(content))
	routes.Name = name
	switch content {
	case otherToo:
		routes.Metadata = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"test": {}}}
	case bad:
		routes.VirtualHosts[0].Routes[0].Match.PathSpecifier = &routev3.RouteMatch_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: "("}}
	}
	return &routev3.ScopedRouteConfiguration{Name: name, RouteConfiguration: routes, Key: &routev3.ScopedRouteConfiguration_Key{
		Fragments: []*routev3.ScopedRouteConfiguration_Key_Fragment{{
			Type: &routev3.ScopedRouteConfiguration_Key_Fragment_StringKey{StringKey: name},
		}},
	}}
}

func servedScope(e *testEnvoy, name string) string {
	status, body, _ := e.get(name)
	if status != http.StatusOK {
		return none
	}
	return body
}

func askForExtensions(e *testEnvoy, names ...string) {
	askForListeners(e)
	e.accepted(xds.Listener.URL(), named{"http", "1", e.extensionListener(&luav3.Lua{}, names...)})
	e.awaitRequest(xds.ExtensionConfig.URL(), names...)
}

// extensionListener has a filter of each of the names, with a config of this type.
func (e *testEnvoy) extensionListener(config proto.Message, names ...string) *listenerv3.Listener {
	e.t.Helper()
	manager := &hcmv3.HttpConnectionManager{
		StatPrefix:     "http",
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: routesThatSay("hello")},
	}
	for _, name := range names {
		manager.HttpFilters = append(manager.HttpFilters, &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{
			ConfigDiscovery: &corev3.ExtensionConfigSource{
				ConfigSource: fromADS(100 * time.Millisecond), TypeUrls: []string{packed(e.t, config).GetTypeUrl()},
			},
		}})
	}
	manager.HttpFilters = append(manager.HttpFilters, router(e.t))
	return e.httpListener(manager)
}

func buildExtension(e *testEnvoy, name, content string) proto.Message {
	script := fmt.Sprintf("function envoy_on_response(r) r:headers():add('x-%s', '%s') end", name, content)
	if i := slices.Index([]string{bad, asBad}, content); i >= 0 {
		script = "function (" + strings.Repeat(" ", i)
	}
	return &corev3.TypedExtensionConfig{Name: name, TypedConfig: packed(e.t, &luav3.Lua{DefaultSourceCode: inline(script)})}
}

func servedExtension(e *testEnvoy, name string) string {
	_, _, header := e.get("any.test")
	return header.Get("X-" + name)
}
