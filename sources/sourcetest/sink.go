package sourcetest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"relay/sources"
)

// recorder is a Sink that holds the apps, and fails the test if it is told what no Sink is to be told.
type recorder struct {
	t *testing.T
	// calling is locked while the Sink is called.
	calling sync.Mutex

	mu    sync.Mutex
	calls int
	apps  map[string]told // by id; nil before the first SyncApps
	// history has the ids that there were after each call.
	history []string
}

// told is an app, and what it was when the Sink was told of it.
type told struct {
	app     *sources.App
	content string
}

func content(app *sources.App) string {
	text, _ := json.Marshal(app)
	return string(text)
}

// SyncApps implements sources.Sink.
func (r *recorder) SyncApps(apps []*sources.App) {
	r.note(func() {
		r.apps = make(map[string]told, len(apps))
		for _, app := range apps {
			if _, twice := r.apps[app.ID]; twice {
				r.t.Errorf("SyncApps has %s twice", app.ID)
			}
			r.set(app)
		}
	})
}

// UpdateApps implements sources.Sink.
func (r *recorder) UpdateApps(set []*sources.App, removed []string) {
	r.note(func() {
		if r.apps == nil {
			r.t.Error("UpdateApps is called before SyncApps")
			r.apps = make(map[string]told)
		}
		if len(set)+len(removed) == 0 {
			r.t.Error("UpdateApps is called, and nothing has changed")
		}
		for _, app := range set {
			if old := r.apps[app.ID].app; old.Equal(app) {
				r.t.Errorf("UpdateApps sets %s, which has not changed", app.ID)
			}
			r.set(app)
		}
		for _, id := range removed {
			if _, known := r.apps[id]; !known {
				r.t.Errorf("UpdateApps removes %s, which there is not", id)
			}
			delete(r.apps, id)
		}
	})
}

func (r *recorder) set(app *sources.App) {
	if !strings.HasPrefix(app.ID, "/") {
		r.t.Errorf("the app id %q does not begin with a slash", app.ID)
	}
	r.apps[app.ID] = told{app, content(app)}
}

// note makes a call of the Sink.
func (r *recorder) note(call func()) {
	if !r.calling.TryLock() {
		r.t.Error("the Sink is called twice at a time")
		r.calling.Lock()
	}
	defer r.calling.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	call()
	r.history = append(r.history, r.ids())
}

// ids are those of all apps.
func (r *recorder) ids() string { return strings.Join(slices.Sorted(maps.Keys(r.apps)), " ") }

// now returns the ids of all apps, and whether the source has synced.
func (r *recorder) now() (ids string, synced bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ids(), r.apps != nil
}

// since returns the ids that there were after each call but the first n.
func (r *recorder) since(n int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.history[n:])
}

// count returns the number of calls.
func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls
}

// check fails the test if an app was modified after the Sink was told of it.
func (r *recorder) check() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, said := range r.apps {
		if content(said.app) != said.content {
			r.t.Errorf("%s was modified after the Sink was told of it", id)
		}
	}
}
