package collator

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/credentials"
	"relay/internal/secret"
	"relay/sources"
	"relay/xds"
	"relay/xds/envoytest"
)

// versionWorld is all that the golden files show, for real Envoys of one version, each of
// which is a fleet.
type versionWorld struct {
	credentials []*credentials.Credential
	t           *testing.T
	version     string
	fleets      []routing.Fleet
	stores      map[string]*xds.Store
	server      *xds.Server
	apps        []*sources.App
	// cases has the golden case of each domain.
	cases map[string]string
}

// TestEveryEnvoyTakesAll gives each version of Envoy what the golden files show, with every
// label: it rejects nothing, and answers for each domain, as docs/compatibility.md says.
func TestEveryEnvoyTakesAll(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions() {
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			w := startVersions(t, version)
			w.answered()
			if rejected := w.rejected(); len(rejected) > 0 {
				t.Errorf("rejected: %q", rejected)
			}
			for domain := range w.cases {
				w.request(domain)
			}
		})
	}
}

// startVersions starts an Envoy for each fleet.
func startVersions(t *testing.T, version string) *versionWorld {
	w := &versionWorld{t: t, version: version, stores: make(map[string]*xds.Store), cases: make(map[string]string)}
	ca := certstest.TestCA(t)
	publishers := make(map[string]Publisher)
	w.fleets = versionFleets(t)
	for _, f := range w.fleets {
		w.stores[f.Name] = xds.NewStore()
		w.stores[f.Name].ClustersOnDemand = f.ClustersOnDemand
		publishers[f.Name] = w.stores[f.Name]
	}
	w.addApps()
	c, err := New(Config{Fleets: w.fleets, CertificateSources: []string{"vault"}}, publishers, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	var all []*certs.Certificate
	for _, names := range [][]string{{"a.test", "b.test"}, {"*.zone.test"}} {
		parsed, _, err := certs.ParsePEM(ca.TestIssue(t, names, certstest.Options{}).Bundle())
		if err != nil {
			t.Fatal(err)
		}
		parsed.Source, parsed.Name = "vault", names[0]
		all = append(all, parsed)
	}
	for _, f := range w.fleets {
		if err := c.SetClientCA(f.Name, ca.RootPEM()); f.TLS.AsksForCertificates() && err != nil {
			t.Fatal(err)
		}
	}
	c.SyncCertificates("vault", all, nil)
	c.SyncAuthorities("vault", []*certs.Authority{{Source: "vault", Name: "devices", Certificates: ca.RootPEM(), NotAfter: time.Now().AddDate(1, 0, 0)}}, nil)
	c.SyncCredentials("dir", append([]*credentials.Credential{
		{Source: "dir", Path: "cache-clients", Value: secret.Bytes("new\nold")}, {Source: "dir", Path: "cache-servers", Value: secret.Bytes("x")},
	}, w.credentials...), nil)
	c.SyncApps(w.apps)
	c.round()
	w.serve()
	return w
}

// serve serves what is published, and starts the Envoys.
func (w *versionWorld) serve() {
	for _, store := range w.stores {
		store.Open(xds.Types()...)
	}
	w.server = xds.NewServer(w.stores, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.server.Serve(ctx, l) }()
	w.t.Cleanup(func() { cancel(); <-done; http.DefaultClient.CloseIdleConnections() })
	for _, f := range w.fleets {
		envoytest.Start(w.t, envoytest.Options{Version: w.version, XDS: []string{l.Addr().String()}, Fleet: f.Name, NodeID: f.Name,
			ClustersOnDemand: f.ClustersOnDemand, Workers: 1})
	}
}

// versionFleets are one as most people have it, one with every option, and one with none.
func versionFleets(t *testing.T) []routing.Fleet {
	fleets := make([]routing.Fleet, 3)
	for i, name := range []string{"external", "options", "none"} {
		port := func() netip.AddrPort {
			return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), envoytest.FreePort(t))
		}
		fleets[i] = routing.Fleet{Name: name, HTTP: port(), Options: routing.DefaultOptions(), ExternalCA: testCA, ExternalHosts: []string{noKeys}}
		if name != "none" {
			fleets[i].HTTPS, fleets[i].ExternalCA = port(), testCA
		}
		if name == "options" {
			behindProxies(&fleets[i])
			fleets[i].Health, fleets[i].HTTPSPublicPort, fleets[i].UpstreamCA = port(), 8443, testCA
			visitorOptions(&fleets[i])
			fleets[i].ClustersOnDemand, fleets[i].CertificatesOnDemand = true, true
			fleets[i].TLS = routing.DownstreamTLS{MinVersion: routing.TLS13, ClientCertificates: routing.ClientCertificatesRequired}
		}
	}
	fleets[2].Options.StreamIdleTimeout, fleets[2].Options.UpstreamIdleTimeout, fleets[2].Options.Retries = 0, 0, 0
	return fleets
}

