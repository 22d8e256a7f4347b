package envoy_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/sources"
)

// Certificates of instances are checked against the fleet's authorities, and
// their names against what was asked for.
func TestVerifiedUpstream(t *testing.T) {
	t.Parallel()
	e := startEdge(t, func(f *routing.Fleet, ca *certstest.CA) { f.UpstreamCA = ca.RootPEM() })
	other := certstest.TestCA(t)
	secure := func(id, domain string, ca *certstest.CA, name string, settings ...string) *sources.App {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "app %s\n", id)
		}))
		config, err := ca.TestIssue(t, []string{name}, certstest.Options{}).ServerTLS()
		if err != nil {
			t.Fatal(err)
		}
		s.TLS = config
		s.StartTLS()
		t.Cleanup(s.Close)
		return changed(set(t, webApp(id, domain), append(settings, "TLS=true")...), func(p *sources.Port) {
			p.Endpoints = endpoints(s.Listener.Addr().String())
		})
	}
	e.c.SyncCertificates("vault", nil, nil)
	e.c.SyncApps([]*sources.App{
		secure("/name", "name.test", e.ca, "app.internal", "TLS_SNI=app.internal"),
		secure("/host", "host.test", e.ca, "host.test"),
		secure("/wrong-name", "wrong-name.test", e.ca, "app.internal", "TLS_SNI=other.internal"),
		secure("/wrong-host", "wrong-host.test", e.ca, "app.internal"),
		secure("/wrong-ca", "wrong-ca.test", other, "wrong-ca.test"),
		secure("/careless", "careless.test", other, "app.internal", "TLS_VERIFY=false"),
	})
	for _, id := range []string{"name", "host", "careless"} {
		e.eventually(t, request{host: id + ".test", path: "/"}, fromApp("/"+id))
	}
	for _, id := range []string{"wrong-name", "wrong-host", "wrong-ca"} {
		a := e.eventually(t, request{host: id + ".test", path: "/"}, func(a answer) bool { return a.status != http.StatusNotFound })
		if a.status != http.StatusBadGateway {
			t.Errorf("%s: status %d, want 502", id, a.status)
		}
	}
	for _, stream := range e.server.Streams() {
		for _, kind := range stream.Types {
			if kind.Rejected != nil {
				t.Errorf("Envoy rejected %s: %+v", kind.Type, kind.Rejected)
			}
		}
	}
}
