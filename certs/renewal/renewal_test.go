package renewal_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"relay/certs"
	"relay/certs/renewal"
	"relay/internal/panics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const day = 24 * time.Hour

// world is Reminders in a synctest bubble, of what a collator selects.
type world struct {
	*testing.T
	*collator
	began    time.Time
	registry *prometheus.Registry

	mu    sync.Mutex
	lines []string
}

// collator stands in for that of Relay.
type collator struct {
	mu      sync.Mutex
	reads   map[string][]*certs.Certificate
	changed chan struct{}
	// unused and unknown are names of certificates; all others are in use.
	unused, unknown map[string]bool
}

func newCollator() *collator {
	return &collator{
		reads: make(map[string][]*certs.Certificate), changed: make(chan struct{}),
		unused: make(map[string]bool), unknown: make(map[string]bool),
	}
}

func (c *collator) SelectedCertificates() (selected []certs.Selected, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, certificate := range c.selection().Certificates() {
		use := certs.InUse
		switch {
		case c.unknown[certificate.Name]:
			use = certs.UseUnknown
		case c.unused[certificate.Name]:
			use = certs.Unused
		}
		selected = append(selected, certs.Selected{Certificate: certificate, Use: use})
	}
	return selected, c.changed
}

func (c *collator) selection() certs.Selection {
	return certs.Select(slices.Concat(slices.Collect(maps.Values(c.reads))...), time.Now())
}

// read has a store read.
func (c *collator) read(source string, all ...*certs.Certificate) {
	c.change(func() { c.reads[source] = all })
}

// set makes a name unused or unknown, or not.
func (c *collator) set(names map[string]bool, name string, is bool) {
	c.change(func() { names[name] = is })
}

// change tells of a change, and of the next one that time alone makes.
func (c *collator) change(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
	if next := c.selection().Next; !next.IsZero() {
		time.AfterFunc(time.Until(next), func() { c.change(func() {}) })
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

func inWorld(t *testing.T, test func(*world)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, collator: newCollator(), began: time.Now(), registry: prometheus.NewPedanticRegistry()}
		reminders := renewal.New(w.collator, slog.New(w), w.registry)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); _ = reminders.Serve(ctx) }()
		defer func() { cancel(); <-done }()
		test(w)
	})
}

// The world is the handler of its log: each line is the day, the level, the
// certificate and the reminder.
func (w *world) Enabled(context.Context, slog.Level) bool { return true }
func (w *world) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w *world) WithGroup(string) slog.Handler            { return w }
func (w *world) Handle(_ context.Context, r slog.Record) error {
	fields := make(map[string]string)
	r.Attrs(func(a slog.Attr) bool { fields[a.Key] = a.Value.String(); return true })
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, fmt.Sprintf("%g %s %s/%s %s", time.Since(w.began).Hours()/24, r.Level, fields["source"], fields["name"], fields["reminder_days"]))
	return nil
}

// said returns the lines since the last call.
func (w *world) said() []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.lines = nil }()
	slices.Sort(w.lines)
	return w.lines
}

func (w *world) wantSaid(want ...string) {
	w.Helper()
	if diff := cmp.Diff(want, w.said()); diff != "" {
		w.Error(diff)
	}
}

func (w *world) sleepUntil(d int) {
	time.Sleep(time.Until(w.began.Add(time.Duration(d)*day + time.Minute)))
}

// issue makes a certificate that is valid from now on.
func issue(source, name string, life time.Duration, names ...string) *certs.Certificate {
	return &certs.Certificate{
		Source: source, Name: name, ServerNames: names, NotBefore: time.Now(), NotAfter: time.Now().Add(life),
		Fingerprint: fmt.Sprint(name, time.Now().UnixNano()),
	}
}

// series are the days to expiry by the metric, by source and name.
func (w *world) series() map[string]float64 {
	w.Helper()
	synctest.Wait()
	families, err := w.registry.Gather()
	if err != nil {
		w.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := make(map[string]string)
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			got[labels["source"]+"/"+labels["name"]] = (m.GetGauge().GetValue() - float64(time.Now().Unix())) / 86400
		}
	}
	return got
}