// addApps adds the apps of all golden cases, under names of their own.
func (w *versionWorld) addApps() {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/login")
	}))
	w.t.Cleanup(backend.Close)
	for i, tt := range append(goldenCases(), labelCases(w.t)...) {
		for _, c := range tt.credentials {
			w.credentials = append(w.credentials, &credentials.Credential{Source: c.Source, Path: fmt.Sprintf("c%d/%s", i, c.Path), Value: c.Value})
		}
		own := func(domains []string) (list []string) {
			for _, d := range domains {
				wildcard := strings.HasPrefix(d, "*.")
				if d = fmt.Sprintf("c%d.%s", i, strings.TrimPrefix(d, "*.")); wildcard {
					d = "*." + d
				}
				list = append(list, d)
			}
			return list
		}
		for _, app := range tt.apps {
			copied := *app
			copied.ID = fmt.Sprintf("/c%d%s", i, app.ID)
			copied.Ports = slices.Clone(app.Ports)
			if d := app.Deployment; d != nil {
				deployment := *d
				deployment.Group = fmt.Sprintf("c%d", i)
				copied.Deployment = &deployment
			}
			for j := range copied.Ports {
				w.adapt(&copied.Ports[j], own, backend.Listener.Addr().String())
				copied.Ports[j].HTTP = askingBelow(copied.Ports[j].HTTP, fmt.Sprintf("/c%d", i))
				for _, d := range copied.Ports[j].Domains {
					if tcp := copied.Ports[j].TCP; tcp == nil || tcp.ServiceTLS == nil {
						w.cases[d] = tt.name
					}
				}
			}
			w.apps = append(w.apps, &copied)
		}
	}
}

// noKeys is where nobody has public keys.
const noKeys = "127.0.0.1:9"

// askingBelow has the app of which one asks found under its own name in these tests, and keys asked for where nobody
// is.
func askingBelow(h *sources.HTTP, folder string) *sources.HTTP {
	if h == nil || h.SignOn == nil {
		return h
	}
	own, signOn := *h, *h.SignOn
	own.SignOn = &signOn
	if signOn.App != nil {
		app := *signOn.App
		app.App = folder + app.App
		signOn.App = &app
	}
	if signOn.JWT != nil {
		jwt := *signOn.JWT
		jwt.JWKS = "https://" + noKeys + "/keys"
		signOn.JWT = &jwt
	}
	return &own
}

// adapt has a port served by all fleets, and by a real instance.
func (w *versionWorld) adapt(p *sources.Port, own func([]string) []string, address string) {
	p.Groups = nil
	for _, f := range w.fleets {
		p.Groups = append(p.Groups, f.Name)
	}
	p.Domains, p.ACMEDomains = own(p.Domains), own(p.ACMEDomains)
	if len(p.Endpoints) > 0 {
		p.Endpoints = endpoints(address)
	}
	if p.TCP == nil {
		return
	}
	tcp := *p.TCP
	if tcp.Port >= 1024 {
		tcp.Port = envoytest.FreePort(w.t)
	}
	if tcp.Address.IsValid() {
		tcp.Address = netip.MustParseAddr("127.0.0.2")
	}
	p.TCP = &tcp
}

