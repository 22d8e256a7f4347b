package traffic

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
)

// useTest is a fleet whose Envoys report every 10 s.
type useTest struct {
	t     *testing.T
	loads *Loads
	begun time.Time
}

func useTests(t *testing.T, f func(u *useTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(&useTest{t, newLoads(), time.Now()}) })
}

// expect compares the use of "/a_0", in seconds since the test began; -1 stands for never.
func (u *useTest) expect(what string, inProgress uint64, last, since, until int) {
	u.t.Helper()
	u.loads.fleets["external"].noteKnown(time.Now(), false) // else it may be a second old
	got := u.loads.Use("external", "/a_0")
	in := func(t time.Time) int {
		if t.IsZero() {
			return -1
		}
		return int(t.Sub(u.begun).Seconds())
	}
	if got.InProgress != inProgress || in(got.Last) != last || in(got.Since) != since || in(got.Until) != until {
		u.t.Errorf("%s: %d in progress, last %d, since %d, until %d; want %d, %d, %d, %d", what,
			got.InProgress, in(got.Last), in(got.Since), in(got.Until), inProgress, last, since, until)
	}
}

func a0(interval time.Duration, issued, inProgress uint64) *endpointv3.ClusterStats {
	return clusterStats("/a_0", interval, issued, 0, inProgress)
}

// rounds has Envoys report a cluster that nobody uses, every 10 s.
func (u *useTest) rounds(n int, envoys ...*testEnvoy) {
	for range n {
		time.Sleep(10 * time.Second)
		for _, e := range envoys {
			e.report(a0(10*time.Second, 0, 0))
		}
	}
}

// A cluster was used last when something was in progress, or had come, by the last report.
func TestUse(t *testing.T) {
	useTests(t, func(u *useTest) {
		time.Sleep(5 * time.Second)
		u.expect("without Envoys", 0, -1, 0, 5)
		e := joinEnvoy(t, u.loads, "external", "a")
		u.expect("before the first report", 0, -1, 0, -1)
		e.report() // the Envoy has not begun to count
		u.rounds(2, e)
		u.expect("when it counts", 0, -1, 5, 15)
		time.Sleep(10 * time.Second)
		e.report(a0(10*time.Second, 1, 0))
		u.expect("a request that has ended", 0, 35, 5, 25)
		time.Sleep(10 * time.Second)
		e.report(a0(10*time.Second, 0, 2))
		u.expect("what is in progress", 2, 45, 5, 35)
		u.rounds(3, e)
		u.expect("what was", 0, 45, 5, 65)
		if idle := u.loads.Use("external", "/a_0").Idle(); int(idle.Sub(u.begun).Seconds()) != 45 {
			t.Errorf("idle since %v", idle)
		}
		if other := u.loads.Use("internal", "/a_0"); !other.Last.IsZero() || !other.Since.Equal(u.begun) {
			t.Errorf("of another fleet: %+v", other)
		}
	})
}

// Of a new cluster an Envoy counts what comes after its next report. What came before is not known.
func TestUseOfNewClusters(t *testing.T) {
	useTests(t, func(u *useTest) {
		a, b := joinEnvoy(t, u.loads, "external", "a"), joinEnvoy(t, u.loads, "external", "b")
		round := func(ofA, ofB []*endpointv3.ClusterStats) {
			time.Sleep(10 * time.Second)
			a.report(ofA...)
			b.report(ofB...)
		}
		one, none := []*endpointv3.ClusterStats{a0(10*time.Second, 0, 0)}, []*endpointv3.ClusterStats(nil)
		round(none, none)
		round(none, none)
		round(none, none)
		u.expect("a cluster that no Envoy has", 0, -1, 10, 20)
		round(one, none)
		u.expect("one that an Envoy has", 0, -1, 30, 30)
		round(one, none)
		round(one, none)
		round(one, one)
		u.expect("one that another has since", 0, -1, 60, 60)
		round(one, none)
		round(one, one)
		u.expect("one that it had not meanwhile", 0, -1, 80, 80)
	})
}

