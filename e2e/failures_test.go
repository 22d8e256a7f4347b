package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A running Relay counts each failure that its Envoys report, once.
func TestFailuresAreCounted(t *testing.T) {
	w := newWorld(t)
	w.start()
	dead := freeAddress(t)
	w.marathon.service("/dead", []string{dead}, "HAPROXY_0_VHOST", "dead.test", "HAPROXY_0_PATH", "/a")
	w.clients.expect("http://dead.test/a?token=s3cr3t", http.StatusBadGateway, "")
	ask := func(url string, status int) {
		t.Helper()
		a := w.clients.do(url)
		if a.status != status {
			t.Errorf("%s: status %d, want %d", url, a.status, status)
		}
	}
	// None of these was asked before, and no app is in the way of the first.
	for range 30 {
		ask("http://dead.test/b?token=s3cr3t", http.StatusNotFound)
	}
	for range 20 {
		ask("http://dead.test/a/%2e%2e/b?token=s3cr3t", http.StatusBadRequest)
	}
	want := map[string]float64{"no-such-path": 30, "bad-request": 20, "busy": 0}
	w.eventually("all is counted", func() error {
		for code, n := range want {
			if got, ok := w.admin.metric(fmt.Sprintf(`relay_failures_total{code=%q,fleet="external"}`, code)); !ok || got != n {
				return fmt.Errorf("%s: %v, want %v", code, got, n)
			}
		}
		if n, _ := w.admin.metric(`relay_failures_total{code="unreachable",fleet="external"}`); n == 0 {
			return fmt.Errorf("nothing is unreachable")
		}
		return nil
	})
	if all := strings.Join(w.admin.metrics(), "\n"); strings.Contains(all, "s3cr3t") || strings.Contains(all, "dead.test") {
		t.Error("what clients sent is in the metrics")
	}
	w.envoy.nothingRejected()
}