func TestReminders(t *testing.T) {
	inWorld(t, func(w *world) {
		a := issue("vault", "a.test", 90*day, "a.test")
		unused := issue("dir", "old.pem", 60*day, "a.test")
		w.read("vault", a)
		w.read("dir", unused)
		for range 85 {
			time.Sleep(day)
			w.read("vault", a) // polls
		}
		w.wantSaid("60 INFO vault/a.test 30", "75 WARN vault/a.test 15", "83 WARN vault/a.test 7")
		w.sleepUntil(200) // the store is silent: the last day is told all the same
		w.wantSaid("89 ERROR vault/a.test 1")
	})
}

func TestRenewalBeginsAnew(t *testing.T) {
	inWorld(t, func(w *world) {
		w.read("dir", issue("dir", "a.pem", 90*day, "a.test"))
		w.sleepUntil(61)
		w.wantSaid("60 INFO dir/a.pem 30")
		w.read("dir", issue("dir", "a.pem", 90*day, "a.test"))
		w.sleepUntil(120)
		w.wantSaid()
		w.sleepUntil(122)
		if got := w.said(); len(got) != 1 || !strings.HasSuffix(got[0], "INFO dir/a.pem 30") {
			t.Errorf("got %q", got)
		}
	})
}

// A Relay that starts late says where things stand, not how they came there.
func TestFirstLook(t *testing.T) {
	inWorld(t, func(w *world) {
		near, dead, weekly := issue("dir", "near", 90*day, "a.test"), issue("dir", "dead", 89*day, "b.test"), issue("dir", "weekly", 6*day, "c.test")
		time.Sleep(89*day + 12*time.Hour)
		weekly.NotBefore, weekly.NotAfter = time.Now(), time.Now().Add(6*day)
		w.read("dir", near, dead, weekly)
		w.wantSaid("89.5 ERROR dir/dead 1", "89.5 ERROR dir/near 1")
	})
}

// What stood back takes over when the other one expires, and is told of then.
func TestSuccessorIsWatched(t *testing.T) {
	inWorld(t, func(w *world) {
		long := issue("dir", "long", 50*day, "a.test")
		future := issue("dir", "future", 60*day, "a.test")
		future.NotBefore = w.began.Add(20 * day)
		w.read("dir", long, future)
		w.sleepUntil(19)
		if _, ok := w.series()["dir/long"]; !ok {
			t.Error("the valid certificate is not in use")
		}
		w.sleepUntil(21)
		if _, ok := w.series()["dir/future"]; !ok {
			t.Error("the successor is not in use")
		}
		w.sleepUntil(46)
		w.wantSaid("45 WARN dir/future 15")
	})
}

func TestMetric(t *testing.T) {
	inWorld(t, func(w *world) {
		vault := []*certs.Certificate{issue("vault", "a.test", 10*day, "a.test"), issue("vault", "b.test", 90*day, "b.test")}
		files := []*certs.Certificate{issue("dir", "/c/\xff.pem", 2*day, "c.test"), issue("dir", "/c/\xfe.pem", 2*day, "d.test"), issue("dir", "/c/old.pem", day, "a.test")}
		w.read("vault", vault...)
		w.read("dir", files...)
		want := map[string]float64{"vault/a.test": 10, "vault/b.test": 90, "dir/\u002fc/\uFFFD.pem": 2}
		if diff := cmp.Diff(want, w.series()); diff != "" {
			t.Error(diff)
		}
		time.Sleep(11 * day)
		w.read("vault", vault[:1]...)
		w.read("dir")
		if diff := cmp.Diff(map[string]float64{"vault/a.test": -1}, w.series()); diff != "" {
			t.Error(diff)
		}
	})
}

