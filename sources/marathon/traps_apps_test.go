package marathon

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"relay/sources/marathon/marathontest"
)

func TestTrap11EventOfAnUnknownApp(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a")
	_, sink, _ := watch(t, fastConfig(m.URL()))
	sink.await(t, "synced", contains("/a "))
	load(t, m, "/new")
	status(m, "/new")
	sink.await(t, "read", contains("/new "))
}

// TestTrap17OneBadAppAmongAThousand has an app in which everything that can be wrong is.
func TestTrap17OneBadAppAmongAThousand(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	var apps []marathontest.App
	for i := range 1000 {
		apps = append(apps, marathontest.App{Definition: definition(fmt.Sprintf("/app%d", i), fmt.Sprintf("app%d.test", i)), Tasks: []marathontest.Task{{Host: "10.0.0.1", Ports: []int{31000}}}})
	}
	if err := m.LoadApps(apps...); err != nil {
		t.Fatal(err)
	}
	m.SetRawApp("/bad", json.RawMessage(`{"id":"/bad","version":7,"instances":"many","labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"http://x.test/,a..b,-,`+strings.Repeat("x", 300)+`",
		"HAPROXY_0_VHOSTS":"a.test","haproxy_0_vhost":"a.test","HAPROXY_7_VHOST":"a.test","HAPROXY_x_VHOST":"a.test","HAPROXY_00_VHOST":"a.test","HAPROXY_0_AUTH":"a:b","HAPROXY_0_PORT":"http",
		"HAPROXY_0_MODE":"udp","HAPROXY_0_BACKEND_WEIGHT":"heavy","HAPROXY_0_BALANCE":"","HAPROXY_0_BIND_ADDR":"x","HAPROXY_0_PATH":"-i","HAPROXY_0_REDIRECT_TO_HTTPS":"perhaps",
		"HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL":"10.0.0.0/99","HAPROXY_0_BACKEND_HEAD":"{x","MARATHON_ACME_0_DOMAIN":"*","HAPROXY_DEPLOYMENT_STARTED_AT":"yesterday"},
		"networks":[{"mode":"host"}],"portDefinitions":[{"port":-1,"protocol":"icmp"}],"healthChecks":[null,{"gracePeriodSeconds":-1}],"readinessChecks":[null],"deployments":[{}],
		"tasks":[{"id":"","state":"TASK_RUNNING"},{"id":"bad.1","state":"TASK_RUNNING","host":"fe80::1%eth0","ports":[99999],"ipAddresses":[{"ipAddress":"x"},{}],"startedAt":"now","healthCheckResults":[null,{"alive":null}]}]}`))
	_, sink, logged := watch(t, fastConfig(m.URL()))
	sink.await(t, "synced", contains("/app999 "))
	if s := sink.state(); strings.Count(s, "10.0.0.1:31000/healthy") != 1000 || !strings.Contains(s, "/bad ") || strings.Contains(s, "bad.1@") {
		t.Errorf("%d good apps are routed, and of the bad one: %s", strings.Count(s, "10.0.0.1:31000/healthy"), s[strings.Index(s, "/bad"):][:100])
	}
	if s := logged.String(); !strings.Contains(s, "app=/bad subject=HAPROXY_0_VHOSTS") || strings.Contains(s, "app=/app") {
		t.Error("not what was wrong with the bad app was logged, and nothing else")
	}
	status(m, "/app1") // and it goes on
	m.RemoveApp("/app0")
	m.Publish("app_terminated_event", map[string]any{"appId": "/app0"})
	sink.await(t, "goes on", lacks("/app0 "))
}

