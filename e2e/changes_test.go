package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"relay/sources/marathon/marathontest"
)

// Scaling, a new version and a killed task: Envoy follows, and no request fails.
func TestChangesWithoutFailure(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/a", "a.test", 2))
	w.start()
	w.clients.tasks("http://a.test/", 2, "")
	load := w.clients.load(200, ok, "http://a.test/")

	w.marathon.deploy(app("/a", "a.test", 4))
	w.clients.tasks("http://a.test/", 4, "")
	w.marathon.deploy(app("/a", "a.test", 2))
	w.clients.tasks("http://a.test/", 2, "")

	before := w.clients.expect("http://a.test/", http.StatusOK, "/a").header.Get("X-Version")
	w.marathon.deploy(app("/a", "a.test", 2, "RELEASE", "2"))
	after := w.marathon.Tasks("/a")[0].Version
	if after == before {
		t.Fatalf("the version is still %s: nothing was deployed", after)
	}
	w.clients.tasks("http://a.test/", 2, after)

	killed := w.marathon.Tasks("/a")[0].ID
	w.marathon.kill("/a", killed)
	w.clients.tasks("http://a.test/", 2, "")
	for _, task := range w.marathon.Tasks("/a") {
		if task.ID == killed {
			t.Errorf("task %s was not killed", killed)
		}
	}
	w.clients.noFailure(load, 200)
}

// A task that crashes without a word costs at most what it was working on. The other task
// answers all that comes.
func TestCrashIsRetriedElsewhere(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/a", "a.test", 2))
	w.start()
	w.clients.tasks("http://a.test/", 2, "")
	w.marathon.HoldEvents(true)
	crashed := w.marathon.Tasks("/a")[0].ID
	if err := w.marathon.Crash(crashed); err != nil {
		t.Fatal(err)
	}
	client := w.clients.client(true)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 60 {
				a, err := w.clients.get(client, "http://a.test/", "")
				if err != nil || a.status != http.StatusOK {
					t.Errorf("with a dead endpoint that Relay has not heard of: status %d, %v", a.status, err)
					return
				}
			}
		})
	}
	wg.Wait()
	w.marathon.HoldEvents(false)
}

// A suspended app is offline, which is not the same as unknown; a deleted one is.
func TestSuspendAndDelete(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/a", "a.test", 1), app("/other", "*.test", 1))
	w.start()
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	w.clients.expect("http://x.test/", http.StatusOK, "/other")
	w.marathon.deploy(app("/a", "a.test", 0))
	w.clients.expect("http://a.test/", http.StatusServiceUnavailable, "")
	w.marathon.deploy(app("/a", "a.test", 1))
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	for _, id := range []string{"/a", "/other"} {
		if err := w.marathon.DeleteApp(id); err != nil {
			t.Fatal(err)
		}
	}
	w.clients.expect("http://a.test/", http.StatusNotFound, "")
	w.clients.expect("http://x.test/", http.StatusNotFound, "")
}

// Deploys, renames and deletes all the time never cost a request to an app that
// stays, nor to one that changes its release: no cluster goes before its scope,
// no scope comes before its cluster.
func TestChurn(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/stay", "stay.test", 2), app("/release", "release.test", 2), app("/moves", "moves.test", 1), app("/a-moves", "parked.test", 1))
	w.start()
	for _, domain := range []string{"stay", "release", "moves"} {
		w.clients.expect("http://"+domain+".test/", http.StatusOK, "/"+domain)
	}
	load := w.clients.load(500, ok, "http://stay.test/", "http://release.test/", "http://moves.test/")
	for i := range 8 {
		fresh := fmt.Sprintf("/churn-%d", i)
		w.marathon.deploy(
			app(fresh, fmt.Sprintf("churn-%d.test", i), 1),
			app("/release", "release.test", 2, "RELEASE", fmt.Sprint(i)),
			// The domain changes hands between two apps that both run: each time
			// its scope moves to another cluster.
			app("/a-moves", map[bool]string{true: "moves.test", false: "parked.test"}[i%2 == 0], 1),
		)
		w.clients.expect(fmt.Sprintf("http://churn-%d.test/", i), http.StatusOK, fresh)
		w.marathon.deploy(app(fresh, fmt.Sprintf("renamed-%d.test", i), 1))
		w.clients.expect(fmt.Sprintf("http://renamed-%d.test/", i), http.StatusOK, fresh)
		if err := w.marathon.DeleteApp(fresh); err != nil {
			t.Fatal(err)
		}
	}
	w.marathon.idle()
	w.admin.settled()
	w.clients.noFailure(load, 500)
	if n := w.envoy.stat(`^http\.http\.no_cluster$`); n != 0 {
		t.Errorf("Envoy counts %d requests for which the cluster was not found", n)
	}
}

