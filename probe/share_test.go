package probe_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/probe"
)

// ofApp returns so many targets of an app through one Envoy.
func ofApp(app, envoy string, n int) (all []probe.Target) {
	for i := range n {
		name := fmt.Sprintf("%d.%s.test", i, app)
		all = append(all, probe.Target{ID: "f/" + envoy + "/" + name, Name: name, Kind: probe.HTTP, Fleet: "f", Envoy: envoy, Domain: name, App: "/" + app})
	}
	return all
}

// checkInterval checks that a target is asked as often as it should be, also at first.
func checkInterval(t *testing.T, f *fake, target probe.Target, longest time.Duration) {
	t.Helper()
	times := f.times(target.ID)
	for i, at := range times {
		if i > 0 && at.Sub(times[i-1]) > longest {
			t.Errorf("%s was not asked for %v", target.ID, at.Sub(times[i-1]))
		}
	}
	if now := time.Now(); len(times) == 0 || now.Sub(times[len(times)-1]) > longest {
		t.Errorf("%s was asked %d times until %v", target.ID, len(times), now)
	}
}

// An app with very many targets is asked less often, and no other app is; also when they are new, and when other ones come
// again and again.
func TestOneAppWithManyTargets(t *testing.T) {
	t.Parallel()
	f := &fake{}
	run(t, probe.DefaultSettings(), f, func(e *probe.Engine, registry *prometheus.Registry) {
		small := append(ofApp("small", "e1", 1), ofApp("other", "e2", 20)...)
		e.SetTargets(small)
		time.Sleep(2 * time.Minute)
		e.SetTargets(append(ofApp("huge", "e1", 10_000), small...))
		time.Sleep(20 * time.Minute)
		for _, target := range small {
			checkInterval(t, f, target, 46*time.Second)
		}
		asked := 0
		for _, target := range ofApp("huge", "e1", 10_000) {
			asked += len(f.times(target.ID))
		}
		if asked < 12_000 {
			t.Errorf("the app with many was asked %d times in 20 minutes", asked)
		}
		a := e.Answer(probe.Query{Text: "/small"})
		if b := e.Answer(probe.Query{Text: "/huge", Limit: 1}); a.Interval != 30 || a.Probes[0].Interval != 0 || b.Probes[0].Interval < 600 {
			t.Errorf("the intervals are %v, %v, %v", a.Interval, a.Probes[0].Interval, b.Probes[0].Interval)
		}
		if n := metric(t, registry, "probe_success", "app=/small"); n != 1 {
			t.Errorf("the small app has no series: %v", n)
		}
		for i := range 20 {
			e.SetTargets(append(ofApp(fmt.Sprint("huge", i), "e1", 10_000), small...))
			time.Sleep(15 * time.Second)
		}
		for _, target := range small {
			checkInterval(t, f, target, 46*time.Second)
		}
	})
}

// Where there are too many targets, those of apps that have many are left out.
func TestTooManyTargetsOfOneApp(t *testing.T) {
	t.Parallel()
	s, f := probe.DefaultSettings(), &fake{}
	s.MaxTargets = 100
	run(t, s, f, func(e *probe.Engine, _ *prometheus.Registry) {
		small := ofApp("small", "e1", 20)
		e.SetTargets(append(ofApp("huge", "e1", 10_000), small...))
		time.Sleep(2 * time.Minute)
		for _, target := range small {
			checkInterval(t, f, target, 46*time.Second)
		}
	})
}

// What is slow, be it an app or an Envoy, takes as many places as it wants, and leaves enough for others.
func TestSlowLeavesPlaces(t *testing.T) {
	t.Parallel()
	for name, slow := range map[string][]probe.Target{
		"an app":        append(ofApp("slow", "e1", 300), ofApp("slow", "e2", 300)...),
		"an Envoy":      append(append(ofApp("a", "dead", 200), ofApp("b", "dead", 200)...), ofApp("c", "dead", 200)...),
		"several":       append(append(ofApp("a", "dead", 200), ofApp("slow", "e1", 200)...), ofApp("d", "dead2", 200)...),
		"one of a kind": ofApp("slow", "e1", 60),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{answer: func(ctx context.Context, t probe.Target) probe.Result {
				if t.App == "/slow" || t.Envoy == "dead" || t.Envoy == "dead2" {
					<-ctx.Done()
					return probe.Result{Reason: "late"}
				}
				return probe.Result{OK: true}
			}}
			run(t, probe.DefaultSettings(), f, func(e *probe.Engine, _ *prometheus.Registry) {
				well := append(ofApp("well", "e1", 20), ofApp("well2", "e3", 20)...)
				e.SetTargets(append(slow, well...))
				time.Sleep(30 * time.Minute)
				for _, target := range well {
					checkInterval(t, f, target, 46*time.Second)
				}
				asked := 0
				for _, target := range slow {
					asked += len(f.times(target.ID))
				}
				if asked < 3000 { // half of the places, ten seconds each, for half an hour, would be 4500
					t.Errorf("what is slow was asked %d times", asked)
				}
			})
		})
	}
}

// What sleeps takes nothing of the rate.
func TestSkippedCostNothing(t *testing.T) {
	t.Parallel()
	f := &fake{}
	run(t, probe.DefaultSettings(), f, func(e *probe.Engine, _ *prometheus.Registry) {
		asleep, well := ofApp("asleep", "e1", 5000), ofApp("well", "e1", 400)
		for i := range asleep {
			asleep[i].Skip = "the app sleeps"
		}
		e.SetTargets(append(asleep, well...))
		time.Sleep(10 * time.Minute)
		for _, target := range well {
			checkInterval(t, f, target, 46*time.Second)
		}
	})
}
