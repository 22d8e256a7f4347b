package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"relay/certs/certstest"
	"relay/xds"
	"relay/xds/xdstest"
)

// shown connects with a server name of any bytes, none if it is empty, and
// returns the first name of the certificate that it is shown; none when there is
// no handshake.
func (w *world) shown(serverName string) string {
	w.t.Helper()
	start := time.Now()
	name := w.shownAtLast(serverName)
	if took := time.Since(start); took > 5*time.Second {
		w.t.Errorf("server name %q: the handshake took %s", serverName, took)
	}
	return name
}

// shownAtLast is shown however long the handshake takes.
func (w *world) shownAtLast(serverName string) string {
	w.t.Helper()
	config := w.ca.ClientTLS()
	config.InsecureSkipVerify = true
	config.ServerName = serverName
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", w.https, config)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].DNSNames[0]
}

// wantShown waits until the certificate for a server name is the one wanted.
func (w *world) wantShown(serverName, want string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("server name %q", serverName), func() error {
		if got := w.shown(serverName); got != want {
			return fmt.Errorf("shown the certificate of %q, want %q", got, want)
		}
		return nil
	})
}

// Certificates on demand are those that Envoy would have in a listener, and
// nothing that comes, goes or is renewed touches a connection.
func TestCertificatesOnDemand(t *testing.T) {
	w := newWorld(t)
	w.fleet.CertificatesOnDemand = true
	w.issue("a.test", "also-a.test")
	w.issue("gone.test")
	w.issue("*.zone.test", "zone.test")
	w.issue("in.zone.test")
	w.deploy(app("/a", "a.test,gone.test,new.test,*.zone.test", 1))
	w.start()
	for name, want := range map[string]string{
		"a.test": "a.test", "also-a.test": "a.test", "A.Test": "a.test", "zone.test": "*.zone.test",
		"x.zone.test": "*.zone.test", "x.y.zone.test": "*.zone.test", "in.zone.test": "in.zone.test",
		"": "", "b.test": "", "x.a.test": "",
	} {
		w.wantShown(name, want)
	}
	onDemandWS, zoneWS, goneWS := w.echo("wss://a.test/ws"), w.echo("wss://x.zone.test/ws"), w.echo("wss://gone.test/ws")
	w.settled()
	listeners := w.stat(`^listener_manager\.lds\.update_success$`)

	w.issue("new.test")
	w.hook("usr1")
	w.expect("https://new.test/", http.StatusOK, "/a")
	before := w.expect("https://a.test/", http.StatusOK, "/a").serial
	w.issue("a.test", "also-a.test")
	w.hook("usr1")
	w.renewed("https://a.test/", before)
	if err := os.Remove(filepath.Join(w.certs, "gone.test.pem")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a file must be missed twice
		w.hook("usr1")
	}
	w.wantShown("gone.test", "")
	if n := w.stat(`^listener_manager\.lds\.update_success$`); n != listeners {
		t.Errorf("Envoy took in listeners %d times, want %d", n, listeners)
	}

	// A wildcard is a filter chain: one more drains no other.
	w.issue("*.more.test")
	w.hook("usr1")
	w.wantShown("x.more.test", "*.more.test")
	w.eventually("old filter chains drained", func() error {
		if n := w.stat(`^listener_manager\.total_filter_chains_draining$`); n != 0 {
			return fmt.Errorf("%d are draining", n)
		}
		return nil
	})
	w.says(onDemandWS, "still here")
	w.says(zoneWS, "still here")
	w.says(goneWS, "still here")

	// Without Relay, what was loaded goes on. Who asks for more is not kept waiting
	// for ever, and served when Relay is back.
	w.issue("late.test")
	w.hook("usr1")
	w.stop()
	w.wantShown("a.test", "a.test")
	w.wantShown("in.zone.test", "in.zone.test")
	if got := w.shownAtLast("late.test"); got != "" {
		t.Errorf("without Relay: shown the certificate of %q, which nobody had asked for", got)
	}
	w.startRelay()
	w.streams(1)
	w.wantShown("also-a.test", "a.test")
	w.wantShown("late.test", "late.test")
	w.settled()
	if q := w.admin.envoyProblems(); len(q) > 0 {
		t.Errorf("Envoy rejects %+v", q)
	}
}

