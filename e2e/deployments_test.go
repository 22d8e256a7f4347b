package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
	"relay/sources/marathon/marathontest"
)

// While a TCP service is released, old servers keep the connections that they have until Marathon stops
// them, and new connections go to new servers alone, also where Marathon does not tell which tasks it stops.
func TestReleaseOfATCPService(t *testing.T) {
	t.Parallel()
	const grace = 20 * time.Second
	for name, silent := range map[string]bool{"Marathon tells which tasks it stops": false, "Marathon does not tell": true} {
		t.Run(name, func(t *testing.T) {
			w := newReleaseWorld(t, marathontest.Options{KillGrace: grace, NoTaskKilling: silent})
			port, address := w.tcp.port()
			w.marathon.deploy(connectionServer("/imp", port, 3))
			w.start()
			w.listens(address)
			devices := w.connect(address, 30)
			old := w.marathon.taskIDs("/imp")
			if err := w.marathon.Restart("/imp"); err != nil {
				t.Fatal(err)
			}
			var began time.Time // when Marathon told the first one to stop
			w.eventually("all new servers run", func() error {
				w.stay(devices)
				fresh := 0
				for _, task := range w.marathon.Tasks("/imp") {
					if task.State == "TASK_RUNNING" && !slices.Contains(old, task.ID) {
						fresh++
					}
				}
				if fresh > 0 && began.IsZero() {
					began = time.Now()
				}
				if fresh < 3 {
					return errNotYet
				}
				return nil
			})
			w.eventually("new connections go to new servers", func() error {
				fresh := w.connect(address, 20)
				defer leave(fresh, "")
				if slices.ContainsFunc(fresh, func(d *device) bool { return slices.Contains(old, d.task) }) {
					return errNotYet
				}
				return nil
			})
			w.stay(devices)
			if took := time.Since(began); took > grace*9/10 {
				t.Errorf("it took %s: the old servers may have ended before", took)
			}
			w.marathon.idle()
			w.listens(address)
			w.envoy.nothingRejected()
		})
	}
}

// The connections of a deployment group move from one app to the other step by step, and back, and none is
// cut that nobody said to cut.
func TestDeploymentOfATCPService(t *testing.T) {
	w := newReleaseWorld(t, marathontest.Options{KillGrace: 500 * time.Millisecond})
	w.relay.keepState(false)
	port, address := w.tcp.port()
	w.marathon.deploy(colour("blue", port, 3, 3, "2026-05-01T12:00:00"))
	w.start()
	w.reportOften()
	w.listens(address)
	devices := w.connect(address, 100)
	if d := w.deployment(); !d.Done || d.To != "" || len(d.Apps) != 1 {
		t.Fatalf("with one app: %+v", d)
	}
	w.marathon.deploy(colour("green", port, 1, 3, "2026-05-01T13:00:00"))
	w.becomes("one blue drains for one green", func(d api.Deployment) bool {
		blue, green := deploymentApp(d, "/imp-blue"), deploymentApp(d, "/imp-green")
		return d.To == "/imp-green" && green.Healthy == 1 && blue.Draining == 1 && blue.Connections != nil && *blue.Connections == 100
	})

	// The new one gets all its instances, and takes all that is new.
	if status, step := w.step("advance"); status != http.StatusOK || len(step.Made) != 1 || step.Made[0].To != 3 {
		t.Fatalf("status %d: %+v", status, step)
	}
	draining := func(d api.Deployment) bool { return deploymentApp(d, "/imp-blue").Draining == 3 }
	w.becomes("all blue drain", draining)
	w.onlyNew(address, "/imp-green")
	w.stay(devices)

	// Nothing is stopped while it has connections, also after a restart.
	w.relay.stop()
	w.relay.start()
	w.envoy.ready()
	w.reportOften()
	w.becomes("it is known what is left", func(d api.Deployment) bool {
		blue := deploymentApp(d, "/imp-blue")
		return draining(d) && blue.Connections != nil && *blue.Connections == 100 && len(d.Next) == 0 && strings.Contains(strings.Join(d.Waiting, " "), "connections")
	})
	if status, step := w.step("advance"); status != http.StatusOK || len(step.Made) != 0 {
		t.Fatalf("status %d: %+v", status, step)
	}
	empty := devices[0].task
	devices = leave(devices, empty)
	w.advances("the server without connections goes", "advance", nil, func(d api.Deployment) bool {
		return deploymentApp(d, "/imp-blue").Instances == 2
	})
	w.marathon.idle()
	if left := w.marathon.taskIDs("/imp-blue"); len(left) != 2 || slices.Contains(left, empty) {
		t.Fatalf("%s was to go, and %v are left", empty, left)
	}
	w.stay(devices)
	w.rollsBack(address, devices)
}

