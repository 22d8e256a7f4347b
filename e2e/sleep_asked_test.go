package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
)

// An app that is asked about requests to others is in use by these questions, falls asleep without them, and is woken by the
// next request, which waits. While it sleeps, Envoys ask nobody at its old addresses.
func TestAppThatIsAskedSleeps(t *testing.T) {
	w := newScalingWorld(t)
	w.marathon.deploy(w.dozer("/shop/sso", "sso.test"), w.dozer("/shop/page", "page.test", "RELAY_WAKE_PAGE", "true"),
		app("/shop/web", "web.test,*.zone.test", 1, "RELAY_0_AUTH_APP", "/shop/sso"),
		app("/shop/slow", "slow.test", 1, "RELAY_0_AUTH_APP", "/shop/sso /stream?n=600&ms=20", "RELAY_0_AUTH_APP_TIMEOUT", "1m"),
		app("/shop/other", "other.test", 1, "RELAY_0_AUTH_APP", "/shop/page"))
	w.startOften()
	w.clients.expect("http://web.test/", http.StatusOK, "/shop/web")
	answered := make(chan error, 1)
	client := w.clients.client(false)
	client.Timeout = patience
	go func() {
		a, err := w.clients.get(client, "http://slow.test/", "")
		if err == nil {
			err = ok(a)
		}
		answered <- err
	}()
	w.phase("/shop/sso", api.PhaseAwake)
	w.awakeFor("/shop/sso", 3*time.Second, "1 requests or connections are in progress")
	if err := <-answered; err != nil {
		t.Errorf("a request of which it was asked for long: %v", err)
	}
	for _, host := range []string{"web.test", "WEB.test", "a.zone.test"} {
		w.phase("/shop/sso", api.PhaseAsleep)
		w.has("/shop/sso", 0, "2")
		w.admin.settled()
		clusters, err := w.envoy.Get(t.Context(), "/clusters")
		if err != nil {
			t.Fatal(err)
		}
		if i := strings.Index(clusters, "/shop/sso_0::127.0.0.1"); i >= 0 {
			t.Errorf("while it sleeps, Envoy has an instance: %.80q", clusters[i:])
		}
		a := w.clients.do("http://web.test/", "Host", host, "X-Relay-Node", "other", "X-Relay-Route", "/shop/page_0")
		if err := ok(a); err != nil {
			t.Fatalf("%s, while it sleeps: %v", host, err)
		}
		if got := w.clients.echoed(a).Headers; slices.ContainsFunc([]string{"X-Relay-Node", "X-Relay-Route"}, func(name string) bool { return got.Get(name) != "" }) {
			t.Errorf("the app gets %v", got)
		}
		w.has("/shop/sso", 2, "")
	}
	if s := w.scaling("/shop/sso"); !strings.Contains(s.Reason, "a request for a.zone.test from 127.0.0.0/24 woke it") {
		t.Errorf("why it is awake: %q", s.Reason)
	}

	w.phase("/shop/page", api.PhaseAsleep)
	w.admin.settled()
	if a := w.clients.do("http://other.test/", "Accept", "text/html"); a.status != http.StatusServiceUnavailable || a.header.Get("X-Relay-Error") != "asleep" && a.header.Get("X-Relay-Error") != "starting" {
		t.Errorf("a browser gets status %d, %s", a.status, a.header.Get("X-Relay-Error"))
	}
	w.clients.expect("http://other.test/", http.StatusOK, "/shop/other")
	w.envoy.nothingRejected()
}
