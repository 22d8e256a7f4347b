package traffic

import (
	"testing"
	"testing/synctest"
	"time"
)

// All that Envoys report of a cluster is counted, from all of them, until nobody has it any more.
func TestClusterCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoads()
		expect := func(what, fleet string, wantRequests, wantErrors uint64) {
			t.Helper()
			if requests, errors := l.ClusterCounters(fleet, "/a_0"); requests != wantRequests || errors != wantErrors {
				t.Errorf("%s: %d requests, %d errors; want %d, %d", what, requests, errors, wantRequests, wantErrors)
			}
		}
		expect("at first", "external", 0, 0)
		a, b := joinEnvoy(t, l, "external", "a"), joinEnvoy(t, l, "external", "b")
		a.report(clusterStats("/a_0", time.Second, 5, 1, 0))
		b.report(clusterStats("/a_0", time.Second, 2, 2, 0), clusterStats("/b_0", time.Second, 9, 9, 0))
		a.report(clusterStats("/a_0", time.Second, 0, 0, 0))
		expect("of two Envoys", "external", 7, 3)
		expect("in another fleet", "internal", 0, 0)
		for range 2 * forgetCluster {
			time.Sleep(Step)
			b.report(clusterStats("/b_0", Step, 1, 0, 0))
		}
		expect("nobody has it", "external", 0, 0)
	})
}

// Requests that Envoys answer since all tasks of an app fail count by app and fleet; other failures do not.
func TestCrashedRequests(t *testing.T) {
	t.Parallel()
	f := newTestFailures()
	f.Log(node("a"), requestLog(failed("crashed", "/a_0", "a.test")), 3)
	for _, code := range []string{"crashed", "offline", "asleep", "starting", "maintenance"} {
		f.one(code, "/a_0", "a.test")
	}
	f.one("crashed", "/b_0", "b.test")
	if n := f.Crashed("external", "/a"); n != 4 {
		t.Errorf("%d requests", n)
	}
	if n, m := f.Crashed("internal", "/a"), f.Crashed("external", "/c"); n != 0 || m != 0 {
		t.Errorf("%d and %d requests of others", n, m)
	}
}
