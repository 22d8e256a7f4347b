package marathontest

import (
	"bufio"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestQuirksOf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		version string
		want    Quirks
	}{
		{"", Quirks{}},
		{"1.11.24", Quirks{}},
		{"1.8.222", Quirks{}},
		{"1.7.50", Quirks{DropSilently: true, NoIncarnation: true}},
		{"1.6.322", Quirks{DropSilently: true, NoIncarnation: true, ProxyEvents: true}},
		{"1.5.1", Quirks{DropSilently: true, NoIncarnation: true, ProxyEvents: true, HeavyPlans: 1}},
		{"1.4.11", Quirks{DropSilently: true, NoIncarnation: true, ProxyEvents: true, HeavyPlans: 1, WriteNulls: true, NoNetworks: true}},
	}
	for _, tt := range tests {
		if got := QuirksOf(tt.version); got != tt.want {
			t.Errorf("%q: %+v, want %+v", tt.version, got, tt.want)
		}
	}
	if q := QuirksOf("1.1.5"); !q.TaskLost || !q.NoInstances || !q.IgnoreEventTypes || !q.NoPods || q.Outstanding != 50 {
		t.Errorf("%+v", q)
	}
}

func TestShapeOfOldReleases(t *testing.T) {
	t.Parallel()
	opts := quick
	opts.Phantom, opts.Version = PhantomTasks(), "1.3.6"
	s := Start(t, opts)
	apply(t, s, `{"id":"/host","portDefinitions":[{"port":10001}]}`)
	apply(t, s, `{"id":"/bridge","container":{"docker":{"image":"x","network":"BRIDGE","portMappings":[{"containerPort":80,"hostPort":0}]}}}`)
	apply(t, s, `{"id":"/user","networks":[{"mode":"container","name":"dcos"}],"container":{"portMappings":[{"containerPort":80,"name":"http"}]}}`)
	waitIdle(t, s)
	read := func(id string) map[string]any {
		var app map[string]any
		if err := json.Unmarshal(s.AppJSON(id), &app); err != nil {
			t.Fatal(err)
		}
		if _, ok := app["networks"]; ok {
			t.Errorf("%s has networks", id)
		}
		return app
	}
	host := read("/host")
	if v, ok := host["container"]; !ok || v != nil || !slices.Equal(host["ports"].([]any), []any{10001.0}) {
		t.Errorf("host: container %v, ports %v", v, host["ports"])
	}
	docker := read("/bridge")["container"].(map[string]any)["docker"].(map[string]any)
	if docker["network"] != "BRIDGE" || len(docker["portMappings"].([]any)) != 1 {
		t.Errorf("bridge: %v", docker)
	}
	if user := read("/user"); user["ipAddress"].(map[string]any)["discovery"].(map[string]any)["ports"].([]any)[0].(map[string]any)["number"] != 80.0 {
		t.Errorf("user: %v", user["ipAddress"])
	}
	if id := s.Tasks("/host")[0].ID; strings.Contains(id, "instance-") || !strings.HasPrefix(id, "host.") {
		t.Errorf("task id %s", id)
	}
	for _, e := range s.Events() {
		if strings.HasPrefix(e.Type, "instance_") {
			t.Errorf("%s was published", e.Type)
		}
	}
}

func TestHeavyPlans(t *testing.T) {
	t.Parallel()
	opts := quick
	opts.Quirks = &Quirks{HeavyPlans: 2 << 20}
	opts.Phantom = PhantomTasks()
	s := Start(t, opts)
	apply(t, s, `{"id":"/a"}`)
	if e := awaitType(t, s, 0, "deployment_info", "/a"); len(e.Data) < 2<<20 {
		t.Errorf("%d bytes", len(e.Data))
	}
	waitIdle(t, s)
}

func TestSilentDrop(t *testing.T) {
	t.Parallel()
	for _, silently := range []bool{true, false} {
		b := newBus(nil, Quirks{DropSilently: silently})
		// Nobody takes from the queue of this stream but the test.
		here, there := net.Pipe()
		st := &stream{conn: here, queue: make(chan Event, 5), done: make(chan struct{})}
		b.streams[st] = struct{}{}
		for range 100 {
			b.publish("a_event", nil)
		}
		if _, open := b.streams[st]; open != silently {
			t.Errorf("silently %t: the stream is open: %t", silently, open)
		}
		for n := range uint64(5) {
			if e := <-st.queue; e.Seq != n+1 {
				t.Errorf("silently %t: event %d is number %d", silently, n+1, e.Seq)
			}
		}
		b.publish("b_event", nil)
		if got := len(st.queue); got != map[bool]int{true: 1}[silently] {
			t.Errorf("silently %t: %d events after the queue was emptied", silently, got)
		}
		st.close()
		_ = there.Close()
	}
}

// TestAllEventTypes is of Marathons that do not know the filter of types.
func TestAllEventTypes(t *testing.T) {
	t.Parallel()
	opts := quick
	opts.Quirks = &Quirks{IgnoreEventTypes: true}
	s := Start(t, opts)
	w := dialEvents(t, s, "?event_type=b_event")
	w.header()
	w.event() // the attachment
	s.Publish("a_event", nil)
	if name, _ := w.event(); name != "a_event" {
		t.Errorf("got %s", name)
	}
}

func TestProxyingStandby(t *testing.T) {
	t.Parallel()
	opts := quick
	opts.Version = "1.6.322"
	leader, standby := loaded(t, opts), Start(t, opts)
	standby.SetStandby(leader.URL())
	req, err := http.NewRequestWithContext(bound(t), "GET", standby.URL()+"/v2/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil || resp.Header.Get("X-Marathon-Leader") != leader.URL() || line != "event: event_stream_attached\r\n" {
		t.Errorf("%d %v %q %v", resp.StatusCode, resp.Header, line, err)
	}
}