// Nobody is told of a certificate that nobody uses, until somebody does.
func TestUnusedCertificates(t *testing.T) {
	inWorld(t, func(w *world) {
		w.unused["old"] = true
		old, web := issue("vault", "old", 90*day, "old.test"), issue("vault", "web", 90*day, "web.test")
		w.read("vault", old, web)
		if diff := cmp.Diff(map[string]float64{"vault/web": 90}, w.series()); diff != "" {
			t.Error(diff)
		}
		w.sleepUntil(80)
		w.wantSaid("60 INFO vault/web 30", "75 WARN vault/web 15")
		w.set(w.unused, "old", false)
		if n := len(w.series()); n != 2 {
			t.Errorf("%d series of two certificates in use", n)
		}
		w.sleepUntil(81)
		if got := w.said(); len(got) != 1 || !strings.HasSuffix(got[0], "WARN vault/old 15") {
			t.Errorf("of one that came into use: %q", got)
		}
		// It goes and comes again: what was said is not said again.
		w.set(w.unused, "old", true)
		w.sleepUntil(82)
		w.set(w.unused, "old", false)
		w.sleepUntil(83)
		w.wantSaid("83 WARN vault/old 7", "83 WARN vault/web 7")
		w.set(w.unused, "old", true)
		w.sleepUntil(95)
		w.wantSaid("89 ERROR vault/web 1")
	})
}

// At the start apps are read after certificates: old ones are no errors until
// then. Where apps are never read, reminders come all the same.
func TestUseIsNotKnownYet(t *testing.T) {
	inWorld(t, func(w *world) {
		w.unknown["old"], w.unknown["web"] = true, true
		old, web := issue("vault", "old", 90*day, "old.test"), issue("vault", "web", 90*day, "web.test")
		w.sleepUntil(100)
		w.read("vault", old, web)
		time.Sleep(5 * time.Minute)
		w.wantSaid()
		if n := len(w.series()); n != 2 {
			t.Errorf("%d series of two certificates that may be in use", n)
		}
		w.set(w.unused, "old", true)
		w.set(w.unknown, "old", false)
		time.Sleep(4 * time.Minute)
		w.wantSaid()
		time.Sleep(2 * time.Minute)
		if got := w.said(); len(got) != 1 || !strings.HasSuffix(got[0], "ERROR vault/web 1") {
			t.Errorf("without apps: %q", got)
		}
		// Known within seconds, as at any usual start.
		w.set(w.unknown, "new", true)
		next := issue("vault", "new", 90*day, "new.test")
		next.NotBefore, next.NotAfter = old.NotBefore, old.NotAfter
		w.read("vault", old, web, next)
		time.Sleep(time.Second)
		w.set(w.unknown, "new", false)
		time.Sleep(20 * time.Second)
		if got := w.said(); len(got) != 1 || !strings.HasSuffix(got[0], "ERROR vault/new 1") {
			t.Errorf("known at last: %q", got)
		}
	})
}

func TestRegisteredOnce(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	for i, fails := range []bool{false, true} {
		err := panics.Catch(func() error { renewal.New(newCollator(), slog.New(slog.DiscardHandler), registry); return nil })
		if (err != nil) != fails {
			t.Errorf("reminders %d: %v", i, err)
		}
	}
}

// BenchmarkScrape is what every scrape of 5000 certificates costs.
func BenchmarkScrape(b *testing.B) {
	registry := prometheus.NewRegistry()
	c := newCollator()
	c.read("vault", fiveThousand()...)
	renewal.New(c, slog.New(slog.DiscardHandler), registry)
	if families, err := registry.Gather(); err != nil || len(families) != 1 || len(families[0].GetMetric()) != 5000 {
		b.Fatalf("gathered %d families, %v", len(families), err)
	}
	for b.Loop() {
		if _, err := registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}

func fiveThousand() []*certs.Certificate {
	all := make([]*certs.Certificate, 5000)
	for i := range all {
		name := fmt.Sprintf("n%d.test", i)
		all[i] = issue("vault", name, 90*day, name)
	}
	return all
}
