package xds

import "testing"

// The state of an Envoy is what is to be sent to it and what it lacks, and the count by states
// says the same as the status of each.
func TestEnvoyState(t *testing.T) {
	store, _, connect := scripts(t)
	e := connect("edge-1", "1.40.0")
	want := func(when string, want EnvoyState) {
		t.Helper()
		status := StreamStatus{Types: e.session.status()}
		if got, counted := status.State(), e.session.envoyState(); got != want || counted != want {
			t.Errorf("%s: %q, counted as %q, want %q", when, got, counted, want)
		}
	}
	want("nothing asked", IsBehind)
	setIn(t, store, Cluster, "1", "a", "b")
	e.subscribe(Cluster)
	want("not sent", IsBehind)
	sent := e.expect(Cluster, []string{"a", "b"})
	want("not acknowledged", IsBehind)
	e.ack(sent)
	want("acknowledged", UpToDate)
	setIn(t, store, Cluster, "2", "a")
	want("changed", IsBehind)
	e.nack(e.expect(Cluster, []string{"a"}), "bad")
	want("rejected", Rejecting)
	setIn(t, store, Cluster, "2", "b")
	want("rejected, and something is to be sent", Rejecting)
	e.ack(e.expect(Cluster, []string{"b"}))
	setIn(t, store, Cluster, "3", "a")
	e.ack(e.expect(Cluster, []string{"a"}))
	want("mended", UpToDate)
}
