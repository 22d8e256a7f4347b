package collator

import (
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
	"relay/xds"
)

func wantTouched(t *testing.T, r *recorder, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, r.Touched()); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
}

// newTest returns a Collator whose rounds the test runs itself.
func newTest(t testing.TB, cfg Config) (*Collator, *recorder) {
	t.Helper()
	r := newRecorder()
	if len(cfg.Fleets) == 0 {
		cfg.Fleets = []routing.Fleet{testFleet()}
	}
	publishers := make(map[string]Publisher)
	for _, f := range cfg.Fleets {
		publishers[f.Name] = newRecorder()
	}
	publishers[cfg.Fleets[0].Name] = r
	c, err := New(cfg, publishers, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	c.now = func() time.Time { return testTime }
	return c, r
}

func syncApps(c *Collator, apps ...*sources.App) {
	c.SyncApps(apps)
	c.round()
}

func updateApps(c *Collator, apps ...*sources.App) {
	c.UpdateApps(apps, nil)
	c.round()
}

func reasons(problems []problem.Problem) []string {
	var rs []string
	for _, p := range problems {
		rs = append(rs, string(p.Kind)+" "+p.App+" "+p.Subject+": "+p.Reason)
	}
	return rs
}

// wantSameAsFresh compares what was published step by step with what a new
// collator publishes for the same apps.
func wantSameAsFresh(t *testing.T, c *Collator, r *recorder, cfg Config) {
	t.Helper()
	wantSameInFleet(t, c, r, cfg, 0)
}

func wantSameInFleet(t *testing.T, c *Collator, r *recorder, cfg Config, fleet int) {
	t.Helper()
	fresh, _ := newTest(t, cfg)
	want := fresh.fleets[fleet].publisher.(*recorder)
	for source, read := range c.certificates {
		fresh.SyncCertificates(source, read.certificates, read.problems)
	}
	for source, read := range c.authorities.reads {
		fresh.SyncAuthorities(source, read.authorities, read.problems)
	}
	for source, read := range c.credentials.reads {
		fresh.SyncCredentials(source, read.all, read.problems)
	}
	syncApps(fresh, slices.Collect(maps.Values(c.read))...)
	versions := maps.Clone(r.Versions)
	for cluster := range c.fleets[fleet].refusing.left { // a fresh start does not know what was named before
		for _, key := range []xds.Key{{Type: xds.Cluster, Name: cluster}, {Type: xds.Endpoint, Name: cluster}} {
			if c.fleets[fleet].refuses(key) {
				delete(versions, key)
			}
		}
	}
	if diff := cmp.Diff(want.Versions, versions); diff != "" {
		t.Fatalf("published step by step differs from a fresh start (-fresh +steps):\n%s", diff)
	}
	// A fresh start tells at once of ports without tasks.
	now := c.now
	c.now = func() time.Time { return now().Add(emptyGrace) }
	c.tellEmpty()
	c.now = now
	if diff := cmp.Diff(reasons(fresh.Problems()), reasons(c.Problems())); diff != "" {
		t.Fatalf("problems differ from a fresh start (-fresh +steps):\n%s", diff)
	}
}

// message is what a fleet makes of its state, for Envoys that can load certificates on
// demand, if the fleet has them do so.
func message(f *fleetState, key xds.Key) (proto.Message, error) {
	if key != httpsKey {
		return f.build(key)
	}
	chains, passed := f.httpsParts()
	if f.CertificatesOnDemand {
		return envoy.HTTPSListenerOnDemand(&f.Fleet, chains, passed)
	}
	return envoy.HTTPSListener(&f.Fleet, chains, passed)
}
