package traffic

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// What is in progress on average is that of the reports, for as long as each was the last.
func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoads()
		a, b := joinEnvoy(t, l, "external", "a"), joinEnvoy(t, l, "external", "b")
		expect := func(over time.Duration, want float64) {
			t.Helper()
			if got, known := l.Concurrency("external", "/a_0", over); !known || math.Abs(got-want) > 0.1 {
				t.Errorf("over %v: %.2f, %v; want %.2f", over, got, known, want)
			}
		}
		if _, known := l.Concurrency("external", "/a_0", time.Minute); known {
			t.Error("a cluster that nobody has reported is known")
		}
		a.report(a0(time.Second, 0, 100))
		b.report(a0(time.Second, 0, 50))
		if _, known := l.Concurrency("external", "/a_0", time.Minute); known {
			t.Error("what was reported before somebody asked is known")
		}
		for i := range 60 {
			time.Sleep(2 * time.Second)
			a.report(a0(2*time.Second, 10, uint64(5+10*(i%2)))) // 5 and 15 by turns
			b.report(a0(2*time.Second, 10, 20))
		}
		expect(time.Minute, 30)
		expect(time.Hour, 31) // of two minutes, one second is of the first reports
		for range 4 {
			time.Sleep(2 * time.Second)
			a.report(a0(2*time.Second, 10, 80))
			b.report(a0(2*time.Second, 10, 20))
		}
		expect(6*time.Second, 100)
		expect(time.Minute, 30+6*70/59.0)
		b.leave()
		for range 30 {
			time.Sleep(2 * time.Second)
			a.report(a0(2*time.Second, 10, 80))
		}
		expect(6*time.Second, 80) // one is gone
		time.Sleep(followFor + time.Second)
		a.report(a0(2*time.Second, 10, 80))
		if f := l.fleets["external"]; len(f.followed) != 0 || f.clusters["/a_0"].followed != nil {
			t.Error("a cluster is followed for which nobody asks")
		}
	})
}

// What is in progress since a report was not before.
func TestConcurrencyBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoads()
		e := joinEnvoy(t, l, "external", "a")
		e.report(a0(time.Second, 0, 0))
		l.Concurrency("external", "/a_0", time.Minute)
		time.Sleep(10 * time.Second)
		e.report(a0(10*time.Second, 0, 100))
		if got, _ := l.Concurrency("external", "/a_0", time.Minute); got != 0 {
			t.Errorf("at once: %v", got)
		}
		time.Sleep(10 * time.Second)
		if got, known := l.Concurrency("external", "/a_0", time.Minute); !known || math.Abs(got-50) > 0.1 {
			t.Errorf("10 s later: %v, %v", got, known)
		}
	})
}

// Not more clusters are followed than fit.
func TestConcurrencyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoads()
		e := joinEnvoy(t, l, "external", "a")
		f := l.fleets["external"]
		for i := range maxFollowed + 10 {
			e.reporter.last = time.Now()
			f.cluster(fmt.Append(nil, "/app_", i))
			l.Concurrency("external", fmt.Sprint("/app_", i), time.Minute)
		}
		if len(f.followed) != maxFollowed {
			t.Errorf("%d clusters are followed", len(f.followed))
		}
		time.Sleep(followFor + time.Second)
		l.Fleet("external")
		if len(f.followed) != 0 {
			t.Errorf("%d clusters are followed still", len(f.followed))
		}
	})
}

// Envoys report more often where that costs no more than in the largest fleets.
func TestPaceIsBounded(t *testing.T) {
	for _, tt := range []struct {
		pace             time.Duration
		clusters, envoys int
		want             time.Duration
	}{
		{0, 10, 1, 10}, {2, 10, 1, 2}, {2, 4000, 100, 2}, {2, 4001, 1, 5}, {2, 4000, 101, 5}, {2, 10_000, 100, 5},
		{2, 10_001, 1, 10}, {2, 10_000, 101, 10}, {2, 20_001, 1, 30}, {8, 10, 1, 8}, {30, 10, 1, 10},
	} {
		if got := intervalFor(reportInterval, tt.pace*time.Second, tt.clusters, tt.envoys); got != tt.want*time.Second {
			t.Errorf("%+v: %v", tt, got)
		}
	}
	if got := intervalFor(reportInterval, time.Millisecond, 1, 1); got != shortest {
		t.Errorf("the shortest is %v", got)
	}
}

// An Envoy is told at once to report more often, and after a report to do so as usual.
func TestPace(t *testing.T) {
	t.Parallel()
	l := newLoads()
	c := startLoadServer(t, l, func(string, string) bool { return true })()
	c.send()
	c.told(false, reportInterval)
	l.Pace("external", 2*time.Second)
	c.told(false, 2*time.Second)
	l.Pace("external", 0)
	c.send("/a_0")
	c.told(false, reportInterval)
}

// The rates of Envoys that report every 2 s are right, from the first minute on.
func TestRatesOfShortReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoads()
		time.Sleep(3 * time.Second) // in the middle of a step
		e := joinEnvoy(t, l, "external", "a")
		e.report()
		for i := range 400 {
			time.Sleep(2 * time.Second)
			e.report(clusterStats("/a_0", 2*time.Second, 200, 20, 0))
			if load, _ := l.Cluster("external", "/a_0"); i > 10 && (math.Abs(load.Requests-100) > 2 || math.Abs(load.Requests10m-100) > 2) {
				t.Fatalf("after %d reports: %+v", i, load)
			}
		}
	})
}
