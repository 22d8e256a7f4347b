package dir

import (
	"log/slog"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/certs/certstest"
)

// A certificate that waits for its time is served from then on, to the second,
// be the directory polled much later, or lost.
func TestCertificateBeginsByItself(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f, ca, sink := newFixture(t), certstest.TestCA(t), certstest.NewSink()
			old := ca.TestIssue(t, []string{"a.test"}, options{NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)})
			begins := time.Now().Add(10 * time.Minute)
			renewed := ca.TestIssue(t, []string{"a.test"}, options{NotBefore: begins, NotAfter: time.Now().Add(48 * time.Hour)})
			source, err := New(Config{Paths: []string{f.path("d")}, PollInterval: time.Hour}, sink, slog.New(slog.DiscardHandler), prometheus.NewPedanticRegistry())
			if err != nil {
				t.Fatal(err)
			}
			f.write("d/a.pem", old.Bundle())
			source.scan(t.Context())
			f.write("d/a.pem", renewed.Bundle())
			if wait := source.scan(t.Context()); wait != time.Until(begins) {
				t.Errorf("scanned again after %s, want %s", wait, time.Until(begins))
			}
			if lost {
				if err := os.RemoveAll(f.path("d")); err != nil {
					t.Fatal(err)
				}
				if wait := source.scan(t.Context()); wait != failureDelay {
					t.Errorf("scanned again after %s, want %s", wait, failureDelay)
				}
			}
			if got := sink.Last().Fingerprint("a.test"); got != old.Fingerprint {
				t.Errorf("lost %v: served is %.8s before the new one begins, want %.8s", lost, got, old.Fingerprint)
			}
			time.Sleep(time.Until(begins))
			source.scan(t.Context())
			if got := sink.Last().Fingerprint("a.test"); got != renewed.Fingerprint || source.Status().LastError == "" == lost {
				t.Errorf("lost %v: served is %.8s, want %.8s; last error %q", lost, got, renewed.Fingerprint, source.Status().LastError)
			}
		})
	}
}
