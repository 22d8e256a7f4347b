package collator

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matchingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/matching/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	oauth2v3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/oauth2/v3"
	redisproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/redis_proxy/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"relay/collator/collatortest"
	"relay/collator/routing"
	"relay/internal/hostname"
	"relay/sources"
	"relay/sources/labels"
	"relay/xds"
)

// checkConsistent checks what one state promises to Envoy.
func checkConsistent(t *testing.T, c *Collator, r *recorder) {
	t.Helper()
	var served []string // domains
	for key := range r.Versions {
		msg, err := message(c.fleets[0], key)
		if err != nil {
			t.Fatal(err)
		}
		checkNames(t, key, msg, holds(t, r, key))
		if key.Type == xds.Scope && key.Name != routing.WildcardsScope {
			served = append(served, msg.(*routev3.ScopedRouteConfiguration).RouteConfiguration.VirtualHosts[0].Name)
		}
	}
	checkDomains(t, c, served)
}

// holds returns a check that what a resource names is published.
func holds(t *testing.T, r *recorder, by xds.Key) func(xds.Type, string) {
	return func(kind xds.Type, name string) {
		t.Helper()
		if _, ok := r.Versions[xds.Key{Type: kind, Name: name}]; !ok {
			t.Fatalf("%s names %s %q, which is not published", quoted(by), kind, name)
		}
	}
}

// checkNames calls held with all that a resource needs beside it.
func checkNames(t *testing.T, key xds.Key, msg proto.Message, held func(xds.Type, string)) {
	t.Helper()
	switch msg := msg.(type) {
	case *clusterv3.Cluster:
		if msg.LoadAssignment == nil { // that of a host outside has it
			held(xds.Endpoint, key.Name)
		}
	case *routev3.ScopedRouteConfiguration:
		if _, ok := hostname.CutWildcard(key.Name); ok && key.Name != routing.WildcardsScope {
			held(xds.Scope, routing.WildcardsScope)
		}
		for _, vhost := range msg.RouteConfiguration.VirtualHosts {
			if key.Name == routing.WildcardsScope {
				held(xds.Scope, vhost.Name)
			} else if vhost.Name != key.Name {
				t.Fatalf("scope %s has a virtual host %s: the hosts filter takes that for its scope", key.Name, vhost.Name)
			}
			checkLogIn(t, vhost.TypedPerFilterConfig, held)
			askedClusters(t, vhost, func(cluster string) { held(xds.Cluster, cluster) })
			for _, route := range vhost.Routes {
				checkLogIn(t, route.TypedPerFilterConfig, held)
				if route.TypedPerFilterConfig[routing.ScalingFilter] != nil {
					continue // its requests wait until the cluster is there
				}
				for _, cluster := range clustersOf(route.GetRoute()) {
					held(xds.Cluster, cluster)
				}
			}
		}
	case *listenerv3.Listener:
		checkChains(t, msg, held)
	}
}

// checkLogIn calls held with what the filter needs by which people log in.
func checkLogIn(t *testing.T, filters map[string]*anypb.Any, held func(xds.Type, string)) {
	t.Helper()
	for name, config := range filters {
		var perRoute matchingv3.ExtensionWithMatcherPerRoute
		if config.UnmarshalTo(&perRoute) != nil {
			continue
		}
		var run compositev3.ExecuteFilterAction
		action := perRoute.XdsMatcher.GetOnNoMatch().GetAction().GetTypedConfig()
		if !action.MessageIs(&run) {
			continue
		}
		if err := action.UnmarshalTo(&run); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, filter := range run.GetFilterChain().GetTypedConfig() {
			var logIn oauth2v3.OAuth2
			if filter.GetTypedConfig().UnmarshalTo(&logIn) == nil {
				held(xds.Secret, logIn.Config.Credentials.TokenSecret.Name)
				held(xds.Secret, logIn.Config.Credentials.GetHmacSecret().Name)
				held(xds.Cluster, logIn.Config.TokenEndpoint.GetCluster())
			}
		}
	}
}

