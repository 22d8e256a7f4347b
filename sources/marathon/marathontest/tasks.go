package marathontest

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Task is a task as the API shows it.
type Task struct {
	ID          string          `json:"id"`
	AppID       string          `json:"appId"`
	Host        string          `json:"host"`
	SlaveID     string          `json:"slaveId"`
	State       string          `json:"state"`
	Ports       []int           `json:"ports"`
	IPAddresses []IPAddress     `json:"ipAddresses"`
	StagedAt    string          `json:"stagedAt,omitempty"`
	StartedAt   string          `json:"startedAt,omitempty"`
	Version     string          `json:"version,omitempty"`
	Health      []*HealthResult `json:"healthCheckResults,omitempty"` // a nil element is shown as null
	Region      string          `json:"region,omitempty"`
	Zone        string          `json:"zone,omitempty"`
	Role        string          `json:"role"`
}

// IPAddress is an element of Task.IPAddresses.
type IPAddress struct {
	Address  string `json:"ipAddress"`
	Protocol string `json:"protocol"` // IPv4 or IPv6
}

// HealthResult is the result of one health check.
type HealthResult struct {
	Alive               bool   `json:"alive"`
	ConsecutiveFailures int    `json:"consecutiveFailures"`
	FirstSuccess        string `json:"firstSuccess,omitempty"`
	LastSuccess         string `json:"lastSuccess,omitempty"`
	LastFailure         string `json:"lastFailure,omitempty"`
	InstanceID          string `json:"instanceId"`
}

// health is Marathon's own aggregate over the results there are.
func (t *Task) health() (known, alive bool) {
	alive = true
	for _, h := range t.Health {
		if h != nil {
			known = true
			alive = alive && h.Alive
		}
	}
	return known, known && alive
}

// instance is a place of an app that is filled by one task after another.
type instance struct {
	id          string
	app         *app
	incarnation int
	current     *task         // nil until the first task has an agent
	stop        bool          // no task shall follow
	ready       chan struct{} // closed when a task first runs, healthy if that is checked
	gone        chan struct{} // closed when nothing is left of it
}

// task is one incarnation of an instance.
type task struct {
	Task
	inst    *instance
	config  string
	backend *backend // nil for phantoms
	killing bool
	dead    bool

	readiness *bool // nil without result
}

// conditions are the instance conditions that go with task states.
var conditions = map[string]string{
	"TASK_STAGING": "Staging", "TASK_STARTING": "Starting", "TASK_RUNNING": "Running", "TASK_KILLING": "Killing",
	"TASK_KILLED": "Killed", "TASK_FAILED": "Failed", "TASK_FINISHED": "Finished", "TASK_ERROR": "Error",
	"TASK_GONE": "Gone", "TASK_DROPPED": "Dropped", "TASK_UNKNOWN": "Unknown",
}

func condition(t Task) string {
	if t.State == "TASK_UNREACHABLE" && len(t.Ports) == 0 {
		return "UnreachableInactive"
	}
	return defaultTo(conditions[t.State], "Unreachable")
}

// newInstance adds an instance to a. The caller holds s.mu.
func newInstance(a *app) *instance {
	r := make([]byte, 16)
	_, _ = rand.Read(r)
	id := fmt.Sprintf("%s.instance-%x-%x-%x-%x-%x", pathToken(a.id), r[:4], r[4:6], r[6:8], r[8:10], r[10:])
	inst := &instance{id: id, app: a, ready: make(chan struct{}), gone: make(chan struct{})}
	a.instances = append(a.instances, inst)
	return inst
}

func pathToken(appID string) string {
	return strings.ReplaceAll(strings.TrimPrefix(appID, "/"), "/", "_")
}

// launch starts the next incarnation. The caller holds s.mu.
func (s *Server) launch(inst *instance) {
	inst.incarnation++
	def := inst.app.def
	t := &task{inst: inst, config: def.config, Task: Task{
		ID:          s.opts.Quirks.taskID(inst.id, inst.incarnation),
		AppID:       inst.app.id,
		SlaveID:     "agent-S0",
		State:       "TASK_STAGING",
		Ports:       []int{},
		IPAddresses: []IPAddress{},
		Version:     def.Version,
		Role:        "*",
	}}
	s.publishInstance(t, "Scheduled")
	s.spawn(func() { s.bringUp(t, def) })
}

