package marathon

import "time"

// readinessJSON is what an app says about readiness checks. Results are there
// only while a deployment runs, and only when they are asked for.
type readinessJSON struct {
	ReadinessChecks []*struct {
		IntervalSeconds *int `json:"intervalSeconds"`
		TimeoutSeconds  *int `json:"timeoutSeconds"`
	} `json:"readinessChecks"`
	ReadinessCheckResults []struct {
		TaskID string `json:"taskId"`
		Ready  bool   `json:"ready"`
	} `json:"readinessCheckResults"`
	Deployments []struct{} `json:"deployments"`
}

// readiness says which tasks of an app wait until they are ready. The zero
// value holds nothing back.
type readiness struct {
	results map[string]bool // by task id
	// grace is the time in which a task without result counts as not ready. One that
	// is older was there before the deployment.
	grace time.Duration
	// pace is the time between two reads of the app, for no event tells that a
	// task has become ready; 0 when nothing is awaited.
	pace time.Duration
}

const (
	readinessInterval = 30 * time.Second // Marathon's defaults
	readinessTimeout  = 10 * time.Second
	readinessSlack    = 5 * time.Second // for the first result to be made and shown
	fastestPace       = 2 * time.Second
	slowestPace       = 10 * time.Second
)

func readinessOf(a *appJSON) readiness {
	if len(a.Deployments) == 0 || len(a.ReadinessChecks) == 0 {
		return readiness{}
	}
	seconds := func(s *int, otherwise time.Duration) time.Duration {
		if s == nil || *s < 0 {
			return otherwise
		}
		return time.Duration(min(*s, 1<<31)) * time.Second
	}
	interval, timeout := readinessInterval, readinessTimeout
	if check := a.ReadinessChecks[0]; check != nil { // Marathon takes one
		interval, timeout = seconds(check.IntervalSeconds, interval), seconds(check.TimeoutSeconds, timeout)
	}
	r := readiness{
		results: make(map[string]bool, len(a.ReadinessCheckResults)),
		grace:   timeout + readinessSlack, pace: max(fastestPace, min(interval, slowestPace)),
	}
	for _, result := range a.ReadinessCheckResults {
		ready, twice := r.results[result.TaskID]
		r.results[result.TaskID] = result.Ready && (ready || !twice)
	}
	return r
}

// holds tells whether a task has to wait.
func (r readiness) holds(t *taskJSON, now time.Time) bool {
	if r.pace == 0 || taskPhase(t) != phaseRunning {
		return false
	}
	if ready, ok := r.results[t.ID]; ok {
		return !ready
	}
	started, ok := parseTime(t.StartedAt)
	return ok && now.Sub(started) < r.grace
}
