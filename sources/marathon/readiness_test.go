package marathon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relay/sources/marathon/marathontest"
)

func TestReadiness(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, app string
		ready     string // the tasks in rotation, of "old" and "new"
		pace      time.Duration
	}{
		{"no check", `"deployments":[{"id":"d"}]`, "old new", 0},
		{"no deployment", `"readinessChecks":[{}],"deployments":[]`, "old new", 0},
		{"no deployments shown", `"readinessChecks":[{}],"deployments":null`, "old new", 0},
		{"no result yet", `"readinessChecks":[{}],"deployments":[{}]`, "old", 10 * time.Second},
		{"null check", `"readinessChecks":[null],"deployments":[{}]`, "old", 10 * time.Second},
		{"not ready", `"readinessChecks":[{"intervalSeconds":5}],"deployments":[{}],"readinessCheckResults":[{"name":"x","taskId":"new","ready":false},{"taskId":"old","ready":false}]`, "", 5 * time.Second},
		{"ready", `"readinessChecks":[{"intervalSeconds":1}],"deployments":[{}],"readinessCheckResults":[{"taskId":"new","ready":true}]`, "old new", 2 * time.Second},
		{"ready and not", `"readinessChecks":[{}],"deployments":[{}],"readinessCheckResults":[{"taskId":"new","ready":true},{"taskId":"new","ready":false}]`, "old", 10 * time.Second},
		{"a long timeout", `"readinessChecks":[{"timeoutSeconds":3600}],"deployments":[{}]`, "", 10 * time.Second},
		{"a short one", `"readinessChecks":[{"timeoutSeconds":1}],"deployments":[{}]`, "old new", 10 * time.Second},
	}
	for _, tt := range tests {
		var app appJSON
		in := fmt.Sprintf(`{"id":"/a","portDefinitions":[{}],"tasks":[
			{"id":"old","state":"TASK_RUNNING","host":"10.0.0.1","ports":[1],"startedAt":"2024-05-01T11:59:00Z"},
			{"id":"new","state":"TASK_RUNNING","host":"10.0.0.2","ports":[1],"startedAt":"2024-05-01T11:59:50.000Z"}],%s}`, tt.app)
		if err := json.Unmarshal([]byte(in), &app); err != nil {
			t.Fatal(err)
		}
		m := convertApp(&app, nil, testMapping())
		var ready []string
		for _, id := range []string{"old", "new"} {
			if m.history[id].rotation {
				ready = append(ready, id)
			}
		}
		if got := strings.Join(ready, " "); got != tt.ready || m.recheck != tt.pace {
			t.Errorf("%s: %q every %s, want %q every %s", tt.name, got, m.recheck, tt.ready, tt.pace)
		}
	}
}

// deploying answers every read of /a as in a deployment, until it has been read five times.
type deploying struct{ *scripted }

func (s deploying) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.scripted.RoundTrip(r)
	if err != nil || r.URL.Path == "/v2/events" {
		return resp, err
	}
	one := `{"id":"/a","readinessChecks":[{"intervalSeconds":3}],"deployments":[{"id":"d"}]}`
	if len(s.gaps("/v2/apps/a")) >= 4 {
		one = `{"id":"/a","readinessChecks":[{"intervalSeconds":3}],"deployments":[]}`
	}
	if r.URL.Path == "/v2/apps" {
		one = `{"apps":[` + one + `]}`
	} else {
		one = `{"app":` + one + `}`
	}
	resp.Body = io.NopCloser(strings.NewReader(one))
	return resp, nil
}

func TestReadinessIsLookedAt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{list: listOfOne, events: func(out *io.PipeWriter) {
			_, _ = out.Write([]byte(attachedEvent))
			time.Sleep(28 * time.Second)
			out.Close()
		}}
		w := newScripted(t, s, "http://m1")
		w.client.http.Transport = deploying{s}
		if err := w.Serve(t.Context()); !errors.Is(err, errStreamEnded) {
			t.Error(err)
		}
		gaps := s.gaps("/v2/apps/a")
		if len(gaps) != 4 {
			t.Errorf("%d reads, want 5: as long as the deployment runs", len(gaps)+1)
		}
		for _, gap := range gaps {
			if gap != 3*time.Second {
				t.Errorf("a read %s after the last", gap)
			}
		}
	})
}

