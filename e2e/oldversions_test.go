package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"relay/sources/marathon/marathontest"
)

// withCheck adds health checks to the definition of an app.
func withCheck(definition string, checks int) string {
	list := strings.Repeat(`{"protocol":"HTTP"},`, checks)
	return strings.Replace(definition, "{", `{"healthChecks":[`+strings.TrimSuffix(list, ",")+`],`, 1)
}

// failNewTasks waits until an app has so many new tasks, and has them fail their checks.
func (m *runningMarathon) failNewTasks(id string, n int, old ...string) {
	m.t.Helper()
	eventually(m.t, "new tasks", func() error {
		failing := 0
		for _, task := range m.Tasks(id) {
			if task.State != "TASK_RUNNING" || strings.Contains(strings.Join(old, " "), task.ID) {
				continue
			}
			failing++
			if len(task.Health) == 0 {
				_ = m.SetHealth(task.ID, false) // fails only when the task is gone
			}
		}
		if failing < n {
			return fmt.Errorf("%d run", failing)
		}
		return nil
	})
}

// Apps run without a check, or with one. A check is added, and the new tasks fail: Marathon
// keeps the old ones. No request fails, whether Relay follows or starts meanwhile, at an Envoy
// that has everything and at one that has nothing, and even when Marathon has forgotten the version.
func TestCheckIsAdded(t *testing.T) {
	w := newWorld(t)
	w.marathon.Server = marathontest.Start(t, marathontest.Options{KillGrace: time.Second, ManualHealth: true})
	w.relay.config.Apps.Marathon.URLs = []string{w.marathon.URL()}
	// Relay's machine resolves this agent's name to itself, as /etc/hosts does in some distributions.
	w.relay.config.Apps.Marathon.LookupHost = func(_ context.Context, host string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	w.marathon.deploy(app("/seed", "seed.test", 1), app("/none", "none.test", 2))
	_, port, _ := strings.Cut(w.marathon.address("/seed"), ":")
	w.marathon.rawApp("/named", "named.test", "agent1", port)
	if err := w.marathon.Apply(withCheck(app("/one", "one.test", 2), 1)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first tasks", func() error {
		tasks := w.marathon.Tasks("/one")
		for _, task := range tasks {
			_ = w.marathon.SetHealth(task.ID, true) // fails only when the task is gone
		}
		if len(tasks) < 2 {
			return fmt.Errorf("%d tasks", len(tasks))
		}
		return nil
	})
	w.marathon.idle()
	w.start()
	w.clients.expect("http://none.test/", http.StatusOK, "/none")
	w.clients.expect("http://one.test/", http.StatusOK, "/one")
	load := w.clients.load(50, ok, "http://none.test/", "http://one.test/")
	none, one := w.marathon.taskIDs("/none"), w.marathon.taskIDs("/one")
	for _, definition := range []string{withCheck(app("/none", "none.test", 2), 1), withCheck(app("/one", "one.test", 2), 2)} {
		if err := w.marathon.Apply(definition); err != nil {
			t.Fatal(err)
		}
	}
	w.marathon.failNewTasks("/none", 2, none...)
	w.marathon.failNewTasks("/one", 2, one...)
	oldServe := func(words string) {
		t.Helper()
		w.eventually("explained", func() error {
			for _, id := range []string{"/none", "/one"} {
				if _, out, _ := w.admin.explain(id); strings.Count(out, words) != 2 || strings.Count(out, "fails a health check") != 2 {
					return fmt.Errorf("explained as\n%s", out)
				}
			}
			return nil
		})
		w.clients.serves("none.test", none...)
		w.clients.serves("one.test", one...)
	}
	oldServe("is judged by its own version, of 2")

	w.relay.stop()
	w.relay.start() // while Envoy has everything
	w.admin.streams(1)
	oldServe("is judged by its own version, of 2")
	w.clients.expect("http://named.test/", http.StatusOK, "/seed")
	w.admin.problem("agent agent1", "resolves to 127.0.0.1 where Relay runs")

	w.relay.stop()
	w.marathon.ForgetVersions("/none")
	w.marathon.ForgetVersions("/one")
	w.relay.start()
	w.admin.streams(1)
	oldServe("Marathon no longer has")
	w.clients.noFailure(load, 50)

	w.envoy.Stop()
	w.envoy.start() // with nothing
	w.envoy.ready()
	oldServe("Marathon no longer has")
	w.envoy.nothingRejected()
}