// rollsBack turns the deployment round, and then on to its end.
func (w *world) rollsBack(address string, devices []*device) {
	w.t.Helper()
	onGreen := w.connect(address, 12)
	w.advances("blue is complete again", "rollback", nil, func(d api.Deployment) bool {
		return d.Back && deploymentApp(d, "/imp-blue").Healthy == 3 && deploymentApp(d, "/imp-green").Draining == 3
	})
	w.onlyNew(address, "/imp-blue")
	w.stay(devices)
	w.stay(onGreen)

	// A restart remembers the direction.
	w.relay.stop()
	w.relay.start()
	w.envoy.ready()
	w.reportOften()
	w.becomes("it still goes back", func(d api.Deployment) bool { return d.Back && deploymentApp(d, "/imp-green").Draining == 3 })
	w.onlyNew(address, "/imp-blue")
	w.stay(onGreen)
	leave(onGreen, "")
	w.advances("it is back", "rollback", nil, func(d api.Deployment) bool { return d.Done })
	if n := w.written("/imp-green").Instances; n != 0 {
		w.t.Fatalf("%d instances of the new app", n)
	}
	w.stay(devices)

	// On again, to the end: --force cuts what is left.
	w.advances("on again", "advance", nil, func(d api.Deployment) bool {
		return !d.Back && deploymentApp(d, "/imp-green").Healthy == 3 && deploymentApp(d, "/imp-blue").Draining == 3
	})
	w.stay(devices)
	w.advances("the end", "advance", []string{"force", "true"}, func(d api.Deployment) bool { return d.Done })
	if blue, green := w.written("/imp-blue").Instances, w.written("/imp-green").Instances; blue != 0 || green != 3 {
		w.t.Errorf("%d blue, %d green", blue, green)
	}
	w.stay(w.connect(address, 10))
	w.envoy.nothingRejected()
}

// onlyNew waits until new connections go to an app alone.
func (w *world) onlyNew(address, app string) {
	w.t.Helper()
	w.eventually("new connections go to "+app, func() error {
		tasks := w.marathon.taskIDs(app)
		devices := w.connect(address, 20)
		defer leave(devices, "")
		for _, d := range devices {
			if !slices.Contains(tasks, d.task) {
				return errNotYet
			}
		}
		return nil
	})
}

// What Marathon refuses, and what others change, leaves all as it is, and is said.
func TestStepsThatAreNotMade(t *testing.T) {
	w := newReleaseWorld(t, marathontest.Options{KillGrace: 100 * time.Millisecond})
	port, _ := w.tcp.port()
	w.marathon.deploy(colour("blue", port, 2, 2, "2026-05-01T12:00:00"), colour("green", port, 1, 2, "2026-05-01T13:00:00"))
	w.start()
	w.reportOften()
	w.becomes("both are there", func(d api.Deployment) bool { return deploymentApp(d, "/imp-green").Healthy == 1 && len(d.Next) == 1 })
	state := w.deployment().State
	for _, tt := range []struct {
		what   string
		fault  marathontest.Fault
		status int
	}{
		{"Marathon is locked", marathontest.Fault{Status: http.StatusConflict, Times: 1}, http.StatusConflict},
		{"Marathon fails", marathontest.Fault{Status: http.StatusInternalServerError, Times: 1}, http.StatusBadGateway},
		{"Marathon lets nobody in", marathontest.Fault{Status: http.StatusForbidden, Times: 1}, http.StatusBadGateway},
	} {
		w.marathon.Inject(writeOf("/imp-green"), tt.fault)
		if status, step := w.step("advance", "state", state); status != tt.status || step.Error == "" || len(step.Made) != 0 {
			t.Errorf("%s: status %d, %+v", tt.what, status, step)
		}
		if n := w.written("/imp-green").Instances; n != 1 {
			t.Errorf("%s: %d instances", tt.what, n)
		}
	}
	if d := w.deployment(); len(d.Events) != 3 || d.Events[0].Kind != "trouble" {
		t.Errorf("what is told: %+v", d.Events)
	}
	// People scale the app at the same moment: what they have set stays.
	w.marathon.Inject(writeOf("/imp-green"), before(func() { w.people(http.MethodPut, "/imp-green", `{"instances":3}`) }))
	if status, step := w.step("advance"); status != http.StatusConflict || len(step.Made) != 0 {
		t.Errorf("people were faster: status %d, %+v", status, step)
	}
	if n := w.written("/imp-green").Instances; n != 3 {
		t.Errorf("people wanted 3 instances, and there are %d", n)
	}
	w.becomes("it was read that people have scaled it", func(d api.Deployment) bool { return d.State != state })
	if status, step := w.step("advance", "state", state); status != http.StatusConflict || len(step.Made) != 0 {
		t.Errorf("another state than was seen: status %d, %+v", status, step)
	}
	if status, step := w.step("advance", "instances", "0"); status != http.StatusBadRequest {
		t.Errorf("status %d, %+v", status, step)
	}
}
