package xds

import (
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"relay/xds/xdstest"
)

func versionOf(r *discoveryv3.DeltaDiscoveryResponse, name string) string {
	return xdstest.Versions(r)[name]
}

// A port may be taken on one machine: what its Envoy rejects is sent to all others.
func TestRejectionConcernsTheEnvoyThatMadeIt(t *testing.T) {
	store, _, connect := scripts(t)
	store.ClustersOnDemand = true
	setIn(t, store, Listener, "1", "http")
	first := connect("edge-1", "1.40.0")
	first.subscribe(Listener)
	rejection := first.nack(first.expect(Listener, []string{"http"}), "cannot bind")
	if rejection.Reach != OneEnvoy {
		t.Errorf("reach %d, want that of one Envoy", rejection.Reach)
	}
	first.quiet()
	if p := first.progress(Listener, "http"); p != Rejected {
		t.Errorf("it is %q for the Envoy that rejected it", p)
	}
	for _, node := range []string{"edge-2", "edge-3"} {
		other := connect(node, "1.40.0")
		other.subscribe(Listener)
		other.ack(other.expect(Listener, []string{"http"}))
		if p := other.progress(Listener, "http"); p != Acknowledged {
			t.Errorf("it is %q for %s", p, node)
		}
	}
	r := store.Rejected()
	if len(r) != 1 || strings.Join(r[0].Nodes, " ") != "edge-1" || !r[0].Acknowledged || r[0].Quarantined || r[0].Message != "cannot bind" {
		t.Errorf("rejected: %+v", r)
	}
	// However many machines have the same trouble: others have acknowledged it.
	for _, node := range []string{"edge-4", "edge-5", "edge-6"} {
		other := connect(node, "1.40.0")
		other.subscribe(Listener)
		other.nack(other.expect(Listener, []string{"http"}), "cannot bind")
		other.quiet()
	}
	if r := store.Rejected(); len(r) != 1 || len(r[0].Nodes) != 4 || r[0].Quarantined {
		t.Errorf("rejected: %+v", r)
	}
}

// A rejected resource is offered again, after pauses that grow.
func TestRejectedIsTriedAgain(t *testing.T) {
	store, clock, connect := scripts(t)
	store.ClustersOnDemand = true
	setIn(t, store, Listener, "1", "http", "other")
	e := connect("edge-1", "1.40.0")
	e.subscribe(Listener)
	e.nack(e.expect(Listener, []string{"http", "other"}), "cannot bind")
	e.nack(e.expect(Listener, []string{"http"}), "cannot bind")
	e.ack(e.expect(Listener, []string{"other"}))
	e.quiet()
	pause := firstPause
	for range 10 {
		if !e.retryAt.Equal(clock.Add(pause)) {
			t.Fatalf("the stream wakes at %s, want %s after %s", e.retryAt, pause, *clock)
		}
		*clock = clock.Add(pause - 1)
		e.quiet()
		// Other changes do not wait for it, nor bring it back.
		setIn(t, store, Listener, clock.String(), "other")
		e.ack(e.expect(Listener, []string{"other"}))
		*clock = clock.Add(1)
		if r := e.nack(e.expect(Listener, []string{"http"}), "cannot bind"); r.Reach != Repeated {
			t.Errorf("reach %d of a repeated rejection", r.Reach)
		}
		e.quiet()
		pause = min(2*pause, lastPause)
	}
	since := e.session.status()[0].Stale[0].Since
	if want := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); !since.Equal(want) {
		t.Errorf("rejected since %s, want %s", since, want)
	}
	*clock = clock.Add(lastPause)
	e.ack(e.expect(Listener, []string{"http"}))
	e.quiet()
	if r := store.Rejected(); len(r) != 0 {
		t.Errorf("still rejected: %+v", r)
	}
	if !e.retryAt.IsZero() {
		t.Errorf("the stream wakes at %s for nothing", e.retryAt)
	}
}

// A new stream is offered what the one before rejected.
func TestRejectedIsTriedOnANewStream(t *testing.T) {
	store, _, connect := scripts(t)
	store.ClustersOnDemand = true
	setIn(t, store, Listener, "1", "http")
	e := connect("edge-1", "1.40.0")
	e.subscribe(Listener)
	e.nack(e.expect(Listener, []string{"http"}), "cannot bind")
	e.session.close()
	e = connect("edge-1", "1.40.0")
	e.subscribe(Listener)
	e.ack(e.expect(Listener, []string{"http"}))
}

// A removal in a response whose only resource is rejected is said again: Envoy does not
// tell whether it carried it out.
func TestRemovalInARejectedResponse(t *testing.T) {
	store, _, connect := scripts(t)
	setIn(t, store, Secret, "poison", "bad")
	e := connect("edge-1", "1.40.0")
	e.subscribe(Secret, "bad", "unknown.test")
	e.nack(e.expect(Secret, []string{"bad"}, "unknown.test"), "bad is bad")
	e.ack(e.expect(Secret, nil, "unknown.test"))
	e.ack(e.expect(Secret, nil, "bad"))
	e.quiet()
}

