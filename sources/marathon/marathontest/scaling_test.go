package marathontest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// readApp reads an app as clients do.
func readApp(t *testing.T, s *Server, id string) (app struct {
	Instances       int
	Labels          map[string]string
	Tasks           []Task
	LastTaskFailure *failure
}) {
	t.Helper()
	var answer struct{ App any }
	answer.App = &app
	status, _, body := call(t, "GET", s.URL()+"/v2/apps"+id, "")
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	return app
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so in time", what)
		}
	}
}

// A task with a health check runs while it boots, one without runs only then. Neither serves before.
func TestBoot(t *testing.T) {
	t.Parallel()
	for checks, state := range map[string]string{"": "TASK_STARTING", `,"healthChecks":[{"protocol":"HTTP"}]`: "TASK_RUNNING"} {
		s := Start(t, quick)
		s.SetBoot("/boots", time.Hour)
		apply(t, s, `{"id":"/boots","instances":1`+checks+`}`)
		eventually(t, "it boots", func() bool {
			tasks := s.Tasks("/boots")
			return len(tasks) == 1 && tasks[0].State == state
		})
		task := s.Tasks("/boots")[0]
		if status, _, _ := call(t, "GET", taskURL(task), ""); status != http.StatusServiceUnavailable {
			t.Errorf("%q: it answers %d while it boots", checks, status)
		}
		if _, alive := task.health(); alive || s.Tasks("/boots")[0].State != state {
			t.Errorf("%q: it counts as ready and does not serve", checks)
		}

		const boot = 50 * time.Millisecond
		s.SetBoot("/a", boot)
		apply(t, s, `{"id":"/a","instances":1`+checks+`}`)
		eventually(t, "it serves", func() bool {
			tasks := s.Tasks("/a")
			return len(tasks) == 1 && tasks[0].State == "TASK_RUNNING" && len(tasks[0].Health) == strings.Count(checks, "protocol")
		})
		task = s.Tasks("/a")[0]
		status, header, _ := call(t, "GET", taskURL(task), "")
		staged, err := time.Parse(timeLayout, task.StagedAt)
		serves, err2 := time.Parse(time.RFC3339Nano, header.Get("X-Serves-Since"))
		if err != nil || err2 != nil || status != http.StatusOK || serves.Sub(staged) < boot {
			t.Errorf("%q: staged at %s, it answers %d, and serves since %q", checks, task.StagedAt, status, header.Get("X-Serves-Since"))
		}
	}
}

// Tasks of a crash loop fail again and again, and answers about the app alone say why.
func TestCrashLoop(t *testing.T) {
	t.Parallel()
	s := Start(t, quick)
	s.SetCrashLoop("/a", 5*time.Millisecond)
	s.SetBoot("/a", time.Hour)
	apply(t, s, `{"id":"/a","instances":1,"backoffSeconds":0.001,"healthChecks":[{"protocol":"HTTP"}]}`)
	seen := map[string]bool{}
	eventually(t, "three tasks have failed", func() bool {
		if f := readApp(t, s, "/a").LastTaskFailure; f != nil && f.State == "TASK_FAILED" && f.Message != "" && f.Version != "" {
			seen[f.TaskID] = true
		}
		return len(seen) >= 3
	})
	if _, _, list := call(t, "GET", s.URL()+"/v2/apps?embed=apps.tasks", ""); strings.Contains(list, "lastTaskFailure") {
		t.Error("a list tells of it, unasked")
	}
	s.SetBoot("/a", 0) // first: a task in between would neither serve nor fail
	s.StopCrashLoop("/a")
	waitIdle(t, s)
}

func TestLaunchDelay(t *testing.T) {
	t.Parallel()
	a := &app{def: &definition{config: "1", spec: spec{BackoffSeconds: 1, BackoffFactor: 2, MaxLaunchDelaySeconds: 3}}}
	for i, want := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second} {
		if got := a.launchDelay(); got != want {
			t.Errorf("after %d failures %s, want %s", i, got, want)
		}
	}
	a.def = &definition{config: "2", spec: a.def.spec}
	if got := a.launchDelay(); got != time.Second {
		t.Errorf("of another version %s", got)
	}
}

