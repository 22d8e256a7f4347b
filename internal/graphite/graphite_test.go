package graphite

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/graphite"
	dto "github.com/prometheus/client_model/go"

	"relay/internal/logtest"
)

// metrics has one of each kind, and values that clients of Graphite could be confused by.
func metrics(values ...string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "relay_envoys", Help: "h"}, []string{"state", "fleet"})
	for i, v := range values {
		gauge.WithLabelValues("behind", v).Set(float64(i) + 0.5)
	}
	total := prometheus.NewCounter(prometheus.CounterOpts{Name: "relay_requests_total", Help: "h"})
	total.Add(12345678901)
	took := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "relay_took_seconds", Help: "h", Buckets: []float64{0.005, 1}})
	took.Observe(0.5)
	r.MustRegister(gauge, total, took)
	return r
}

func gather(t *testing.T, g prometheus.Gatherer) []*dto.MetricFamily {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// names are the paths of lines, sorted.
func names(text string) (all []string) {
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(line, " ")
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// Names are those that client_golang's own bridge makes.
func TestNamesAreThoseOfTheBridge(t *testing.T) {
	t.Parallel()
	r := metrics("external", "edge-2.b/c__d", "Überseering")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	// (A space is a dot to it, by which values would make parts of a path.)
	bridge, err := graphite.NewBridge(&graphite.Config{URL: listener.Addr().String(), Prefix: "relay.host-1", Gatherer: r})
	if err != nil {
		t.Fatal(err)
	}
	pushed := make(chan error, 1)
	go func() { pushed <- bridge.Push() }()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := io.ReadAll(conn)
	if err := errors.Join(err, <-pushed); err != nil {
		t.Fatal(err)
	}
	ours, err := Lines(gather(t, r), "relay.host-1", false, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := names(string(ours)), names(string(theirs)); !slices.Equal(got, want) || len(got) != 9 {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	r := metrics("", "external")
	nothing := prometheus.NewGauge(prometheus.GaugeOpts{Name: "relay_nothing", Help: "h"})
	nothing.Set(math.NaN())
	r.MustRegister(nothing)
	for name, tc := range map[string]struct {
		tags bool
		want string
	}{
		"paths": {false, `p.relay_envoys.fleet.external.state.behind 1.5 1700000000
p.relay_envoys.state.behind 0.5 1700000000
p.relay_requests_total 1.2345678901e+10 1700000000
p.relay_took_seconds_bucket.le.0_005 0 1700000000
p.relay_took_seconds_bucket.le.1 1 1700000000
p.relay_took_seconds_bucket.le._Inf 1 1700000000
p.relay_took_seconds_count 1 1700000000
p.relay_took_seconds_sum 0.5 1700000000
`},
		"tags": {true, `p.relay_envoys;fleet=external;state=behind 1.5 1700000000
p.relay_envoys;state=behind 0.5 1700000000
p.relay_requests_total 1.2345678901e+10 1700000000
p.relay_took_seconds_bucket;le=+Inf 1 1700000000
p.relay_took_seconds_bucket;le=0.005 0 1700000000
p.relay_took_seconds_bucket;le=1 1 1700000000
p.relay_took_seconds_count 1 1700000000
p.relay_took_seconds_sum 0.5 1700000000
`},
	} {
		got, err := Lines(gather(t, r), "p", tc.tags, time.Unix(1700000000, 5))
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

// No value of a label makes a line, a part of a path or a tag of its own.
func FuzzHostileLabels(f *testing.F) {
	for _, v := range []string{"a b", "a\nevil 1 2", "a;b=c", "~a", "..", strings.Repeat("x", 1<<16), "\xff", "ü ", "a=b", "*{x}"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, value string) {
		label := strings.ToValidUTF8(value, "_")
		if label == "" {
			return
		}
		families := gather(t, metrics(label))
		for _, tags := range []bool{false, true} {
			got, err := Lines(families, "p", tags, time.Unix(1700000000, 0))
			if err != nil {
				t.Fatal(err)
			}
			text := string(got)
			if lines := strings.Count(text, "\n"); lines != 7 {
				t.Fatalf("%d lines: %q", lines, text)
			}
			for line := range strings.Lines(text) {
				name, _, _ := strings.Cut(line, " ")
				parts, want := strings.Split(name, "."), 6
				if tags {
					parts, want = strings.Split(name, ";"), 3
				}
				if len(strings.Fields(line)) != 3 || strings.HasPrefix(line, "p.relay_envoys") && len(parts) != want || len(line) > 1000 {
					t.Errorf("a line of another form: %q", line)
				}
			}
		}
	})
}

func TestPrefix(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{"relay.{host}": "relay.edge-1", "": "", "a.b.": "a.b", "{host}": "edge-1"} {
		if got := Prefix(pattern, "edge-1.example.com"); got != want || !ValidPrefix(got) {
			t.Errorf("%q is %q, want %q", pattern, got, want)
		}
	}
	for _, bad := range []string{"a..b", ".a", "a b", "a\nb", "a/b", "ü"} {
		if ValidPrefix(bad) {
			t.Errorf("%q is taken", bad)
		}
	}
}

// world is a Sender whose carbon is a function.
func world(carbon func(ctx context.Context) (net.Conn, error)) (*Sender, *logtest.Buffer) {
	log := new(logtest.Buffer)
	registry := metrics("external")
	s := New(Config{Address: "carbon.test:2003", Prefix: "p", Interval: time.Minute}, registry, slog.New(slog.NewTextHandler(log, nil)), registry)
	s.dial = func(ctx context.Context, _ string) (net.Conn, error) { return carbon(ctx) }
	return s, log
}

func counted(c prometheus.Metric) float64 {
	var m dto.Metric
	_ = c.Write(&m)
	return m.Counter.GetValue()
}

// A carbon that is away, hangs while one connects, or takes a connection and then nothing costs its metrics:
// each try ends, it is said once, and counted.
func TestDeadCarbon(t *testing.T) {
	t.Parallel()
	const refused, silent, deaf, well = "refuses", "silent", "deaf", "well"
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var state atomic.Value
		state.Store(refused)
		var received atomic.Int64
		s, log := world(func(ctx context.Context) (net.Conn, error) {
			switch state.Load() {
			case refused:
				return nil, errors.New("connection refused")
			case silent:
				<-ctx.Done()
				return nil, ctx.Err()
			}
			ours, theirs := net.Pipe()
			if state.Load() == deaf {
				go func() { _, _ = theirs.Read(make([]byte, 10)) }()
				return ours, nil
			}
			go func() {
				text, _ := io.ReadAll(theirs)
				received.Add(int64(strings.Count(string(text), "\n")))
			}()
			return ours, nil
		})
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx) }()
		time.Sleep(90 * time.Second)
		for _, next := range []string{silent, deaf} {
			state.Store(next)
			time.Sleep(2 * time.Minute)
		}
		if n := len(log.Lines("event=graphite_unreachable")); n != 1 {
			t.Errorf("the outage is said %d times:\n%s", n, log)
		}
		if n := counted(s.sends.WithLabelValues("failed")); n != 6 {
			t.Errorf("%v tries were counted", n)
		}
		state.Store(well)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := log.Lines("event=graphite_reached"); len(got) != 1 || !strings.Contains(got[0], "missed=6") || received.Load() < 20 {
			t.Errorf("%d lines came; log:\n%s", received.Load(), log)
		}
		if n := counted(s.sends.WithLabelValues("ok")); n != 2 {
			t.Errorf("%v sends were counted", n)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// Relay ends while carbon hangs.
func TestEndWhileCarbonHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s, _ := world(func(context.Context) (net.Conn, error) { ours, _ := net.Pipe(); return ours, nil })
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx) }()
		time.Sleep(time.Second)
		began := time.Now()
		cancel()
		if <-done; time.Since(began) != 0 {
			t.Errorf("it took %s", time.Since(began))
		}
	})
}