// TestTrap18EventStorm restarts an app of 1000 tasks.
func TestTrap18EventStorm(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{Phantom: marathontest.PhantomTasks(), KillGrace: 20 * time.Millisecond})
	if err := m.Apply(`{"id":"/big","instances":1000,"portDefinitions":[{}],"labels":{"HAPROXY_GROUP":"external"}}`); err != nil {
		t.Fatal(err)
	}
	settle := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := m.WaitIdle(ctx); err != nil {
			t.Fatal(err)
		}
	}
	settle()
	load(t, m, "/a")
	w, sink, _ := watch(t, fastConfig(m.URL()))
	sink.await(t, "synced", func(s string) bool { return strings.Count(s, "/healthy") == 1001 })
	m.ResetRequests()
	events, updates, began := m.LastSeq(), sink.count(&sink.updates), time.Now()
	if err := m.Restart("/big"); err != nil {
		t.Fatal(err)
	}
	settle()
	sink.await(t, "restarted", func(s string) bool {
		tasks := m.Tasks("/big")
		return strings.Count(s, "/healthy") == 1001 && len(tasks) == 1000 && strings.Contains(s, tasks[0].ID) && strings.Contains(s, tasks[999].ID)
	})
	reload(t, w)
	took, count := time.Since(began), int(m.LastSeq()-events)
	single, full := m.Requests(marathontest.KindApp), m.Requests(marathontest.KindList)
	streams := 0 // that began anew, as Marathon cuts one that is 1024 events behind
	for _, e := range m.Events() {
		if e.Seq > events && e.Type == "event_stream_attached" {
			streams++
		}
	}
	t.Logf("%d events in %s: %d reads of the app, %d of all, %d more streams, %d updates", count, took.Round(time.Millisecond), single, full, streams, sink.count(&sink.updates)-updates)
	if count < 6000 {
		t.Errorf("%d events are no storm", count)
	}
	// Marathon may still answer what was asked for along with a stream that is cut.
	if apps, lists := m.MostInFlight(marathontest.KindApp), m.MostInFlight(marathontest.KindList); apps > 1+streams || lists > 1+streams || single == 0 && streams == 0 {
		t.Errorf("reads overlap: %d of the app, %d of all", apps, lists)
	}
	// One read after the other, none of which answers faster than a millisecond
	// at this size; in practice it is far fewer. All are read for the reload, once
	// for each stream, which may have missed something, and for events at once and
	// then a second after the last time.
	if most := int(took / time.Millisecond); single > most || single > count/5 || full > 2+streams+int(took/fullReadPause) {
		t.Errorf("%d and %d reads for %d events in %s", single, full, count, took)
	}
}

func TestTrap20EmptyList(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a")
	m.Inject(marathontest.KindList, marathontest.Fault{Body: `{"apps":[]}`, Times: 1})
	cfg := fastConfig(m.URL())
	w, sink, logged := watch(t, cfg)
	sink.await(t, "not even at first", contains("/a "))
	m.Inject(marathontest.KindList, marathontest.Fault{Body: `{"apps":[]}`, Times: 1})
	reload(t, w)
	if n := sink.count(&sink.fewest); n != 1 {
		t.Errorf("down to %d apps", n)
	}
	if n := strings.Count(logged.String(), "has to be confirmed"); n != 2 {
		t.Errorf("logged %d times", n)
	}
}

func TestTrap21AddressComesLate(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	app := marathontest.App{
		Definition: `{"id":"/a","labels":{"HAPROXY_GROUP":"external"},"networks":[{"mode":"container","name":"dcos"}],"container":{"portMappings":[{"containerPort":8080}]}}`,
		Tasks:      []marathontest.Task{{ID: "a.1", Host: "10.0.0.1"}},
	}
	if err := m.LoadApps(app); err != nil {
		t.Fatal(err)
	}
	m.HoldEvents(true) // the second look is what finds it
	m.Inject(marathontest.ReadOf("/a"), marathontest.Fault{Times: 1, Before: func() {
		if err := m.UpdateTask("a.1", func(task *marathontest.Task) {
			task.IPAddresses = []marathontest.IPAddress{{Address: "9.0.0.1", Protocol: "IPv4"}}
		}); err != nil {
			t.Error(err)
		}
	}})
	cfg := fastConfig(m.URL())
	cfg.RereadDelay = 50 * time.Millisecond
	_, sink, _ := watch(t, cfg)
	sink.await(t, "found by the second look", contains("a.1@9.0.0.1:8080"))
	if !sink.saw("/a [] []") {
		t.Error("the first read did not tell of the app without the address")
	}
	m.HoldEvents(false)
}

