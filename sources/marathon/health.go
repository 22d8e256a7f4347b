package marathon

import (
	"net/netip"
	"time"

	"relay/sources"
)

// verdict sums up the health results of one task.
type verdict uint8

const (
	unknown verdict = iota
	healthy
	unhealthy
)

// record is what one read leaves for the next about a task: results vanish
// when another Marathon becomes leader, and a task that has lost its agent says nothing new.
type record struct {
	verdict  verdict
	rotation bool
	strange  bool // in a state that is not known
	// address is where an endpoint of a pod was; of an app's task it is not kept.
	address netip.AddrPort
}

// history holds the records of an app's tasks by task id. It is replaced, never modified.
type history map[string]record

// verdictOf requires every health check to have succeeded, as Marathon itself
// does. Missing results are unknown, which is not unhealthy.
func verdictOf(checks []*healthCheckJSON, results []*healthResultJSON) verdict {
	if len(checks) == 0 {
		return healthy
	}
	alive := 0
	for _, r := range results {
		switch {
		case r == nil || r.Alive == nil:
		case !*r.Alive:
			return unhealthy
		default:
			alive++
		}
	}
	if alive >= len(checks) {
		return healthy
	}
	return unknown
}

// gracePeriod is the longest time in which failures leave no result.
func gracePeriod(checks []*healthCheckJSON) time.Duration {
	longest := time.Duration(0)
	for _, c := range checks {
		grace := 300 * time.Second // Marathon's default
		if c != nil && c.GracePeriodSeconds != nil {
			grace = time.Duration(min(max(*c.GracePeriodSeconds, 0), 1<<31)) * time.Second
		}
		longest = max(longest, grace)
	}
	return longest
}

// verdicts gives the verdict of every task: the present one or, when that is
// unknown, the last known. In the first read of the process there is none: an
// app whose running tasks are all unknown (a new leader has no results yet)
// is taken at its word when they are older than the grace period.
func verdicts(checks []*healthCheckJSON, tasks []taskJSON, prior history, firstSync bool, now time.Time) []verdict {
	list := make([]verdict, len(tasks))
	allUnknown := true
	for i := range tasks {
		t := &tasks[i]
		list[i] = verdictOf(checks, t.HealthCheckResults)
		if list[i] != unknown && taskPhase(t) == phaseRunning {
			allUnknown = false
		}
		if list[i] == unknown {
			list[i] = prior[t.ID].verdict
		}
	}
	if !firstSync || !allUnknown {
		return list
	}
	grace := gracePeriod(checks)
	for i := range tasks {
		started, ok := parseTime(tasks[i].StartedAt)
		if list[i] == unknown && ok && now.Sub(started) > grace {
			list[i] = healthy
		}
	}
	return list
}

type phase uint8

const (
	phaseRunning phase = iota
	phaseStarting
	phaseKilling
	phaseUnreachable
	phaseReplaced // unreachable, and a replacement was started
	phaseEnded
	phaseOther
)

// taskPhase reads the Mesos state of a task.
func taskPhase(t *taskJSON) phase {
	switch t.State {
	case "TASK_RUNNING":
		return phaseRunning
	case "TASK_STAGING", "TASK_STARTING":
		return phaseStarting
	case "TASK_KILLING":
		return phaseKilling
	case "TASK_UNREACHABLE", "TASK_LOST":
		// Marathon strips a task of its ports and times when it gives it up.
		if len(t.Ports) == 0 && t.StartedAt == "" && t.StagedAt == "" {
			return phaseReplaced
		}
		return phaseUnreachable
	case "TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_DROPPED",
		"TASK_GONE", "TASK_GONE_BY_OPERATOR", "TASK_UNKNOWN":
		return phaseEnded
	case "": // releases that do not tell the state set startedAt when it runs
		if t.StartedAt != "" {
			return phaseRunning
		}
		return phaseStarting
	}
	return phaseOther
}

// rotation says whether a task takes part, and how; the reason is set when it does not.
func rotation(t *taskJSON, v verdict, before record, unreachable Unreachable) (sources.Health, string) {
	switch taskPhase(t) {
	case phaseStarting:
		return 0, "is starting"
	case phaseReplaced:
		return 0, "is unreachable and was replaced"
	case phaseEnded:
		return 0, "has ended: " + t.State
	case phaseOther:
		return 0, "is in a state that is not known: " + clip(t.State)
	}
	switch v {
	case unhealthy:
		return 0, "fails a health check"
	case unknown:
		return 0, "has no health result yet"
	}
	switch taskPhase(t) {
	case phaseKilling:
		return sources.Draining, ""
	case phaseUnreachable:
		if !before.rotation || unreachable == UnreachableDrop {
			return 0, "is unreachable"
		}
		if unreachable == UnreachableDegraded {
			return sources.Degraded, ""
		}
	}
	return sources.Healthy, ""
}
