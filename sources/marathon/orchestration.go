package marathon

import (
	"encoding/json"
	"strings"
	"time"

	"relay/internal/secret"
	"relay/sources"
	"relay/sources/labels"
)

// lastFailureJSON is the last task of an app that failed. Only answers about one app have it.
type lastFailureJSON struct {
	TaskID    string `json:"taskId"`
	State     string `json:"state"`
	Message   string `json:"message"`
	Version   string `json:"version"`
	Timestamp string `json:"timestamp"`
}

// addScaling notes what an app asks for of its instances, and what Marathon says of them. Of an
// app that asks for nothing it notes only a failure that leaves it without a task in rotation, so
// that such apps are compared and handed on as seldom as before.
func (out *mapped) addScaling(a *appJSON, said labels.App, m mapping) {
	app := out.app
	asleep := 0
	if a.Instances == 0 && !scaledByHand(a) {
		asleep = said.Asleep
	}
	if app.Scaling = said.Scaling; app.Scaling != nil && asleep == 0 && app.Scaling.IdleAfter == 0 && app.Scaling.Max == 0 {
		app.Scaling = nil // it has RELAY_ASLEEP alone, and does not sleep
	}
	out.failure = out.failureOf(a, m)
	failure := out.failure
	if app.Scaling == nil {
		if failure != nil && a.Instances > 0 && !out.serves() {
			app.Orchestration = &sources.Orchestration{Failure: failure}
		}
		return
	}
	app.Orchestration = &sources.Orchestration{
		Instances: a.Instances, Asleep: asleep, Deploying: len(a.Deployments) > 0,
		OldestFirst: a.KillSelection == "OLDEST_FIRST", StartedAt: startsOf(a.Tasks, out.history), Failure: failure,
	}
}

// scaledByHand reports whether the last thing that happened to an app with RELAY_ASLEEP was that
// its number of instances alone was changed. Relay puts an app to sleep by one change of that
// label and the number, which Marathon notes as a change of the definition. So somebody gave the
// app instances since, did not take the label away, and scaled it to 0 again.
func scaledByHand(a *appJSON) bool {
	if a.VersionInfo == nil {
		return false
	}
	scaled, ok := parseTime(string(a.VersionInfo.LastScalingAt))
	changed, known := parseTime(a.VersionInfo.LastConfigChangeAt)
	return ok && known && scaled.After(changed)
}

// startsOf returns when each task has started that runs, as far as it is listed.
func startsOf(tasks []taskJSON, listed history) map[string]time.Time {
	var starts map[string]time.Time
	for i := range tasks {
		t := &tasks[i]
		at, ok := parseTime(t.StartedAt)
		if _, is := listed[t.ID]; !is || !ok || taskPhase(t) != phaseRunning {
			continue
		}
		if starts == nil {
			starts = make(map[string]time.Time, len(tasks))
		}
		starts[t.ID] = at.UTC()
	}
	return starts
}

// serves reports whether a task is in rotation at any port.
func (out *mapped) serves() bool {
	for i := range out.app.Ports {
		for _, e := range out.app.Ports[i].Endpoints {
			if e.Health != sources.Draining {
				return true
			}
		}
	}
	return false
}

// failureOf returns the last task that failed of the definition that the app has now. An answer
// that lists all apps does not say: then it is what is known.
func (out *mapped) failureOf(a *appJSON, m mapping) *sources.TaskFailure {
	failure := m.failure
	if text := string(a.LastTaskFailure); m.single || text != "" && text != "null" {
		failure = failureFrom(a.LastTaskFailure)
	}
	if failure == nil || failure.At.Before(out.newest.since) {
		return nil
	}
	return failure
}

// failureFrom reads a failure; nil if there is none that is dated.
func failureFrom(data json.RawMessage) *sources.TaskFailure {
	var f lastFailureJSON
	if len(data) == 0 || json.Unmarshal(data, &f) != nil || f.TaskID == "" || len(f.TaskID) > sources.MaxIDBytes {
		return nil
	}
	at, ok := parseTime(f.Timestamp)
	if !ok {
		return nil
	}
	return &sources.TaskFailure{
		Task: f.TaskID, State: clip(f.State), Message: secret.Mask(sources.ClipReason(strings.TrimSpace(f.Message))),
		Version: sources.BoundedName(f.Version), At: at.UTC(),
	}
}

// knownFailure returns the failure that is known of an app.
func (h *knownApp) knownFailure() *sources.TaskFailure {
	if h == nil {
		return nil
	}
	return h.failure
}
