package marathon

import (
	"slices"

	"relay/internal/problem"
	"relay/sources"
)

// knownApp is what was last applied of an app or pod. It is replaced, never modified.
type knownApp struct {
	app     *sources.App
	history history
	read    uint64 // the number of the read that gave it
	pod     bool
	// versions are the definitions that are known: that of app, and the older ones of its
	// tasks. asked are the versions that are not known, and whose definitions would make a
	// difference.
	versions []*appDefinition
	asked    []string
	// failure is the last task that failed, as far as is known: lists of apps do not say.
	failure *sources.TaskFailure
}

// nextRead numbers a read that starts now. Of two answers the one whose read
// started later is the newer.
func (w *Watcher) nextRead() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads++
	return w.reads
}

// known returns what is known of an app, or nil.
func (w *Watcher) known(id string) *knownApp {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.apps[id]
}

// setKnown notes what is known of an app; nil if it is gone.
func (w *Watcher) setKnown(id string, h *knownApp) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h == nil {
		delete(w.apps, id)
	} else {
		w.apps[id] = h
	}
	w.metrics.apps.Set(float64(len(w.apps)))
}

// appCount returns the number of apps known.
func (w *Watcher) appCount() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.apps)
}

// isFirstSync reports whether no full read was applied since the process started.
func (w *Watcher) isFirstSync() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.synced
}

// knowsPods reports whether a pod is known.
func (w *Watcher) knowsPods() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.apps {
		if h.pod {
			return true
		}
	}
	return false
}

// merge returns what is known of an app after the answer to a read of that number, and
// whether the app has changed. An unchanged app stays the same value.
func (w *Watcher) merge(old *knownApp, m mapped, number uint64) (*knownApp, bool) {
	h := &knownApp{app: m.app, history: m.history, read: number, pod: m.pod, failure: m.failure}
	h.rememberVersions(old, m)
	unknown, example := 0, ""
	for task, r := range m.history {
		if r.unknownState && (old == nil || !old.history[task].unknownState) {
			unknown++
			example = max(example, task)
		}
	}
	if unknown > 0 {
		w.log.Warn("tasks are in a state that is not known and get no requests", "event", "task_state_unknown", "app", m.app.ID, "tasks", unknown, "one", clip(example))
	}
	if old != nil && old.app.Equal(m.app) {
		h.app = old.app
		return h, false
	}
	var known []problem.Problem
	if old != nil {
		known = old.app.Problems
	}
	w.logProblems(m.app, known)
	return h, true
}

// logProblems reports the problems of an app that were not there before.
func (w *Watcher) logProblems(app *sources.App, known []problem.Problem) {
	for _, p := range app.Problems {
		if !slices.Contains(known, p) {
			w.log.Warn("a part of an app is ignored", "event", "app_part_ignored", "app", clip(app.ID), "subject", p.Subject, "reason", p.Reason)
		}
	}
}
