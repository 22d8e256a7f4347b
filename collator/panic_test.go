package collator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"relay/collator/routing"
	"relay/internal/panics"
	"relay/sources"
	"relay/xds"
)

// fuse panics at one of the calls to come.
type fuse struct{ left int }

func (f *fuse) burn() {
	if f.left--; f.left == 0 {
		panic("fuse")
	}
}

// fragile is a Publisher that panics before or after it has taken a change in.
type fragile struct {
	*recorder
	before, after fuse
}

func (f *fragile) Apply(c xds.Change) uint64 {
	f.before.burn()
	revision := f.recorder.Apply(c)
	f.after.burn()
	return revision
}

// fragileLog panics when it is written to.
type fragileLog struct {
	slog.Handler
	fuse *fuse
}

func (l fragileLog) Enabled(context.Context, slog.Level) bool { return true }

func (l fragileLog) Handle(context.Context, slog.Record) error { l.fuse.burn(); return nil }

// broken is a Collator in which a fuse can be lit wherever it calls out, in each
// step of a round.
type broken struct {
	*Collator
	publishers []*fragile
	log, clock fuse
}

func newBroken(t *testing.T, cfg Config) *broken {
	t.Helper()
	b := &broken{}
	publishers := make(map[string]Publisher)
	for _, f := range cfg.Fleets {
		p := &fragile{recorder: newRecorder()}
		b.publishers = append(b.publishers, p)
		publishers[f.Name] = p
	}
	logger := slog.New(fragileLog{slog.DiscardHandler, &b.log})
	var err error
	if b.Collator, err = New(cfg, publishers, logger, prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	b.now = func() time.Time { b.clock.burn(); return testTime }
	return b
}

// light has something panic soon, and says what.
func (b *broken) light(r random) string {
	fuses := map[string]*fuse{"log": &b.log, "clock": &b.clock}
	for i, p := range b.publishers {
		fuses[fmt.Sprint("before publishing ", i)], fuses[fmt.Sprint("after publishing ", i)] = &p.before, &p.after
	}
	names := []string{"log", "clock",
		"before publishing 0", "after publishing 0", "before publishing 1", "after publishing 1", "a scope is marked"}
	name := names[r.IntN(len(names))]
	f := fuses[name]
	if f == nil {
		f = new(fuse)
		for _, state := range b.fleets {
			touch := state.domains.touch
			state.domains.touch = func(scope string) { f.burn(); touch(scope) }
		}
	}
	f.left = 1 + r.IntN(4)
	return name
}

// serve runs one round as Serve does, and reports whether it ended.
func (b *broken) serve() bool {
	_, err := catchPanic(func() (bool, error) {
		if b.unfinished {
			b.reindex()
		}
		b.round()
		return true, nil
	})
	return err == nil
}

// TestPanicsLoseNothing lets rounds panic in the middle, more changes come, and
// compares what is published in the end with that of a Collator that never did.
func TestPanicsLoseNothing(t *testing.T) {
	t.Parallel()
	onDemand, internal := testFleet(), testFleet()
	onDemand.CertificatesOnDemand = true
	internal.Name = "internal"
	cfg := Config{Fleets: []routing.Fleet{onDemand, internal}, CertificateSources: []string{"vault"}}
	met := make(map[string]int)
	for seed := range uint64(150) {
		random := newRandom(seed, 3)
		b := newBroken(t, cfg)
		b.SyncApps(nil)
		b.SyncCertificates("vault", nil, nil)
		for range 8 {
			lit := b.light(random)
			for random.Say(b.Collator); !b.serve(); random.Say(b.Collator) {
				met[lit]++
			}
		}
		for !b.serve() {
		}
		for i := range b.publishers {
			wantSameInFleet(t, b.Collator, b.publishers[i].recorder, cfg, i)
		}
		wantSameResolver(t, b)
		checkCoverage(t, b.Collator)
		if !isClosed(b.AppsPublished()) || !isClosed(b.CertificatesPublished()) {
			t.Fatalf("seed %d: nobody was told of what is published", seed)
		}
	}
	for _, where := range []string{"log", "clock", "before publishing 0",
		"after publishing 0", "before publishing 1", "after publishing 1", "a scope is marked"} {
		if met[where] == 0 {
			t.Errorf("no round panicked at: %s (%v)", where, met)
		}
	}
}

// wantSameResolver compares the Resolver that was published last with the
// certificates.
func wantSameResolver(t *testing.T, b *broken) {
	t.Helper()
	resolve, want := b.publishers[0].Resolve, routing.NewResolver(b.fleets[0].chains)
	for _, name := range append(someDomains, "q.test") {
		secret, _, _ := want.Resolve(name)
		if got, _, _ := resolve(name); got != secret {
			t.Fatalf("%s is resolved to %q, want %q", name, got, secret)
		}
	}
}

// TestServeGoesOnAfterAPanic is about Serve itself.
func TestServeGoesOnAfterAPanic(t *testing.T) {
	t.Parallel()
	cfg := Config{Fleets: []routing.Fleet{testFleet()}}
	b := newBroken(t, cfg)
	syncApps(b.Collator, webApp("/a", "a.test"), webApp("/b", "a.test"))
	b.publishers[0].before.left = 1
	b.UpdateApps([]*sources.App{webApp("/c", "*.test")}, []string{"/a"})
	err := panics.Catch(func() error { return b.Serve(t.Context()) })
	if !panics.Is(err) {
		t.Fatalf("Serve returned %v, want a panic", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.Serve(ctx) }()
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve returned %v", err)
	}
	wantSameAsFresh(t, b.Collator, b.publishers[0].recorder, cfg)
	if diff := cmp.Diff([]string{"*.*", "*.test", "a.test"}, b.publishers[0].Names(xds.Scope)); diff != "" {
		t.Errorf("scopes (-want +got):\n%s", diff)
	}
}
