package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"relay/admin/api"
	"relay/collator"
	"relay/internal/problem"
	"relay/sources"
	"relay/xds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeViews is Views made of its answers.
type fakeViews struct {
	notReady     []string
	counts       Counts
	sources      []SourceView
	fleets       []FleetView
	refused      []string
	apps         []collator.AppView
	certificates []collator.CertificateView
	problems     []problem.Problem
	uncovered    []collator.UncoveredDomain
	authorities  []collator.AuthorityView
	served       collator.Served
	gone         []api.Envoy
}

func (f fakeViews) NotReady() []string    { return f.notReady }
func (f fakeViews) Counts() Counts        { return f.counts }
func (f fakeViews) Sources() []SourceView { return f.sources }
func (f fakeViews) Fleets() []FleetView   { return f.fleets }
func (f fakeViews) Refused() []string     { return f.refused }
func (f fakeViews) AppEntries() (all []*collator.AppEntry) {
	for _, a := range f.apps {
		e := &collator.AppEntry{ID: a.ID}
		for _, p := range a.Ports {
			e.Fleets, e.Domains = append(e.Fleets, p.Fleets...), append(e.Domains, p.Domains...)
		}
		all = append(all, e)
	}
	return all
}
func (f fakeViews) DomainEntries() (all []*collator.DomainEntry) {
	for _, a := range f.apps {
		for _, p := range a.Ports {
			for _, d := range p.Domains {
				all = append(all, &collator.DomainEntry{Name: d, Apps: []string{a.ID}, Fleets: p.Fleets, Clusters: []string{p.Cluster}})
			}
		}
	}
	return all
}
func (f fakeViews) DomainStatus(*collator.DomainEntry) api.DomainStatus { return api.DomainServed }
func (f fakeViews) DomainCertificate(*collator.DomainEntry) string      { return "" }
func (f fakeViews) Disconnected() []api.Envoy                           { return f.gone }
func (f fakeViews) Diffs(app string) ([]api.Diff, error) {
	if app != "/shop/web" {
		return nil, nil
	}
	return []api.Diff{{Change: api.Change{ID: 2, Fleet: "external"}, Known: true}, {Change: api.Change{ID: 1, Fleet: "internal"}}}, nil
}
func (f fakeViews) WriteDump(w io.Writer, fleet, typeName, name string) error {
	if fleet != "external" {
		return errors.New("there is no fleet " + fleet)
	}
	_, err := fmt.Fprintf(w, `{"configs": [], "type": %q, "name": %q}`, typeName, name)
	return err
}
func (f fakeViews) InEnvoy(label string, _ []string) string {
	return map[string]string{"HAPROXY_0_STICKY": "`stateful_session` of the route"}[label]
}
func (f fakeViews) Outlines(_ string, keys []xds.Key, clusters []string) [][]string {
	outlines := make([][]string, len(keys))
	for i, key := range keys {
		if key.Type == xds.Cluster {
			outlines[i] = []string{"lb_policy MAGLEV"}
		}
	}
	return outlines
}
func (f fakeViews) Unreachable() map[string]map[string]string { return nil }
func (f fakeViews) Certificates() []collator.CertificateView {
	all := slices.Clone(f.certificates)
	for i, c := range all {
		all[i].DaysLeft = int(math.Floor(time.Until(c.NotAfter).Hours() / 24))
	}
	return all
}
func (f fakeViews) Authorities() []collator.AuthorityView { return f.authorities }

func (f fakeViews) CertificatesInShort() []collator.CertificateView { return f.Certificates() }
func (f fakeViews) Problems() []problem.Problem {
	all := slices.Clone(f.problems)
	for i := range all {
		all[i] = all[i].Complete()
	}
	problem.Sort(all)
	return all
}
func (f fakeViews) Served() collator.Served { return f.served }
func (f fakeViews) Uncovered() ([]collator.UncoveredDomain, bool) {
	return f.uncovered, len(f.notReady) == 0
}
func (f fakeViews) Explain(string) (any, bool) { return nil, false }
func (f fakeViews) App(id string) (collator.AppView, bool) {
	for _, a := range f.apps {
		if a.ID == id {
			return a, true
		}
	}
	return collator.AppView{}, false
}

