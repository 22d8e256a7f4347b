package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"relay/sources"
	"relay/xds"
)

// manyIDs is how many ids are asked for.
const manyIDs = 3000

// owners asks for ids, and returns the task that each went to.
func (c *clients) owners(n int, url func(id int) string) []string {
	c.t.Helper()
	owners := make([]string, n)
	errs := make([]error, 8)
	var all sync.WaitGroup
	for worker := range errs {
		all.Go(func() {
			client := c.client(true)
			for id := worker; id < n && errs[worker] == nil; id += len(errs) {
				a, err := c.get(client, url(id), "")
				if err == nil {
					err = ok(a)
				}
				owners[id], errs[worker] = a.task(), err
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			c.t.Fatal(err)
		}
	}
	return owners
}

// moves returns where ids go now, of which it is known where they went before. It asks once more for those
// that went elsewhere: Envoy tries a request at another instance if the connection ends just then.
func (c *clients) moves(before []string) []string {
	c.t.Helper()
	now := c.owners(len(before), agentURL)
	var elsewhere []int
	for id := range before {
		if now[id] != before[id] {
			elsewhere = append(elsewhere, id)
		}
	}
	for i, task := range c.owners(len(elsewhere), func(i int) string { return agentURL(elsewhere[i]) }) {
		now[elsewhere[i]] = task
	}
	return now
}

func agentURL(id int) string {
	return fmt.Sprintf("http://agents.test/agents/id%d/settings?x=%d", id, id%3)
}

// rotates waits until so many tasks take ids of an app, and all Envoys know.
func (w *world) rotates(id string, n int) {
	w.t.Helper()
	w.marathon.idle()
	w.eventually(fmt.Sprintf("%s has %d tasks", id, n), func() error {
		app, _ := w.admin.app(id)
		if len(app.Ports) == 0 {
			return fmt.Errorf("it is not known")
		}
		healthy, tasks := 0, []string(nil)
		for _, e := range app.Ports[0].Endpoints {
			if tasks = append(tasks, e.Task); e.Health == sources.Healthy {
				healthy++
			}
		}
		if healthy != n || len(tasks) != n {
			return fmt.Errorf("%d of %d are healthy", healthy, len(tasks))
		}
		// There may have been as many before one was replaced.
		slices.Sort(tasks)
		if now := w.marathon.taskIDs(id); now != nil && !slices.Equal(tasks, now) {
			return fmt.Errorf("it has %v, and Marathon %v", tasks, now)
		}
		return nil
	})
	w.admin.settled()
}

// anew starts Relay anew, and waits until Envoy has all that it says.
func (w *world) anew() {
	w.t.Helper()
	w.relay.stop()
	w.relay.start()
	w.admin.awaitReady()
	w.eventually("Envoy has asked for endpoints", func() error {
		for _, s := range w.admin.envoys() {
			if slices.ContainsFunc(s.Types, func(t xds.TypeStatus) bool { return t.Type == xds.Endpoint }) {
				return nil
			}
		}
		return fmt.Errorf("it has not")
	})
	w.admin.settled()
}

// moved returns which part of ids went to another task, in percent, and which part of them the tasks had that are gone.
func moved(before, after []string) (all, own float64) {
	left := make(map[string]bool)
	for _, task := range after {
		left[task] = true
	}
	for i := range before {
		if before[i] != after[i] {
			all++
		}
		if !left[before[i]] {
			own++
		}
	}
	n := float64(len(before))
	return 100 * all / n, 100 * own / n
}

// Ids stay with their instances while instances come, go and are replaced, and while Relay is started anew.
func TestIDsStay(t *testing.T) {
	w := newWorld(t)
	w.relay.keepState(false)
	scaled := func(n int) string { return fmt.Sprintf(`{"id":"/agents","instances":%d}`, n) }
	w.marathon.deploy(app("/agents", "agents.test", 10, "RELAY_0_HASH_POLICY", "path_segment 2"))
	w.start()
	w.clients.expect("http://agents.test/", http.StatusOK, "/agents")
	w.rotates("/agents", 10)
	owners := w.clients.owners(manyIDs, agentURL)
	step := func(what string, tasks int, most float64) {
		t.Helper()
		w.rotates("/agents", tasks)
		now := w.clients.moves(owners)
		all, own := moved(owners, now)
		t.Logf("%s: %.1f %% of ids moved, and of these %.1f %% had instances that are gone", what, all, own)
		if most == 0 { // nothing but what must
			most = own
		}
		if all > most {
			t.Errorf("%s: %.1f %% of ids moved, want at most %.1f %%", what, all, most)
		}
		owners = now
	}
	w.anew()
	step("Relay was started anew", 10, 0)

	w.marathon.deploy(scaled(11))
	step("10 -> 11", 11, 10)
	w.marathon.deploy(scaled(10))
	step("11 -> 10", 10, 11)
	gone := w.marathon.taskIDs("/agents")[4]
	if err := w.marathon.Crash(gone); err != nil {
		t.Fatal(err)
	}
	w.eventually("the task that crashed is replaced", func() error {
		if ids := w.marathon.taskIDs("/agents"); len(ids) != 10 || slices.Contains(ids, gone) {
			return fmt.Errorf("%v", ids)
		}
		return nil
	})
	step("one replaced", 10, 0)
	w.anew()
	step("Relay was started anew", 10, 0)
	w.marathon.deploy(scaled(9))
	step("10 -> 9", 9, 12)

	// A new version: what one instance had, one new instance has, all of it.
	before := owners
	w.marathon.deploy(`{"id":"/agents","env":{"VERSION":"2"}}`)
	w.rotates("/agents", 9)
	now := w.clients.owners(manyIDs, agentURL)
	sameParts(t, before, now)
	if all, _ := moved(before, now); all != 100 {
		t.Errorf("of a new version, %.1f %% of ids have new instances", all)
	}
	// Its slots were given in the order in which old instances left.
	owners = now
	w.anew()
	step("Relay was started anew", 9, 0)
	w.envoy.accepted()
}