// Server names that clients make up cost Envoy nothing that lasts, and harm
// nobody, with a default certificate to answer them and without one.
func TestMadeUpServerNames(t *testing.T) {
	for _, test := range []struct {
		name, byDefault string
		growth          int64 // bytes
	}{{"without default", "", 8 << 20}, {"with default", "default.test", 48 << 20}} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.fleet.CertificatesOnDemand = true
			w.issue("a.test")
			if test.byDefault != "" {
				path := filepath.Join(t.TempDir(), "default.pem")
				if err := os.WriteFile(path, w.ca.TestIssue(t, []string{test.byDefault}, certstest.Options{}).Bundle(), 0o600); err != nil {
					t.Fatal(err)
				}
				w.config.Certificates.Dir.Default = path
			}
			w.deploy(app("/a", "a.test", 1))
			w.start()
			w.wantShown("a.test", "a.test")
			ws := w.echo("wss://a.test/ws")
			// What no host is called must not even be asked for: "*" is all secrets,
			// and bytes that are no UTF-8 would end the stream.
			for _, name := range []string{"*", "\xff\xfe.test", "fleet/client-ca", "dir/a.test.pem", "a b\n.test", "-", strings.Repeat("x", 255)} {
				w.wantShown(name, test.byDefault)
			}
			since := w.streams(1)[0].Connected

			w.wantShown("first.made-up.test", test.byDefault)
			envoy := procfs{t, w.envoy.Pid()}
			before := envoy.memory("VmRSS")
			load := w.load(50, ok, "https://a.test/")
			for i := range 3000 {
				if got := w.shown(fmt.Sprintf("X%d.made-up.test", i)); got != test.byDefault {
					t.Fatalf("made up name %d: shown the certificate of %q", i, got)
				}
			}
			w.noFailure(load, 20)
			if grown := envoy.memory("VmRSS") - before; grown > test.growth {
				t.Errorf("3000 made up names took %d MB of memory", grown>>20)
			}
			w.settled()
			if n := w.dynamic("dynamic_active_secrets"); n > 1100 {
				t.Errorf("Envoy holds %d secrets", n)
			}
			if n := w.admin.fleet("external").Resources["secrets"]; n > 1100 {
				t.Errorf("Relay holds %d secrets", n)
			}
			if again := w.streams(1)[0].Connected; again != since {
				t.Error("the stream was lost")
			}
			w.says(ws, "still here")
			w.deploy(app("/b", "b.test", 1))
			w.expect("http://b.test/", http.StatusOK, "/b")
		})
	}
}

// dynamic counts the resources that Envoy has by xDS, such as
// "dynamic_active_clusters".
func (w *world) dynamic(resource string) int {
	w.t.Helper()
	dump, err := w.envoy.Get(w.t.Context(), "/config_dump?resource="+resource+"&mask=version_info")
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Count(dump, "type.googleapis.com/envoy.admin.v3.")
}

// An Envoy that cannot load certificates on demand gets them in the listener.
func TestCertificatesOnDemandWhereTheyCannotBe(t *testing.T) {
	w := newWorld(t)
	w.fleet.CertificatesOnDemand = true
	w.issue("a.test")
	w.issue("b.test")
	w.startRelay()
	for _, test := range []struct{ extensions, chains []string }{
		{[]string{"envoy.tls.certificate_selectors.on_demand_secret"}, []string{"on-demand"}},
		{[]string{"envoy.tls.certificate_selectors.default"}, []string{"a.test.pem", "b.test.pem"}},
	} {
		c := xdstest.Connect(t, w.config.XDS.Address, "external", "custom build")
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
