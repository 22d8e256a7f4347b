package vault

import (
	"net/http"
	"testing"
	"time"
)

// A certificate that waits for its time is served from then on, to the second,
// though Vault cannot be read any more.
func TestCertificateBeginsWhileVaultIsAway(t *testing.T) {
	inWorld(t, func(w *world) {
		w.vault.publish(w.T, "a.test", w.ca.TestIssue(w.T, []string{"a.test"}, options{NotAfter: time.Now().Add(24 * time.Hour)}))
	}, func(w *world) {
		old := w.sink.Last().Fingerprint("a.test")
		begins := time.Now().Add(10*poll + poll/2)
		renewed := w.ca.TestIssue(w.T, []string{"a.test"}, options{NotBefore: begins})
		w.vault.publish(w.T, "a.test", renewed)
		w.sleep(2 * poll)
		w.vault.mu.Lock()
		w.vault.intercept = func(rw http.ResponseWriter, _ *http.Request) bool {
			reply(rw, http.StatusServiceUnavailable, `{"errors":["Vault is sealed"]}`)
			return true
		}
		w.vault.mu.Unlock()
		w.sleep(time.Until(begins.Truncate(time.Second)) - time.Second)
		if got := w.sink.Last().Fingerprint("a.test"); got != old {
			w.Errorf("served is %.8s a second before the new one begins, want %.8s", got, old)
		}
		w.sleep(2 * time.Second)
		if got := w.sink.Last(); got.Fingerprint("a.test") != renewed.Fingerprint || len(got.Problems) != 0 {
			w.Errorf("served is %.8s, problems %v; want %.8s, which has begun", got.Fingerprint("a.test"), got.Problems, renewed.Fingerprint)
		}
		if status := w.source.Status(); status.LastError == "" {
			w.Error("Vault was read")
		}
		count := w.sink.Last().Count
		w.sleep(2 * poll)
		if got := w.sink.Last().Count; got != count {
			w.Errorf("the sink was told %d more times", got-count)
		}
	})
}
