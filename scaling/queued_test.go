package scaling

import (
	"testing"
	"testing/synctest"

	"relay/sources"
)

// Envoys do not report requests that wait in a queue. They count as load all the same, here and for peers.
func TestQueueIsLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.config.Queued = func(app string) int { return map[string]int{"/shop": 30}[app] }
		defer w.serve()()
		w.stage.SyncApps([]*sources.App{sizedApp()})
		synctest.Wait()
		if loads := w.Loads(); len(loads) != 1 || loads[0].InProgress != 30 {
			t.Errorf("loads: %+v, want 30 in progress", loads)
		}
	})
}
