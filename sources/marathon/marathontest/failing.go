package marathontest

import (
	"encoding/json"
	"math"
	"time"
)

// behaviour is how the tasks of an app start and fail, where that is not the default.
type behaviour struct {
	// boot is the time until a task serves, from its start.
	boot time.Duration
	// crashAfter, if crashes is set, is the time from its start until a task fails.
	crashAfter time.Duration
	crashes    bool
}

// SetBoot sets how long the tasks of an app take from their start until they serve: those that
// start from now on. See Options.Boot. The app need not exist yet.
func (s *Server) SetBoot(appID string, boot time.Duration) {
	s.behave(appID, func(b *behaviour) { b.boot = boot })
}

// SetCrashLoop has the tasks of an app that start from now on fail so long after their start, with
// TASK_FAILED, again and again. Between two there is the time that the definition gives by
// backoffSeconds, backoffFactor and maxLaunchDelaySeconds. The app need not exist yet.
func (s *Server) SetCrashLoop(appID string, after time.Duration) {
	s.behave(appID, func(b *behaviour) { b.crashAfter, b.crashes = after, true })
}

// StopCrashLoop has the tasks of an app that start from now on stay.
func (s *Server) StopCrashLoop(appID string) {
	s.behave(appID, func(b *behaviour) { b.crashes = false })
}

func (s *Server) behave(appID string, change func(*behaviour)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.behaviours[appID]
	if !ok {
		b.boot = s.opts.Boot
	}
	change(&b)
	s.behaviours[appID] = b
}

// behaviourOf returns how a task of a definition starts and fails.
func (s *Server) behaviourOf(def *definition) behaviour {
	s.mu.Lock()
	b, ok := s.behaviours[def.ID]
	s.mu.Unlock()
	if !ok {
		b.boot = s.opts.Boot
	}
	if d, err := time.ParseDuration(def.Env.Boot); err == nil {
		b.boot = d
	}
	if d, err := time.ParseDuration(def.Env.CrashAfter); err == nil {
		b.crashAfter, b.crashes = d, true
	}
	return b
}

// crashLater has a task fail after a time, if it lives so long. Another one follows after the
// delay of its app.
func (s *Server) crashLater(t *task, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spawn(func() {
		if sleep(s.ctx, after) {
			s.fail(t, "Command exited with status 1", true)
		}
	})
}

// fail ends a task with TASK_FAILED, and starts another one, at once or after the delay that the
// app has. It returns false if the task was over.
func (s *Server) fail(t *task, reason string, delayed bool) bool {
	s.mu.Lock()
	if t.dead || t.inst.current != t {
		s.mu.Unlock()
		return false
	}
	t.dead = true // nothing else ends it meanwhile
	s.mu.Unlock()
	s.stopBackend(t, false)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(t, "TASK_FAILED", reason)
	if t.killing || t.inst.stop || s.closed {
		return true
	}
	if !delayed {
		s.launch(t.inst)
		return true
	}
	wait := t.inst.app.launchDelay()
	s.spawn(func() {
		if !sleep(s.ctx, wait) {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if !t.inst.stop && t.inst.current == t {
			s.launch(t.inst)
		}
	})
	return true
}

// launchDelay is the time before the next task of an app starts after one has failed: it grows
// while tasks of one version fail. The caller holds s.mu.
func (a *app) launchDelay() time.Duration {
	if a.failing != a.def.config {
		a.failing, a.failures = a.def.config, 0
	}
	def, second := a.def, float64(time.Second)
	wait := def.BackoffSeconds * second * math.Pow(max(1, def.BackoffFactor), float64(a.failures))
	a.failures++
	return time.Duration(min(wait, max(def.MaxLaunchDelaySeconds, def.BackoffSeconds)*second))
}

// failure is the last task that failed, as the API shows it.
type failure struct {
	AppID     string `json:"appId"`
	Host      string `json:"host"`
	Message   string `json:"message"`
	State     string `json:"state"`
	TaskID    string `json:"taskId"`
	Timestamp string `json:"timestamp"`
	Version   string `json:"version"`
	SlaveID   string `json:"slaveId"`
}

// noteFailure keeps a failure to be shown. The caller holds s.mu.
func (t *task) noteFailure(message string) {
	switch t.State {
	case "TASK_FAILED", "TASK_ERROR", "TASK_LOST", "TASK_DROPPED", "TASK_GONE":
		a := t.inst.app
		a.lastFailure = &failure{t.AppID, t.Host, message, t.State, t.ID, stamp(time.Now()), defaultTo(t.Version, t.config), t.SlaveID}
	}
}

// failurePart is the piece of the JSON of an app with its last failure; nil if there is none.
func (a *app) failurePart() []byte {
	if a.lastFailure == nil {
		return nil
	}
	data, err := json.Marshal(a.lastFailure)
	if err != nil {
		panic(err) // it is made of texts
	}
	return append([]byte(`,"lastTaskFailure":`), data...)
}
