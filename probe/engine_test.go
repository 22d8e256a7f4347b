package probe_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/failure"
	"relay/probe"
)

// fake is a prober that says when it was asked for what.
type fake struct {
	mu     sync.Mutex
	asked  map[string][]time.Time
	answer func(ctx context.Context, t probe.Target) probe.Result
	now    int
	most   int
}

func (f *fake) Probe(ctx context.Context, t probe.Target) probe.Result {
	f.mu.Lock()
	f.asked[t.ID] = append(f.asked[t.ID], time.Now())
	f.now++
	f.most = max(f.most, f.now)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.now--
		f.mu.Unlock()
	}()
	if f.answer == nil {
		return probe.Result{OK: true}
	}
	return f.answer(ctx, t)
}

func (f *fake) times(id string) []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked[id])
}

// run runs an engine for a while in the time of a bubble.
func run(t *testing.T, s probe.Settings, f *fake, test func(*probe.Engine, *prometheus.Registry)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f.asked = make(map[string][]time.Time)
		registry := prometheus.NewRegistry()
		e := probe.New(probe.Options{Settings: s, Probers: map[probe.Kind]probe.Prober{probe.HTTP: f, probe.TCP: f}, Registerer: registry})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.Serve(ctx) }()
		test(e, registry)
		cancel()
		if err := <-done; err != context.Canceled {
			t.Errorf("it ended with %v", err)
		}
	})
}

func targetsOf(n int, sampled bool) (all []probe.Target) {
	for i := range n {
		id := fmt.Sprintf("f/e%d/%d.test", i%3, i)
		if sampled {
			id += "?"
		}
		all = append(all, probe.Target{ID: id, Name: fmt.Sprint(i), Kind: probe.HTTP, Fleet: "f", Envoy: fmt.Sprint("e", i%3), Domain: fmt.Sprint(i, ".test"), Sampled: sampled})
	}
	return all
}

// Each target is asked once in an interval, at its own place in it, and no moment has many.
func TestSpread(t *testing.T) {
	t.Parallel()
	s, f := probe.DefaultSettings(), &fake{}
	run(t, s, f, func(e *probe.Engine, _ *prometheus.Registry) {
		begin := time.Now()
		e.SetTargets(targetsOf(300, false))
		time.Sleep(10*time.Minute + time.Second)
		perSecond := make(map[int]int)
		for _, target := range targetsOf(300, false) {
			times := f.times(target.ID)
			if len(times) < 20 || len(times) > 22 {
				t.Fatalf("%s was asked %d times in 10 minutes, want one in %v", target.ID, len(times), s.Interval)
			}
			if first := times[0].Sub(begin); first > 20*time.Second {
				t.Errorf("%s was asked first after %v", target.ID, first)
			}
			for i, at := range times[2:] {
				if gap := at.Sub(times[i+1]); gap < s.Interval-5*time.Second || gap > s.Interval+5*time.Second {
					t.Errorf("%s was asked again after %v", target.ID, gap)
				}
				perSecond[int(at.Sub(begin).Seconds())]++
			}
		}
		for second, n := range perSecond {
			if n > 30 {
				t.Errorf("%d were asked in second %d, want about 10", n, second)
			}
		}
	})
}

// The rate is kept: those that were chosen by chance are asked less often, and all are asked.
func TestRate(t *testing.T) {
	t.Parallel()
	s, f := probe.DefaultSettings(), &fake{}
	s.Rate = 600
	run(t, s, f, func(e *probe.Engine, registry *prometheus.Registry) {
		chosen, sampled := targetsOf(150, false), targetsOf(9000, true)
		begin := time.Now()
		e.SetTargets(slices.Concat(sampled, chosen))
		time.Sleep(35 * time.Minute)
		total := 0
		for _, target := range slices.Concat(chosen, sampled) {
			times := f.times(target.ID)
			total += len(times)
			if len(times) == 0 || !target.Sampled && len(times) < 68 {
				t.Fatalf("%s was asked %d times in 35 minutes", target.ID, len(times))
			}
			if !target.Sampled && times[0].Sub(begin) > 16*time.Second {
				t.Errorf("%s was asked first after %v, behind those that were chosen by chance", target.ID, times[0].Sub(begin))
			}
		}
		if total > 35*600+50 || total < 35*600*9/10 {
			t.Errorf("%d probes in 35 minutes, want %d", total, 35*600)
		}
		if got := metric(t, registry, "relay_probe_interval_seconds", "chosen=sample"); got < 1700 || got > 1900 {
			t.Errorf("the interval of the sample is %v", got)
		}
	})
}

// No more run at once than there may, and a target is not asked while it is asked.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	s := probe.DefaultSettings()
	s.Concurrency, s.Rate = 5, 60_000
	f := &fake{answer: func(ctx context.Context, _ probe.Target) probe.Result {
		<-ctx.Done()
		return probe.Result{Reason: "late"}
	}}
	run(t, s, f, func(e *probe.Engine, _ *prometheus.Registry) {
		e.SetTargets(targetsOf(100, false))
		time.Sleep(10 * time.Minute)
		f.mu.Lock()
		most := f.most
		f.mu.Unlock()
		if most != 5 {
			t.Errorf("%d ran at once, want 5", most)
		}
		if n := len(e.Results()); n != 100 {
			t.Errorf("there are %d results", n)
		}
	})
}