// busyViews has one of everything, with texts as long as they get.
func busyViews() fakeViews {
	now := time.Now()
	long := strings.Repeat("averylonglabel", 4)
	types := func(behind int, stale ...xds.StaleResource) []xds.TypeStatus {
		return []xds.TypeStatus{
			{Type: xds.Cluster, Sent: 41, Acked: 41},
			{Type: xds.Endpoint, Sent: 42, Acked: 42 - uint64(behind), Behind: behind, InFlight: behind > 0},
			{Type: xds.Listener, Sent: 3, Acked: 3},
			{Type: xds.Scope, Sent: 40, Acked: 40, Stale: stale, StaleCount: len(stale)},
			{Type: xds.Secret, Sent: 12, Acked: 12},
		}
	}
	return fakeViews{
		counts: Counts{Apps: 12345, Domains: 20210, Endpoints: 51234},
		sources: []SourceView{
			{Name: "http://user:hunter2@marathon.test:8080", Kind: "marathon", Connected: true, LastSync: now.Add(-3 * time.Second), Items: 12345},
			{Name: "https://vault.test:8200/secret", Kind: "vault", LastError: "read live: Get \"https://vault.test:8200/v1/secret/data/live\": dial tcp 10.0.0.9:8200: connect: connection refused", Items: 3},
			{Name: "/etc/relay/certs", Kind: "dir", Connected: true, LastSync: now.Add(-50 * time.Minute), LastError: "default.pem: the key does not match", Items: 1},
		},
		fleets: []FleetView{
			{Name: "external", Revision: 42, Resources: map[string]int{"clusters": 12345, "endpoints": 12345, "listeners": 2, "scopes": 20210, "secrets": 812}, Envoys: []xds.StreamStatus{
				{NodeID: "edge-1", Version: "1.40.0", Address: "10.0.1.1:41234", Since: now.Add(-26 * time.Hour), Types: types(0)},
				{NodeID: "edge-2." + long + ".test", Version: "1.40.0", Address: "[fd00:1:2:3:4:5:6:7]:41234", Since: now.Add(-90 * time.Second), Types: types(0, xds.StaleResource{Name: long + ".test", By: xds.ThisEnvoy, Since: now.Add(-5 * time.Minute), HasOlder: true, Retry: now, Message: "Error adding/updating scope(s) " + long + ".test: unknown cluster '/shop/" + long + "_0'"})},
				{NodeID: "edge-3", Version: "1.39.2", Address: "10.0.1.3:41234", Since: now.Add(-72 * time.Hour), Types: types(2)},
			}},
			{Name: "internal", Revision: 7, Resources: map[string]int{"clusters": 40}},
		},
		apps: []collator.AppView{{ID: "/shop/web", Version: "v1", Ports: []collator.PortView{{Fleets: []string{"external"}, Domains: []string{"shop.test"}, Endpoints: []collator.EndpointView{{Address: netip.MustParseAddrPort("10.0.0.7:31044"), Health: sources.Healthy}}}}}},
		certificates: []collator.CertificateView{
			{Source: "vault", Name: "shop.test", ServerNames: []string{"shop.test", "*.shop.test"}, Serves: []string{"shop.test", "*.shop.test"}, Domains: []string{"a.shop.test", "b.shop.test", "c.shop.test", "d.shop.test", "e.shop.test", "shop.test"}, DomainCount: 6, NotAfter: now.Add(60*24*time.Hour + time.Hour), Fingerprint: strings.Repeat("ab", 32)},
			{Source: "dir", Name: "/etc/relay/certs/" + long + ".pem", Default: true, NotAfter: now.Add(-10 * 24 * time.Hour)},
			{Source: "vault", Name: "old." + long + ".test", Serves: []string{"old.test"}, Unused: true, NotAfter: now.Add(-400 * 24 * time.Hour), EndsWith: "CN=" + long, Remarks: []string{"not served for " + long + ".test: vault/shop.test is, as it is valid for longer"}},
			{Source: "vault", Name: "soon.test", Serves: []string{"soon.test"}, Domains: []string{"soon.test"}, DomainCount: 1, NotAfter: now.Add(9*24*time.Hour + time.Hour)},
		},
		uncovered: []collator.UncoveredDomain{
			{Fleet: "external", Domain: "new." + long + "." + long + ".test", Wanted: true, Reason: "*.test of vault/" + long + ".test covers one level of names only"},
			{Fleet: "external", Domain: "plain.test", Reason: "no certificate covers it"},
		},
		authorities: []collator.AuthorityView{
			{Source: "dir", Name: "tracker", Subjects: []string{"CN=tracker"}, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(5, 0, 0), DaysLeft: 1826, UsedInstead: "vault"},
			{Source: "vault", Name: "tracker", Subjects: []string{"CN=tracker", "CN=" + long}, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(0, 0, 20), DaysLeft: 20, RevokedCount: 3, RevokedAt: now.Add(-time.Hour), RevokedUntil: now.AddDate(0, 0, 6), Services: []string{"/shop/" + long, "/shop/web"}, Remarks: []string{"no certificate of CN=" + long + " is taken"}},
		},
		problems: []problem.Problem{
			{Kind: problem.Tasks, App: "/shop/busy", Subject: "port 0", Reason: "no task is in rotation: busy.1 fails a health check"},
			{Kind: problem.Clash, App: "/shop/busy", Fleet: "external", Subject: long + ".test", Domain: long + ".test", Reason: "port 0 does not get the domain: port 0 of /a has it (the lowest app id wins, then the lowest port)"},
			{Kind: problem.App, App: "/shop/busy", Subject: "HAPROXY_0_A", Reason: "is not a known label"},
			{Kind: problem.App, App: "/shop/busy", Subject: "HAPROXY_0_B", Reason: "is not a known label"},
			{Kind: problem.App, App: "/shop/busy", Subject: "HAPROXY_0_C", Reason: "is not a known label"},
			{Kind: problem.App, App: "/shop/busy", Subject: "HAPROXY_0_D", Reason: "is not a known label"},
			{Kind: problem.App, App: "/shop/busy", Subject: "HAPROXY_0_E", Reason: "is not a known label"},
			{Kind: problem.App, App: "/shop/" + long, Subject: "HAPROXY_0_VHOST", Reason: `"shop_" + is not a domain: label "<b>shop_</b>" has a "_": only letters, digits and hyphens are allowed`},
			{Kind: problem.Envoy, Subject: "edge-2", Item: "scopes", Reason: "rejected revision 42: unknown cluster"},
			{Kind: problem.Source, Subject: "vault", Reason: "connection refused with token hvs.CAESIJ0123456789"},
			{Kind: problem.Unserved, App: "/other/web", Subject: "port 0", Item: "internal", Severity: problem.Advice, Reason: "wants a.test, and its group internal is no fleet here"},
		},
		served: collator.Served{Known: true, Domains: 20210, WithoutTask: 2, WithoutCertificate: 1, InNoFleet: 3},
	}
}

