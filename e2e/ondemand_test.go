package e2e

import (
	"net/http"
	"testing"
)

// Clusters on demand: a cluster is loaded by the first request that needs it,
// and what was loaded stays current.
func TestClustersOnDemand(t *testing.T) {
	w := newWorld(t)
	w.fleet.ClustersOnDemand = true
	w.issue("a.test")
	w.deploy(app("/a", "a.test", 1), app("/idle", "idle.test", 1), app("/zone", "*.zone.test", 1))
	w.start()
	client := w.client(false)
	for _, url := range []string{"http://a.test/", "https://a.test/", "http://x.zone.test/"} {
		if a, err := w.get(client, url, ""); err != nil || a.status != http.StatusOK {
			t.Errorf("first request to %s: status %d, %v", url, a.status, err)
		}
	}
	clusters := func() int { return w.dynamic("dynamic_active_clusters") }
	if n := clusters(); n != 2 {
		t.Errorf("Envoy holds %d clusters, want the 2 that were used", n)
	}
	w.echo("ws://idle.test/ws")
	if n := clusters(); n != 3 {
		t.Errorf("Envoy holds %d clusters, want 3", n)
	}

	// A loaded cluster follows its app like any other, without a failure.
	load := w.load(200, ok, "http://a.test/")
	w.deploy(app("/a", "a.test", 3))
	w.tasks("http://a.test/", 3, "")
	w.deploy(app("/a", "a.test", 1, "RELEASE", "2"))
	w.tasks("http://a.test/", 1, w.marathon.Tasks("/a")[0].Version)
	w.noFailure(load, 100)

	// Removed, then created again: the first removal leaves no trace.
	for range 2 {
		if err := w.marathon.DeleteApp("/a"); err != nil {
			t.Fatal(err)
		}
		w.expect("http://a.test/", http.StatusNotFound, "")
		w.idle()
		w.deploy(app("/a", "a.test", 1))
		w.expect("http://a.test/", http.StatusOK, "/a")
	}

	// Relay away: what was used goes on; what never was waits, then is refused.
	w.deploy(app("/late", "late.test", 1))
	w.settled()
	w.stop()
	w.expect("http://a.test/", http.StatusOK, "/a")
	if a, err := w.get(client, "http://late.test/", ""); err != nil || a.status != http.StatusServiceUnavailable {
		t.Errorf("never used, without Relay: status %d, %v; want 503", a.status, err)
	}
	w.startRelay()
	w.expect("http://late.test/", http.StatusOK, "/late")
}
