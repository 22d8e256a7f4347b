package e2e

import (
	"net/http"
	"testing"
)

// Clusters on demand: a cluster is loaded by the first request that needs it,
// and what was loaded stays current.
func TestClustersOnDemand(t *testing.T) {
	w := newWorld(t)
	w.relay.fleet.ClustersOnDemand = true
	w.certs.issue("a.test")
	w.marathon.deploy(app("/a", "a.test", 1), app("/idle", "idle.test", 1), app("/zone", "*.zone.test", 1))
	w.start()
	client := w.clients.client(false)
	for _, url := range []string{"http://a.test/", "https://a.test/", "http://x.zone.test/"} {
		if a, err := w.clients.get(client, url, ""); err != nil || a.status != http.StatusOK {
			t.Errorf("first request to %s: status %d, %v", url, a.status, err)
		}
	}
	clusters := func() int {
		w.admin.streams(1)
		return w.envoy.dynamic("dynamic_active_clusters") + w.envoy.dynamic("dynamic_warming_clusters")
	}
	if n := clusters(); n != 2 {
		t.Errorf("Envoy holds %d clusters, want the 2 that were used", n)
	}
	w.clients.echo("ws://idle.test/ws")
	if n := clusters(); n != 3 {
		t.Errorf("Envoy holds %d clusters, want 3", n)
	}

	// A loaded cluster follows its app like any other, without a failure.
	load := w.clients.load(200, ok, "http://a.test/")
	w.marathon.deploy(app("/a", "a.test", 3))
	w.clients.tasks("http://a.test/", 3, "")
	w.marathon.deploy(app("/a", "a.test", 1, "RELEASE", "2"))
	w.clients.tasks("http://a.test/", 1, w.marathon.Tasks("/a")[0].Version)
	w.clients.noFailure(load, 100)

	// Removed, then created again: the first removal leaves no trace.
	for range 2 {
		if err := w.marathon.DeleteApp("/a"); err != nil {
			t.Fatal(err)
		}
		w.clients.expect("http://a.test/", http.StatusNotFound, "")
		w.marathon.idle()
		w.marathon.deploy(app("/a", "a.test", 1))
		w.clients.expect("http://a.test/", http.StatusOK, "/a")
	}

	// Relay away: what was used goes on; what never was waits, then is refused.
	w.marathon.deploy(app("/late", "late.test", 1))
	w.admin.settled()
	w.relay.stop()
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	if a, err := w.clients.get(client, "http://late.test/", ""); err != nil || a.status != http.StatusServiceUnavailable {
		t.Errorf("never used, without Relay: status %d, %v; want 503", a.status, err)
	}
	w.relay.start()
	w.clients.expect("http://late.test/", http.StatusOK, "/late")
}