// bringUp takes a task from its launch to running and healthy.
func (s *Server) bringUp(t *task, def *definition) {
	if !sleep(s.ctx, s.opts.LaunchDelay) {
		return
	}
	ips, err := s.place(t, def)
	if err != nil {
		s.placeFailed(t, err)
		return
	}
	if !s.advance(t, func() {
		if t.inst.current != nil {
			delete(s.instances, t.inst.current.ID)
		}
		t.inst.current = t
		s.instances[t.ID] = t.inst
		t.StagedAt = stamp(time.Now())
		s.publishInstance(t, "Provisioned")
	}) {
		s.stopBackend(t, false)
		return
	}
	how := s.behaviourOf(def)
	if how.crashes {
		s.crashLater(t, how.crashAfter)
	}
	// Without a health check Marathon knows no better than that a task runs.
	checked := len(def.HealthChecks) > 0
	if !sleep(s.ctx, s.opts.LaunchDelay) || !s.advance(t, func() { t.State = "TASK_STARTING" }) ||
		!checked && !s.boot(t, how.boot) || !sleep(s.ctx, s.opts.LaunchDelay) ||
		!s.advance(t, func() { t.State, t.StartedAt, t.IPAddresses = "TASK_RUNNING", stamp(time.Now()), ips }) ||
		checked && !s.boot(t, how.boot) {
		return
	}
	s.mu.Lock()
	t.settle()
	s.mu.Unlock()
	// The calls below fail only when the task has gone meanwhile.
	if len(def.HealthChecks) > 0 && !s.opts.ManualHealth && sleep(s.ctx, s.opts.LaunchDelay) {
		_ = s.SetHealth(t.ID, true)
	}
	if len(def.ReadinessChecks) > 0 && !s.opts.ManualReadiness && sleep(s.ctx, s.opts.LaunchDelay) {
		_ = s.SetReadiness(t.ID, true)
	}
}

// boot waits until a task serves. It returns false if it is over before.
func (s *Server) boot(t *task, d time.Duration) bool {
	if d > 0 && !sleep(s.ctx, d) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.backend != nil {
		t.backend.booted.Store(time.Now().UnixNano())
		s.startProgram(t)
	}
	return !t.dead && !t.inst.stop
}

// advance makes a change of a starting task and publishes it. It reports false
// when the task is not wanted any more.
func (s *Server) advance(t *task, change func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.inst.stop || t.killing || t.dead || s.closed {
		return false
	}
	change()
	s.publishStatus(t, "")
	return true
}

// placeFailed reports a task that could not be started; another attempt follows.
func (s *Server) placeFailed(t *task, err error) {
	s.mu.Lock()
	t.State = "TASK_FAILED"
	t.noteFailure(err.Error())
	s.publishStatus(t, err.Error())
	s.mu.Unlock()
	if !sleep(s.ctx, time.Second) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !t.inst.stop {
		s.launch(t.inst)
	}
}

func (inst *instance) setReady() {
	select {
	case <-inst.ready:
	default:
		close(inst.ready)
	}
}

// decommission stops an instance for good. The caller holds s.mu.
func (s *Server) decommission(inst *instance) {
	if inst.stop {
		return
	}
	inst.stop = true
	s.kill(inst)
}

// kill stops the current task of an instance; another follows unless the
// instance was decommissioned. The caller holds s.mu.
func (s *Server) kill(inst *instance) {
	t := inst.current
	if t != nil && t.killing {
		return // the kill under way sees whether the instance stops
	}
	if (t == nil || t.dead) && !inst.stop {
		return // another task is on its way already
	}
	if t != nil && !t.dead {
		t.killing = true
		s.publishInstance(t, condition(t.Task)) // the goal changed, not the condition
		if !s.opts.NoTaskKilling {
			t.State = "TASK_KILLING"
			s.publishStatus(t, "")
		}
	}
	s.spawn(func() { s.finishKill(inst, t) })
}

