package marathontest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func taskURL(t Task) string {
	return "http://" + net.JoinHostPort(t.Host, fmt.Sprint(t.Ports[0]))
}

func TestTaskServer(t *testing.T) {
	t.Parallel()
	s := Start(t, quick)
	apply(t, s, `{"id":"/shop/web","portDefinitions":[{"port":0},{"port":0}]}`)
	waitIdle(t, s)
	task := s.Tasks("/shop/web")[0]
	if len(task.Ports) != 2 || !strings.HasPrefix(task.ID, "shop_web.instance-") || !strings.HasSuffix(task.ID, "._app.1") {
		t.Fatalf("task %+v", task)
	}
	status, header, body := call(t, "GET", taskURL(task)+"//x/../y?z=1", "", "X-Test", "yes")
	if status != 200 || header.Get("X-App") != "/shop/web" || header.Get("X-Task") != task.ID || header.Get("X-Version") != task.Version {
		t.Errorf("%d %v", status, header)
	}
	var echo struct {
		App, Task, Version, Port, Request, Host string
		Headers                                 map[string][]string
	}
	if err := json.Unmarshal([]byte(body), &echo); err != nil {
		t.Fatal(err)
	}
	if echo.Task != task.ID || echo.Port != fmt.Sprint(task.Ports[0]) || echo.Request != "GET //x/../y?z=1 HTTP/1.1" || echo.Headers["X-Test"][0] != "yes" {
		t.Errorf("echo %+v", echo)
	}
	begin := time.Now()
	if status, _, _ := call(t, "GET", taskURL(task)+"/slow?ms=30", ""); status != 200 || time.Since(begin) < 30*time.Millisecond {
		t.Errorf("slow: %d after %v", status, time.Since(begin))
	}
	if _, _, body := call(t, "GET", taskURL(task)+"/stream?n=3&ms=1", ""); strings.Count(body, task.ID) != 3 {
		t.Errorf("stream: %q", body)
	}
}

