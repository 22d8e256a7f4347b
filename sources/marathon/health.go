package marathon

import (
	"net/netip"
	"slices"
	"time"

	"relay/sources"
)

// checkResult sums up the health results of one task.
type checkResult uint8

const (
	unknown checkResult = iota
	healthy
	unhealthy
)

// record is what is remembered of a task from one read to the next. Marathon forgets
// health results when another master becomes the leader, and has no new ones of a task
// whose agent is lost.
type record struct {
	result       checkResult
	rotation     bool
	unknownState bool // in a state that is not known
	// undecided tells that no read has judged the task by its own version yet, from the
	// first read of the process on.
	undecided bool
	// address is where an endpoint of a pod was; of an app's task it is not kept.
	address netip.AddrPort
}

// history holds the records of an app's tasks by task id. It is replaced, never modified.
type history map[string]record

// checkResultOf returns healthy if every health check has succeeded, as Marathon itself
// requires. A task without results is unknown, which is not unhealthy.
func checkResultOf(checks int, results []*healthResultJSON) checkResult {
	if checks == 0 {
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
	if alive >= checks {
		return healthy
	}
	return unknown
}

// gracePeriod returns the longest grace period of the checks, in which Marathon does not
// report failures.
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

// verdict is what is made of a task's health results.
type verdict struct {
	result checkResult
	// remember is the result to go on with when the next read has none. It is not the one
	// that a task has only because its own version is not known.
	remember checkResult
	// undecided tells that the task was judged in the first read, and not by its version.
	undecided bool
}

// checkResults returns the verdict on every task, by the health checks of its own version:
// the present one or, if that is unknown, the last one known. In the first read of the
// process there is no last one. If all running tasks of an app are unknown then, the leader
// is new and has no results yet: tasks that are older than the grace period count as healthy.
func checkResults(tasks []taskJSON, judge *standards, prior history, firstSync bool, now time.Time) []verdict {
	list := make([]verdict, len(tasks))
	allUnknown := true
	for i := range tasks {
		t := &tasks[i]
		by, before := judge.of(t), prior[t.ID]
		if !by.known() {
			list[i] = by.provisional(t.HealthCheckResults, before, firstSync)
			if judgedResults(t.HealthCheckResults) && taskPhase(t) == phaseRunning {
				allUnknown = false
			}
			continue
		}
		result := checkResultOf(by.of.checks, t.HealthCheckResults)
		if by.age != sameVersion && checkResultOf(1, t.HealthCheckResults) == unhealthy {
			result = unhealthy // whatever is known of its checks, one failed
		}
		if result != unknown && by.of.checks > 0 && taskPhase(t) == phaseRunning {
			allUnknown = false
		}
		if result == unknown {
			result = before.result
		}
		list[i] = verdict{result: result, remember: result}
	}
	if !allUnknown {
		return list
	}
	for i := range tasks {
		by := judge.of(&tasks[i])
		if list[i].result != unknown || !by.known() || !(firstSync || prior[tasks[i].ID].undecided) {
			continue
		}
		started, ok := parseTime(tasks[i].StartedAt)
		if ok && now.Sub(started) > by.of.grace {
			list[i].result, list[i].remember = healthy, healthy
		}
	}
	return list
}

// judgedResults reports whether there is any result.
func judgedResults(results []*healthResultJSON) bool {
	return slices.ContainsFunc(results, func(r *healthResultJSON) bool { return r != nil && r.Alive != nil })
}

// provisional is the verdict on a task whose version is not known. Marathon keeps an old
// task that does not fail a check of its version, of which there may be none. A task that
// is newer than the definition that was read may have a check that it has not passed yet.
func (s *standard) provisional(results []*healthResultJSON, before record, firstSync bool) verdict {
	v := verdict{remember: before.result, undecided: firstSync || before.undecided}
	switch result := checkResultOf(1, results); {
	case result != unknown:
		v.result = result
	case before.result != unknown:
		v.result = before.result
	case s.age == newerVersion && s.of == nil && !v.undecided:
		v.result = unknown
	default:
		v.result = healthy
	}
	if v.result == unhealthy {
		v.remember = unhealthy
	}
	return v
}

type phase uint8

const (
	phaseRunning phase = iota
	phaseStarting
	phaseKilling
	phaseUnreachable
	phaseReplaced // unreachable, and a replacement was started
	phaseEnded
	phaseUnknown
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
		// When Marathon gives a task up it takes the ports and times away, and starts another.
		if !t.isKept && len(t.Ports) == 0 && t.StartedAt == "" && t.StagedAt == "" {
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
	return phaseUnknown
}

// failingSince says since when a task fails a health check, and why, as far as Marathon tells. It
// says the same until the check succeeds again, unless it fails for another reason.
func failingSince(t *taskJSON) string {
	for _, r := range t.HealthCheckResults {
		if r == nil || r.Alive == nil || *r.Alive {
			continue
		}
		since, cause := "", ""
		if at, ok := parseTime(r.LastSuccess); ok {
			since = " since " + at.UTC().Format(time.RFC3339)
		} else if at, ok := parseTime(t.StartedAt); ok {
			since = " since it started at " + at.UTC().Format(time.RFC3339)
		}
		if r.LastFailureCause != "" {
			cause = ": " + clip(r.LastFailureCause)
		}
		return since + cause
	}
	return ""
}

// rotation returns how a task gets requests, or the reason why it gets none.
func rotation(t *taskJSON, v checkResult, before record, unreachable Unreachable) (sources.Health, string) {
	switch taskPhase(t) {
	case phaseStarting:
		return 0, "is starting"
	case phaseReplaced:
		return 0, "is unreachable and was replaced"
	case phaseEnded:
		return 0, "has ended: " + t.State
	case phaseUnknown:
		return 0, "is in a state that is not known: " + clip(t.State)
	}
	switch v {
	case unhealthy:
		return 0, "fails a health check" + failingSince(t)
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
