package marathon

import (
	"fmt"
	"strings"
	"testing"

	"relay/sources"
)

// shownHealth shows which tasks are in rotation on a port; those that drain in brackets.
func shownHealth(p sources.Port) string {
	var list []string
	for _, e := range p.Endpoints {
		name := e.Task
		if e.Health == sources.Draining {
			name = "(" + name + ")"
		}
		list = append(list, name)
	}
	return strings.Join(list, " ")
}

// While an app is deployed anew, one of the old servers of a TCP service takes no new connections for
// each new one that is healthy.
func TestReleaseOfATCPService(t *testing.T) {
	t.Parallel()
	const tcp, http = `"HAPROXY_0_MODE":"tcp","HAPROXY_0_PORT":"9000"`, `"HAPROXY_0_VHOST":"a.test"`
	o := func(id, fields string) string { return shownTask(id, oldVersion, fields) }
	n := func(id, fields string) string { return shownTask(id, newVersion, fields) }
	const killing, starting, unreachable = `,"state":"TASK_KILLING"`, `,"state":"TASK_STARTING"`, `,"state":"TASK_UNREACHABLE"`
	three := []string{o("o1", ""), o("o2", ""), o("o3", "")}
	tests := []struct {
		name, labels, fields string
		instances            int
		tasks                []string
		want                 string
	}{
		{name: "one version", tasks: []string{n("n1", ""), n("n2", "")}, instances: 1, want: "n1 n2"},
		{name: "before a new one is healthy", tasks: append(three, n("n1", starting)), want: "o1 o2 o3"},
		{name: "one new", tasks: append(three, n("n1", "")), want: "n1 (o1) o2 o3"},
		{name: "all new", tasks: append(three, n("n1", ""), n("n2", ""), n("n3", "")), want: "n1 n2 n3 (o1) (o2) (o3)"},
		{name: "more new than old", tasks: []string{o("o1", ""), n("n1", ""), n("n2", ""), n("n3", "")}, want: "n1 n2 n3 (o1)"},
		{name: "an old one has gone before", tasks: []string{o("o1", ""), o("o2", ""), n("n1", "")}, want: "n1 o1 o2"},
		{name: "an old one is being killed", tasks: []string{o("o1", ""), o("o2", killing), o("o3", ""), n("n1", "")}, want: "n1 o1 (o2) o3"},
		{name: "more are being killed", tasks: []string{o("o1", killing), o("o2", killing), o("o3", ""), n("n1", "")}, want: "n1 (o1) (o2) o3"},
		{name: "a new one is being killed", tasks: append(three, n("n1", killing)), want: "(n1) o1 o2 o3"},
		{name: "a new one fails", fields: oneCheck, tasks: []string{o("o1", alive1), o("o2", alive1), o("o3", alive1), n("n1", dead1)}, want: "o1 o2 o3"},
		{name: "a new one passes", fields: oneCheck, tasks: []string{o("o1", alive1), o("o2", alive1), o("o3", alive1), n("n1", alive1)}, want: "n1 (o1) o2 o3"},
		{name: "an old one fails", fields: oneCheck, tasks: []string{o("o1", dead1), o("o2", alive1), o("o3", alive1), n("n1", alive1)}, want: "n1 o2 o3"},
		{name: "not ready", fields: `"readinessChecks":[{}],"deployments":[{}],"readinessCheckResults":[{"taskId":"n1","ready":false}]`, tasks: append(three, n("n1", "")), want: "o1 o2 o3"},
		{name: "a new one is unreachable", tasks: append(three, n("n1", unreachable)), want: "o1 o2 o3"},
		{name: "newer than the definition", tasks: append(three, shownTask("x", nextVersion, "")), want: "o1 o2 o3"},
		{name: "scaled only", fields: `"versionInfo":{"lastConfigChangeAt":"2024-05-01T10:00:00Z"}`, tasks: append(three, n("n1", "")), instances: 3, want: "n1 o1 o2 o3"},
		{name: "versions that are no times", tasks: []string{shownTask("o1", "1", ""), shownTask("n1", "2", "")}, instances: 1, want: "n1 o1"},
		{
			name: "rolled back: what was the newest goes first", want: "n1 (o3) v1 v2", tasks: []string{
				shownTask("v1", "2024-05-01T09:00:00.000Z", ""), shownTask("v2", "2024-05-01T09:00:00.000Z", ""), o("o3", ""), n("n1", ""),
			},
		},
		{name: "passthrough", labels: `"HAPROXY_0_VHOST":"a.test","RELAY_0_TLS_PASSTHROUGH":"true"`, tasks: append(three, n("n1", "")), want: "n1 (o1) o2 o3"},
		{name: "HTTP", labels: http, tasks: append(three, n("n1", ""), n("n2", "")), want: "n1 n2 o1 o2 o3"},
		{name: "TCP that nobody asked for", labels: `"X":""`, tasks: append(three, n("n1", "")), want: "n1 o1 o2 o3"},
	}
	for _, tt := range tests {
		if tt.labels == "" {
			tt.labels = tcp
		}
		if tt.fields == "" {
			tt.fields = `"x":0`
		}
		if tt.instances == 0 {
			tt.instances = 3
		}
		for range 2 { // the order in which tasks are listed is no matter
			a := parseApp(t, `{"id":"/a","version":%q,"instances":%d,"labels":{"HAPROXY_GROUP":"external",%s},%s,%s,"tasks":[%s]}`,
				newVersion, tt.instances, tt.labels, onePort, tt.fields, strings.Join(tt.tasks, ","))
			m := testMapping()
			m.versions = []*appDefinition{defined(t, oldVersion, tt.fields+","+onePort)}
			out := convertApp(a, nil, m)
			if got := shownHealth(out.app.Ports[0]); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
			again := convertApp(a, out.history, m) // as the next read does, and as a restart does
			if got := shownHealth(again.app.Ports[0]); got != tt.want {
				t.Errorf("%s: %s in the next read, want %s", tt.name, got, tt.want)
			}
			for i, j := 0, len(tt.tasks)-1; i < j; i, j = i+1, j-1 {
				tt.tasks[i], tt.tasks[j] = tt.tasks[j], tt.tasks[i]
			}
		}
	}
}