func checkChains(t *testing.T, listener *listenerv3.Listener, held func(xds.Type, string)) {
	t.Helper()
	serverNames := make(map[string]bool)
	for _, chain := range listener.FilterChains {
		for _, name := range chain.FilterChainMatch.GetServerNames() {
			if serverNames[name] {
				t.Fatalf("listener %s has two filter chains for %s", listener.Name, name)
			}
			serverNames[name] = true
		}
		for _, filter := range chain.Filters {
			if filter.GetConfigDiscovery() != nil {
				held(xds.ExtensionConfig, filter.Name)
			}
			var proxy tcpproxyv3.TcpProxy
			if filter.GetTypedConfig().MessageIs(&proxy) {
				if err := filter.GetTypedConfig().UnmarshalTo(&proxy); err != nil {
					t.Fatal(err)
				}
				held(xds.Cluster, proxy.GetCluster())
			}
			var redis redisproxyv3.RedisProxy
			if filter.GetTypedConfig().MessageIs(&redis) {
				if err := filter.GetTypedConfig().UnmarshalTo(&redis); err != nil {
					t.Fatal(err)
				}
				for _, route := range append(redis.PrefixRoutes.Routes, redis.PrefixRoutes.CatchAllRoute) {
					held(xds.Cluster, route.Cluster)
				}
			}
		}
		var context tlsv3.DownstreamTlsContext
		if chain.TransportSocket == nil {
			continue
		}
		if err := chain.TransportSocket.GetTypedConfig().UnmarshalTo(&context); err != nil {
			t.Fatal(err)
		}
		for _, secret := range context.CommonTlsContext.TlsCertificateSdsSecretConfigs {
			if !strings.HasPrefix(secret.Name, "service-cert/") { // a service may have none
				held(xds.Secret, secret.Name)
			}
		}
		if clients := context.CommonTlsContext.GetValidationContextSdsSecretConfig(); clients.GetName() != "" && clients.Name != routing.ClientCASecret {
			held(xds.Secret, clients.Name)
		}
	}
}

func clustersOf(action *routev3.RouteAction) []string {
	if action.GetCluster() != "" {
		return []string{action.GetCluster()}
	}
	var names []string
	for _, c := range action.GetWeightedClusters().GetClusters() {
		names = append(names, c.Name)
	}
	return names
}

// checkDomains checks that each domain that an app wants has a scope, and each server name
// whose TLS it wants.
func checkDomains(t *testing.T, c *Collator, served []string) {
	t.Helper()
	wanted, fleet := make(map[string]bool), c.fleets[0].Fleet
	routed := []*sources.App{}
	for _, app := range c.apps {
		routed = append(routed, alone(app))
	}
	for _, group := range c.deployments {
		routed = append(routed, group.merged)
	}
	for _, app := range routed {
		for domain := range fleet.ClaimsOf(app) {
			wanted[domain] = true
		}
		if app == nil {
			continue
		}
		services, _ := fleet.ServicesOf(app.ID, app)
		for _, s := range services {
			for _, name := range s.Names {
				wanted[name] = true
			}
		}
	}
	slices.Sort(served)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(wanted)), served, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("domains with a scope (-want +got):\n%s", diff)
	}
}

// TestSomeSettings checks that the random apps have each setting.
func TestSomeSettings(t *testing.T) {
	t.Parallel()
	for _, l := range labels.AllSettings() {
		if !slices.ContainsFunc(collatortest.Settings, func(s [2]string) bool { return s[0] == l.Name() }) {
			t.Errorf("no random app has %s: add it to collatortest.Settings", l.Name())
		}
	}
}

func runSteps(t *testing.T, seed uint64, steps int) {
	random := newRandom(seed, 1)
	fleet := testFleet()
	fleet.Scaling = seed%2 == 0
	fleet.ExternalHosts = []string{"id.test:80"}
	cfg := Config{Fleets: []routing.Fleet{fleet}, CertificateSources: []string{"vault"}, CredentialSources: []string{"dir"}}
	c, r := newTest(t, cfg)
	c.SyncApps(nil)
	c.SyncCredentials("dir", nil, nil)
	c.SyncCertificates("vault", nil, nil)
	c.SyncAuthorities("vault", nil, nil)
	for range steps {
		step(random, c)
		checkConsistent(t, c, r)
		wantCatalogue(t, c)
		wantSameAsFresh(t, c, r, cfg)
	}
}

func TestStepsEqualAFreshStart(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runSteps(t, seed, 20) })
	}
}

func FuzzSteps(f *testing.F) {
	f.Add(uint64(1), uint8(3))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint8) { runSteps(t, seed, int(steps%16)) })
}