// manyViews has thousands of domains without a certificate, and of certificates,
// half of them unused.
func manyViews() fakeViews {
	views := fakeViews{}
	for i := range 5000 {
		domain := fmt.Sprintf("app-%d.example.test", i)
		views.uncovered = append(views.uncovered, collator.UncoveredDomain{Fleet: "external", Domain: domain, Wanted: i < 20, Reason: "no certificate covers it"})
		c := collator.CertificateView{Source: "vault", Name: domain, NotAfter: time.Now().AddDate(0, 0, i%90), Unused: i%2 > 0}
		if !c.Unused {
			c.Domains, c.DomainCount = []string{domain}, 1
		}
		views.certificates = append(views.certificates, c)
	}
	return views
}

func none(context.Context) error { return nil }

// newConfig returns a complete Config to be changed by a test.
func newConfig(views Views) Config {
	return Config{
		ReloadCertificates: none,
		ReloadApps:         none,
		Views:              views,
		Gatherer:           prometheus.NewRegistry(),
		Log:                slog.New(slog.DiscardHandler),
		Version:            "v1.2.3",
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serve runs s until the test ends and returns its base URL.
func serve(t *testing.T, cfg Config) string {
	t.Helper()
	l := listen(t)
	serveOn(t, cfg, l)
	return "http://" + l.Addr().String()
}

// serveOn runs s on a listener until the test ends.
func serveOn(t *testing.T, cfg Config, l net.Listener) {
	t.Helper()
	s := New(cfg, l)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != context.Canceled {
			t.Errorf("Serve: %v", err)
		}
	})
}
