package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"relay/admin/api"
	"relay/sources/marathon/marathontest"
)

// device is a connection through Envoy to a TCP service, which stays.
type device struct {
	net.Conn
	in *bufio.Reader
	// task is the server at the other end.
	task string
}

// use says something, and returns an error if the connection is not the one that it was.
func (d *device) use() error {
	_ = d.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(d, "GET / HTTP/1.1\r\nHost: imp\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(d.in, nil)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	task := resp.Header.Get("X-Task")
	if d.task == "" {
		d.task = task
	}
	if resp.StatusCode != http.StatusOK || task != d.task || resp.Close {
		return fmt.Errorf("status %d of %s, on a connection to %s; close %v", resp.StatusCode, task, d.task, resp.Close)
	}
	return nil
}

// connect opens connections of devices.
func (w *world) connect(address string, n int) (devices []*device) {
	w.t.Helper()
	for range n {
		conn, err := w.tcp.dial(address, nil, "")
		if err != nil {
			w.t.Fatal(err)
		}
		d := &device{Conn: conn.Conn, in: conn.in}
		if err := d.use(); err != nil {
			w.t.Fatalf("a new connection: %v", err)
		}
		devices = append(devices, d)
	}
	return devices
}

// listens waits until a service takes connections.
func (w *world) listens(address string) {
	w.t.Helper()
	w.eventually("something listens at "+address, func() error {
		conn, err := w.tcp.dial(address, nil, "")
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		return (&device{Conn: conn.Conn, in: conn.in}).use()
	})
}

// stay fails the test unless connections are open still.
func (w *world) stay(devices []*device) {
	w.t.Helper()
	for _, d := range devices {
		if err := d.use(); err != nil {
			w.t.Fatalf("a connection to %s: %v", d.task, err)
		}
	}
}

// leave closes the connections to a task, or to all tasks if it is empty, and returns the others.
func leave(devices []*device, task string) (others []*device) {
	for _, d := range devices {
		if task == "" || d.task == task {
			_ = d.Close()
		} else {
			others = append(others, d)
		}
	}
	return others
}

// newReleaseWorld is a world in which Relay may change apps, with a Marathon of its own.
func newReleaseWorld(t *testing.T, options marathontest.Options) *world {
	t.Helper()
	w := newScalingWorld(t)
	w.useMarathon(options)
	w.relay.config.Scaling.Marathon.URLs = []string{w.marathon.URL()}
	return w
}

// connectionServer is the definition of an app that is a TCP service.
func connectionServer(id, port string, instances int, labels ...string) string {
	return app(id, "", instances, append([]string{modeLabel, "tcp", portLabel, port}, labels...)...)
}

// colour is the definition of an app of a deployment group.
func colour(name, port string, instances, target int, startedAt string) string {
	return connectionServer("/imp-"+name, port, instances, "HAPROXY_DEPLOYMENT_GROUP", "imp", "HAPROXY_DEPLOYMENT_COLOUR", name,
		"HAPROXY_DEPLOYMENT_STARTED_AT", startedAt, "HAPROXY_DEPLOYMENT_TARGET_INSTANCES", fmt.Sprint(target))
}

// deployment is what Relay says of the group imp.
func (w *world) deployment() (d api.Deployment) {
	w.t.Helper()
	w.admin.read("/api/v1/deployments/imp", &d)
	return d
}

// deploymentApp is what Relay says of one app of the group imp.
func deploymentApp(d api.Deployment, id string) api.DeploymentApp {
	i := slices.IndexFunc(d.Apps, func(a api.DeploymentApp) bool { return a.ID == id })
	if i < 0 {
		return api.DeploymentApp{}
	}
	return d.Apps[i]
}

// step asks for a step of the group imp, by "advance" or "rollback", and returns the status.
func (w *world) step(action string, query ...string) (int, api.DeploymentStep) {
	w.t.Helper()
	values := url.Values{}
	for i := 0; i+1 < len(query); i += 2 {
		values.Set(query[i], query[i+1])
	}
	status, body, err := w.admin.request(http.MethodPost, "/api/v1/deployments/imp/"+action+"?"+values.Encode())
	if err != nil {
		w.t.Fatal(err)
	}
	var step api.DeploymentStep
	if err := json.Unmarshal([]byte(body), &step); err != nil {
		w.t.Fatalf("%v: %s", err, body)
	}
	return status, step
}

// advances has steps made until the group is as it shall be.
func (w *world) advances(what, action string, query []string, ok func(api.Deployment) bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		status, step := w.step(action, query...)
		if status == http.StatusOK && ok(step.Deployment) {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: not so: status %d, %+v", what, status, step)
		}
	}
}

// becomes waits until the group is as it shall be, without a step.
func (w *world) becomes(what string, ok func(api.Deployment) bool) {
	w.t.Helper()
	w.eventually(what, func() error {
		if d := w.deployment(); !ok(d) {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
}