func TestWebSocketEchoesUntilTheTaskStops(t *testing.T) {
	t.Parallel()
	s := Start(t, quick)
	apply(t, s, `{"id":"/a"}`)
	waitIdle(t, s)
	ctx := bound(t)
	c, _, err := websocket.Dial(ctx, taskURL(s.Tasks("/a")[0])+"/ws", &websocket.DialOptions{HTTPClient: client(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, data, err := c.Read(ctx); err != nil || string(data) != "hello" {
		t.Errorf("echo %q, %v", data, err)
	}
	if err := s.DeleteApp("/a"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("end of the WebSocket: %v", err)
	}
	waitIdle(t, s)
}

func TestCrashIsReplacedByTheNextIncarnation(t *testing.T) {
	t.Parallel()
	s := Start(t, quick)
	apply(t, s, `{"id":"/a"}`)
	waitIdle(t, s)
	task := s.Tasks("/a")[0]
	seq := s.LastSeq()
	if err := s.Crash(task.ID); err != nil {
		t.Fatal(err)
	}
	awaitType(t, s, seq, "status_update_event", `"taskStatus":"TASK_FAILED"`)
	// The port may be somebody else's by now.
	if resp, err := client(t).Get(taskURL(task)); err == nil {
		_ = resp.Body.Close()
		if resp.Header.Get("X-Task") == task.ID {
			t.Error("the crashed task still answers")
		}
	}
	next := strings.TrimSuffix(task.ID, ".1") + ".2"
	e := awaitType(t, s, seq, "status_update_event", `"taskStatus":"TASK_RUNNING"`)
	if !strings.Contains(string(e.Data), next) {
		t.Errorf("replacement is not %s: %s", next, e.Data)
	}
	if status, _, _ := call(t, "GET", taskURL(s.Tasks("/a")[0]), ""); status != 200 {
		t.Errorf("replacement answers %d", status)
	}
	if err := s.Crash(task.ID); err == nil {
		t.Error("the same task crashed twice")
	}
}

func TestKilledTaskIsReplaced(t *testing.T) {
	t.Parallel()
	s := Start(t, quick)
	apply(t, s, `{"id":"/a"}`)
	waitIdle(t, s)
	seq := s.LastSeq()
	id := s.Tasks("/a")[0].ID
	if status, _, body := call(t, "DELETE", s.URL()+"/v2/apps/a/tasks/"+id, ""); status != 200 || !strings.Contains(body, `"task":{"id":"`+id) {
		t.Fatalf("%d %s", status, body)
	}
	awaitType(t, s, seq, "status_update_event", "TASK_KILLING")
	awaitType(t, s, seq, "status_update_event", "TASK_KILLED")
	awaitType(t, s, seq, "status_update_event", "TASK_RUNNING")
	if status, _, _ := call(t, "DELETE", s.URL()+"/v2/apps/a/tasks/none", ""); status != 404 {
		t.Errorf("unknown task: %d", status)
	}
}

func TestNetworkModes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, networking string
		ports            int
		ip               string
	}{
		{"host", `"portDefinitions":[{"port":0},{"port":80,"name":"b"}]`, 2, "127.0.0.1"},
		{"host-legacy", `"ports":[0,0,0]`, 3, "127.0.0.1"},
		{"host-none", `"portDefinitions":[]`, 0, "127.0.0.1"},
		{"bridge", `"networks":[{"mode":"container/bridge"}],"container":{"portMappings":[{"containerPort":80}]}`, 1, "172.17."},
		{"bridge-legacy", `"container":{"docker":{"network":"BRIDGE","portMappings":[{"containerPort":80},{"containerPort":81}]}}`, 2, "172.17."},
		{"container", `"networks":[{"mode":"container","name":"dcos"}],"container":{"portMappings":[{"containerPort":18080}]}`, 0, "127."},
		{"container-host-port", `"networks":[{"name":"dcos"}],"container":{"portMappings":[{"containerPort":18081},{"containerPort":80,"hostPort":0}]}`, 1, "127."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := Start(t, quick)
			apply(t, s, `{"id":"/a",`+tt.networking+`}`)
			waitIdle(t, s)
			task := s.Tasks("/a")[0]
			if len(task.Ports) != tt.ports || len(task.IPAddresses) != 1 || !strings.HasPrefix(task.IPAddresses[0].Address, tt.ip) {
				t.Fatalf("task %+v", task)
			}
			if strings.HasPrefix(tt.name, "container") {
				port := s.apps["/a"].def.containerPorts()[0]
				if status, header, _ := call(t, "GET", fmt.Sprintf("http://%s:%d/", task.IPAddresses[0].Address, port), ""); status != 200 || header.Get("X-Task") != task.ID {
					t.Errorf("task's own address: %d %v", status, header)
				}
			}
			staging := awaitType(t, s, 0, "status_update_event", "TASK_STAGING")
			if !strings.Contains(string(staging.Data), `"ipAddresses":[]`) {
				t.Errorf("addresses are known at TASK_STAGING: %s", staging.Data)
			}
			if app := string(s.AppJSON("/a")); strings.Contains(app, `"docker":{"network"`) || strings.Contains(app, `"ports":[0`) {
				t.Errorf("legacy fields are shown: %s", app)
			}
		})
	}
}

func TestUpdateTask(t *testing.T) {
	t.Parallel()
	s := Start(t, quick)
	if err := s.LoadApps(App{Definition: `{"id":"/a"}`, Tasks: []Task{{ID: "a.1", Host: "10.0.0.1", Ports: []int{1}}}}); err != nil {
		t.Fatal(err)
	}
	err := s.UpdateTask("a.1", func(t *Task) {
		t.State, t.Ports, t.StartedAt = "TASK_UNREACHABLE", []int{}, ""
		t.Health = []*HealthResult{nil}
	})
	if err != nil {
		t.Fatal(err)
	}
	awaitType(t, s, 0, "instance_changed_event", "UnreachableInactive")
	app := string(s.AppJSON("/a"))
	if !strings.Contains(app, `"state":"TASK_UNREACHABLE","ports":[],`) || !strings.Contains(app, `"healthCheckResults":[null]`) || strings.Contains(app, "startedAt") {
		t.Errorf("app %s", app)
	}
	if err := s.UpdateTask("none", func(*Task) {}); err == nil {
		t.Error("a task that does not exist was updated")
	}
}

func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	s, err := New(Options{LaunchDelay: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	apply(t, s, `{"id":"/never","instances":3}`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s.WaitIdle(ctx) == nil {
		t.Error("WaitIdle did not report the running deployment")
	}
	w := dialEvents(t, s, "")
	w.header()
	s.Close()
	if err := s.Up(); err == nil {
		t.Error("a closed server listens again")
	}
}
