package marathon

import "time"

// readinessJSON has the readiness checks of an app. Marathon tells results only while a
// deployment runs, and only when they are asked for.
type readinessJSON struct {
	ReadinessChecks []*struct {
		IntervalSeconds *int `json:"intervalSeconds"`
		TimeoutSeconds  *int `json:"timeoutSeconds"`
	} `json:"readinessChecks"`
	ReadinessCheckResults []struct {
		TaskID string `json:"taskId"`
		Ready  bool   `json:"ready"`
	} `json:"readinessCheckResults"`
	Deployments []deploymentJSON `json:"deployments"`
}

// deploymentJSON is a deployment of an app that runs.
type deploymentJSON struct {
	ID remark `json:"id"`
}

// readiness says which tasks of an app get no requests because they are not ready. By
// the zero value all tasks are ready.
type readiness struct {
	results map[string]bool // by task id
	// grace is how long after its start a task without a result counts as not ready. An
	// older task without a result was started before the deployment.
	grace time.Duration
	// recheck is the time between two reads of the app while a deployment runs, since no
	// event tells that a task has become ready; 0 when none runs.
	recheck time.Duration
}

const (
	readinessInterval = 30 * time.Second // Marathon's defaults
	readinessTimeout  = 10 * time.Second
	readinessSlack    = 5 * time.Second // until Marathon shows the first result
	minRecheck        = 2 * time.Second
	maxRecheck        = 10 * time.Second
)

// readinessOf reads the readiness checks of an app and their results.
func readinessOf(a *appJSON) readiness {
	if len(a.Deployments) == 0 || len(a.ReadinessChecks) == 0 {
		return readiness{}
	}
	grace, interval := readinessTimes(a)
	r := readiness{
		results: make(map[string]bool, len(a.ReadinessCheckResults)),
		grace:   grace, recheck: max(minRecheck, min(interval, maxRecheck)),
	}
	for _, result := range a.ReadinessCheckResults {
		ready, twice := r.results[result.TaskID]
		r.results[result.TaskID] = result.Ready && (ready || !twice)
	}
	return r
}

// readinessTimes returns how long after its start a task without a result is not ready, and
// the interval of the readiness check, of which an app with readiness checks has one.
func readinessTimes(a *appJSON) (grace, interval time.Duration) {
	seconds := func(s *int, otherwise time.Duration) time.Duration {
		if s == nil || *s < 0 {
			return otherwise
		}
		return time.Duration(min(*s, 1<<31)) * time.Second
	}
	interval, timeout := readinessInterval, readinessTimeout
	if check := a.ReadinessChecks[0]; check != nil {
		interval, timeout = seconds(check.IntervalSeconds, interval), seconds(check.TimeoutSeconds, timeout)
	}
	return timeout + readinessSlack, interval
}

// waits reports whether a task gets no requests yet. Marathon checks the tasks that the
// deployment starts. One that was in rotation stays there, and so does one of an older
// version, unless it was seen waiting for the readiness check of that version.
func (r readiness) waits(t *taskJSON, by *standard, before record, seen bool, now time.Time) bool {
	if r.recheck == 0 || taskPhase(t) != phaseRunning {
		return false
	}
	if ready, ok := r.results[t.ID]; ok {
		return !ready
	}
	grace := r.grace
	if by.age == olderVersion {
		if !seen || !by.known() || !by.of.readiness {
			return false
		}
		grace = by.of.readinessGrace
	}
	started, ok := parseTime(t.StartedAt)
	return ok && !before.rotation && now.Sub(started) < grace
}