// finishKill lets the task of an instance serve for the grace period, ends it,
// and removes or refills the instance. t is nil when it never had an agent.
func (s *Server) finishKill(inst *instance, t *task) {
	if !s.outlive(t) {
		return
	}
	if t != nil {
		s.stopBackend(t, true)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t != nil && !t.dead {
		s.end(t, "TASK_KILLED", "")
	}
	if !inst.stop {
		s.launch(inst)
		return
	}
	s.forget(inst)
}

// end publishes the last state of t, ports included, and makes it show as a
// task that is over. The caller holds s.mu.
func (s *Server) end(t *task, state, message string) {
	t.dead = true
	t.State = state
	t.noteFailure(message)
	s.publishStatus(t, message)
	t.Ports, t.StagedAt, t.StartedAt, t.Version, t.Health = []int{}, "", "", "", nil
}

// forget removes an instance. The caller holds s.mu.
func (s *Server) forget(inst *instance) {
	inst.stop = true
	if inst.current != nil {
		delete(s.instances, inst.current.ID)
	}
	inst.app.touch()
	inst.app.instances = slices.DeleteFunc(slices.Clone(inst.app.instances), func(i *instance) bool { return i == inst })
	select {
	case <-inst.gone:
	default:
		close(inst.gone)
	}
}

// loadTask adds a ready task. The caller holds s.mu.
func (s *Server) loadTask(a *app, shown Task) {
	inst := newInstance(a)
	inst.incarnation = 1
	now := stamp(time.Now())
	shown.AppID = a.id
	shown.ID = defaultTo(shown.ID, inst.id+"._app.1")
	inst.id = strings.TrimSuffix(shown.ID, "._app.1")
	shown.State = defaultTo(shown.State, "TASK_RUNNING")
	shown.SlaveID = defaultTo(shown.SlaveID, "agent-S0")
	shown.Role = defaultTo(shown.Role, "*")
	if shown.State == "TASK_RUNNING" {
		shown.Version = defaultTo(shown.Version, a.def.config)
		shown.StagedAt = defaultTo(shown.StagedAt, now)
		shown.StartedAt = defaultTo(shown.StartedAt, now)
		if shown.Health == nil {
			for range a.def.HealthChecks {
				shown.Health = append(shown.Health, &HealthResult{Alive: true, FirstSuccess: now, LastSuccess: now, InstanceID: inst.id})
			}
		}
	}
	if shown.Ports == nil {
		shown.Ports = []int{}
	}
	if shown.IPAddresses == nil {
		shown.IPAddresses = []IPAddress{}
	}
	inst.current = &task{Task: shown, inst: inst, config: a.def.config}
	inst.setReady()
	s.instances[shown.ID] = inst
}

// publishInstance publishes instance_changed_event. The caller holds s.mu.
func (s *Server) publishInstance(t *task, condition string) {
	t.inst.app.touch()
	fields := map[string]any{
		"instanceId": t.inst.id, "condition": condition, "runSpecId": t.AppID, "runSpecVersion": t.config,
		"agentId": nil, "host": nil,
	}
	if t.Host != "" {
		fields["agentId"], fields["host"] = t.SlaveID, t.Host
	}
	if s.opts.Quirks.NoInstances {
		return
	}
	s.bus.publish("instance_changed_event", fields)
}

// publishStatus publishes the state of t as status_update_event and
// instance_changed_event. The caller holds s.mu.
func (s *Server) publishStatus(t *task, message string) {
	t.inst.app.touch()
	s.bus.publish("status_update_event", map[string]any{
		"slaveId": t.SlaveID, "taskId": t.ID, "taskStatus": t.State, "message": message, "appId": t.AppID,
		"host": defaultTo(t.Host, "unknown"), "ipAddresses": t.IPAddresses, "ports": t.Ports, "version": defaultTo(t.Version, t.config),
	})
	s.publishInstance(t, condition(t.Task))
}
