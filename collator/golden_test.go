package collator

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"relay/certs"
	"relay/collator/collatortest"
	"relay/collator/routing"
	"relay/credentials"
	"relay/internal/failure"
	"relay/internal/ignored"
	"relay/internal/problem"
	"relay/internal/secret"
	"relay/sources"
	"relay/xds"
)

// goldens is where the golden files are.
var goldens = filepath.Join("..", "testdata", "envoy")

type goldenCase struct {
	name         string
	types        []xds.Type
	fleet        func(*routing.Fleet)
	apps         []*sources.App
	certificates []*certs.Certificate
	credentials  []*credentials.Credential
}

// behindProxies has the fleet use all that there is for a balancer in front of it.
func behindProxies(f *routing.Fleet) {
	f.Proxies = routing.Proxies{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Protocol: routing.ProxyProtocolRequired}
	f.Health = netip.MustParseAddrPort("10.0.0.7:9091")
}

// visitorOptions has the fleet show pages of its own, and ignore some clients.
func visitorOptions(f *routing.Fleet) {
	f.Scaling = true
	f.IgnoredClients = ignored.Clients{UserAgents: []string{"uptimerobot", "probe/1.0 (x)"}, Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	f.ErrorPages = failure.Pages{
		"busy":              {Texts: []string{"<p>100 % busy: ", ""}, Placeholders: []string{failure.PageDomain}},
		failure.DefaultPage: {Texts: []string{"<p>sorry"}},
	}
}

func goldenCases() []goldenCase {
	routed := []xds.Type{xds.Cluster, xds.Endpoint, xds.Scope, xds.ExtensionConfig}
	acme := changed(webApp("/shop/web", "shop.test"), func(p *sources.Port) {
		p.ACMEDomains = []string{"shop.test", "only-acme.test"}
		p.RedirectToHTTPS = true
	})
	return []goldenCase{
		{name: "one_app", types: xds.Types(), apps: []*sources.App{webApp("/shop/web", "www.shop.test", "shop.test")},
			certificates: []*certs.Certificate{certificate("shop.test", "a", "shop.test", "www.shop.test")}},
		{name: "no_apps", types: routed},
		{name: "acme_and_redirect", types: []xds.Type{xds.Scope}, apps: []*sources.App{acme}},
		{name: "redirect_to_public_port", types: []xds.Type{xds.Scope}, apps: []*sources.App{acme},
			fleet: func(f *routing.Fleet) { f.HTTPSPublicPort = 8443 }},
		{name: "redirect_without_https", types: []xds.Type{xds.Scope, xds.Listener}, apps: []*sources.App{acme},
			fleet: func(f *routing.Fleet) { f.HTTPS = netip.AddrPort{} }},
		{name: "proxies", types: []xds.Type{xds.Listener, xds.Scope}, apps: []*sources.App{redirected(webApp("/web", "a.test", "*.b.test"))},
			certificates: []*certs.Certificate{certificate("a.test", "a", "a.test")}, fleet: behindProxies},
		{name: "proxies_certificates_on_demand", types: []xds.Type{xds.Listener}, certificates: []*certs.Certificate{certificate("a.test", "a", "a.test")},
			fleet: func(f *routing.Fleet) { behindProxies(f); f.CertificatesOnDemand = true }},
		{name: "suspended", types: routed, apps: []*sources.App{
			stopped(webApp("/shop/web", "shop.test"))}},
		{name: "clash", types: []xds.Type{xds.Cluster, xds.Scope},
			apps: []*sources.App{webApp("/b", "shop.test"), webApp("/a", "shop.test")}},
		{name: "wildcards", types: []xds.Type{xds.Scope, xds.ExtensionConfig}, apps: []*sources.App{
			webApp("/all", "*.zone.test"), webApp("/inner", "*.in.zone.test"),
			webApp("/exact", "a.zone.test", "b.in.zone.test", "zone.test", "in.zone.test")}},
		{name: "ports", types: []xds.Type{xds.Cluster, xds.Scope}, apps: []*sources.App{{ID: "/multi", Ports: []sources.Port{
			{Groups: []string{"internal"}, Domains: []string{"in.test"}},
			{Groups: []string{"internal", "external"}},
			{Groups: []string{"external"}, Domains: []string{"out.test"}},
		}}}},
		{name: "endpoints", types: []xds.Type{xds.Endpoint}, apps: []*sources.App{variedEndpoints()}},
		{name: "certificates", types: []xds.Type{xds.Listener, xds.Secret}, certificates: []*certs.Certificate{
			certificate("a.test", "a", "a.test", "shared.test"),
			certificate("b.test", "b", "*.b.test", "shared.test"),
			{Source: "dir", Name: "default.pem", Default: true, NotBefore: testTime, NotAfter: testTime.AddDate(1, 0, 0),
				Fingerprint: "d", Chain: []byte("chain d"), Key: secret.Bytes("key d")},
		}},
		{name: "client_certificates", types: []xds.Type{xds.Listener, xds.Scope}, apps: []*sources.App{acme},
			certificates: []*certs.Certificate{certificate("shop.test", "a", "shop.test")},
			fleet: func(f *routing.Fleet) {
				f.TLS = routing.DownstreamTLS{MinVersion: routing.TLS13, ClientCertificates: routing.ClientCertificatesRequired}
			}},
		{name: "certificates_on_demand", types: []xds.Type{xds.Listener, xds.Secret}, certificates: []*certs.Certificate{
			certificate("a.test", "a", "a.test", "b.test"),
			certificate("in.zone.test", "z", "in.zone.test", "elsewhere.test"),
			certificate("zone.test", "w", "*.zone.test", "zone.test"),
			certificate("deep.zone.test", "d", "*.deep.zone.test"),
			{Source: "dir", Name: "default.pem", Default: true, NotBefore: testTime, NotAfter: testTime.AddDate(1, 0, 0),
				Fingerprint: "d", Chain: []byte("chain d"), Key: secret.Bytes("key d")},
		}, fleet: func(f *routing.Fleet) { f.CertificatesOnDemand = true }},
		{name: "ignored_clients", types: []xds.Type{xds.Cluster, xds.Endpoint, xds.Scope}, apps: []*sources.App{maySleep(webApp("/a", "a.test")), webApp("/b", "b.test")},
			fleet: visitorOptions},
		{name: "maintenance", types: []xds.Type{xds.Cluster, xds.Scope}, apps: []*sources.App{inMaintenance(acme)}},
		{name: "crashed", types: []xds.Type{xds.Scope}, apps: []*sources.App{crashes(webApp("/a", "a.test"))}},
		{name: "error_pages", types: []xds.Type{xds.Listener}, fleet: func(f *routing.Fleet) {
			visitorOptions(f)
			f.HTTPS, f.Scaling = netip.AddrPort{}, false
		}},
		{name: "no_options", types: []xds.Type{xds.Cluster, xds.Scope}, apps: []*sources.App{webApp("/a", "a.test")},
			fleet: func(f *routing.Fleet) {
				f.Options.StreamIdleTimeout, f.Options.UpstreamIdleTimeout, f.Options.Retries = 0, 0, 0
			}},
		{name: "extended_connect", types: []xds.Type{xds.Listener}, fleet: func(f *routing.Fleet) {
			f.HTTPS, f.ExtendedConnect = netip.AddrPort{}, true
		}},
		{name: "access_log_file", types: []xds.Type{xds.Listener}, apps: []*sources.App{serviceApp("/db", sources.TCP{Port: 5432})}, fleet: func(f *routing.Fleet) {
			f.HTTPS, f.AccessLog = netip.AddrPort{}, routing.AccessLog{File: "/var/log/relay-envoy/external/access.json"}
		}},
		{name: "access_log_collector", types: []xds.Type{xds.Listener}, apps: []*sources.App{serviceApp("/db", sources.TCP{Port: 5432})}, fleet: func(f *routing.Fleet) {
			f.HTTPS, f.AccessLog = netip.AddrPort{}, routing.AccessLog{Collector: true}
		}},
		{name: "scaling", types: append(routed, xds.Listener), apps: scalingApps(), fleet: func(f *routing.Fleet) {
			f.HTTPS, f.Scaling = netip.AddrPort{}, true
		}},
	}
}

// scalingApps are one that runs, one that falls asleep, one that does and shares requests, and one
// that has a queue and wakes.
func scalingApps() []*sources.App {
	share := func(id, weight string) *sources.App {
		return changed(webApp(id, "shared.test"), func(p *sources.Port) {
			n := uint32(len(weight))
			p.HTTP = &sources.HTTP{ClusterWeight: &n}
		})
	}
	queue := func(p *sources.Port) { p.Queue = &sources.Queue{Concurrency: 1, Length: 5} }
	return []*sources.App{
		webApp("/runs", "runs.test"), gate(webApp("/falling", "falling.test")),
		share("/share/a", "x"), gate(share("/share/b", "xx")), gate(changed(webApp("/queued", "queued.test"), queue)),
	}
}

func variedEndpoints() *sources.App {
	return changed(webApp("/varied", "varied.test"), func(p *sources.Port) {
		p.Endpoints = endpoints("10.0.0.3:1", "10.0.0.2:1", "10.0.0.1:1", "[2001:db8::1]:1", "[::ffff:10.0.0.9]:1",
			"10.0.0.2:1", "0.0.0.0:1", "10.0.0.4:0", "[fe80::1%eth0]:1")
		p.Endpoints[0].Region, p.Endpoints[0].Zone = "eu", "eu-1b"
		p.Endpoints[2].Region, p.Endpoints[2].Zone = "eu", "eu-1a"
		p.Endpoints[1].Health = sources.Draining
		p.Endpoints[3].Health = sources.Degraded
		p.Endpoints[4].Health = sources.Draining
	})
}

func TestGolden(t *testing.T) {
	known := make(map[string]bool)
	for _, tt := range append(goldenCases(), labelCases(t)...) {
		file := filepath.Join(goldens, tt.name+".json")
		known[file] = true
		t.Run(tt.name, func(t *testing.T) { tt.run(t, file) })
	}
	files, err := filepath.Glob(filepath.Join(goldens, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if known[file] {
			continue
		}
		if !*collatortest.Update {
			t.Errorf("%s belongs to no test: run with -update to remove it", file)
		} else if err := os.Remove(file); err != nil {
			t.Error(err)
		}
	}
}

func (tt goldenCase) run(t *testing.T, file string) {
	fleet := testFleet()
	if tt.fleet != nil {
		tt.fleet(&fleet)
	}
	c, r := newTest(t, Config{Fleets: []routing.Fleet{fleet}, CertificateSources: []string{"vault"}})
	c.SyncCertificates("vault", tt.certificates, nil)
	c.SyncAuthorities("vault", []*certs.Authority{{Source: "vault", Name: "devices", Certificates: testCA, Revoked: []byte("revoked"), WholeChain: true, NotAfter: testTime.AddDate(1, 0, 0)}}, nil)
	c.SyncCredentials("dir", append([]*credentials.Credential{
		{Source: "dir", Path: "shop/cache-clients", Value: secret.Bytes("new password\nold password")}, {Source: "dir", Path: "cache-servers", Value: secret.Bytes("server password")},
	}, tt.credentials...), nil)
	syncApps(c, tt.apps...)
	collatortest.Golden(t, file, dump(t, c, r, tt.types))
}

// dump writes the published resources, by type, and the problems. The format
// of protojson varies on purpose: encoding/json makes it stable.
func dump(t *testing.T, c *Collator, r *recorder, types []xds.Type) []byte {
	t.Helper()
	type golden struct {
		Resources map[string][]any  `json:"resources"`
		Problems  []problem.Problem `json:"problems"`
	}
	out := golden{Resources: make(map[string][]any), Problems: c.Problems()}
	for _, key := range sortedKeys(keySet(r.Versions)) {
		if !slices.Contains(types, key.Type) {
			continue
		}
		msg, err := message(c.fleets[0], key)
		if err != nil {
			t.Fatal(err)
		}
		text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(msg)
		if err != nil {
			t.Fatal(err)
		}
		var resource any
		if err := json.Unmarshal(text, &resource); err != nil {
			t.Fatal(err)
		}
		out.Resources[key.Type.String()] = append(out.Resources[key.Type.String()], resource)
	}
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(out); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func keySet[V any](m map[xds.Key]V) map[xds.Key]struct{} {
	keys := make(map[xds.Key]struct{}, len(m))
	for key := range m {
		keys[key] = struct{}{}
	}
	return keys
}
