package marathontest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// loaded returns a Server with /shop/web (two tasks, one check), /shop/db and /other.
func loaded(t *testing.T, opts Options) *Server {
	t.Helper()
	opts.Phantom = PhantomTasks()
	s := Start(t, opts)
	err := s.LoadApps(
		App{
			Definition: `{"id":"/shop/web","labels":{"HAPROXY_GROUP":"external"},"healthChecks":[{"protocol":"HTTP"}]}`,
			Tasks:      []Task{{ID: "web.1", Host: "10.0.0.1", Ports: []int{31001}}, {ID: "web.2", Host: "10.0.0.2", Ports: []int{31002}}},
		},
		App{Definition: `{"id":"/shop/db","instances":0}`},
		App{Definition: `{"id":"/other"}`},
	)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	s := loaded(t, quick)
	tests := []struct {
		method, path, body string
		status             int
		has                string // in the body
		hasNot             string
	}{
		{"GET", "/v2/apps?embed=apps.tasks", "", 200, `"tasksRunning":2,"tasksHealthy":2`, ""},
		{"GET", "/v2/apps?embed=apps.tasks", "", 200, `{"id":"web.1","appId":"/shop/web","host":"10.0.0.1","slaveId":"agent-S0","state":"TASK_RUNNING","ports":[31001],"ipAddresses":[],"stagedAt":`, ""},
		{"GET", "/v2/apps", "", 200, `"deployments":[]`, `"tasks"`},
		{"GET", "/v2/apps?id=/SHOP/w&embed=apps.tasks", "", 200, `{"apps":[{"id":"/shop/web"`, "/shop/db"},
		{"GET", "/v2/apps?id=/none", "", 200, `{"apps":[]}`, ""},
		{"GET", "/v2/apps/shop/*", "", 200, `{"*":[{"id":"/shop/`, `/other`},
		{"GET", "/v2/apps/*", "", 200, `"/other"`, ""},
		{"GET", "/v2/apps//shop/web", "", 200, `{"app":{"id":"/shop/web"`, ""},
		{"GET", "/v2/apps/shop/db", "", 200, `"tasks":[]`, ""},
		{"GET", "/v2/apps/none", "", 404, `{"message":"App '/none' does not exist"}`, ""},
		{"GET", "/v2/apps/shop/web/tasks", "", 200, `{"tasks":[{"id":"web.1"`, ""},
		{"GET", "/v2/apps/none/tasks", "", 404, "does not exist", ""},
		{"GET", "/v2/deployments", "", 200, "[]", ""},
		{"GET", "/v2/leader", "", 200, `{"leader":"127.0.0.1:`, "http"},
		{"GET", "/v2/info", "", 200, `"features":["task_killing"]`, ""},
		{"GET", "/ping", "", 200, "pong", ""},
		{"GET", "/v2/unknown", "", 500, `{"message":"URI not found"}`, ""},
		{"POST", "/v2/apps", `{"id":"/new","cmd":"x"}`, 201, `"portDefinitions":[{"labels":{},"name":"default","port":1000`, ""},
		{"POST", "/v2/apps", `{"id":"/other"}`, 409, "already exists", ""},
		{"POST", "/v2/apps", `{`, 400, "Invalid JSON", ""},
		{"PUT", "/v2/apps/x", `null`, 400, "Invalid JSON", ""},
		{"PUT", "/v2/apps", `{}`, 400, "Invalid JSON", ""},
		{"POST", "/v2/apps", `{}`, 422, "not valid", ""},
		{"PUT", "/v2/apps/Upper", `{}`, 422, "not valid", ""},
		{"PUT", "/v2/apps/x", `{"instances":-1}`, 422, "not valid", ""},
		{"PATCH", "/v2/apps/none", `{}`, 404, "does not exist", ""},
		{"POST", "/v2/apps/none/restart", "", 404, "does not exist", ""},
		{"DELETE", "/v2/apps/none", "", 404, "does not exist", ""},
		{"PUT", "/v2/apps/uncommanded", `{"instances":0,"labels":{}}`, 422, "cmd", ""},
		{"PUT", "/v2/apps/created", `{"cmd":"x","instances":0}`, 201, `"deploymentId":"`, ""},
		{"DELETE", "/v2/apps/other", "", 200, `"deploymentId":"`, ""},
	}
	for _, tt := range tests {
		status, _, body := call(t, tt.method, s.URL()+tt.path, tt.body)
		if status != tt.status || !strings.Contains(body, tt.has) || (tt.hasNot != "" && strings.Contains(body, tt.hasNot)) {
			t.Errorf("%s %s: %d %s; want %d with %q, without %q", tt.method, tt.path, status, body, tt.status, tt.has, tt.hasNot)
		}
	}
	waitIdle(t, s)
}