func TestTrap22MissingHostPorts(t *testing.T) {
	t.Parallel()
	for ports, want := range map[string]string{
		`[]`:             "",
		`null`:           "",
		`[0,31001]`:      "10.0.0.1:31001",
		`[31000]`:        "10.0.0.1:31000",
		`[-1,99999]`:     "",
		`[31000,31001]`:  "10.0.0.1:31000 10.0.0.1:31001",
		`[1,2,3,4,5]`:    "10.0.0.1:1 10.0.0.1:2",
		`[31000,131072]`: "10.0.0.1:31000",
	} {
		var app appJSON
		if err := json.Unmarshal([]byte(`{"id":"/a","portDefinitions":[{"port":80},{"port":81}],"tasks":[{"id":"t","state":"TASK_RUNNING","host":"10.0.0.1","startedAt":"2024-05-01T11:00:00Z","ports":`+ports+`}]}`), &app); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range convertApp(&app, nil, testMapping()).app.Ports {
			for _, e := range p.Endpoints {
				got = append(got, e.Address.String())
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", ports, got, want)
		}
	}
}

func TestTrap25NoTaskKilling(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{NoTaskKilling: true, Phantom: marathontest.PhantomTasks(), KillGrace: 20 * time.Millisecond})
	_, sink, _ := watch(t, fastConfig(m.URL()))
	if err := m.Apply(`{"id":"/a","instances":2,"portDefinitions":[{}]}`); err != nil {
		t.Fatal(err)
	}
	idle(t, m)
	sink.await(t, "two", func(s string) bool { return strings.Count(s, "/healthy") == 2 })
	if err := m.Apply(`{"id":"/a","instances":1}`); err != nil {
		t.Fatal(err)
	}
	sink.await(t, "one", func(s string) bool { return strings.Count(s, "/healthy") == 1 })
	if sink.saw("/draining") {
		t.Error("a task was seen draining that nobody said was killed")
	}
	idle(t, m)
}

func TestTrap26UnreachableTasksStayListed(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a")
	w, sink, logged := watch(t, fastConfig(m.URL()))
	sink.await(t, "synced", contains("a.1@"))
	if err := m.LoseAgent("a.1"); err != nil {
		t.Fatal(err)
	}
	sink.await(t, "lost", contains("a.1@10.0.0.1:31000/degraded"))
	if err := m.UpdateTask("a.1", func(task *marathontest.Task) {
		task.Ports, task.StagedAt, task.StartedAt, task.Version, task.Health = []int{}, "", "", "", nil
	}); err != nil {
		t.Fatal(err)
	}
	sink.await(t, "given up", lacks("a.1@"))
	for range 3 {
		reload(t, w)
	}
	if s := logged.String(); strings.Contains(s, "level=WARN") || strings.Contains(s, "level=ERROR") {
		t.Errorf("logged\n%s", s)
	}
}

