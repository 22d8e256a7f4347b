package collator

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"

	"relay/certs"
	"relay/sources"
	"relay/sources/labels"
	"relay/xds"
)

var someDomains = []string{
	"a.test", "b.test", "x.a.test", "y.a.test", "x.b.a.test", "z.x.b.a.test", "b.a.test",
	"*.test", "*.a.test", "*.b.a.test", "*.other.test", "bad_one.test",
}

// world makes random apps and certificates out of few names, so that they
// collide.
type world struct{ *rand.Rand }

func (w world) domains() []string {
	var domains []string
	for range w.IntN(4) {
		domains = append(domains, someDomains[w.IntN(len(someDomains))])
	}
	return domains
}

func (w world) app() *sources.App {
	app := &sources.App{ID: []string{"/a", "/a_0", "/b", "/b/c", "/marathon-acme"}[w.IntN(5)]}
	for range w.IntN(4) {
		port := sources.Port{
			Groups:          [][]string{nil, {"external"}, {"external", "internal"}, {"internal"}}[w.IntN(4)],
			Domains:         w.domains(),
			RedirectToHTTPS: w.IntN(4) == 0,
		}
		if w.IntN(3) == 0 {
			port.ACMEDomains = w.domains()
		}
		port.Endpoints = w.endpoints()
		if w.IntN(2) == 0 {
			w.settings(&port)
		}
		app.Ports = append(app.Ports, port)
	}
	if w.IntN(3) == 0 {
		app.Deployment = &sources.Deployment{
			Group:     []string{"g", "/b"}[w.IntN(2)],
			StartedAt: testTime.Add(time.Duration(w.IntN(3)) * time.Hour), TargetInstances: w.IntN(3), Instances: w.IntN(3),
		}
	}
	return app
}

func (w world) endpoints() (es []sources.Endpoint) {
	for range w.IntN(3) {
		es = append(es, endpoints(fmt.Sprintf("10.0.0.%d:1", w.IntN(5)))...)
	}
	return es
}

// someSettings are values of each setting; those of a kind that shares domains
// come more often.
var someSettings = [][2]string{
	{"PATH", "/a"}, {"PATH", "/a /b"}, {"PATH", "-i /A"}, {"PATH", "/"}, {"PATH", "none"}, {"BACKEND_WEIGHT", "1"}, {"BACKEND_WEIGHT", "-2"},
	{"CLUSTER_WEIGHT", "0"}, {"CLUSTER_WEIGHT", "3"}, {"CLUSTER_WEIGHT", "7"},
	{"AUTH", "r:u:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="}, {"AUTH", "r:u:x"}, {"BACKEND_NETWORK_ALLOWED_ACL", "10.0.0.0/8 ::1"},
	{"BALANCE", "source"}, {"BALANCE", "uri"}, {"BALANCE", "hdr(a)"}, {"BALANCE", "url_param a"}, {"BALANCE", "random"}, {"HASH_POLICY", "cookie a"},
	{"STICKY", "true"}, {"USE_HSTS", "true"}, {"HTTP_BACKEND_PROXYPASS_PATH", "/a.b"}, {"HTTP_BACKEND_REVPROXY_PATH", "/a"}, {"HTTP_BACKEND_REDIR", "/a"},
	{"TIMEOUT", "1s"}, {"IDLE_TIMEOUT", "0s"}, {"CONNECT_TIMEOUT", "1s"}, {"NUM_RETRIES", "0"}, {"RETRY_ON", "5xx"}, {"MAX_REQUESTS", "9"},
	{"MAX_CONNECTIONS", "9"}, {"MAX_PENDING_REQUESTS", "9"}, {"TLS", "true"}, {"TLS_VERIFY", "false"}, {"TLS_SNI", "a.test"}, {"HTTP2", "true"}, {"PROXY_PROTOCOL", "v2"},
	{"MODE", "tcp"}, {"MODE", "tcp"}, {"PORT", "80"}, {"PORT", "5432"}, {"PORT", "5433"}, {"BIND_ADDR", "::1"}, {"BIND_OPTIONS", "accept-proxy"},
	{"TLS_PASSTHROUGH", "true"}, {"TLS_PASSTHROUGH", "true"},
	{"REQUEST_HEADERS_TO_ADD", "a: %b"}, {"REQUEST_HEADERS_TO_REMOVE", "c"}, {"RESPONSE_HEADERS_TO_ADD", "a: b"}, {"RESPONSE_HEADERS_TO_REMOVE", "c"},
}

func (w world) settings(port *sources.Port) {
	p := labels.NewSettings()
	for range w.IntN(5) {
		s := someSettings[w.IntN(len(someSettings))]
		p.Set(s[0], s[1])
	}
	port.TCP = p.TCP(uint16(w.IntN(3)), len(port.Domains) > 0)
	port.HTTP, port.Upstream, _ = p.Finish()
	if w.IntN(8) == 0 {
		// What no setting lets through is left out of what it is a part of.
		var odd sources.HTTP
		if port.HTTP != nil {
			odd = *port.HTTP
		}
		never := -time.Second
		odd.IdleTimeout = &never
		port.HTTP = &odd
	}
}

