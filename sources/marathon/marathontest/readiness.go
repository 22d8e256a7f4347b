package marathontest

import "encoding/json"

// SetReadiness sets the result of a task's readiness check. No event tells of
// it; a deployment that waits for the task goes on.
func (s *Server) SetReadiness(taskID string, ready bool) error {
	return s.withTask(taskID, func(t *task) {
		t.readiness = &ready
		t.settle()
	})
}

// settle makes a task count as ready in a deployment when it runs, is healthy,
// and passes its readiness check, as far as it is checked. The caller holds s.mu.
func (t *task) settle() {
	def := t.inst.app.def
	if _, alive := t.health(); t.State != "TASK_RUNNING" || (len(def.HealthChecks) > 0 && !alive) {
		return
	}
	if len(def.ReadinessChecks) > 0 && (t.readiness == nil || !*t.readiness) {
		return
	}
	t.inst.setReady()
}

// readinessResults returns the part of an app's JSON that shows them, or nil:
// they exist only while a deployment runs.
func (a *app) readinessResults() []byte {
	if len(a.def.ReadinessChecks) == 0 || len(a.deployments) == 0 {
		return nil
	}
	type result struct {
		Name   string `json:"name"`
		TaskID string `json:"taskId"`
		Ready  bool   `json:"ready"`
	}
	list := []result{}
	for _, inst := range a.instances {
		if t := inst.current; t != nil && t.readiness != nil {
			list = append(list, result{"readinessCheck", t.ID, *t.readiness})
		}
	}
	data, err := json.Marshal(list)
	if err != nil {
		panic(err) // the type above always marshals
	}
	return append([]byte(`,"readinessCheckResults":`), data...)
}
