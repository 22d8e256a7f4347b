package marathontest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// App is an app to be loaded as if it had been there for long.
type App struct {
	// Definition is the app definition as the API would show it. Only "id" is
	// required; it is shown as given, without defaults added but instances
	// and version.
	Definition string
	// Tasks are shown as given, with what is empty filled in: ID, State
	// (TASK_RUNNING), Version, StagedAt, StartedAt, and one good health result
	// for each health check. They have no server behind them.
	Tasks []Task
	// Earlier are definitions that the app had before, each with "id" and "version", and
	// shown as versions of the app. The tasks of a version name it in Task.Version.
	Earlier []string
}

// app is what Marathon knows of an app.
type app struct {
	id          string
	def         *definition
	instances   []*instance
	deployments []string
	raw         []byte // shown in place of everything else, when set
	lastFailure *failure
	failing     string // the config whose tasks failed, so many times
	failures    int
	tail        []byte // cached end of the JSON with tasks; nil when out of date
}

// LoadApps adds or replaces apps and their tasks without deployment and
// without events: the state a test starts from. It is cheap enough for 50000 apps.
func (s *Server) LoadApps(apps ...App) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	version := s.newVersion()
	for _, in := range apps {
		def, err := loadedDefinition(in.Definition, len(in.Tasks), version)
		if err != nil {
			return fmt.Errorf("marathontest: %w", err)
		}
		if old := s.apps[def.ID]; old != nil {
			for _, inst := range old.instances {
				s.forget(inst)
			}
		}
		a := &app{id: def.ID, def: def}
		s.apps[a.id] = a
		for _, earlier := range in.Earlier {
			old, err := loadedDefinition(earlier, 0, version)
			if err != nil {
				return fmt.Errorf("marathontest: earlier %w", err)
			}
			s.keepVersion(old)
		}
		s.keepVersion(def)
		for _, t := range in.Tasks {
			s.loadTask(a, t)
		}
	}
	return nil
}

// loadedDefinition adds instances and version where the definition has none.
func loadedDefinition(data string, tasks int, version string) (*definition, error) {
	var has struct {
		Instances *int
		Version   *string
	}
	if err := json.Unmarshal([]byte(data), &has); err != nil {
		return nil, fmt.Errorf("app definition: %w", err)
	}
	data = strings.TrimSpace(data)
	if has.Instances == nil {
		data = fmt.Sprintf(`%s,"instances":%d}`, data[:len(data)-1], tasks)
	}
	if has.Version == nil {
		data = fmt.Sprintf(`%s,"version":%q}`, data[:len(data)-1], version)
	}
	return parseDefinition([]byte(data))
}

// SetRawApp shows raw, valid JSON or not, wherever the app would be shown, without
// an event; nil shows the app itself again. An id without app gets one.
func (s *Server) SetRawApp(id string, raw json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.apps[id]
	switch {
	case a == nil && raw == nil:
	case a == nil:
		zero := 0
		s.apps[id] = &app{id: id, raw: raw, def: &definition{json: []byte(`{}`), spec: spec{ID: id, Instances: &zero}}}
	default:
		a.raw = raw
	}
}

// RemoveApp removes an app and its tasks at once, without deployment and
// without events. See DeleteApp for what a user would do.
func (s *Server) RemoveApp(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.apps[id]; a != nil {
		for _, inst := range a.instances {
			s.forget(inst)
		}
		delete(s.apps, id)
		delete(s.versions, id)
	}
}

// Tasks returns the tasks that the API shows for an app.
func (s *Server) Tasks(appID string) []Task {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.apps[appID]; a != nil {
		return a.tasks()
	}
	return nil
}

// AppJSON returns what GET /v2/apps/{id} shows under "app", nil if there is no such app.
func (s *Server) AppJSON(id string) json.RawMessage { return s.appJSON(id, true) }

func (s *Server) appJSON(id string, readiness bool) json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.apps[id]; a != nil {
		return bytes.Join(a.parts(show{tasks: true, readiness: readiness, failure: true, quirks: *s.opts.Quirks}), nil)
	}
	return nil
}

// tasks returns the tasks that have an agent. Tasks copied here share slices
// that are replaced, never modified.
func (a *app) tasks() []Task {
	tasks := []Task{}
	for _, inst := range a.instances {
		if inst.current != nil {
			tasks = append(tasks, inst.current.Task)
		}
	}
	return tasks
}

// parts returns the JSON of the app in pieces, to be written one after the
// other; they are never modified.
func (a *app) parts(what show) [][]byte {
	if a.raw != nil {
		return [][]byte{a.raw}
	}
	parts := [][]byte{a.def.json[:len(a.def.json)-1]}
	if results := a.readinessResults(); results != nil && what.readiness {
		parts = append(parts, results)
	}
	if failed := a.failurePart(); failed != nil && what.failure {
		parts = append(parts, failed)
	}
	switch {
	case !what.tasks:
		parts = append(parts, a.render(false))
	case a.tail == nil:
		a.tail = a.render(true)
		fallthrough
	default:
		parts = append(parts, a.tail)
	}
	if what.quirks.reshapes() {
		return [][]byte{what.quirks.reshape(bytes.Join(parts, nil))}
	}
	return parts
}

// show says what is shown of an app, and how.
type show struct {
	tasks, readiness, failure bool
	quirks                    Quirks
}

// render returns the end of the JSON: counts, deployments and tasks.
func (a *app) render(withTasks bool) []byte {
	type ref struct {
		ID string `json:"id"`
	}
	shown := struct {
		Staged      int    `json:"tasksStaged"`
		Running     int    `json:"tasksRunning"`
		Healthy     int    `json:"tasksHealthy"`
		Unhealthy   int    `json:"tasksUnhealthy"`
		Deployments []ref  `json:"deployments"`
		Tasks       []Task `json:"tasks,omitempty"`
	}{Deployments: []ref{}}
	tasks := a.tasks()
	for _, t := range tasks {
		switch t.State {
		case "TASK_STAGING", "TASK_STARTING":
			shown.Staged++
		case "TASK_RUNNING":
			shown.Running++
		}
		if known, alive := t.health(); known && alive {
			shown.Healthy++
		} else if known {
			shown.Unhealthy++
		}
	}
	for _, id := range a.deployments {
		shown.Deployments = append(shown.Deployments, ref{id})
	}
	if withTasks {
		shown.Tasks = tasks
	}
	data, err := json.Marshal(shown)
	if err != nil {
		panic(err) // the types above always marshal
	}
	if withTasks && len(tasks) == 0 {
		data = append(data[:len(data)-1], `,"tasks":[]}`...)
	}
	data[0] = ','
	return data
}

// touch makes the next answer show a's new state.
func (a *app) touch() { a.tail = nil }

// setDeployment adds or removes a deployment id.
func (a *app) setDeployment(id string, running bool) {
	a.touch()
	a.deployments = slices.DeleteFunc(slices.Clone(a.deployments), func(d string) bool { return d == id })
	if running {
		a.deployments = append(a.deployments, id)
	}
}
