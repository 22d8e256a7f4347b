package marathontest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// withTask runs f on a task that the API shows. The task's slices must be
// replaced, not modified.
func (s *Server) withTask(id string, f func(t *task)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	inst := s.instances[id]
	if inst == nil || inst.current == nil || inst.current.ID != id {
		return fmt.Errorf("marathontest: no task %q", id)
	}
	f(inst.current)
	inst.app.touch()
	return nil
}

// Crash closes the server and all connections of a task at once: TASK_FAILED.
// A replacement with the next incarnation follows.
func (s *Server) Crash(taskID string) error {
	var failed *task
	if err := s.withTask(taskID, func(t *task) { failed = t }); err != nil {
		return err
	}
	if !s.fail(failed, "Command exited with status 1", false) {
		return fmt.Errorf("marathontest: task %q is over already", taskID)
	}
	return nil
}

// UpdateTask changes what the API shows of a task and publishes the change as
// a status update. It serves what no other call does: a lost agent
// (TASK_UNREACHABLE), addresses that come late, missing or null health results.
// Its slices must be replaced, not modified.
func (s *Server) UpdateTask(taskID string, change func(*Task)) error {
	return s.withTask(taskID, func(t *task) {
		change(&t.Task)
		s.publishStatus(t, "")
		t.settle()
	})
}

// LoseAgent cuts a task's agent off: TASK_UNREACHABLE, and nothing else
// happens; or, with Quirks.TaskLost, TASK_LOST and another task.
func (s *Server) LoseAgent(taskID string) error {
	if !s.opts.Quirks.TaskLost {
		return s.UpdateTask(taskID, func(t *Task) { t.State = "TASK_UNREACHABLE" })
	}
	return s.withTask(taskID, func(t *task) {
		s.end(t, "TASK_LOST", "agent lost")
		s.launch(t.inst)
	})
}

// SetHealth gives every health check of a task (one, if its app has none) the
// same result, and publishes it. A first good result makes the task count as
// ready in a deployment.
func (s *Server) SetHealth(taskID string, alive bool) error {
	return s.withTask(taskID, func(t *task) {
		a := t.inst.app
		now := stamp(time.Now())
		results := make([]*HealthResult, max(1, len(a.def.HealthChecks)))
		for i := range results {
			r := HealthResult{InstanceID: t.inst.id}
			if i < len(t.Health) && t.Health[i] != nil {
				r = *t.Health[i]
			}
			r.Alive = alive
			if alive {
				r.FirstSuccess, r.LastSuccess, r.ConsecutiveFailures = defaultTo(r.FirstSuccess, now), now, 0
			} else {
				r.LastFailure = now
				r.ConsecutiveFailures++
			}
			results[i] = &r
		}
		wasKnown, was := t.health()
		t.Health = results
		t.settle()
		if wasKnown && was == alive {
			return
		}
		for range results {
			fields := map[string]any{"appId": a.id, "version": t.Version, "alive": alive}
			if s.opts.Quirks.NoInstances {
				fields["taskId"] = t.ID
			} else {
				fields["instanceId"] = t.inst.id
			}
			s.bus.publish("health_status_changed_event", fields)
		}
		if s.opts.Quirks.NoInstances {
			s.publishStatus(t, "")
			return
		}
		s.bus.publish("instance_health_changed_event", map[string]any{
			"instanceId": t.inst.id, "runSpecId": a.id, "healthy": alive, "runSpecVersion": t.Version,
		})
		s.publishStatus(t, "")
	})
}

// ForgetHealth removes all health results without an event, as a new leader
// has none. Together with CutStreams it is a failover.
func (s *Server) ForgetHealth() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, inst := range s.instances {
		if inst.current != nil {
			inst.current.Health = nil
			inst.app.touch()
		}
	}
}

// live returns the instances of a that are not being stopped, in the order in
// which a scale down takes them: first those that do not run, then by killSelection.
// The caller holds s.mu.
func (a *app) live() []*instance {
	live := slices.DeleteFunc(slices.Clone(a.instances), func(i *instance) bool { return i.stop })
	oldestFirst := a.def.KillSelection == "OLDEST_FIRST"
	if !oldestFirst {
		slices.Reverse(live)
	}
	started := func(i *instance) string {
		if i.current == nil || i.current.State != "TASK_RUNNING" {
			return ""
		}
		return i.current.StartedAt
	}
	slices.SortStableFunc(live, func(x, y *instance) int {
		a, b := started(x), started(y)
		if oldestFirst || a == "" || b == "" {
			return strings.Compare(a, b)
		}
		return strings.Compare(b, a)
	})
	return live
}