// answered waits until the Envoys have answered all that is published.
func (w *versionWorld) answered() {
	w.t.Helper()
	var last []xds.StreamStatus
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		last = w.server.Streams()
		left := len(w.fleets) - len(last)
		for _, s := range last {
			asked := 0
			for _, t := range s.Types {
				if t.InFlight || t.Behind > 0 || t.Acked == 0 && t.Rejections == 0 {
					left++
				}
				if t.Type == xds.Listener || t.Type == xds.Scope || t.Type == xds.ExtensionConfig {
					asked++
				}
			}
			left += 3 - asked
		}
		if left == 0 {
			return
		}
	}
	w.t.Fatalf("not answered: %+v", last)
}

// knowsChains tells of the versions that take several filters as one.
func (w *versionWorld) knowsChains() bool { return w.version != "1.36" && w.version != "1.37" }

// rejected are the resources that an Envoy rejects, for each fleet.
func (w *versionWorld) rejected() (names []string) {
	for _, f := range w.fleets {
		for _, r := range w.stores[f.Name].Rejected() {
			name := f.Name + ": " + r.Name
			if r.Type != xds.Scope {
				name += ", of " + r.Type.String() + ": " + r.Message
			}
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// request asks the Envoy that is as most people have it for a domain.
func (w *versionWorld) request(domain string) {
	w.t.Helper()
	host := strings.Replace(domain, "*.", "any.", 1)
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+w.fleets[0].HTTP.String()+"/", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Host = host
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.t.Errorf("%s, %s: %v", w.cases[domain], host, err)
		return
	}
	defer func() { _, _ = io.Copy(io.Discard, resp.Body); _ = resp.Body.Close() }()
	if want := w.wantStatus(domain); resp.StatusCode != want {
		w.t.Errorf("%s, %s: status %d, want %d", w.cases[domain], host, resp.StatusCode, want)
	}
	if location := resp.Header.Get("Location"); resp.StatusCode == http.StatusOK && (location == "/app/login") != (w.knowsChains() && w.cases[domain] == "label_revproxy_path") {
		w.t.Errorf("%s, %s: Location is %s", w.cases[domain], host, location)
	}
}

// statuses are what "/" of a case is answered with, if that is not 200.
var statuses = map[string]int{
	"acme_and_redirect": 301, "maintenance": 301, "client_certificates": 301, "proxies": 301, "redirect_to_public_port": 301, "redirect_without_https": 301, "label_redir": 301,
	"label_auth": 401,
	// A path is served, and not all, or the port is one for TCP.
	"label_path": 404, "label_path_any_case": 404, "label_path_unusable": 404, "label_redirect_with_path": 404, "label_tls_without_authorities": 404,
	"label_accept_rate": 404, "label_tcp": 404, "label_tcp_bind": 404, "label_tcp_closed": 404, "label_tcp_network_allowed_acl": 404, "label_tcp_reserved": 404, "label_tcp_tls": 404,
	"label_redis": 404, "label_redis_closed": 404,
	"label_tls_passthrough": 404,
	// The fleet has no authorities for instances, and the instance does not speak TLS.
	"label_auth_crypt": 403, "label_auth_app_missing": 403, "label_jwt": 401, "label_tls_verify": 403, "label_tls_verify_host": 403,
	"label_tls": 502, "label_http2": 502, "label_proxy_protocol": 502,
	"ports": 503, "suspended": 503,
	// Here is no service that checks passwords: nobody is let in.
	"label_auth_relay": 503,
	// Nor is there one that wakes the app that is asked.
	"label_auth_app_asleep": 503,
	// Other networks are let in alone.
	"label_cors": 403,
	"label_oidc": 301, "label_oidc_options": 301, "label_oidc_without_secret": 301,
}

func (w *versionWorld) wantStatus(domain string) int {
	name := w.cases[domain]
	if !w.knowsChains() && strings.HasPrefix(domain, "*.") {
		return http.StatusNotFound
	}
	if !w.knowsChains() && (name == "label_auth" || name == "label_auth_relay" || name == "label_network_allowed_acl" || strings.HasPrefix(name, "label_auth_app")) {
		return http.StatusForbidden
	}
	if name == "label_jwt" && w.version != "1.40" {
		return http.StatusForbidden
	}
	if w.version != "1.40" && (name == "label_oidc" || name == "label_oidc_options") {
		return http.StatusForbidden
	}
	if status, ok := statuses[name]; ok {
		return status
	}
	return http.StatusOK
}
