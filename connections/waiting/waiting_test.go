package waiting

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/logtest"
)

func TestLongest(t *testing.T) {
	t.Parallel()
	itself := func(n int) int { return n }
	for _, tt := range []struct {
		what  string
		ports map[string]int
		here  int
		want  int // 0 is none
	}{
		{"nothing waits", nil, 0, 0},
		{"the longest gives up a place", map[string]int{"a": 3, "b": 7, "c": 5}, 2, 7},
		{"it would be the longest then", map[string]int{"a": 3, "b": 4}, 3, 0},
		{"the longest is this one", map[string]int{"a": 3, "b": 7}, 7, 0},
	} {
		if got, ok := Longest(tt.ports, itself, tt.here); got != tt.want || ok != (tt.want > 0) {
			t.Errorf("%s: %d, %v, not %d", tt.what, got, ok, tt.want)
		}
	}
}

func TestOfOneClient(t *testing.T) {
	t.Parallel()
	for perPort, want := range map[int]int{1: 1, 2: 1, 5000: 2500} {
		if got := OfOneClient(perPort); got != want {
			t.Errorf("of %d, one client may have %d, not %d", perPort, got, want)
		}
	}
}

// A step that panics is not the last one.
func TestRepeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logtest.Buffer
		began, taken := time.Now(), []time.Duration(nil)
		Repeat(slog.New(slog.NewTextHandler(&log, nil)), func() (time.Duration, bool) {
			taken = append(taken, time.Since(began))
			if len(taken) == 2 {
				panic("a bug")
			}
			return time.Second, len(taken) == 3
		})
		if len(taken) != 3 || taken[1] != time.Second || taken[2] != time.Second+100*time.Millisecond {
			t.Errorf("steps at %v", taken)
		}
		if lines := log.Lines("event=panic"); len(lines) != 1 {
			t.Errorf("logged %q", lines)
		}
	})
}

// Each result is there before it happens: a counter that appears with 1 has not grown, for Prometheus.
func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	m := NewMetrics(registry, Described{
		Results: prometheus.CounterOpts{Name: "results"}, Waited: prometheus.HistogramOpts{Name: "waited"}, Waiting: prometheus.GaugeOpts{Name: "waiting"},
	}, []string{"full", "left"}, func() int { return 7 })
	m.Results.WithLabelValues("left").Inc()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			name := f.GetName()
			for _, l := range metric.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{"results full": 0, "results left": 1, "waiting": 7, "waited": 0} {
		if n, ok := got[name]; !ok || n != want {
			t.Errorf("%s is %g (%v), not %g", name, n, ok, want)
		}
	}
}