func (w world) certificates() []*certs.Certificate {
	var all []*certs.Certificate
	for i := range w.IntN(4) {
		c := certificate(fmt.Sprint("c", i), fmt.Sprint(w.IntN(3), i), someDomains[w.IntN(10)], someDomains[w.IntN(10)])
		slices.Sort(c.ServerNames)
		c.ServerNames = slices.Compact(c.ServerNames)
		c.Default = w.IntN(5) == 0
		switch w.IntN(4) {
		case 0:
			c.NotAfter = testTime.Add(-time.Minute)
		case 1:
			c.NotBefore = testTime.Add(time.Minute)
		}
		all = append(all, c)
	}
	return all
}

// step lets some sources say something, then runs a round.
func (w world) step(c *Collator) {
	w.say(c)
	c.round()
}

func (w world) say(c *Collator) {
	for range 1 + w.IntN(3) {
		switch w.IntN(8) {
		case 0:
			// A complete read has each app once.
			apps := make(map[string]*sources.App)
			for range w.IntN(6) {
				app := w.app()
				apps[app.ID] = app
			}
			c.SyncApps(slices.Collect(maps.Values(apps)))
		case 1:
			c.UpdateApps(nil, []string{w.app().ID})
		case 2:
			c.SyncCertificates("vault", w.certificates(), []certs.Problem{{Source: "vault", Name: "bad", Reason: "no PEM"}}[:w.IntN(2)])
		default:
			c.UpdateApps([]*sources.App{w.app()}, nil)
		}
	}
}

// checkConsistent checks what one state promises to Envoy.
func checkConsistent(t *testing.T, c *Collator, r *recorder) {
	t.Helper()
	var served []string // domains
	for key := range r.versions {
		msg, err := c.fleets[0].build(key)
		if err != nil {
			t.Fatal(err)
		}
		checkNames(t, key, msg, r.holds(t, key))
		if key.Type == xds.Scope && key.Name != wildcardsScope {
			served = append(served, msg.(*routev3.ScopedRouteConfiguration).RouteConfiguration.VirtualHosts[0].Name)
		}
	}
	checkDomains(t, c, served)
}

// holds returns a check that what a resource names is published.
func (r *recorder) holds(t *testing.T, by xds.Key) func(xds.Type, string) {
	return func(kind xds.Type, name string) {
		t.Helper()
		if _, ok := r.versions[xds.Key{Type: kind, Name: name}]; !ok {
			t.Fatalf("%s names %s %q, which is not published", quoted(by), kind, name)
		}
	}
}

// checkNames calls held with all that a resource needs beside it.
func checkNames(t *testing.T, key xds.Key, msg proto.Message, held func(xds.Type, string)) {
	t.Helper()
	switch msg := msg.(type) {
	case *clusterv3.Cluster:
		held(xds.Endpoint, key.Name)
	case *routev3.ScopedRouteConfiguration:
		if _, ok := cutWildcard(key.Name); ok && key.Name != wildcardsScope {
			held(xds.Scope, wildcardsScope)
		}
		for _, vhost := range msg.RouteConfiguration.VirtualHosts {
			if key.Name == wildcardsScope {
				held(xds.Scope, vhost.Name)
			} else if vhost.Name != key.Name {
				t.Fatalf("scope %s has a virtual host %s: the hosts filter takes that for its scope", key.Name, vhost.Name)
			}
			for _, route := range vhost.Routes {
				for _, cluster := range clustersOf(route.GetRoute()) {
					held(xds.Cluster, cluster)
				}
			}
		}
	case *listenerv3.Listener:
		checkChains(t, msg, held)
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
			var proxy tcpproxyv3.TcpProxy
			if filter.GetTypedConfig().MessageIs(&proxy) {
				if err := filter.GetTypedConfig().UnmarshalTo(&proxy); err != nil {
					t.Fatal(err)
				}
				held(xds.Cluster, proxy.GetCluster())
			}
		}
		var context tlsv3.DownstreamTlsContext
		if chain.TransportSocket == nil {
			continue
		}
		if err := chain.TransportSocket.GetTypedConfig().UnmarshalTo(&context); err != nil {
			t.Fatal(err)
		}
		held(xds.Secret, context.CommonTlsContext.TlsCertificateSdsSecretConfigs[0].Name)
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

// checkDomains checks that each domain that an app wants has a scope.
func checkDomains(t *testing.T, c *Collator, served []string) {
	t.Helper()
	wanted := make(map[string]bool)
	routed := []*sources.App{}
	for _, app := range c.apps {
		routed = append(routed, alone(app))
	}
	for _, group := range c.groups {
		routed = append(routed, group.merged)
	}
	for _, app := range routed {
		for domain := range claimsOf(app, testFleet()) {
			wanted[domain] = true
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
		if !slices.ContainsFunc(someSettings, func(s [2]string) bool { return s[0] == l.Name() }) {
			t.Errorf("no random app has %s", l.Name())
		}
	}
}

func runSteps(t *testing.T, seed uint64, steps int) {
	w := world{rand.New(rand.NewPCG(seed, 1))}
	cfg := Config{Fleets: []Fleet{testFleet()}, CertificateSources: []string{"vault"}}
	c, r := newTest(t, cfg)
	c.SyncApps(nil)
	c.SyncCertificates("vault", nil, nil)
	for range steps {
		w.step(c)
		checkConsistent(t, c, r)
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
