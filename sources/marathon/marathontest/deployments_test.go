package marathontest

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// since returns the events after seq in short: type, and state, condition or
// action where there is one. Conditions of instances are left out.
func since(t *testing.T, s *Server, seq uint64) []string {
	t.Helper()
	var list []string
	for _, e := range s.Events() {
		var p struct {
			TaskStatus  string
			Healthy     *bool
			CurrentStep struct{ Actions []action }
		}
		if err := json.Unmarshal(e.Data, &p); err != nil {
			t.Fatal(err)
		}
		if e.Seq <= seq || e.Type == "instance_changed_event" {
			continue
		}
		short := strings.TrimSpace(e.Type + " " + p.TaskStatus)
		if len(p.CurrentStep.Actions) > 0 {
			short += " " + p.CurrentStep.Actions[0].Action
		}
		list = append(list, short)
	}
	return list
}

var (
	created = []string{
		"api_post_event", "group_change_success", "deployment_info StartApplication", "deployment_step_success StartApplication",
		"deployment_info ScaleApplication", "status_update_event TASK_STAGING", "status_update_event TASK_STARTING",
		"status_update_event TASK_RUNNING", "deployment_step_success ScaleApplication", "deployment_success",
	}
	restarted = []string{
		"deployment_info RestartApplication", "status_update_event TASK_STAGING", "status_update_event TASK_STARTING",
		"status_update_event TASK_RUNNING", "status_update_event TASK_KILLING", "status_update_event TASK_KILLED",
		"deployment_step_success RestartApplication", "deployment_success",
	}
)

