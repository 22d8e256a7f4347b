package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"relay/certs/certstest"
	"relay/xds"
	"relay/xds/xdstest"
)

// Certificates on demand are those that Envoy would have in a listener, and
// nothing that comes, goes or is renewed touches a connection.
func TestCertificatesOnDemand(t *testing.T) {
	w := newWorld(t)
	w.relay.fleet.CertificatesOnDemand = true
	w.certs.issue("a.test", "also-a.test")
	w.certs.issue("gone.test")
	w.certs.issue("*.zone.test", "zone.test")
	w.certs.issue("in.zone.test")
	w.marathon.deploy(app("/a", "a.test,gone.test,new.test,*.zone.test", 1))
	w.start()
	for name, want := range map[string]string{
		"a.test": "a.test", "also-a.test": "a.test", "A.Test": "a.test", "zone.test": "*.zone.test",
		"x.zone.test": "*.zone.test", "x.y.zone.test": "*.zone.test", "in.zone.test": "in.zone.test",
		"": "", "b.test": "", "x.a.test": "",
	} {
		w.tls.wantShown(name, want)
	}
	onDemandWS, zoneWS, goneWS := w.clients.echo("wss://a.test/ws"), w.clients.echo("wss://x.zone.test/ws"), w.clients.echo("wss://gone.test/ws")
	w.admin.settled()
	listeners := w.envoy.stat(`^listener_manager\.lds\.update_success$`)

	w.certs.issue("new.test")
	w.admin.hook("usr1")
	w.clients.expect("https://new.test/", http.StatusOK, "/a")
	before := w.clients.expect("https://a.test/", http.StatusOK, "/a").serial
	w.certs.issue("a.test", "also-a.test")
	w.admin.hook("usr1")
	w.clients.renewed("https://a.test/", before)
	if err := os.Remove(filepath.Join(w.certs.dir, "gone.test.pem")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a file must be missed twice
		w.admin.hook("usr1")
	}
	w.tls.wantShown("gone.test", "")
	if n := w.envoy.stat(`^listener_manager\.lds\.update_success$`); n != listeners {
		t.Errorf("Envoy took in listeners %d times, want %d", n, listeners)
	}

	// A wildcard is a filter chain: one more drains no other.
	w.certs.issue("*.more.test")
	w.admin.hook("usr1")
	w.tls.wantShown("x.more.test", "*.more.test")
	w.eventually("old filter chains drained", func() error {
		if n := w.envoy.stat(`^listener_manager\.total_filter_chains_draining$`); n != 0 {
			return fmt.Errorf("%d are draining", n)
		}
		return nil
	})
	w.clients.says(onDemandWS, "still here")
	w.clients.says(zoneWS, "still here")
	w.clients.says(goneWS, "still here")

	withoutRelay(t, w)
}

// withoutRelay holds that what was loaded goes on. Who asks for more is not kept
// waiting for ever, and served when Relay is back.
func withoutRelay(t *testing.T, w *world) {
	t.Helper()
	w.certs.issue("late.test")
	w.admin.hook("usr1")
	w.relay.stop()
	w.tls.wantShown("a.test", "a.test")
	w.tls.wantShown("in.zone.test", "in.zone.test")
	if got := w.tls.shownAtLast("late.test"); got != "" {
		t.Errorf("without Relay: shown the certificate of %q, which nobody had asked for", got)
	}
	w.relay.start()
	w.admin.streams(1)
	w.tls.wantShown("also-a.test", "a.test")
	w.tls.wantShown("late.test", "late.test")
	w.admin.settled()
	if q := w.admin.envoyProblems(); len(q) > 0 {
		t.Errorf("Envoy rejects %+v", q)
	}
}