func TestMasters(t *testing.T) {
	t.Parallel()
	s := loaded(t, quick)
	second, err := s.AddMaster()
	if err != nil {
		t.Fatal(err)
	}
	status, header, _ := call(t, "GET", second.URL()+"/v2/events", "", "Accept", "text/event-stream")
	if status != 302 || header.Get("Location") != s.URL()+"/v2/events" {
		t.Errorf("standby: %d to %s", status, header.Get("Location"))
	}
	w := dialEvents(t, s, "")
	w.header()
	w.event()
	s.Down()
	w.end()
	if status, _, _ := call(t, "GET", second.URL()+"/v2/apps", ""); status != 502 {
		t.Errorf("without leader: %d", status)
	}
	s.Elect(second)
	if status, header, body := call(t, "GET", second.URL()+"/v2/apps?embed=tasks", ""); status != 200 || header.Get("X-Marathon-Leader") != second.URL() ||
		!strings.Contains(body, "web.1") || strings.Contains(body, `"alive"`) {
		t.Errorf("elected: %d %v %s", status, header, body)
	}
	if err := s.Up(); err != nil {
		t.Fatal(err)
	}
	if _, header, _ := call(t, "GET", s.URL()+"/v2/events", "", "Accept", "text/event-stream"); header.Get("Location") != second.URL()+"/v2/events" {
		t.Errorf("the old leader: %v", header)
	}
	second.Down()
	if status, _, _ := call(t, "GET", s.URL()+"/v2/apps", ""); status != 502 {
		t.Errorf("after the second one's end: %d", status)
	}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	opts := quick
	opts.ManualReadiness, opts.Phantom = true, PhantomTasks()
	s := Start(t, opts)
	apply(t, s, `{"id":"/a","readinessChecks":[{"portName":"http-api"}]}`)
	deadline := time.Now().Add(patience)
	for len(s.Tasks("/a")) == 0 || s.Tasks("/a")[0].State != "TASK_RUNNING" {
		if time.Now().After(deadline) {
			t.Fatal("the task does not run")
		}
		time.Sleep(time.Millisecond)
	}
	id := s.Tasks("/a")[0].ID
	show := func(query string) string {
		_, _, body := call(t, "GET", s.URL()+"/v2/apps/a"+query, "")
		return body
	}
	if body := show("?embed=app.readiness"); !strings.Contains(body, `"readinessCheckResults":[]`) {
		t.Error(body)
	}
	if err := s.SetReadiness(id, false); err != nil {
		t.Fatal(err)
	}
	if body := show("?embed=app.readiness"); !strings.Contains(body, `"readinessCheckResults":[{"name":"readinessCheck","taskId":"`+id+`","ready":false}]`) {
		t.Error(body)
	}
	if body := show(""); strings.Contains(body, "readinessCheckResults") {
		t.Error(body)
	}
	if err := s.SetReadiness(id, true); err != nil {
		t.Fatal(err)
	}
	waitIdle(t, s)
	if body := show("?embed=app.readiness"); strings.Contains(body, "readinessCheckResults") {
		t.Error(body)
	}
}

const podStatus = `{"id":"/shop/pod","status":"STABLE","spec":{"id":"/shop/pod","containers":[]},"instances":[]}`

func TestPods(t *testing.T) {
	t.Parallel()
	s := loaded(t, quick)
	if err := s.ApplyPod(podStatus); err != nil {
		t.Fatal(err)
	}
	if err := s.ApplyPod(podStatus); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/v2/pods/::status":          "[" + podStatus + "]",
		"/v2/pods":                   `[{"id":"/shop/pod","containers":[]}]`,
		"/v2/pods/shop/pod::status":  podStatus,
		"/v2/pods//shop/pod::status": podStatus,
		"/v2/pods/shop/pod":          `{"id":"/shop/pod","containers":[]}`,
	} {
		if status, _, body := call(t, "GET", s.URL()+path, ""); status != 200 || body != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, _, body := call(t, "GET", s.URL()+"/v2/apps/shop/pod", ""); status != 404 {
		t.Errorf("as an app: %d %s", status, body)
	}
	s.DeletePod("/shop/pod")
	if status, _, body := call(t, "GET", s.URL()+"/v2/pods/shop/pod::status", ""); status != 404 || !strings.Contains(body, "does not exist") {
		t.Errorf("deleted: %d %s", status, body)
	}
	var types []string
	for _, e := range s.Events() {
		types = append(types, e.Type)
	}
	if want := []string{"pod_created_event", "group_change_success", "pod_updated_event", "group_change_success", "pod_deleted_event", "group_change_success", "app_terminated_event"}; !slices.Equal(types, want) {
		t.Errorf("events %q", types)
	}
	if s.SetPod(`{"id":"/x"}`) == nil {
		t.Error("a pod without spec was taken")
	}
	if n := s.Requests(KindPods); n != 2 {
		t.Errorf("%d lists", n)
	}
}

func TestLoseAgent(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{"": "TASK_UNREACHABLE", "1.3.6": "TASK_LOST"} {
		opts := quick
		opts.Phantom, opts.Version = PhantomTasks(), version
		s := Start(t, opts)
		apply(t, s, `{"id":"/a"}`)
		waitIdle(t, s)
		if err := s.LoseAgent(s.Tasks("/a")[0].ID); err != nil {
			t.Fatal(err)
		}
		awaitType(t, s, 0, "status_update_event", want)
	}
}
