package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"relay/sources/marathon/marathontest"
)

// benchIDs is how many ids are asked for after each change.
const benchIDs = 20_000

// idWorld is an app whose requests go by an id, and what each id met last.
type idWorld struct {
	*benchWorld
	owners []string
}

// benchmarkIDs measures how many of 20 000 ids move when instances come, go and are replaced, and when Relay is started anew.
func benchmarkIDs(b *testing.B) {
	w := &idWorld{benchWorld: newBenchWorld(b, marathontest.Options{})}
	state := b.TempDir()
	w.apply(`{"id":"/agents","instances":10,"labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"agents.test","RELAY_0_HASH_POLICY":"path_segment 2"},` +
		`"portDefinitions":[{"port":0,"protocol":"tcp"}]}`)
	start := func() *benchProcess {
		p := w.startProcess("--state-dir", state)
		p.awaitSyncs(1)
		return p
	}
	relay := start()
	w.startEnvoy()
	w.await("agents.test")
	w.settled()
	w.owners = w.met()
	slots := make(map[string]int)
	for _, task := range w.owners {
		slots[task]++
	}
	for _, n := range slots {
		if share := 100 * float64(n) / benchIDs; share < 9 || share > 11 {
			b.Errorf("an instance of 10 has %.1f %% of the ids", share)
		}
	}
	restart := func() {
		if err := relay.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			b.Fatal(err)
		}
		_ = relay.cmd.Wait()
		relay = start()
		w.within(func(ctx context.Context) error {
			for ctx.Err() == nil && relay.metric(`relay_envoys{fleet="external",state="up_to_date"}`) == 0 {
				time.Sleep(50 * time.Millisecond)
			}
			return ctx.Err()
		})
	}
	scale := func(n int) func() {
		return func() { w.apply(fmt.Sprintf(`{"id":"/agents","instances":%d}`, n)) }
	}
	w.row("10-11", 10, 0, scale(11))
	w.row("11-10", 12, 0, scale(10))
	w.row("replaced", 0, 2, func() {
		gone := w.marathon.Tasks("/agents")[4].ID
		if err := w.marathon.Crash(gone); err != nil {
			b.Fatal(err)
		}
		w.within(func(ctx context.Context) error {
			for ctx.Err() == nil && (len(w.marathon.Tasks("/agents")) < 10 || slices.ContainsFunc(w.marathon.Tasks("/agents"), func(t marathontest.Task) bool { return t.ID == gone })) {
				if err := w.marathon.WaitIdle(ctx); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	})
	w.row("10-9", 12, 0, scale(9))
	w.row("version", 100, 0, func() { w.apply(`{"id":"/agents","env":{"VERSION":"2"}}`) })
	// The slots of the new instances are in the order in which old ones left.
	w.row("restart", 0, 0, restart)
}

// row makes a change and reports which part of the ids moved, in percent. It fails if that is more than most, or more
// than the ids of instances that are gone and others.
func (w *idWorld) row(name string, most, others float64, change func()) {
	w.b.Helper()
	change()
	w.settled()
	now := w.met()
	all, own := moved(w.owners, now)
	w.owners = now
	w.b.ReportMetric(all, name+"-%")
	if own > 0 {
		w.b.ReportMetric(all-own, name+"-of-others-%")
	}
	if most == 0 {
		most = own + others
	}
	if all > most {
		w.b.Errorf("%s: %.2f %% of the ids moved, want at most %.2f %%", name, all, most)
	}
}

// settled waits until ids meet the tasks that there are, all of them and no others.
func (w *idWorld) settled() {
	w.b.Helper()
	w.within(func(ctx context.Context) error {
		for ctx.Err() == nil {
			var want []string
			for _, t := range w.marathon.Tasks("/agents") {
				want = append(want, t.ID)
			}
			slices.Sort(want)
			got := make(map[string]bool)
			for id := range 50 * len(want) {
				got[w.askFor(ctx, id)] = true
			}
			if !slices.ContainsFunc(want, func(task string) bool { return !got[task] }) && len(got) == len(want) {
				return nil
			}
		}
		return ctx.Err()
	})
}

// met returns what each id meets.
func (w *idWorld) met() []string {
	owners := make([]string, benchIDs)
	var all sync.WaitGroup
	const workers = 8
	for worker := range workers {
		all.Go(func() {
			for id := worker; id < benchIDs; id += workers {
				owners[id] = w.askFor(w.b.Context(), id)
			}
		})
	}
	all.Wait()
	if n := len(slices.Compact(slices.Sorted(slices.Values(owners)))); slices.Contains(owners, "") {
		w.b.Fatalf("some ids were not answered; others met %d tasks", n-1)
	}
	return owners
}

// askFor returns the task that an id meets.
func (w *idWorld) askFor(ctx context.Context, id int) (task string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%sagents/id%d/settings", w.url, id), nil)
	if err != nil {
		return ""
	}
	req.Host = "agents.test"
	resp, err := w.client.Do(req)
	if err != nil {
		return ""
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.Header.Get("X-Task")
}
