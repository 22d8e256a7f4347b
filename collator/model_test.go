package collator

import (
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
	"relay/internal/secret"
	"relay/sources"
	"relay/xds"
)

// recorder is a Publisher that keeps what it is given, as a store would.
type recorder struct {
	mu       sync.Mutex
	changes  []xds.Change
	versions map[xds.Key]string
	withheld map[xds.Key]bool
	resolve  xds.Resolver // the last one, until it is taken
}

func newRecorder() *recorder {
	return &recorder{versions: make(map[xds.Key]string), withheld: make(map[xds.Key]bool)}
}

func (r *recorder) Apply(c xds.Change) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range c.Set {
		r.versions[resource.Key] = resource.Version
		delete(r.withheld, resource.Key)
	}
	for _, key := range c.Remove {
		delete(r.versions, key)
		delete(r.withheld, key)
	}
	for _, key := range c.Withhold {
		r.withheld[key] = true
	}
	if c.Resolve != nil {
		r.resolve = c.Resolve
	}
	r.changes = append(r.changes, c)
	return uint64(len(r.changes))
}

// touched returns the keys of the changes since the last call, as text.
func (r *recorder) touched() []string {
	var keys []string
	for _, change := range r.changes {
		for _, resource := range change.Set {
			keys = append(keys, "set "+quoted(resource.Key))
		}
		for _, key := range change.Remove {
			keys = append(keys, "remove "+quoted(key))
		}
		for _, key := range change.Withhold {
			keys = append(keys, "withhold "+quoted(key))
		}
	}
	r.changes = nil
	return keys
}

func wantTouched(t *testing.T, r *recorder, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, r.touched()); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
}

// names returns the resources of a type that the recorder holds.
func (r *recorder) names(t xds.Type) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for key := range r.versions {
		if key.Type == t {
			names = append(names, key.Name)
		}
	}
	slices.Sort(names)
	return names
}

func testFleet() Fleet {
	return Fleet{
		Name:    "external",
		HTTP:    netip.MustParseAddrPort("0.0.0.0:80"),
		HTTPS:   netip.MustParseAddrPort("[::]:443"),
		Options: DefaultOptions(),
	}
}

// newTest returns a Collator whose rounds the test runs itself.
func newTest(t testing.TB, cfg Config) (*Collator, *recorder) {
	t.Helper()
	r := newRecorder()
	if len(cfg.Fleets) == 0 {
		cfg.Fleets = []Fleet{testFleet()}
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

var testTime = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// webApp is an app with one port in the fleet, one endpoint and the domains given.
func webApp(id string, domains ...string) *sources.App {
	return &sources.App{ID: id, Version: "1", Ports: []sources.Port{{
		Groups: []string{"external"}, Domains: domains, Endpoints: endpoints("10.0.0.1:31000"),
	}}}
}

func endpoints(addresses ...string) []sources.Endpoint {
	var es []sources.Endpoint
	for _, a := range addresses {
		es = append(es, sources.Endpoint{Address: netip.MustParseAddrPort(a), Task: "task-" + a})
	}
	return es
}

// changed returns a copy of the app after f; apps are never modified.
func changed(app *sources.App, f func(*sources.Port)) *sources.App {
	c := *app
	c.Ports = slices.Clone(app.Ports)
	f(&c.Ports[0])
	return &c
}

func certificate(name, content string, serverNames ...string) *certs.Certificate {
	return &certs.Certificate{
		Source: "vault", Name: name, ServerNames: serverNames,
		NotBefore: testTime.Add(-time.Hour), NotAfter: testTime.Add(90 * 24 * time.Hour),
		Fingerprint: content, Chain: []byte("chain " + content), Key: secret.Bytes("key " + content),
	}
}

func syncApps(c *Collator, apps ...*sources.App) {
	c.SyncApps(apps)
	c.round()
}

func updateApps(c *Collator, apps ...*sources.App) {
	c.UpdateApps(apps, nil)
	c.round()
}

func reasons(problems []Problem) []string {
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
	syncApps(fresh, slices.Collect(maps.Values(c.read))...)
	if diff := cmp.Diff(want.versions, r.versions); diff != "" {
		t.Fatalf("published step by step differs from a fresh start (-fresh +steps):\n%s", diff)
	}
	if diff := cmp.Diff(reasons(fresh.Problems()), reasons(c.Problems())); diff != "" {
		t.Fatalf("problems differ from a fresh start (-fresh +steps):\n%s", diff)
	}
}
