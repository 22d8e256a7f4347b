package e2e

import (
	"fmt"
	"testing"
	"time"

	"relay/admin/api"
)

// Two Relays, each with an Envoy of its own, make one deployment: nothing is stopped that has connections at
// either Envoy, both go in the same direction, and a Relay that is away is waited for.
func TestDeploymentByTwoRelays(t *testing.T) {
	var port, address string
	p := newPair(t, func(w *world) string {
		port, address = w.tcp.port()
		return colour("blue", port, 2, 2, "2026-05-01T12:00:00")
	})
	p.listens(address)
	p.marathon.deploy(colour("green", port, 2, 2, "2026-05-01T13:00:00"))
	draining := func(id string) func(d api.Deployment) bool {
		return func(d api.Deployment) bool { return deploymentApp(d, id).Draining == 2 }
	}
	p.becomes("blue drains", draining("/imp-blue"))
	p.onlyNew(address, "/imp-green")

	// Both count what is open at both, whichever of them the kernel gave a connection to.
	devices := p.connect(address, 40)
	all := func(d api.Deployment) bool {
		green := deploymentApp(d, "/imp-green")
		return green.Connections != nil && *green.Connections == 40
	}
	p.becomes("all connections are known", all)
	p.atBoth("all connections are known", all)

	// Back by one: the other one learns of it.
	p.advances("back", "rollback", nil, func(d api.Deployment) bool { return d.Back && deploymentApp(d, "/imp-green").Draining == 2 })
	p.atBoth("it goes back", func(d api.Deployment) bool { return d.Back && draining("/imp-green")(d) })
	p.onlyNew(address, "/imp-blue")
	p.stay(devices)
	kept := devices[:1]
	leave(devices[1:], "")
	p.advances("the empty one goes", "rollback", nil, func(d api.Deployment) bool { return deploymentApp(d, "/imp-green").Instances == 1 })
	p.stay(kept)
	if n := p.written("/imp-green").Instances; n != 1 {
		t.Errorf("%d instances", n)
	}

	// Without the other Relay nothing is known of its Envoy.
	leave(kept, "")
	p.other.stop()
	for range 5 {
		if _, step := p.step("rollback"); len(step.Made) > 0 {
			t.Fatalf("a step without the other Relay: %+v", step)
		}
	}
	p.other.start()
	p.other.running.Loads().Pace("external", time.Second)
	p.advances("the last goes", "rollback", nil, func(d api.Deployment) bool { return d.Done })
}

// atBoth waits until the other Relay says so, too.
func (p *pair) atBoth(what string, ok func(api.Deployment) bool) {
	p.t.Helper()
	eventually(p.t, what+", by the other Relay", func() error {
		var d api.Deployment
		p.other.admin.read("/api/v1/deployments/imp", &d)
		if !ok(d) {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
}
