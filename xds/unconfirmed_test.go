package xds

import "testing"

// An Envoy may reconnect before the end of its old stream is seen. What is unconfirmed then is sent
// again on the new one.
func TestUnconfirmedOfAStreamThatEndsLate(t *testing.T) {
	store, _, connect := scripts(t)
	store.ClustersOnDemand = true
	setIn(t, store, Listener, "1", "tcp/1", "tcp/2", "tcp/3")
	old := connect("edge-1", "1.40.0")
	old.subscribe(Listener)
	old.nack(old.expect(Listener, []string{"tcp/1", "tcp/2", "tcp/3"}), "cannot bind tcp/1")
	old.expect(Listener, []string{"tcp/1"})
	store.Apply(Change{Remove: []Key{{Listener, "tcp/2"}}})
	again, other := connect("edge-1", "1.40.0"), connect("edge-2", "1.40.0")
	for _, e := range []*script{again, other} {
		e.subscribe(Listener)
		e.ack(e.expect(Listener, []string{"tcp/1", "tcp/3"}))
		e.quiet()
	}
	old.session.close()
	select {
	case <-again.session.wake:
	default:
		t.Error("the new stream is not told")
	}
	again.ack(again.expect(Listener, []string{"tcp/1", "tcp/3"}, "tcp/2"))
	again.quiet()
	other.quiet()
}