func TestTrap32RolledBack(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{ManualHealth: true, Phantom: marathontest.PhantomTasks()})
	w, sink, _ := watch(t, fastConfig(m.URL()))
	app := marathontest.App{
		Definition: strings.Replace(definition("/a", "good.test"), "{", `{"healthChecks":[{"protocol":"HTTP"}],`, 1),
		Tasks:      []marathontest.Task{{ID: "a.1", Host: "10.0.0.1", Ports: []int{31000}}},
	}
	if err := m.LoadApps(app); err != nil {
		t.Fatal(err)
	}
	reload(t, w)
	if err := m.Apply(`{"id":"/a","labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"never.test"}}`); err != nil {
		t.Fatal(err)
	}
	sink.await(t, "under way", contains("[never.test]"))
	var running []struct{ ID string }
	if err := json.Unmarshal(request(t, http.MethodGet, m.URL()+"/v2/deployments", ""), &running); err != nil || len(running) != 1 {
		t.Fatalf("%d deployments, %v", len(running), err)
	}
	request(t, http.MethodDelete, m.URL()+"/v2/deployments/"+running[0].ID, "")
	sink.await(t, "rolled back", func(s string) bool { return strings.Contains(s, "[good.test]") && strings.Contains(s, "a.1@") })
}

// TestTrap33PodTakesAnAppsID deletes an app and creates a pod of the same id, and the other way round.
func TestTrap33PodTakesAnAppsID(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/x", "/y")
	w, sink, _ := watch(t, podConfig(m))
	sink.await(t, "synced", contains("/x [x.test]"))
	m.RemoveApp("/x")
	if err := m.ApplyPod(onePod("/x", "pod.test", "2000-01-01T00:00:00.000Z", 80)); err != nil {
		t.Fatal(err)
	}
	status(m, "/x")
	sink.await(t, "a pod", contains("/x [pod.test] [pod.1@9.0.0.1:80/healthy]"))
	reload(t, w)
	load(t, m, "/x") // first: a read that is under way finds one of the two
	m.RemovePod("/x")
	m.Publish("app_terminated_event", map[string]any{"appId": "/x"}) // of the pod
	sink.await(t, "an app again", contains("/x [x.test] [x.1@"))
	if n := sink.count(&sink.fewest); n != 2 {
		t.Errorf("down to %d", n)
	}
}

func TestTrap34BridgeAddresses(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{`"networks":[{"mode":"container/bridge"}],"container":{"portMappings":[{"containerPort":80,"hostPort":0}]}`,
		`"container":{"docker":{"network":"BRIDGE","portMappings":[{"containerPort":80,"hostPort":0}]}}`} {
		for _, choice := range []ContainerAddress{ContainerAuto, ContainerIP, ContainerHost} {
			var app appJSON
			if err := json.Unmarshal([]byte(`{"id":"/a",`+mode+`,"tasks":[{"id":"t","state":"TASK_RUNNING","host":"agent-1.example","ports":[31000],"ipAddresses":[{"ipAddress":"172.17.0.4"}],"startedAt":"2024-05-01T11:00:00Z"}]}`), &app); err != nil {
				t.Fatal(err)
			}
			m := testMapping()
			m.addressing.container = choice
			got := convertApp(&app, nil, m).app.Ports[0].Endpoints
			if len(got) != 1 || got[0].Address != netip.MustParseAddrPort("10.0.0.9:31000") {
				t.Errorf("%s: %v", choice, got)
			}
		}
	}
}

func TestTrap35CredentialsAreNotShown(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{Credentials: "relay:hunter3"})
	m.SetRawApp("/a", json.RawMessage(`{"id":"/a","labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"a.test","HAPROXY_0_AUTH":"realm:user:hunter2"},"portDefinitions":[{}],"tasks":[]}`))
	w, sink, logged := watch(t, fastConfig(withUser(t, m.URL(), "relay", "hunter3")))
	sink.await(t, "synced", contains("/a "))
	m.Inject(marathontest.KindEvents, marathontest.Fault{Status: 302, Times: 1})
	m.CutStreams()
	reload(t, w)
	m.Down()
	poll(t, "refused", func() bool { return strings.Contains(w.currentState().lastError, "refused") })
	m.SetCredentials("relay:other")
	if err := m.Up(); err != nil {
		t.Fatal(err)
	}
	poll(t, "401", func() bool { return strings.Contains(w.currentState().lastError, "401") })
	shows(t, w, logged, "hunter2", "hunter3", "cmVsYXk6")
}
