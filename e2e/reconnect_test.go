package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"relay/internal/relay"
	"relay/xds"
	"relay/xds/xdstest"
)

// asked are the types that Envoy asked for on a stream, in order.
func asked(e *xdstest.Exchange) (types []xds.Type) {
	for _, r := range e.Requests {
		if t, known := xds.TypeOf(r.GetTypeUrl()); known && !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	return types
}

// An Envoy that comes again, to the same Relay or to one that was started anew, is sent
// nothing that it has. It asks for clusters before endpoints: Relay takes it for one
// whose clusters wait for their endpoints if it does not, and would send them all.
func TestHealthyReconnect(t *testing.T) {
	t.Parallel()
	for name, configure := range map[string]func(*relay.Config){
		"all":                    func(*relay.Config) {},
		"clusters on demand":     func(c *relay.Config) { c.Fleets[0].ClustersOnDemand = true },
		"certificates on demand": func(c *relay.Config) { c.Fleets[0].CertificatesOnDemand = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forEachVersion(t, func(w *world) {
				configure(&w.relay.config)
				w.certs.issue("a.test")
				w.certs.issue("b.test")
				w.marathon.deploy(app("/a", "a.test", 2), app("/b", "b.test", 1), app("/idle", "idle.test", 1))
				proxy := w.envoy.startVia()
				w.envoy.ready()
				for _, name := range []string{"a", "b"} {
					w.clients.expect("http://"+name+".test/", http.StatusOK, "/"+name)
					w.clients.expect("https://"+name+".test/", http.StatusOK, "/"+name)
				}
				w.admin.settled()
				for i, end := range []func(){proxy.Cut, func() { w.relay.stop(); w.relay.start() }, proxy.Cut} {
					end()
					sentNothing(w, proxy, i+1)
				}
			})
		})
	}
}

// sentNothing makes sure that nothing comes on a stream that Envoy has.
func sentNothing(w *world, proxy *xdstest.Proxy, stream int) {
	w.t.Helper()
	proxy.Await(stream, "all types asked for", func(e *xdstest.Exchange) bool { return len(asked(e)) == len(xds.Types()) })
	// A change comes after all that the new stream causes.
	domain := fmt.Sprintf("late%d.test", stream)
	w.marathon.deploy(app("/late", domain, 1))
	w.clients.expect("http://"+domain+"/", http.StatusOK, "/late")
	w.admin.settled()
	proxy.Await(stream, "what was sent", func(e *xdstest.Exchange) bool {
		if types := asked(e); slices.Index(types, xds.Cluster) > slices.Index(types, xds.Endpoint) {
			w.t.Errorf("stream %d: Envoy asks for %v, endpoints before clusters", stream, types)
		}
		for _, r := range e.Responses {
			for _, name := range xdstest.Names(r) {
				if name != "/late_0" && name != domain {
					w.t.Errorf("stream %d: %s %s is sent again", stream, r.GetTypeUrl(), name)
				}
			}
		}
		return true
	})
}

// A cluster changes and waits for its endpoints, and the stream ends before they come.
// Envoy tells on the new one that it has them, and does not ask for clusters until
// it got them: all that is new would wait for ever.
func TestReconnectWhileAClusterWarms(t *testing.T) {
	t.Parallel()
	forEachVersion(t, func(w *world) {
		t := w.t
		backend := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set("X-App", "file") }))
		t.Cleanup(backend.Close)
		one := func(name, more string) string {
			return fmt.Sprintf("- id: /%s\n  ports:\n  - domains: [%s.test]\n    endpoints: [{address: %q}]\n%s", name, name, backend.Listener.Addr(), more)
		}
		write := w.relay.appsFile()
		write(one("a", ""))
		proxy := w.envoy.startVia()
		w.envoy.ready()
		w.clients.expect("http://a.test/", http.StatusOK, "file")
		w.admin.settled()

		lost := 0
		proxy.LoseResponses(func(r *discoveryv3.DeltaDiscoveryResponse) bool {
			if r.GetTypeUrl() != xds.Endpoint.URL() {
				return false
			}
			lost++
			return true
		})
		write(one("a", "    maxConnections: 100\n"))
		proxy.Await(0, "the endpoints lost", func(*xdstest.Exchange) bool { return lost > 0 })
		w.envoy.warming(1)
		proxy.LoseResponses(nil)
		proxy.Cut()
		write(one("a", "    maxConnections: 100\n") + one("b", ""))
		w.clients.expect("http://b.test/", http.StatusOK, "file")
		w.envoy.warming(0)
		w.clients.expect("http://a.test/", http.StatusOK, "file")
		proxy.Await(1, "clusters asked for after endpoints", func(e *xdstest.Exchange) bool {
			types := asked(e)
			return slices.Index(types, xds.Cluster) > slices.Index(types, xds.Endpoint)
		})
	})
}
