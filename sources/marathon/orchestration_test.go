package marathon

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relay/sources"
	"relay/sources/marathon/marathontest"
)

const (
	morning, noon = "2026-05-01T09:00:00.000Z", "2026-05-01T12:00:00.000Z"
	sleepy        = `"labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"a.test","RELAY_IDLE_AFTER":"30m"%s}`
)

func TestOrchestration(t *testing.T) {
	t.Parallel()
	at := func(text string) time.Time { v, _ := parseTime(text); return v }
	sleeping := &sources.Scaling{IdleAfter: 30 * time.Minute}
	plain := strings.ReplaceAll(fmt.Sprintf(sleepy, ""), `,"RELAY_IDLE_AFTER":"30m"`, "")
	running := `"tasks":[{"id":"a.1","state":"TASK_RUNNING","host":"10.0.0.1","ports":[31000],"startedAt":"` + noon + `"},{"id":"a.2","state":"TASK_STAGING"}]`
	failed := `"lastTaskFailure":{"taskId":"a.0","state":"TASK_FAILED","message":" no memory, password=hunter2 ","version":"` + morning + `","timestamp":"` + noon + `"}`
	failure := &sources.TaskFailure{Task: "a.0", State: "TASK_FAILED", Message: "no memory, password=REDACTED", Version: morning, At: at(noon)}
	for _, tt := range []struct {
		name, app string
		list      bool // the answer lists all apps
		before    *sources.TaskFailure
		scaling   *sources.Scaling
		want      *sources.Orchestration
	}{
		{name: "asks for nothing", app: `"instances":2,"deployments":[{"id":"d"}],"killSelection":"OLDEST_FIRST",` + running + "," + plain},
		{name: "sleeps", app: `"instances":2,"killSelection":"OLDEST_FIRST",` + running + "," + fmt.Sprintf(sleepy, ""), scaling: sleeping,
			want: &sources.Orchestration{Instances: 2, OldestFirst: true, StartedAt: map[string]time.Time{"a.1": at(noon)}}},
		{name: "is deployed", app: `"instances":1,"deployments":[{"id":"d"}],` + fmt.Sprintf(sleepy, ""), scaling: sleeping, want: &sources.Orchestration{Instances: 1, Deploying: true}},
		{name: "asleep", app: `"instances":0,` + fmt.Sprintf(sleepy, `,"RELAY_ASLEEP":"3"`), scaling: sleeping, want: &sources.Orchestration{Asleep: 3}},
		{name: "asleep by its label alone", app: `"instances":0,` + strings.Replace(fmt.Sprintf(sleepy, `,"RELAY_ASLEEP":"3"`), `"RELAY_IDLE_AFTER":"30m",`, "", 1),
			scaling: &sources.Scaling{}, want: &sources.Orchestration{Asleep: 3}},
		{name: "the label of an app that runs", app: `"instances":1,` + strings.Replace(fmt.Sprintf(sleepy, `,"RELAY_ASLEEP":"3"`), `"RELAY_IDLE_AFTER":"30m",`, "", 1)},
		{name: "suspended", app: `"instances":0,` + fmt.Sprintf(sleepy, ""), scaling: sleeping, want: &sources.Orchestration{}},
		{name: "suspended, and the label is left", app: `"instances":0,"versionInfo":{"lastScalingAt":"` + noon + `","lastConfigChangeAt":"` + morning + `"},` + fmt.Sprintf(sleepy, `,"RELAY_ASLEEP":"3"`),
			scaling: sleeping, want: &sources.Orchestration{}},
		{name: "put to sleep", app: `"instances":0,"versionInfo":{"lastScalingAt":"` + noon + `","lastConfigChangeAt":"` + noon + `"},` + fmt.Sprintf(sleepy, `,"RELAY_ASLEEP":"3"`),
			scaling: sleeping, want: &sources.Orchestration{Asleep: 3}},
		{name: "odd label", app: `"instances":0,` + fmt.Sprintf(sleepy, `,"RELAY_ASLEEP":"-3"`), scaling: sleeping, want: &sources.Orchestration{}},
		{name: "failed", app: `"instances":1,` + failed + "," + fmt.Sprintf(sleepy, ""), scaling: sleeping, want: &sources.Orchestration{Instances: 1, Failure: failure}},
		{name: "failed in a list", list: true, before: failure, app: `"instances":1,` + fmt.Sprintf(sleepy, ""), scaling: sleeping, want: &sources.Orchestration{Instances: 1, Failure: failure}},
		{name: "has not failed", before: failure, app: `"instances":1,` + fmt.Sprintf(sleepy, ""), scaling: sleeping, want: &sources.Orchestration{Instances: 1}},
		{name: "failed before it was changed", list: true, before: failure, app: `"instances":1,"version":"2026-05-01T12:00:01.000Z",` + fmt.Sprintf(sleepy, ""), scaling: sleeping,
			want: &sources.Orchestration{Instances: 1}},
		{name: "asks for nothing, and all have failed", app: `"instances":1,` + failed + "," + plain, want: &sources.Orchestration{Failure: failure}},
		{name: "asks for nothing, and one serves", app: `"instances":2,` + failed + "," + running + "," + plain},
		{name: "asks for nothing, and is stopped", app: `"instances":0,` + failed + "," + plain},
		{name: "odd failures", app: `"instances":1,"lastTaskFailure":[7],"killSelection":3,"deployments":[{"id":7}],` + fmt.Sprintf(sleepy, ""), scaling: sleeping,
			want: &sources.Orchestration{Instances: 1, Deploying: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := tt.app
			if !strings.Contains(text, `"version":`) || strings.Contains(text, `"lastTaskFailure":{`) {
				text += `,"version":"` + morning + `"`
			}
			answer, err := decodeOneApp(strings.NewReader(`{"app":{"id":"/a","networks":[{"mode":"host"}],"portDefinitions":[{"port":10000}],` + text + `}}`))
			if err != nil || answer.mismatch != "" {
				t.Fatal(err, answer.mismatch)
			}
			m := testMapping()
			m.single, m.failure = !tt.list, tt.before
			app := convertApp(&answer.app, nil, m).app
			if diff := cmp.Diff(tt.scaling, app.Scaling); diff != "" {
				t.Errorf("scaling (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.want, app.Orchestration); diff != "" {
				t.Errorf("orchestration (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzLastTaskFailure holds that no failure is longer than what people are shown, and none undated.
func FuzzLastTaskFailure(f *testing.F) {
	f.Add([]byte(`{"taskId":"a.0","state":"TASK_FAILED","message":"no memory","timestamp":"2026-05-01T12:00:00.000Z"}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"taskId":7}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		failure := failureFrom(json.RawMessage(data))
		if failure == nil {
			return
		}
		if failure.Task == "" || len(failure.Task) > sources.MaxIDBytes || len(failure.State) > 200 || len(failure.Message) > 2000 || len(failure.Version) > sources.MaxNameBytes {
			t.Errorf("%+v", failure)
		}
	})
}

// orchestration waits until what is known of an app is so.
func orchestration(t *testing.T, sink *recorder, id, what string, ok func(*sources.Orchestration) bool) {
	t.Helper()
	poll(t, what, func() bool {
		sink.mu.Lock()
		defer sink.mu.Unlock()
		app := sink.apps[id]
		return app != nil && app.Orchestration != nil && ok(app.Orchestration)
	})
}

// What Relay's own changes do to an app is noticed, up to the end of each deployment.
func TestDeploymentsAreNoticed(t *testing.T) {
	t.Parallel()
	s := newScaled(t, 2, `{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"web.test","RELAY_IDLE_AFTER":"30m"}`)
	cfg := fastConfig(s.URL())
	cfg.RereadDelay = 20 * time.Millisecond
	_, sink, _ := watch(t, cfg)
	orchestration(t, sink, "/web", "runs", func(o *sources.Orchestration) bool { return o.Instances == 2 && !o.Deploying && len(o.StartedAt) == 2 })
	if _, err := s.rescale(sources.Rescale{Version: s.version(), Asleep: 2}); err != nil {
		t.Fatal(err)
	}
	orchestration(t, sink, "/web", "sleeps", func(o *sources.Orchestration) bool { return o.Asleep == 2 && !o.Deploying && len(o.StartedAt) == 0 })
	s.SetBoot("/web", time.Hour)
	if _, err := s.rescale(sources.Rescale{Version: s.version(), Instances: 2}); err != nil {
		t.Fatal(err)
	}
	orchestration(t, sink, "/web", "wakes", func(o *sources.Orchestration) bool { return o.Instances == 2 && o.Deploying && o.Asleep == 0 })
	s.SetBoot("/web", 0)
	for _, task := range s.Tasks("/web") { // others come, which take no time
		if err := s.Crash(task.ID); err != nil {
			t.Fatal(err)
		}
	}
	orchestration(t, sink, "/web", "is awake", func(o *sources.Orchestration) bool { return !o.Deploying && len(o.StartedAt) == 2 })
}

// An answer that still shows a deployment that has ended is not the last one.
func TestDeploymentThatIsStillShown(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	app := `{"id":"/a","instances":%d,"version":"2026-05-01T09:00:00.000Z","deployments":[%s],"networks":[{"mode":"host"}],"portDefinitions":[{"port":10000}],` + fmt.Sprintf(sleepy, "") + `}`
	load(t, m, "/a")
	m.SetRawApp("/a", json.RawMessage(fmt.Sprintf(app, 1, `{"id":"d"}`)))
	var reads atomic.Int32
	m.Inject(marathontest.ReadOf("/a"), marathontest.Fault{Before: func() {
		if reads.Add(1) == 2 {
			m.SetRawApp("/a", json.RawMessage(fmt.Sprintf(app, 2, "")))
		}
	}})
	cfg := fastConfig(m.URL())
	cfg.RereadDelay = 50 * time.Millisecond
	_, sink, _ := watch(t, cfg)
	orchestration(t, sink, "/a", "is deployed", func(o *sources.Orchestration) bool { return o.Deploying })
	m.SetRawApp("/a", json.RawMessage(fmt.Sprintf(app, 2, `{"id":"d"}`))) // something else has changed, so the read tells news
	m.Publish("deployment_success", map[string]any{"id": "d", "plan": map[string]any{"id": "d", "steps": []any{map[string]any{"actions": []any{map[string]any{"action": "ScaleApplication", "app": "/a"}}}}}})
	orchestration(t, sink, "/a", "no deployment is left", func(o *sources.Orchestration) bool { return o.Instances == 2 && !o.Deploying })
}

// Why tasks fail is known from events on, and a read of all apps, which does not say it, does not lose it.
func TestFailureIsKept(t *testing.T) {
	t.Parallel()
	s := newScaled(t, 1, `{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"web.test"}`)
	w, sink, _ := watch(t, fastConfig(s.URL()))
	sink.await(t, "synced", contains("/web"))
	s.SetCrashLoop("/web", time.Millisecond)
	s.SetBoot("/web", time.Hour)
	if err := s.Crash(s.Tasks("/web")[0].ID); err != nil {
		t.Fatal(err)
	}
	failed := func(o *sources.Orchestration) bool {
		return o.Failure != nil && strings.Contains(o.Failure.Message, "status 1")
	}
	orchestration(t, sink, "/web", "has failed", failed)
	reload(t, w)
	orchestration(t, sink, "/web", "is still known to have failed", failed)
	s.SetBoot("/web", 0) // first: a task in between would neither serve nor fail
	s.StopCrashLoop("/web")
	poll(t, "a task serves, and it counts no more", func() bool {
		sink.mu.Lock()
		defer sink.mu.Unlock()
		return sink.apps["/web"].Orchestration == nil
	})
}