func TestVersionInfo(t *testing.T) {
	t.Parallel()
	opts := quick
	opts.Phantom = PhantomTasks()
	s := Start(t, opts)
	read := func() (a spec, taskVersion string) {
		waitIdle(t, s)
		if err := json.Unmarshal(s.AppJSON("/a"), &a); err != nil {
			t.Fatal(err)
		}
		return a, s.Tasks("/a")[0].Version
	}
	apply(t, s, `{"id":"/a"}`)
	first, _ := read()
	apply(t, s, `{"id":"/a","instances":2}`)
	scaled, scaledTask := read()
	apply(t, s, `{"id":"/a","labels":{"x":"y"}}`)
	changed, changedTask := read()
	switch {
	case first.VersionInfo != nil:
		t.Error("a new app has versionInfo")
	case scaled.Version <= first.Version || scaled.VersionInfo.LastScalingAt != scaled.Version || scaled.VersionInfo.LastConfigChangeAt != first.Version:
		t.Errorf("scaled: %+v", scaled.VersionInfo)
	case scaledTask != first.Version:
		t.Errorf("scaling restarted the task: %s", scaledTask)
	case changed.VersionInfo.LastConfigChangeAt != changed.Version || changedTask != changed.Version:
		t.Errorf("changed: %+v, task %s", changed.VersionInfo, changedTask)
	}
}

func TestGzip(t *testing.T) {
	t.Parallel()
	s := loaded(t, quick)
	_, header, body := call(t, "GET", s.URL()+"/v2/apps", "", "Accept-Encoding", "gzip")
	z, err := gzip.NewReader(strings.NewReader(body))
	if err != nil || header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("%v, %v", header, err)
	}
	if data, err := io.ReadAll(z); err != nil || !json.Valid(data) {
		t.Errorf("%s, %v", data, err)
	}
}

