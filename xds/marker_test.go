package xds

import (
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"relay/xds/xdstest"
)

// A scope that was good, in a response that Envoy rejected, is not the same bytes when
// it is sent again: Envoy would acknowledge it unread, and not serve it. Its version is.
func TestRejectedResponsesAreMarked(t *testing.T) {
	store, _, connect := scripts(t)
	store.ClustersOnDemand = true
	setIn(t, store, Scope, "1", "a", "b")
	setIn(t, store, Listener, "1", "http")
	start := func(node string) *script {
		e := connect(node, "1.40.0")
		e.subscribe(Listener)
		e.ack(e.expect(Listener, []string{"http"}))
		e.subscribe(Scope)
		return e
	}
	e := start("edge-1")
	first := e.expect(Scope, []string{"a", "b"})
	e.nack(first, "b is bad")
	again := e.expect(Scope, []string{"a"})
	if bytesOf(first, "a") == bytesOf(again, "a") {
		t.Error("the good one is sent again as it was")
	}
	if versionOf(first, "a") != versionOf(again, "a") {
		t.Error("it has another version")
	}
	e.ack(again)
	r := e.expect(Scope, []string{"b"})
	if bytesOf(first, "b") == bytesOf(r, "b") {
		t.Error("the bad one is sent again as it was")
	}
	e.nack(r, "b is bad")
	// What Envoy read is not marked any more.
	setIn(t, store, Scope, "2", "a")
	changed := e.expect(Scope, []string{"a"})
	fresh := start("edge-2")
	if bytesOf(changed, "a") != bytesOf(fresh.expect(Scope, []string{"a"}), "a") {
		t.Error("a change is marked without a reason")
	}
}

// On a stream that is not an Envoy's first, nobody knows what it rejected before.
func TestResumedStreamsAreMarked(t *testing.T) {
	store, _, connect := scripts(t)
	setIn(t, store, Cluster, "1", "c")
	setIn(t, store, Secret, "1", "s", "same")
	fresh := connect("edge-1", "1.40.0")
	fresh.subscribe(Cluster)
	clusters := fresh.expect(Cluster, []string{"c"})
	fresh.ack(clusters)
	fresh.subscribe(Secret, "s", "same")
	first := fresh.expect(Secret, []string{"s", "same"})
	seen := map[string]bool{bytesOf(first, "s"): true}
	for range 2 {
		e := connect("edge-1", "1.40.0")
		e.resume(Cluster, xdstest.Versions(clusters))
		e.resume(Secret, map[string]string{"same": versionOf(first, "same")}, "s")
		r := e.expect(Secret, []string{"s"})
		if seen[bytesOf(r, "s")] {
			t.Error("a stream sends what another one sent")
		}
		seen[bytesOf(r, "s")] = true
		if versionOf(r, "s") != versionOf(first, "s") {
			t.Error("it has another version")
		}
		e.ack(r)
		e.session.close()
	}
}

func bytesOf(r *discoveryv3.DeltaDiscoveryResponse, name string) string {
	for _, resource := range r.GetResources() {
		if resource.GetName() == name {
			return string(resource.GetResource().GetValue())
		}
	}
	return ""
}

// On a stream that is not an Envoy's first, a resource that it has read is not marked again.
func TestResumedStreamsAreMarkedOnce(t *testing.T) {
	store, _, connect := scripts(t)
	store.ClustersOnDemand = true
	setIn(t, store, Listener, "1", "http")
	setIn(t, store, Scope, "1", "a")
	fresh := connect("edge-1", "1.40.0")
	fresh.subscribe(Listener)
	listeners := fresh.expect(Listener, []string{"http"})
	fresh.subscribe(Scope)
	fresh.ack(fresh.expect(Scope, []string{"a"}))
	e := connect("edge-2", "1.40.0")
	e.resume(Listener, xdstest.Versions(listeners))
	e.subscribe(Scope)
	e.ack(e.expect(Scope, []string{"a"}))
	setIn(t, store, Scope, "2", "a")
	if bytesOf(e.expect(Scope, []string{"a"}), "a") != bytesOf(fresh.expect(Scope, []string{"a"}), "a") {
		t.Error("it is marked a second time")
	}
}