// Server names that clients make up cost Envoy nothing that lasts, and harm
// nobody, with a default certificate to answer them and without one.
func TestMadeUpServerNames(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, byDefault string
		growth          int64 // bytes
	}{{"without default", "", 8 << 20}, {"with default", "default.test", 48 << 20}} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.relay.fleet.CertificatesOnDemand = true
			w.certs.issue("a.test")
			if test.byDefault != "" {
				path := filepath.Join(t.TempDir(), "default.pem")
				if err := os.WriteFile(path, w.certs.ca.TestIssue(t, []string{test.byDefault}, certstest.Options{}).Bundle(), 0o600); err != nil {
					t.Fatal(err)
				}
				w.relay.config.Certificates.Dir.Default = path
			}
			w.marathon.deploy(app("/a", "a.test", 1))
			w.start()
			w.tls.wantShown("a.test", "a.test")
			ws := w.clients.echo("wss://a.test/ws")
			// What no host is called must not even be asked for: "*" is all secrets,
			// and bytes that are no UTF-8 would end the stream.
			for _, name := range []string{"*", "\xff\xfe.test", "fleet/client-ca", "dir/a.test.pem", "a b\n.test", "-", strings.Repeat("x", 255)} {
				w.tls.wantShown(name, test.byDefault)
			}
			since := w.admin.streams(1)[0].Since

			w.tls.wantShown("first.made-up.test", test.byDefault)
			envoy := procfs{t, w.envoy.Pid()}
			before := envoy.memory("VmRSS")
			load := w.clients.load(50, ok, "https://a.test/")
			for i := range 3000 {
				if got := w.tls.shown(fmt.Sprintf("X%d.made-up.test", i)); got != test.byDefault {
					t.Fatalf("made up name %d: shown the certificate of %q", i, got)
				}
			}
			w.clients.noFailure(load, 20)
			if grown := envoy.memory("VmRSS") - before; grown > test.growth {
				t.Errorf("3000 made up names took %d MB of memory", grown>>20)
			}
			w.admin.settled()
			if n := w.envoy.dynamic("dynamic_active_secrets"); n < 1 || n > 1100 {
				t.Errorf("Envoy holds %d secrets", n)
			}
			if n := w.admin.fleet("external").Resources[xds.Secret.String()]; n < 1 || n > 1100 {
				t.Errorf("Relay holds %d secrets", n)
			}
			if again := w.admin.streams(1)[0].Since; again != since {
				t.Error("the stream was lost")
			}
			w.clients.says(ws, "still here")
			w.marathon.deploy(app("/b", "b.test", 1))
			w.clients.expect("http://b.test/", http.StatusOK, "/b")
		})
	}
}

// An Envoy that cannot load certificates on demand gets them in the listener.
func TestCertificatesOnDemandWhereTheyCannotBe(t *testing.T) {
	w := newWorld(t)
	w.relay.fleet.CertificatesOnDemand = true
	w.certs.issue("a.test")
	w.certs.issue("b.test")
	w.relay.start()
	for _, test := range []struct{ extensions, chains []string }{
		{[]string{"envoy.tls.certificate_selectors.on_demand_secret"}, []string{"on-demand"}},
		{[]string{"envoy.tls.certificate_selectors.default"}, []string{"a.test.pem", "b.test.pem"}},
	} {
		c := xdstest.Connect(t, w.relay.config.XDS.Address, "external", "custom build")
		c.Extensions(test.extensions...)
		c.Subscribe(xds.Cluster.URL())
		c.Ack(c.Next())
		c.Subscribe(xds.Listener.URL())
		r := c.Expect(xds.Listener.URL(), []string{"http", "https"})
		c.Ack(r)
		var listener listenerv3.Listener
		for _, resource := range r.GetResources() {
			if resource.GetName() == "https" {
				if err := resource.GetResource().UnmarshalTo(&listener); err != nil {
					t.Fatal(err)
				}
			}
		}
		var chains []string
		for _, chain := range listener.GetFilterChains() {
			chains = append(chains, filepath.Base(chain.GetName()))
		}
		if !slices.Equal(chains, test.chains) {
			t.Errorf("with %q the filter chains are %q, want %q", test.extensions, chains, test.chains)
		}
	}
}