// A probe that hangs costs its place and is counted; the others go on.
func TestHang(t *testing.T) {
	t.Parallel()
	s := probe.DefaultSettings()
	var free chan struct{} // of the bubble
	f := &fake{answer: func(_ context.Context, target probe.Target) probe.Result {
		if target.Name == "0" {
			<-free
		}
		if target.Name == "1" {
			panic("no such index")
		}
		return probe.Result{OK: true}
	}}
	s.Concurrency = 3
	run(t, s, f, func(e *probe.Engine, registry *prometheus.Registry) {
		free = make(chan struct{})
		e.SetTargets(targetsOf(20, false))
		time.Sleep(5 * time.Minute)
		states := e.Results()
		for _, state := range states {
			want := map[string]string{"0": "the probe did not end in its time", "1": "a bug in Relay was hit (no such index): please report it with the log"}[state.Target.Name]
			if state.OK != (want == "") || state.Reason != want {
				t.Errorf("%s: got %+v", state.Target.ID, state)
			}
			if n := len(f.times(state.Target.ID)); state.Target.Name == "0" && n != 1 || state.Target.Name != "0" && n < 9 {
				t.Errorf("%s was asked %d times", state.Target.ID, n)
			}
		}
		if metric(t, registry, "relay_probe_hung_total") != 1 || metric(t, registry, "relay_probe_hanging") != 1 {
			t.Error("it was not counted")
		}
		close(free)
		time.Sleep(time.Minute)
		if metric(t, registry, "relay_probe_hanging") != 0 || len(f.times("f/e0/0.test")) < 2 {
			t.Error("it did not go on when the probe ended")
		}
	})
}

// Targets that stay keep their results and their place; those that go are forgotten.
func TestTargetsChange(t *testing.T) {
	t.Parallel()
	f := &fake{}
	run(t, probe.DefaultSettings(), f, func(e *probe.Engine, registry *prometheus.Registry) {
		all := targetsOf(30, false)
		e.SetTargets(all)
		time.Sleep(2 * time.Minute)
		before := len(f.times(all[0].ID))
		for range 10 { // as the targets are read anew
			e.SetTargets(all[:10])
			time.Sleep(time.Second)
		}
		if n := len(f.times(all[0].ID)); n > before+1 {
			t.Errorf("it was asked %d times more in 10 seconds", n-before)
		}
		gone := len(f.times(all[29].ID))
		states := e.Results()
		if len(states) != 10 || !states[0].Asked {
			t.Errorf("there are %d, the first is %+v", len(states), states[0])
		}
		moved := slices.Clone(all[:10])
		moved[0].Address, moved[0].Sampled = "127.0.0.2:80", true
		e.SetTargets(append(moved, moved[0]))
		time.Sleep(20 * time.Minute)
		if got := e.Results()[0]; got.Target.Address != "127.0.0.2:80" || !got.Target.Sampled {
			t.Errorf("got %+v", got.Target)
		}
		if len(f.times(all[29].ID)) != gone {
			t.Error("a target that is gone is asked")
		}
		e.SetTargets(nil)
		if n := len(e.Results()); n != 0 || metric(t, registry, "relay_probe_envoy_up", "envoy=e0") != missing {
			t.Errorf("%d are left", n)
		}
	})
}

// What is not to be asked any more is skipped at once, whenever it was asked last, and while it is asked.
func TestSkippedAtOnce(t *testing.T) {
	t.Parallel()
	const slow = "f/e1/1.test"
	f := &fake{answer: func(_ context.Context, t probe.Target) probe.Result {
		if t.ID == slow {
			time.Sleep(time.Second)
		}
		return probe.Result{Answered: true, Code: failure.Offline, Status: 503, Reason: "offline"}
	}}
	run(t, probe.DefaultSettings(), f, func(e *probe.Engine, registry *prometheus.Registry) {
		all := targetsOf(2, false)
		e.SetTargets(all)
		time.Sleep(time.Minute)
		if s := e.Results()[0]; s.Skipped != "" || s.Reason != "offline" {
			t.Fatalf("got %+v", s)
		}
		for n := len(f.times(slow)); len(f.times(slow)) == n; {
			time.Sleep(time.Millisecond)
		}
		for i := range all {
			all[i].Skip = "the app is scaled to 0"
		}
		e.SetTargets(all)
		time.Sleep(2 * time.Second)
		for _, s := range e.Results() {
			if s.Skipped != "the app is scaled to 0" || s.OK || s.Reason != "" || !s.Since.Equal(s.Time) {
				t.Errorf("got %+v", s)
			}
		}
		if metric(t, registry, "probe_success", "domain=0.test") != missing {
			t.Error("it has a metric")
		}
	})
}

// Chosen targets stay when there are too many.
func TestTooMany(t *testing.T) {
	t.Parallel()
	s := probe.DefaultSettings()
	s.MaxTargets = 100
	e := probe.New(probe.Options{Settings: s})
	dropped := e.SetTargets(slices.Concat(targetsOf(90, true), targetsOf(80, false)))
	chosen := 0
	for _, state := range e.Results() {
		if !state.Target.Sampled {
			chosen++
		}
	}
	if dropped != 70 || chosen != 80 || len(e.Results()) != 100 {
		t.Errorf("%d were left out, %d of %d are chosen", dropped, chosen, len(e.Results()))
	}
}

// An app that starts is given time; then it fails.
func TestStarting(t *testing.T) {
	t.Parallel()
	f := &fake{answer: func(context.Context, probe.Target) probe.Result {
		return probe.Result{Answered: true, Code: failure.Starting, Status: 503, Reason: "starts"}
	}}
	run(t, probe.DefaultSettings(), f, func(e *probe.Engine, _ *prometheus.Registry) {
		e.SetTargets(targetsOf(1, false))
		time.Sleep(time.Minute)
		if s := e.Results()[0]; s.Skipped == "" {
			t.Errorf("got %+v", s)
		}
		time.Sleep(3 * time.Minute)
		if s := e.Results()[0]; s.Skipped != "" || s.OK || !strings.Contains(s.Reason, "starts") {
			t.Errorf("got %+v", s)
		}
	})
}
