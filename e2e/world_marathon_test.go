package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"relay/sources/marathon/marathontest"
)

// upToDate waits until Relay has read all apps as they are now, and all Envoys have what it published. It is for what
// must be so from now on, where to wait until it is so would show nothing.
func (w *world) upToDate() {
	w.t.Helper()
	// On a busy machine the hook may answer that the read goes on.
	w.eventually("all is read", func() error {
		switch status := w.admin.hook("hup"); status {
		case http.StatusNoContent:
			return nil
		case http.StatusAccepted:
			return errors.New("the read goes on")
		default:
			w.t.Fatalf("hook: status %d", status)
			return nil
		}
	})
	w.admin.settled()
}

// runningMarathon is Marathon with real tasks.
type runningMarathon struct {
	*marathontest.Server
	t testing.TB
}

// app is the definition of an app with one port and one domain.
func app(id, domain string, instances int, labels ...string) string {
	all := map[string]string{"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": domain}
	for i := 0; i+1 < len(labels); i += 2 {
		all[labels[i]] = labels[i+1]
	}
	text, _ := json.Marshal(map[string]any{
		"id": id, "instances": instances, "labels": all, "portDefinitions": []map[string]any{{"port": 0, "protocol": "tcp"}},
	})
	return string(text)
}

// service sets up an app with one port, no domain, and tasks at these addresses.
func (m *runningMarathon) service(id string, tasks []string, labels ...string) {
	m.t.Helper()
	all := map[string]string{"HAPROXY_GROUP": "external"}
	for i := 0; i+1 < len(labels); i += 2 {
		all[labels[i]] = labels[i+1]
	}
	var list []any
	for _, task := range tasks {
		host, port, _ := net.SplitHostPort(task)
		list = append(list, map[string]any{
			"id": strings.Trim(id, "/") + "." + port, "host": host, "ports": []json.RawMessage{json.RawMessage(port)},
			"state": "TASK_RUNNING", "startedAt": "2026-01-01T00:00:00.000Z",
		})
	}
	raw, err := json.Marshal(map[string]any{
		"id": id, "instances": len(tasks), "labels": all, "tasks": list,
		"portDefinitions": []any{map[string]any{"port": 0, "protocol": "tcp"}},
	})
	if err != nil {
		m.t.Fatal(err)
	}
	m.SetRawApp(id, raw)
	m.Publish("group_change_success", map[string]any{"groupId": "/", "version": "2026-01-01T00:00:00.000Z"})
}

// kill ends a task by Marathon's API, which starts another one.
func (m *runningMarathon) kill(app, task string) {
	m.t.Helper()
	req, err := http.NewRequest(http.MethodDelete, m.URL()+"/v2/apps"+app+"/tasks/"+task, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		m.t.Fatalf("kill %s: %s", task, resp.Status)
	}
	eventually(m.t, "task killed and replaced", func() error {
		for _, t := range m.Tasks(app) {
			if t.ID == task || t.State != "TASK_RUNNING" {
				return fmt.Errorf("%s is %s", t.ID, t.State)
			}
		}
		return nil
	})
}

// backend is an app whose one task is a server of the test's own.
func (m *runningMarathon) backend(id, domain string, s *httptest.Server, labels ...string) {
	m.t.Helper()
	m.t.Cleanup(s.Close)
	host, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	m.rawApp(id, domain, host, port, labels...)
}

// rawApp is an app whose one task is at this address, whatever answers there.
func (m *runningMarathon) rawApp(id, domain, host, port string, labels ...string) {
	m.t.Helper()
	m.rawAppQuietly(id, domain, host, port, labels...)
	m.Publish("group_change_success", map[string]any{"groupId": "/", "version": "2026-01-01T00:00:00.000Z"})
}

// rawAppQuietly sets up an app without an event that tells of it.
func (m *runningMarathon) rawAppQuietly(id, domain, host, port string, labels ...string) {
	m.t.Helper()
	var definition map[string]any
	if err := json.Unmarshal([]byte(app(id, domain, 1, labels...)), &definition); err != nil {
		m.t.Fatal(err)
	}
	definition["tasks"] = []any{map[string]any{
		"id": strings.Trim(id, "/") + ".1", "host": host, "ports": []json.RawMessage{json.RawMessage(port)},
		"state": "TASK_RUNNING", "startedAt": "2026-01-01T00:00:00.000Z",
	}}
	raw, err := json.Marshal(definition)
	if err != nil {
		m.t.Fatal(err)
	}
	m.SetRawApp(id, raw)
}

func (m *runningMarathon) taskIDs(id string) []string {
	var ids []string
	for _, task := range m.Tasks(id) {
		ids = append(ids, task.ID)
	}
	slices.Sort(ids)
	return ids
}

// deploy applies definitions and waits until Marathon is done with them.
func (m *runningMarathon) deploy(definitions ...string) {
	m.t.Helper()
	for _, d := range definitions {
		if err := m.Apply(d); err != nil {
			m.t.Fatal(err)
		}
	}
	m.idle()
}

func (m *runningMarathon) idle() {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := m.WaitIdle(ctx); err != nil {
		m.t.Fatal(err)
	}
}

// away lets nothing be read, while tasks and deployments go on.
func (m *runningMarathon) away() {
	for _, kind := range []marathontest.Kind{marathontest.KindList, marathontest.KindApp, marathontest.KindEvents} {
		m.Inject(kind, marathontest.Fault{Status: http.StatusServiceUnavailable})
	}
}

// address is where an app's first task serves its first port.
func (m *runningMarathon) address(id string) string {
	task := m.Tasks(id)[0]
	return fmt.Sprintf("%s:%d", task.Host, task.Ports[0])
}