func TestDeploymentEvents(t *testing.T) {
	t.Parallel()
	opts := quick
	opts.PublishLag = -1
	s := Start(t, opts)
	steps := []struct {
		name, method, path, body string
		want                     []string
	}{
		{"create", "PUT", "/v2/apps//shop/web", `{}`, created},
		{"nothing", "PUT", "/v2/apps/shop/web", `{"instances":1}`, []string{"api_post_event", "group_change_success", "deployment_success"}},
		{"labels", "PATCH", "/v2/apps/shop/web", `{"labels":{"a":"b"}}`, append([]string{"api_post_event", "group_change_success"}, restarted...)},
		{"restart", "POST", "/v2/apps/shop/web/restart", ``, append([]string{"group_change_success"}, restarted...)},
		{"many", "PUT", "/v2/apps", `[{"id":"/shop/web","labels":{}}]`, append([]string{"group_change_success"}, restarted...)},
		{"scale up", "PUT", "/v2/apps/shop/web", `{"instances":2}`, []string{
			"api_post_event", "group_change_success", "deployment_info ScaleApplication", "status_update_event TASK_STAGING",
			"status_update_event TASK_STARTING", "status_update_event TASK_RUNNING", "deployment_step_success ScaleApplication", "deployment_success",
		}},
		{"kill and scale", "DELETE", "/v2/apps/shop/web/tasks/FIRST?scale=true", ``, []string{
			"status_update_event TASK_KILLING", "group_change_success", "deployment_info ScaleApplication",
			"status_update_event TASK_KILLED", "deployment_step_success ScaleApplication", "deployment_success",
		}},
		{"delete", "DELETE", "/v2/apps//shop/web", ``, []string{
			"group_change_success", "deployment_info StopApplication", "status_update_event TASK_KILLING", "status_update_event TASK_KILLED",
			"app_terminated_event", "deployment_step_success StopApplication", "deployment_success",
		}},
	}
	for _, tt := range steps {
		seq := s.LastSeq()
		path := tt.path
		if tasks := s.Tasks("/shop/web"); len(tasks) > 0 {
			path = strings.Replace(path, "FIRST", tasks[0].ID, 1)
		}
		status, _, body := call(t, tt.method, s.URL()+path, tt.body)
		if status != 200 && status != 201 {
			t.Fatalf("%s: %d %s", tt.name, status, body)
		}
		waitIdle(t, s)
		if diff := cmp.Diff(tt.want, since(t, s, seq)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestDeploymentStartsBeforeItIsVisible(t *testing.T) {
	t.Parallel()
	for lag, shown := range map[time.Duration]string{time.Hour: `"old"`, time.Millisecond: `"new"`} {
		opts := quick
		opts.PublishLag, opts.Phantom = lag, PhantomTasks()
		s := Start(t, opts)
		if err := s.LoadApps(App{Definition: `{"id":"/a","labels":{"v":"old"}}`}); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- s.Apply(`{"id":"/a","labels":{"v":"new"}}`) }()
		started := awaitType(t, s, 0, "deployment_info", "")
		if lag == time.Millisecond {
			awaitType(t, s, started.Seq, "group_change_success", "")
		}
		if app := string(s.AppJSON("/a")); !strings.Contains(app, shown) {
			t.Errorf("%s after deployment_info the app is to be visible: %s", lag, app)
		}
		s.Close()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func TestRollingDeploymentWaitsForHealth(t *testing.T) {
	t.Parallel()
	opts := quick
	opts.ManualHealth = true
	opts.Phantom = PhantomTasks()
	s := Start(t, opts)
	if err := s.LoadApps(App{Definition: `{"id":"/a","healthChecks":[{"protocol":"HTTP"}],"labels":{}}`, Tasks: []Task{{Host: "10.1.1.1", Ports: []int{80}}}}); err != nil {
		t.Fatal(err)
	}
	old := s.Tasks("/a")[0].ID
	apply(t, s, `{"id":"/a","labels":{"new":"label"}}`)
	awaitType(t, s, 0, "status_update_event", "TASK_RUNNING")
	tasks := s.Tasks("/a")
	if len(tasks) != 2 || tasks[0].ID != old || tasks[0].State != "TASK_RUNNING" {
		t.Fatalf("before the new one is healthy: %+v", tasks)
	}
	if err := s.SetHealth(tasks[1].ID, true); err != nil {
		t.Fatal(err)
	}
	waitIdle(t, s)
	if now := s.Tasks("/a"); len(now) != 1 || now[0].ID != tasks[1].ID || len(now[0].Health) != 1 {
		t.Errorf("after: %+v", now)
	}
	s.ForgetHealth()
	if now := s.Tasks("/a"); now[0].Health != nil {
		t.Errorf("health not forgotten: %+v", now)
	}
}

func TestLockForceAndRollback(t *testing.T) {
	t.Parallel()
	opts := quick
	opts.ManualHealth = true
	opts.Phantom = PhantomTasks()
	s := Start(t, opts)
	if err := s.LoadApps(App{Definition: `{"id":"/a","healthChecks":[{}],"labels":{"v":"1"}}`, Tasks: []Task{{Host: "10.1.1.1"}}}); err != nil {
		t.Fatal(err)
	}
	apply(t, s, `{"id":"/a","labels":{"v":"2"}}`)
	if status, _, body := call(t, "PUT", s.URL()+"/v2/apps/a", `{"labels":{"v":"3"}}`); status != 409 || !strings.Contains(body, `"deployments":[{"id":`) {
		t.Errorf("locked: %d %s", status, body)
	}
	if status, _, body := call(t, "PUT", s.URL()+"/v2/apps/a?force=true", `{"labels":{"v":"3"}}`); status != 200 {
		t.Errorf("force: %d %s", status, body)
	}
	awaitType(t, s, 0, "deployment_failed", "cancelled")
	_, _, body := call(t, "GET", s.URL()+"/v2/deployments", "")
	var list []struct {
		ID           string
		AffectedApps []string
		CurrentStep  int
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list) != 1 || !slices.Equal(list[0].AffectedApps, []string{"/a"}) {
		t.Fatalf("deployments: %s, %v", body, err)
	}
	if status, _, body := call(t, "DELETE", s.URL()+"/v2/deployments/"+list[0].ID, ""); status != 200 {
		t.Errorf("rollback: %d %s", status, body)
	}
	if app := string(s.AppJSON("/a")); !strings.Contains(app, `"labels":{"v":"2"}`) {
		t.Errorf("after the rollback: %s", app)
	}
	if status, _, _ := call(t, "DELETE", s.URL()+"/v2/deployments/"+list[0].ID, ""); status != 404 {
		t.Errorf("rollback of what is over: %d", status)
	}
}

func TestDeletedAppDrains(t *testing.T) {
	t.Parallel()
	opts := quick
	opts.NoTaskKilling = true
	s := Start(t, opts)
	apply(t, s, `{"id":"/a"}`)
	waitIdle(t, s)
	task := s.Tasks("/a")[0]
	resp, err := client(t).Get(taskURL(task) + "/stream?n=5&ms=20")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	seq := s.LastSeq()
	if err := s.DeleteApp("/a"); err != nil {
		t.Fatal(err)
	}
	if s.AppJSON("/a") != nil {
		t.Error("the app is still shown")
	}
	awaitType(t, s, seq, "app_terminated_event", `"/a"`)
	if body, err := io.ReadAll(resp.Body); err != nil || !strings.HasPrefix(string(body), "0 "+task.ID) || strings.Count(string(body), "\n") != 5 {
		t.Errorf("request in flight got %q, %v", body, err)
	}
	if events := strings.Join(since(t, s, seq), ","); strings.Contains(events, "KILLING") || !strings.Contains(events, "TASK_KILLED") {
		t.Errorf("events without task_killing: %s", events)
	}
	waitIdle(t, s)
}
