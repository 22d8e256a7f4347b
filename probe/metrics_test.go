package probe_test

import (
	"context"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/probe"
)

// missing is what metric returns of a series that there is not.
const missing = math.MaxFloat64

// metric returns the value of the first series with all these labels, as name=value.
func metric(t *testing.T, registry *prometheus.Registry, name string, labels ...string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			text := ""
			for _, l := range m.GetLabel() {
				text += " " + l.GetName() + "=" + l.GetValue() + " "
			}
			fits := f.GetName() == name
			for _, label := range labels {
				fits = fits && strings.Contains(text, " "+label+" ")
			}
			if fits {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return missing
}

// An Envoy is down when nothing through it answers for an interval, and not because one app fails.
func TestEnvoyUp(t *testing.T) {
	t.Parallel()
	var down, bad, one bool
	f := &fake{answer: func(_ context.Context, target probe.Target) probe.Result {
		if down && target.Envoy == "e0" {
			return probe.Result{Reason: "connect: the connection was refused"}
		}
		if one && target.Name == "3" {
			return probe.Result{Reason: "tls: certificate for b.test"}
		}
		if bad {
			return probe.Result{Reason: "500", Answered: true, Status: 500}
		}
		return probe.Result{OK: true, Status: 200, Duration: time.Second, Phases: map[string]float64{"tls": 0.5}, CertificateExpires: time.Unix(5, 0)}
	}}
	run(t, probe.DefaultSettings(), f, func(e *probe.Engine, registry *prometheus.Registry) {
		up := func(envoy string) float64 {
			return metric(t, registry, "relay_probe_envoy_up", "fleet=f", "envoy="+envoy)
		}
		e.SetTargets(targetsOf(6, false))
		if up("e0") != missing {
			t.Error("it is known before anything was asked")
		}
		time.Sleep(time.Minute)
		for name, want := range map[string]float64{"probe_success": 1, "probe_duration_seconds": 1, "probe_http_duration_seconds": 0.5, "probe_http_status_code": 200, "probe_ssl_earliest_cert_expiry": 5} {
			if got := metric(t, registry, name, "probe=0", "kind=http", "fleet=f", "envoy=e0", "domain=0.test"); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		f.mu.Lock()
		bad = true
		f.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if up("e0") != 1 || metric(t, registry, "probe_success", "probe=0") != 0 {
			t.Error("an app that fails counts as an Envoy that is down, or does not fail")
		}
		f.mu.Lock()
		bad, one = false, true
		f.mu.Unlock()
		for range 120 { // whichever was asked last
			time.Sleep(time.Second)
			if up("e0") != 1 {
				t.Fatal("an Envoy is down for which one of two probes fails")
			}
		}
		f.mu.Lock()
		down, one = true, false
		f.mu.Unlock()
		time.Sleep(65 * time.Second)
		if up("e0") != 0 || up("e1") != 1 {
			t.Errorf("e0 is %v, e1 is %v", up("e0"), up("e1"))
		}
		f.mu.Lock()
		down = false
		f.mu.Unlock()
		time.Sleep(31 * time.Second)
		if up("e0") != 1 {
			t.Error("it is not up again")
		}
	})
}

// Where the rate has room for few, an Envoy that is down is seen as soon, and one that is asked seldom is not down because one
// probe is missed.
func TestEnvoyUpAtALowRate(t *testing.T) {
	t.Parallel()
	s := probe.DefaultSettings()
	s.Rate = 60
	var f *fake
	state := make(map[string]bool) // of what is down: targets by name, and Envoys
	f = &fake{answer: func(_ context.Context, target probe.Target) probe.Result {
		f.mu.Lock()
		defer f.mu.Unlock()
		return probe.Result{OK: !state[target.Name] && !state[target.Envoy]}
	}}
	run(t, s, f, func(e *probe.Engine, registry *prometheus.Registry) {
		e.SetTargets(targetsOf(300, false)) // each in 5 minutes, and a second for one
		set := func(what string, down bool) {
			f.mu.Lock()
			state[what] = down
			f.mu.Unlock()
		}
		set("0", true)
		time.Sleep(10 * time.Minute)
		set("e1", true)
		for range 35 {
			time.Sleep(time.Second)
			if metric(t, registry, "relay_probe_envoy_up", "envoy=e0") != 1 {
				t.Fatal("one target of a hundred makes an Envoy down")
			}
		}
		if metric(t, registry, "relay_probe_envoy_up", "envoy=e1") != 0 {
			t.Error("an Envoy that is down was not seen within 35 s")
		}
	})
}

// Metrics are bounded: those that were chosen by chance are summed up, and so many others have series.
func TestMetricsAreBounded(t *testing.T) {
	t.Parallel()
	f, s := &fake{}, probe.DefaultSettings()
	s.Rate = 60_000
	run(t, s, f, func(e *probe.Engine, registry *prometheus.Registry) {
		targets := append(targetsOf(6000, false), targetsOf(3000, true)...)
		targets[0].App, targets[0].Owner = "/bad\xff", strings.Repeat("x", 1000)
		e.SetTargets(targets)
		time.Sleep(2 * time.Minute)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if n := len(family.GetMetric()); n > 5000 {
				t.Errorf("%s has %d series", family.GetName(), n)
			}
		}
		if left, sampled := metric(t, registry, "relay_probe_targets_dropped", "what=series"), metric(t, registry, "relay_probe_sampled", "envoy=e0", "result=success"); left != 1000 || sampled != 1000 {
			t.Errorf("%v have no series, %v are summed up", left, sampled)
		}
	})
}

// A connection by TCP on which nothing is said says nothing of an Envoy through which other things are asked: the kernel takes
// connections of a process that hangs.
func TestEnvoyUpBySilence(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	hangs, gone := false, false
	f := &fake{answer: func(_ context.Context, target probe.Target) probe.Result {
		mu.Lock()
		defer mu.Unlock()
		if gone || hangs && target.Kind == probe.HTTP {
			return probe.Result{Reason: "no answer in time"}
		}
		return probe.Result{OK: true, Answered: target.Kind == probe.HTTP}
	}}
	set := func(h, g bool) {
		mu.Lock()
		hangs, gone = h, g
		mu.Unlock()
	}
	run(t, probe.DefaultSettings(), f, func(e *probe.Engine, registry *prometheus.Registry) {
		both, silent := ofApp("web", "both", 2), append(ofApp("tcp", "both", 2), ofApp("tcp", "silent", 2)...)
		for i := range silent {
			silent[i].Kind = probe.TCP
			silent[i].ID += " tcp"
		}
		e.SetTargets(append(both, silent...))
		check := func(what string, wantBoth, wantSilent float64) {
			t.Helper()
			time.Sleep(2 * time.Minute)
			if b, s := metric(t, registry, "relay_probe_envoy_up", "envoy=both"), metric(t, registry, "relay_probe_envoy_up", "envoy=silent"); b != wantBoth || s != wantSilent {
				t.Errorf("%s: the Envoys are %v and %v", what, b, s)
			}
		}
		check("at first", 1, 1)
		set(true, false)
		check("it hangs", 0, 1)
		set(false, true)
		check("it is down", 0, 0)
		set(false, false)
		check("it is back", 1, 1)
	})
}

// That nothing is asked any more is told by how long the first target has been due, however seldom each is asked.
func TestOverdue(t *testing.T) {
	t.Parallel()
	s := probe.DefaultSettings()
	s.Interval, s.Concurrency = time.Hour, 2
	var hangs atomic.Pointer[chan struct{}]
	f := &fake{answer: func(context.Context, probe.Target) probe.Result {
		if c := hangs.Load(); c != nil {
			<-*c
		}
		return probe.Result{OK: true}
	}}
	run(t, s, f, func(e *probe.Engine, registry *prometheus.Registry) {
		overdue := func() float64 { return metric(t, registry, "relay_probe_overdue_seconds") }
		e.SetTargets(targetsOf(6, false))
		for range 120 {
			time.Sleep(time.Minute)
			if late := overdue(); late > 2 {
				t.Fatalf("%v s late, of an interval of an hour", late)
			}
		}
		stuck := make(chan struct{})
		hangs.Store(&stuck)
		time.Sleep(2 * time.Hour)
		if late := overdue(); late < 1800 {
			t.Errorf("%v s late, while all probes hang", late)
		}
		hangs.Store(nil)
		close(stuck)
		time.Sleep(time.Minute)
		if late := overdue(); late > 2 {
			t.Errorf("%v s late when they have ended", late)
		}
	})
}