// What waits for a resource goes on at once when that is rejected.
func TestRemovalAfterARejection(t *testing.T) {
	store, _, connect := scripts(t)
	setIn(t, store, Cluster, "1", "old")
	e := connect("edge-1", "1.40.0")
	e.subscribe(Cluster)
	e.ack(e.expect(Cluster, []string{"old"}))
	e.subscribe(Listener)
	e.ack(e.expect(Listener, nil))
	e.subscribe(Scope)
	e.ack(e.expect(Scope, nil))
	store.Apply(Change{Set: []Resource{testResource(t, Listener, "bad", "1")}, Remove: []Key{{Cluster, "old"}}})
	e.nack(e.expect(Listener, []string{"bad"}), "bad")
	e.ack(e.expect(Cluster, nil, "old"))
}

// An Envoy that keeps an older scope or listener keeps the clusters that it may name.
func TestClustersOfARejectedScopeStay(t *testing.T) {
	for _, naming := range []Type{Scope, Listener} {
		t.Run(naming.String(), func(t *testing.T) {
			store, _, connect := scripts(t)
			setIn(t, store, Cluster, "1", "old", "unused")
			setIn(t, store, naming, "old", "n")
			e := connect("edge-1", "1.40.0")
			for _, typ := range []Type{Cluster, Listener, Scope} {
				e.subscribe(typ)
				e.plan()
				for _, r := range e.waiting {
					e.ack(r)
				}
				e.waiting = nil
			}
			e.quiet()
			store.Apply(Change{Remove: []Key{{Cluster, "unused"}}})
			e.ack(e.expect(Cluster, nil, "unused"))
			store.Apply(Change{
				Set:    []Resource{testResource(t, Cluster, "new", "1"), testResource(t, naming, "n", "new, and bad")},
				Remove: []Key{{Cluster, "old"}},
			})
			e.ack(e.expect(Cluster, []string{"new"}))
			e.nack(e.expect(naming, []string{"n"}), "bad")
			e.quiet()
			setIn(t, store, naming, "new", "n")
			e.ack(e.expect(naming, []string{"n"}))
			e.ack(e.expect(Cluster, nil, "old"))
			e.quiet()
		})
	}
}

// Envoy takes over parts of a response that it rejects: what is deleted while the
// culprit is searched for is removed all the same.
func TestDeletedWhileTheCulpritIsSought(t *testing.T) {
	store, _, connect := scripts(t)
	store.ClustersOnDemand = true
	setIn(t, store, Listener, "1", "tcp/1", "tcp/2", "tcp/3", "tcp/4")
	e := connect("edge-1", "1.40.0")
	e.subscribe(Listener)
	r := e.expect(Listener, []string{"tcp/1", "tcp/2", "tcp/3", "tcp/4"})
	store.Apply(Change{Remove: []Key{{Listener, "tcp/4"}}})
	e.nack(r, "cannot bind tcp/1")
	r = e.expect(Listener, []string{"tcp/1", "tcp/2"})
	store.Apply(Change{Remove: []Key{{Listener, "tcp/2"}}})
	e.nack(r, "cannot bind tcp/1")
	e.ack(e.expect(Listener, nil, "tcp/2", "tcp/4")) // the search goes on after that
	e.nack(e.expect(Listener, []string{"tcp/1"}), "cannot bind tcp/1")
	e.ack(e.expect(Listener, []string{"tcp/3"}))
	e.quiet()
	// The culprit itself was never there.
	store.Apply(Change{Remove: []Key{{Listener, "tcp/1"}}})
	e.quiet()
}

// A certificate that answers for many server names is one resource.
func TestRejectedAliasesAreOneResource(t *testing.T) {
	store, _, connect := scripts(t)
	store.Apply(Change{
		Set:     []Resource{testResource(t, Secret, "vault/a", "1")},
		Resolve: func(string) (string, bool, bool) { return "vault/a", true, true },
	})
	for _, node := range []string{"edge-1", "edge-2"} {
		e := connect(node, "1.40.0")
		for _, name := range []string{"a.test", node + ".a.test"} {
			e.subscribe(Secret, name)
			e.nack(e.expect(Secret, []string{name}), "bad")
			e.ack(e.expect(Secret, nil, name))
		}
	}
	r := store.Rejected()
	if len(r) != 1 || r[0].Name != "vault/a" || strings.Join(r[0].Nodes, " ") != "edge-1 edge-2" || !r[0].Quarantined {
		t.Errorf("rejected: %+v", r)
	}
}