// handovers is what an hour of a busy platform brings.
const handovers = 600

// A domain that passes in one step from an app that goes to one that comes
// never meets a cluster that Envoy does not have yet or no longer.
func TestHandover(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/stay", "stay.test", 2))
	tasks := w.marathon.Tasks("/stay")
	generation := func(i int) marathontest.App {
		a := marathontest.App{Definition: app(fmt.Sprintf("/generation-%d", i), "handover.test", 2)}
		for _, task := range tasks {
			a.Tasks = append(a.Tasks, marathontest.Task{Host: task.Host, Ports: task.Ports})
		}
		return a
	}
	if err := w.marathon.LoadApps(generation(0)); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.clients.expect("http://handover.test/", http.StatusOK, "/stay")
	load := w.clients.load(500, ok, "http://handover.test/")
	for i := range handovers {
		if err := w.marathon.LoadApps(generation(i + 1)); err != nil {
			t.Fatal(err)
		}
		w.marathon.RemoveApp(fmt.Sprintf("/generation-%d", i))
		w.upToDate()
	}
	if n := w.envoy.stat(`^cluster_manager\.cluster_removed$`); n < handovers {
		t.Errorf("Envoy removed %d clusters: the domain did not pass %d times", n, handovers)
	}
	w.clients.noFailure(load, 500)
	if n := w.envoy.stat(`^http\.http\.no_cluster$`); n != 0 {
		t.Errorf("Envoy counts %d requests for which the cluster was not found", n)
	}
}

// The periodic full read heals a change whose event never came.
func TestLostEvent(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/a", "a.test", 1))
	w.relay.config.Apps.Marathon.SyncInterval = 500 * time.Millisecond
	w.start()
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	w.marathon.DropEvents(true)
	w.marathon.deploy(app("/b", "b.test", 1))
	w.clients.expect("http://b.test/", http.StatusOK, "/b")
}

// Whatever Marathon does, Envoy goes on routing, nothing is removed, and all is
// well after it recovers.
func TestMarathonFaults(t *testing.T) {
	t.Parallel()
	faults := map[string]func(m *marathontest.Server){
		"down":          func(m *marathontest.Server) { m.Down() },
		"streams cut":   func(m *marathontest.Server) { m.CutStreams() },
		"503":           func(m *marathontest.Server) { injectReads(m, marathontest.Fault{Status: 503, Body: "{}"}) },
		"500":           func(m *marathontest.Server) { injectReads(m, marathontest.Fault{Status: 500, Body: "oops"}) },
		"garbage":       func(m *marathontest.Server) { injectReads(m, marathontest.Fault{Body: `{"apps": [{"id": 7]`}) },
		"half document": func(m *marathontest.Server) { injectReads(m, marathontest.Fault{Truncate: 300}) },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.marathon.deploy(app("/a", "a.test", 1), app("/b", "b.test", 1))
			w.start()
			w.clients.expect("http://a.test/", http.StatusOK, "/a")
			load := w.clients.load(100, ok, "http://a.test/", "http://b.test/")
			revision := w.admin.fleet("external").Revision
			before := w.marathon.Requests(marathontest.KindEvents)
			fault(w.marathon.Server)
			// Every fault but a cut stream is met by a full read, which a new
			// stream begins with.
			w.marathon.CutStreams()
			if name != "down" {
				w.eventually("a new attempt", func() error {
					if w.marathon.Requests(marathontest.KindEvents) == before {
						return fmt.Errorf("none yet")
					}
					return nil
				})
			}
			if got := w.admin.fleet("external").Revision; got != revision {
				t.Errorf("the fault made revision %d of %d", got, revision)
			}
			w.marathon.ClearFaults()
			if name == "down" {
				if err := w.marathon.Up(); err != nil {
					t.Fatal(err)
				}
			}
			w.marathon.deploy(app("/c", "c.test", 1))
			w.clients.expect("http://c.test/", http.StatusOK, "/c")
			w.clients.noFailure(load, 10)
		})
	}
}

func injectReads(m *marathontest.Server, f marathontest.Fault) {
	for _, kind := range []marathontest.Kind{marathontest.KindList, marathontest.KindApp, marathontest.KindGroup} {
		m.Inject(kind, f)
	}
}