// The tasks named are killed, and no others come in their place.
func TestKillAndScale(t *testing.T) {
	t.Parallel()
	s := Start(t, quick)
	apply(t, s, `{"id":"/a","instances":3}`)
	waitIdle(t, s)
	tasks := s.Tasks("/a")
	body := fmt.Sprintf(`{"ids":[%q,"none"]}`, tasks[1].ID)
	status, _, answer := call(t, "POST", s.URL()+"/v2/tasks/delete?scale=true", body)
	if status != http.StatusOK || !strings.Contains(answer, "deploymentId") {
		t.Fatalf("%d %s", status, answer)
	}
	waitIdle(t, s)
	left := s.Tasks("/a")
	if len(left) != 2 || slices.ContainsFunc(left, func(task Task) bool { return task.ID == tasks[1].ID }) || readApp(t, s, "/a").Instances != 2 {
		t.Errorf("left: %v", left)
	}
	if status, _, answer := call(t, "POST", s.URL()+"/v2/tasks/delete", fmt.Sprintf(`{"ids":[%q]}`, left[0].ID)); status != http.StatusOK || !strings.Contains(answer, left[0].ID) {
		t.Errorf("without scale: %d %s", status, answer)
	}
	eventually(t, "another task follows", func() bool {
		now := s.Tasks("/a")
		return len(now) == 2 && now[0].ID != left[0].ID && now[0].State == "TASK_RUNNING"
	})
}

// A scale down takes the tasks that do not run first, and then those that killSelection says.
func TestKillSelection(t *testing.T) {
	t.Parallel()
	for selection, want := range map[string]string{"YOUNGEST_FIRST": "old", "OLDEST_FIRST": "young", "": "old"} {
		s := Start(t, quick)
		definition := fmt.Sprintf(`{"id":"/a","killSelection":%q}`, selection)
		if selection == "" {
			definition = `{"id":"/a"}`
		}
		err := s.LoadApps(App{Definition: definition, Tasks: []Task{
			{ID: "young", StartedAt: "2026-01-02T00:00:00.000Z"}, {ID: "old", StartedAt: "2026-01-01T00:00:00.000Z"}, {ID: "staged", State: "TASK_STAGING"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		apply(t, s, `{"id":"/a","instances":1}`)
		waitIdle(t, s)
		if left := s.Tasks("/a"); len(left) != 1 || left[0].ID != want {
			t.Errorf("%s: left %v, want %s", selection, left, want)
		}
	}
}

// A connection is cut when what was asked is done, and somebody changes an app in between.
func TestFaultsOfWrites(t *testing.T) {
	t.Parallel()
	s := Start(t, quick)
	apply(t, s, `{"id":"/a","instances":1}`)
	waitIdle(t, s)
	s.Inject(WriteOf("/a"), Fault{Cut: true, Times: 1, Before: func() {
		apply(t, s, `{"id":"/a","labels":{"by":"people"}}`)
		waitIdle(t, s)
	}})
	req, err := http.NewRequestWithContext(bound(t), http.MethodPut, s.URL()+"/v2/apps/a", strings.NewReader(`{"instances":2}`))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := client(t).Do(req); err == nil {
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		t.Errorf("answered %d %s", resp.StatusCode, text)
	}
	waitIdle(t, s)
	if a := readApp(t, s, "/a"); a.Instances != 2 || a.Labels["by"] != "people" {
		t.Errorf("%d instances, labels %v", a.Instances, a.Labels)
	}
	s.Inject(KindKill, Fault{Status: 500, Times: 1})
	if status, _, _ := call(t, "POST", s.URL()+"/v2/tasks/delete?scale=true", `{"ids":[]}`); status != 500 {
		t.Errorf("status %d", status)
	}
	if n := s.Requests(WriteOf("/a")); n != 1 {
		t.Errorf("%d writes", n)
	}
}
