package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// What fails in an app counts for its owner: answers of 5xx, and what Envoys answer as all of its tasks crash. An app
// that is scaled to 0 fails for nobody, and one without an owner has no series.
func TestFailuresCountForTheOwner(t *testing.T) {
	w := newWorld(t)
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	w.marathon.backend("/broken", "broken.test", broken, "RELAY_OWNER", "shop")
	w.marathon.deploy(
		app("/stopped", "stopped.test", 0, "RELAY_OWNER", "blog"),
		app("/well", "well.test", 1, "RELAY_OWNER", "a.b@example.com"), app("/nobodys", "nobodys.test", 1))
	w.marathon.SetCrashLoop("/crashing", 10*time.Millisecond)
	if err := w.marathon.Apply(app("/crashing", "crashing.test", 1, "RELAY_OWNER", "blog")); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.eventually("the app is known to crash", func() error {
		if a := w.clients.do("http://crashing.test/"); a.header.Get("X-Relay-Error") != "crashed" {
			return fmt.Errorf("%d %v", a.status, a.header)
		}
		return nil
	})
	// What comes before Envoy begins to count is lost.
	loads := w.relay.running.Loads()
	w.eventually("Envoy reports", func() error {
		for _, cluster := range []string{"/broken_0", "/well_0"} {
			if _, ok := loads.Cluster("external", cluster); !ok {
				return fmt.Errorf("not %s; reporters: %v", cluster, loads.Reporters())
			}
		}
		return nil
	})
	for range 3 {
		w.clients.expect("http://broken.test/", http.StatusInternalServerError, "")
		w.clients.expect("http://stopped.test/", http.StatusServiceUnavailable, "")
		w.clients.expect("http://well.test/", http.StatusOK, "/well")
		w.clients.expect("http://nobodys.test/", http.StatusOK, "/nobodys")
	}
	count := func(metric, app, owner string) float64 {
		value, ok := w.admin.metric(fmt.Sprintf(`relay_app_%s_total{app="%s",fleet="external",owner="%s"}`, metric, app, owner))
		if !ok {
			return -1
		}
		return value
	}
	w.eventually("all is counted", func() error {
		broken, well, crashed := count("requests", "/broken", "shop"), count("requests", "/well", "a.b@example.com"), count("crashed_requests", "/crashing", "blog")
		if broken < 3 || well < 3 || crashed < 1 {
			return fmt.Errorf("%v of the broken app, %v of the one that is well, %v of the one that crashes", broken, well, crashed)
		}
		return nil
	})
	for _, want := range []struct {
		metric, app, owner string
		value              float64
	}{
		{"requests", "/broken", "shop", 3}, {"request_errors", "/broken", "shop", 3}, {"crashed_requests", "/broken", "shop", 0},
		{"requests", "/well", "a.b@example.com", 3}, {"request_errors", "/well", "a.b@example.com", 0},
		{"request_errors", "/stopped", "blog", 0}, {"crashed_requests", "/stopped", "blog", 0}, {"requests", "/nobodys", "", -1},
	} {
		if got := count(want.metric, want.app, want.owner); got != want.value {
			t.Errorf("%s of %s: %v, want %v", want.metric, want.app, got, want.value)
		}
	}
}