func TestRawApp(t *testing.T) {
	t.Parallel()
	s := loaded(t, quick)
	s.SetRawApp("/odd", json.RawMessage(`{"id":"/odd","labels":null,"tasks":null}`))
	s.SetRawApp("/other", json.RawMessage(`{"id":7}`))
	if _, _, body := call(t, "GET", s.URL()+"/v2/apps/odd", ""); body != `{"app":{"id":"/odd","labels":null,"tasks":null}}` {
		t.Error(body)
	}
	if _, _, body := call(t, "GET", s.URL()+"/v2/apps", ""); !strings.Contains(body, `{"id":7}`) || !json.Valid([]byte(body)) {
		t.Error(body)
	}
	s.SetRawApp("/other", nil)
	s.RemoveApp("/odd")
	if _, _, body := call(t, "GET", s.URL()+"/v2/apps", ""); strings.Contains(body, `{"id":7}`) || strings.Contains(body, "/odd") {
		t.Error(body)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	s := loaded(t, quick)
	list, app := s.URL()+"/v2/apps", s.URL()+"/v2/apps/other"
	s.Inject(KindList, Fault{Status: 503, Times: 2})
	s.Inject(ReadOf("/other"), Fault{Body: "<html>", Times: 1})
	for i, want := range []string{"503 ", "503 ", "200 {"} {
		status, _, body := call(t, "GET", list, "")
		if got := fmt.Sprintf("%d %.1s", status, body); got != want {
			t.Errorf("read %d: %s, want %s", i, got, want)
		}
	}
	if status, _, body := call(t, "GET", app, ""); status != 200 || body != "<html>" {
		t.Errorf("garbage: %d %s", status, body)
	}
	remove := s.Inject(KindApp, Fault{Delay: 20 * time.Millisecond})
	begin := time.Now()
	if status, _, _ := call(t, "GET", app, ""); status != 200 || time.Since(begin) < 20*time.Millisecond {
		t.Errorf("delay: %d after %v", status, time.Since(begin))
	}
	remove()
	s.Inject(KindList, Fault{Truncate: 30})
	for _, encoding := range []string{"identity", "gzip"} {
		req, _ := http.NewRequestWithContext(bound(t), "GET", list, nil)
		req.Header.Set("Accept-Encoding", encoding)
		resp, err := client(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !errors.Is(err, io.ErrUnexpectedEOF) || len(body) != 30 {
			t.Errorf("truncated %s: %d bytes, %v", encoding, len(body), err)
		}
	}
	s.ClearFaults()
	if n, all, other := s.Requests(KindList), s.Requests(KindApp), s.Requests(ReadOf("/other")); n != 5 || all != 2 || other != 2 {
		t.Errorf("counted %d, %d, %d", n, all, other)
	}
	if n := s.MostInFlight(KindList); n != 1 {
		t.Errorf("%d lists at the same time", n)
	}
	s.ResetRequests()
	if n := s.Requests(KindList); n != 0 {
		t.Errorf("counted %d after the reset", n)
	}
}

func TestHangUntilRemoved(t *testing.T) {
	t.Parallel()
	s := loaded(t, quick)
	remove := s.Inject(KindOther, Fault{Hang: true})
	got := make(chan string, 1)
	go func() {
		resp, err := client(t).Get(s.URL() + "/ping")
		if err != nil {
			got <- err.Error()
			return
		}
		defer resp.Body.Close()
		data, _ := io.ReadAll(resp.Body)
		got <- string(data)
	}()
	select {
	case answer := <-got:
		t.Errorf("answered %q", answer)
	case <-time.After(30 * time.Millisecond):
	}
	remove()
	if answer := <-got; answer != "pong" {
		t.Errorf("answered %q", answer)
	}
}

func TestDownAndUp(t *testing.T) {
	t.Parallel()
	s := loaded(t, quick)
	w := dialEvents(t, s, "")
	w.header()
	w.event()
	s.Down()
	w.end()
	if resp, err := client(t).Get(s.URL() + "/ping"); err == nil {
		resp.Body.Close()
		t.Error("answers while down")
	}
	url := s.URL()
	if l, err := net.Listen("tcp", strings.TrimPrefix(url, "http://")); err == nil {
		_ = l.Close()
		t.Error("somebody else got its port")
	}
	if err := s.Up(); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := call(t, "GET", url+"/ping", ""); status != 200 {
		t.Errorf("after Up: %d", status)
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	opts := quick
	opts.Credentials = "me:secret"
	s := loaded(t, opts)
	for _, path := range []string{"/ping", "/v2/apps", "/v2/events"} {
		status, header, _ := call(t, "GET", s.URL()+path, "", "Authorization", "Basic bWU6d3Jvbmc=")
		if status != 401 || !strings.HasPrefix(header.Get("WWW-Authenticate"), "Basic") {
			t.Errorf("%s: %d %v", path, status, header)
		}
	}
	good := []string{"Authorization", "Basic bWU6c2VjcmV0"}
	if status, _, _ := call(t, "GET", s.URL()+"/ping", "", good...); status != 200 {
		t.Errorf("with credentials: %d", status)
	}
	s.SetCredentials("")
	if status, _, _ := call(t, "GET", s.URL()+"/ping", ""); status != 200 {
		t.Errorf("without need: %d", status)
	}
}

func TestStandby(t *testing.T) {
	t.Parallel()
	leader, standby := loaded(t, quick), Start(t, quick)
	standby.SetStandby(leader.URL())
	status, header, _ := call(t, "GET", standby.URL()+"/v2/events?plan-format=light", "", "Accept", "text/event-stream")
	if want := leader.URL() + "/v2/events?plan-format=light"; status != 302 || header.Get("Location") != want {
		t.Errorf("events: %d to %s, want %s", status, header.Get("Location"), want)
	}
	status, header, body := call(t, "GET", standby.URL()+"/v2/apps//shop/web", "")
	if status != 200 || header.Get("X-Marathon-Leader") != leader.URL() || header.Get("Via") == "" || !strings.Contains(body, "/shop/web") {
		t.Errorf("proxied: %d %v %s", status, header, body)
	}
	leader.Down()
	if status, _, _ := call(t, "GET", standby.URL()+"/v2/apps", ""); status != 502 {
		t.Errorf("without leader: %d", status)
	}
	standby.SetStandby("")
	if status, _, body := call(t, "GET", standby.URL()+"/v2/apps", ""); status != 200 || body != `{"apps":[]}` {
		t.Errorf("elected: %d %s", status, body)
	}
}

func TestLoadManyApps(t *testing.T) {
	t.Parallel()
	s := Start(t, quick)
	apps := make([]App, 5000)
	for i := range apps {
		apps[i] = App{
			Definition: fmt.Sprintf(`{"id":"/group%d/app%d","labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"app%d.example.com"}}`, i%100, i, i),
			Tasks:      []Task{{Host: "10.0.0.1", Ports: []int{i}}, {Host: "10.0.0.2", Ports: []int{i}}},
		}
	}
	if err := s.LoadApps(apps...); err != nil {
		t.Fatal(err)
	}
	_, _, body := call(t, "GET", s.URL()+"/v2/apps?embed=apps.tasks", "")
	var got struct{ Apps []struct{ Tasks []Task } }
	if err := json.NewDecoder(bytes.NewReader([]byte(body))).Decode(&got); err != nil || len(got.Apps) != len(apps) || len(got.Apps[7].Tasks) != 2 {
		t.Errorf("%d apps, %v", len(got.Apps), err)
	}
	if n := len(s.Events()); n != 0 {
		t.Errorf("%d events", n)
	}
	for _, bad := range []string{`{`, `{}`, `[]`, `{"id":"/a","instances":-1}`, `{"id":7}`} {
		if s.LoadApps(App{Definition: bad}) == nil {
			t.Errorf("loaded %s", bad)
		}
	}
}