// What an Envoy counted while it could not report is known, if it comes back soon. Of one that began anew,
// or has gone, it is not.
func TestUseWithGaps(t *testing.T) {
	useTests(t, func(u *useTest) {
		a, b := joinEnvoy(t, u.loads, "external", "a"), joinEnvoy(t, u.loads, "external", "b")
		b.report()
		a.report()
		u.rounds(6, a, b)
		u.expect("before", 0, -1, 0, 50)
		b.leave()
		u.rounds(3, a)
		u.expect("while one is away", 0, -1, 0, 50)
		if silent := u.loads.Silent("external", []string{"a", "b", "c"}); !slices.Equal(silent, []string{"c"}) {
			t.Errorf("silent for a moment are %q", silent)
		}
		b = joinEnvoy(t, u.loads, "external", "b")
		b.report(a0(30*time.Second, 0, 0))
		u.rounds(1, a, b)
		u.expect("when it is back", 0, -1, 0, 90)
		b.leave()
		time.Sleep(20 * time.Second)
		b = joinEnvoy(t, u.loads, "external", "b")
		b.report(a0(5*time.Second, 0, 0)) // it has reported to another Relay
		u.expect("when it was elsewhere", 0, -1, 115, 90)
		b.leave()
		time.Sleep(20 * time.Second)
		b = joinEnvoy(t, u.loads, "external", "b")
		b.report() // another process
		u.rounds(1, a, b)
		u.expect("when it has begun anew", 0, -1, 140, 100)
		b.leave()
		u.rounds(5, a)
		u.expect("when it is gone", 0, -1, 200, 190)
		if silent := u.loads.Silent("external", []string{"a", "b"}); !slices.Equal(silent, []string{"b"}) {
			t.Errorf("silent are %q", silent)
		}
	})
}

// An Envoy that has its stream and says nothing is silent, and one that has reported once.
func TestSilent(t *testing.T) {
	useTests(t, func(u *useTest) {
		a := joinEnvoy(t, u.loads, "external", "a")
		silent := func(want ...string) {
			t.Helper()
			if got := u.loads.Silent("external", []string{"a"}); !slices.Equal(got, want) {
				t.Errorf("silent: %q", got)
			}
		}
		silent("a")
		a.report()
		silent("a")
		a.report(a0(10*time.Second, 0, 0))
		silent()
		time.Sleep(goneAfter + time.Second)
		silent("a")
		u.expect("silent", 0, -1, 0, 0)
	})
}

// A number that is used again for another cluster does not make it look known.
func TestUseAfterClustersAreForgotten(t *testing.T) {
	useTests(t, func(u *useTest) {
		e, gone := joinEnvoy(t, u.loads, "external", "a"), joinEnvoy(t, u.loads, "external", "b")
		e.report()
		gone.report()
		u.rounds(2, e, gone)
		e.report(a0(time.Second, 1, 0))
		for range forgetCluster + 2*stepsInMinute {
			time.Sleep(10 * time.Second)
			e.report() // the other says nothing, on its stream
		}
		f := u.loads.fleets["external"]
		if len(f.clusters) != 0 || len(f.free) != 1 {
			t.Fatalf("%d clusters are kept, %d numbers are free", len(f.clusters), len(f.free))
		}
		u.expect("a cluster that is forgotten", 0, -1, 20, 10)
		e.report(clusterStats("/b_0", time.Second, 0, 0, 0))
		if f.indexes != 1 {
			t.Errorf("%d numbers are in use", f.indexes)
		}
		// One that never reported since it had the cluster holds no number of another.
		for _, r := range []*testEnvoy{e, gone} {
			if r.reporter.reported.has(0) != (r == e) {
				t.Error("an Envoy seems to have had another cluster")
			}
		}
	})
}

// Of what is in progress when a cluster is replaced, Envoys tell nothing any more. It counts for a day.
func TestUseOfReplacedClusters(t *testing.T) {
	useTests(t, func(u *useTest) {
		e := joinEnvoy(t, u.loads, "external", "a")
		e.report()
		u.rounds(2, e)
		u.loads.Replaced("external", "a", "/a_0")
		u.rounds(1, e)
		u.expect("nothing was in progress", 0, -1, 20, 20)
		time.Sleep(10 * time.Second)
		e.report(a0(10*time.Second, 0, 3))
		u.loads.Replaced("external", "a", "/a_0")
		e.report(a0(time.Second, 0, 0))
		u.loads.Replaced("external", "a", "/a_0")
		u.expect("three were", 3, 40, 40, 40)
		u.rounds(24*360-2, e)
		u.expect("most of a day later", 3, 40, 40, 86410)
		u.rounds(3, e)
		u.expect("a day later", 0, 40, 40, 86440)
		u.loads.Replaced("external", "b", "/a_0")
		u.expect("at an Envoy that has not reported", 1, 40, 40, 86440)
	})
}