func TestReadyTasksOfADeployment(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{ManualReadiness: true, Phantom: marathontest.PhantomTasks()})
	_, sink, _ := watch(t, fastConfig(m.URL()))
	if err := m.Apply(`{"id":"/a","cmd":"x","readinessChecks":[{"portName":"default","intervalSeconds":1}],"labels":{"HAPROXY_GROUP":"external"}}`); err != nil {
		t.Fatal(err)
	}
	poll(t, "running", func() bool { tasks := m.Tasks("/a"); return len(tasks) == 1 && tasks[0].State == "TASK_RUNNING" })
	id := m.Tasks("/a")[0].ID
	if err := m.SetReadiness(id, false); err != nil {
		t.Fatal(err)
	}
	status(m, "/a")
	sink.await(t, "seen", contains("/a "))
	if sink.saw(id + "@") {
		t.Error("a task that is not ready was in rotation")
	}
	if err := m.SetReadiness(id, true); err != nil { // no event names the app, but the deployment ends
		t.Fatal(err)
	}
	sink.await(t, "ready", contains(id+"@"))
	idle(t, m)
}

func TestAmbiguousNetworks(t *testing.T) {
	t.Parallel()
	two := `"networks":[{"mode":"container","name":"a"},{"mode":"container","name":"b"}]`
	tests := []struct {
		app, addresses string
		networks       []netip.Prefix
		want           bool
	}{
		{two + `,"container":{"portMappings":[{"containerPort":80}]}`, `{"ipAddress":"9.0.1.1"},{"ipAddress":"9.0.2.1"}`, nil, true},
		{two + `,"container":{"portMappings":[{"containerPort":80}]}`, `{"ipAddress":"9.0.1.1"},{"ipAddress":"9.0.2.1"}`, []netip.Prefix{netip.MustParsePrefix("9.0.2.0/24")}, false},
		{two + `,"container":{"portMappings":[{"containerPort":80}]}`, `{"ipAddress":"9.0.1.1"},{"ipAddress":"fd00::1"}`, nil, false},
		{two + `,"container":{"portMappings":[{"containerPort":80,"networkNames":["b"]}]}`, `{"ipAddress":"9.0.1.1"},{"ipAddress":"9.0.2.1"}`, nil, false},
		{two + `,"container":{"portMappings":[{"containerPort":80,"networkNames":["b"]}]}`, `{"ipAddress":"9.0.1.1"},{"ipAddress":"9.0.2.1"},{"ipAddress":"9.0.3.1"}`, nil, true},
		{`"networks":[{"mode":"container","name":"a"}],"container":{"portMappings":[{"containerPort":80}]}`, `{"ipAddress":"9.0.1.1"},{"ipAddress":"9.0.2.1"}`, nil, false},
	}
	for i, tt := range tests {
		var app appJSON
		if err := json.Unmarshal([]byte(`{"id":"/a",`+tt.app+`,"tasks":[{"id":"t","state":"TASK_RUNNING","ipAddresses":[`+tt.addresses+`]}]}`), &app); err != nil {
			t.Fatal(err)
		}
		m := testMapping()
		m.addressing.networks = tt.networks
		got := convertApp(&app, nil, m).app.Problems
		if (len(got) > 0) != tt.want {
			t.Errorf("%d: %v", i, got)
		}
	}
}

func TestStrangeStateIsLoggedOnce(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a")
	if err := m.UpdateTask("a.1", func(task *marathontest.Task) { task.State = "TASK_DREAMING" }); err != nil {
		t.Fatal(err)
	}
	w, sink, logged := watch(t, fastConfig(m.URL()))
	sink.await(t, "synced", contains("/a "))
	reload(t, w)
	reload(t, w)
	if n := strings.Count(logged.String(), "are in a state that is not known"); n != 1 || sink.saw("a.1@") {
		t.Errorf("logged %d times; state\n%s", n, sink.state())
	}
}