// It is said of each task why it drains, and each port of an app goes by its own kind.
func TestReleaseIsSaid(t *testing.T) {
	t.Parallel()
	task := func(id, version string) string {
		return fmt.Sprintf(`{"id":%q,"version":%q,"state":"TASK_RUNNING","host":"10.0.0.1","ports":[31000,31001],"startedAt":"2024-05-01T11:00:00.000Z"}`, id, version)
	}
	a := parseApp(t, `{"id":"/a","version":%q,"instances":1,"labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"a.test","HAPROXY_1_MODE":"tcp","HAPROXY_1_PORT":"9000"},
		"portDefinitions":[{"name":"http"},{"name":"devices"}],"tasks":[%s,%s]}`, newVersion, task("o", oldVersion), task("n", newVersion))
	app := convertApp(a, nil, testMapping()).app
	if got := shownHealth(app.Ports[0]); got != "n o" {
		t.Errorf("HTTP: %s", got)
	}
	if got := shownHealth(app.Ports[1]); got != "n (o)" {
		t.Errorf("TCP: %s", got)
	}
	if !strings.Contains(fmt.Sprint(app.Notes), "{o "+drainNote+"}") {
		t.Errorf("notes: %v", app.Notes)
	}
}

func TestReleaseOfAPod(t *testing.T) {
	t.Parallel()
	instance := func(id, version string) podInstanceJSON {
		return podInstanceJSON{ID: id, SpecReference: "/v2/pods/p::versions/" + version}
	}
	list := []podInstanceJSON{instance("a", oldVersion), instance("b", newVersion), instance("c", nextVersion), instance("d", "?"), {ID: "e"}}
	if got := outdatedInstances(list, newVersion); len(got) != 1 || got["a"].IsZero() {
		t.Errorf("older than the newest: %v", got)
	}
	if got := outdatedInstances(list, "?"); got != nil {
		t.Errorf("with a version that is no time: %v", got)
	}
}
