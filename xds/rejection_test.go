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

// Two streams of one Envoy are one Envoy.
func TestRejectionsOfOneNodeCountOnce(t *testing.T) {
	store, _, connect := scripts(t)
	setIn(t, store, Cluster, "1", "a")
	streams := []*script{connect("edge-1", "1.40.0"), connect("edge-1", "1.40.0")}
	for _, s := range streams {
		s.subscribe(Cluster)
		s.nack(s.expect(Cluster, []string{"a"}), "bad")
	}
	if r := store.Rejected(); len(r) != 1 || r[0].Quarantined {
		t.Errorf("rejected: %+v", r)
	}
	streams[0].session.close()
	if r := store.Rejected(); len(r) != 1 {
		t.Errorf("with one stream left: %+v", r)
	}
	streams[1].session.close()
	if r := store.Rejected(); len(r) != 0 {
		t.Errorf("with none left: %+v", r)
	}
}

// What several Envoys of a version reject is kept from others of the version, which
// have the last good one; those of other versions get it.
func TestQuarantine(t *testing.T) {
	store, _, connect := scripts(t)
	setIn(t, store, Cluster, "good", "a")
	var envoys []*script
	for _, node := range []string{"edge-1", "edge-2", "edge-3"} {
		e := connect(node, "1.40.0")
		e.subscribe(Cluster)
		envoys = append(envoys, e)
	}
	good := envoys[0].expect(Cluster, []string{"a"})
	envoys[0].ack(good)
	envoys[1].ack(envoys[1].expect(Cluster, []string{"a"}))
	busy := envoys[2].expect(Cluster, []string{"a"})
	setIn(t, store, Cluster, "bad", "a")
	if r := envoys[0].nack(envoys[0].expect(Cluster, []string{"a"}), "bad"); r.Reach != OneEnvoy {
		t.Errorf("the first rejection has reach %d", r.Reach)
	}
	if r := envoys[1].nack(envoys[1].expect(Cluster, []string{"a"}), "bad"); r.Reach != EnvoyVersion {
		t.Errorf("the second rejection has reach %d", r.Reach)
	}
	// The third one has an older one, and keeps it.
	envoys[2].ack(busy)
	envoys[2].quiet()
	if p := envoys[2].progress(Cluster, "a"); p != Quarantined {
		t.Errorf("it is %q for an Envoy that has not seen it", p)
	}
	// One that has none is sent the last good one.
	fresh := connect("edge-4", "1.40.0")
	fresh.subscribe(Cluster)
	r := fresh.expect(Cluster, []string{"a"})
	if versionOf(r, "a") != versionOf(good, "a") {
		t.Errorf("an Envoy without a is sent version %s, want the last good one, %s", versionOf(r, "a"), versionOf(good, "a"))
	}
	fresh.ack(r)
	fresh.quiet()
	if p := fresh.progress(Cluster, "a"); p != Quarantined {
		t.Errorf("it is %q for an Envoy that has the last good one", p)
	}
	newer := connect("edge-5", "1.41.0")
	newer.subscribe(Cluster)
	r = newer.expect(Cluster, []string{"a"})
	if versionOf(r, "a") == versionOf(good, "a") {
		t.Error("an Envoy of another version is not sent the new one")
	}
	newer.ack(r)
	if r := store.Rejected(); len(r) != 1 || !r[0].Quarantined || r[0].Envoy != "1.40.0" || len(r[0].Nodes) != 2 {
		t.Errorf("rejected: %+v", r)
	}
	setIn(t, store, Cluster, "mended", "a")
	for _, e := range append(envoys, fresh, newer) {
		e.ack(e.expect(Cluster, []string{"a"}))
		e.quiet()
	}
	if r := store.Rejected(); len(r) != 0 {
		t.Errorf("still rejected: %+v", r)
	}
}

// Where nothing better is known an Envoy is sent what others rejected, alone: their
// reason may be theirs. When it acknowledges that, all others get it.
func TestQuarantineEnds(t *testing.T) {
	store, clock, connect := scripts(t)
	setIn(t, store, Cluster, "1", "a", "b")
	var envoys []*script
	for _, node := range []string{"edge-1", "edge-2"} {
		e := connect(node, "1.40.0")
		e.subscribe(Cluster)
		if len(envoys) == 0 {
			e.nack(e.expect(Cluster, []string{"a", "b"}), "bad")
			e.nack(e.expect(Cluster, []string{"a"}), "a is bad")
			e.ack(e.expect(Cluster, []string{"b"}))
		} else { // a is known to be bad for somebody
			e.ack(e.expect(Cluster, []string{"b"}))
			e.nack(e.expect(Cluster, []string{"a"}), "a is bad")
		}
		e.quiet()
		envoys = append(envoys, e)
	}
	third := connect("edge-3", "1.40.0")
	third.subscribe(Cluster)
	third.ack(third.expect(Cluster, []string{"b"}))
	third.ack(third.expect(Cluster, []string{"a"}))
	third.quiet()
	if r := store.Rejected(); len(r) != 1 || r[0].Quarantined || !r[0].Acknowledged {
		t.Errorf("rejected: %+v", r)
	}
	envoys[0].quiet()
	*clock = clock.Add(firstPause)
	envoys[0].ack(envoys[0].expect(Cluster, []string{"a"}))
	envoys[1].ack(envoys[1].expect(Cluster, []string{"a"}))
	if r := store.Rejected(); len(r) != 0 {
		t.Errorf("still rejected: %+v", r)
	}
}

// Envoys that keep the last good version are sent the present one as soon as one of
// their version acknowledges it, or too few are left that reject it.
func TestLastGoodIsReplaced(t *testing.T) {
	for _, end := range []string{"acknowledged", "disconnected"} {
		t.Run(end, func(t *testing.T) {
			store, clock, connect := scripts(t)
			setIn(t, store, Cluster, "good", "a")
			keeps := connect("edge-3", "1.40.0")
			keeps.subscribe(Cluster)
			busy := keeps.expect(Cluster, []string{"a"})
			var rejecting []*script
			for _, node := range []string{"edge-1", "edge-2"} {
				e := connect(node, "1.40.0")
				e.subscribe(Cluster)
				e.ack(e.expect(Cluster, []string{"a"}))
				rejecting = append(rejecting, e)
			}
			setIn(t, store, Cluster, "new", "a")
			for _, e := range rejecting {
				e.nack(e.expect(Cluster, []string{"a"}), "bad")
			}
			keeps.ack(busy)
			keeps.quiet()
			select { // of changes, which it has seen
			case <-keeps.session.wake:
			default:
			}
			if end == "disconnected" {
				rejecting[0].session.close()
			} else {
				*clock = clock.Add(firstPause)
				rejecting[0].ack(rejecting[0].expect(Cluster, []string{"a"}))
			}
			select {
			case <-keeps.session.wake:
			default:
				t.Error("its stream is not woken")
			}
			keeps.ack(keeps.expect(Cluster, []string{"a"}))
			if p := keeps.progress(Cluster, "a"); p != Acknowledged {
				t.Errorf("it is %q", p)
			}
		})
	}
}

// What was rejected is tried again, after pauses that grow.
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

// A new stream tries what the one before rejected.
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

// The last good version is what Envoys acknowledged, and not what was published while
// they were sent that in its place.
func TestLastGoodStaysWhatWasAcknowledged(t *testing.T) {
	store, _, connect := scripts(t)
	setIn(t, store, Cluster, "good", "a")
	var rejecting []*script
	var good string
	for _, node := range []string{"edge-1", "edge-2"} {
		e := connect(node, "1.40.0")
		e.subscribe(Cluster)
		r := e.expect(Cluster, []string{"a"})
		good = versionOf(r, "a")
		e.ack(r)
		rejecting = append(rejecting, e)
	}
	reject := func(content string) {
		setIn(t, store, Cluster, content, "a")
		for _, e := range rejecting {
			e.nack(e.expect(Cluster, []string{"a"}), content)
		}
	}
	for i, node := range []string{"edge-3", "edge-4"} {
		reject("bad in another way, as " + node + " comes")
		fresh := connect(node, "1.40.0")
		fresh.subscribe(Cluster)
		r := fresh.expect(Cluster, []string{"a"})
		if got := versionOf(r, "a"); got != good {
			t.Errorf("new Envoy %d is sent version %q, want the last good one, %q", i, got, good)
		}
		fresh.ack(r)
		fresh.session.close()
	}
}

// The last good version of one version of Envoy is not that of another.
func TestLastGoodIsOfAVersion(t *testing.T) {
	store, _, connect := scripts(t)
	setIn(t, store, Cluster, "needs 1.41", "a")
	newer := connect("edge-1", "1.41.0")
	newer.subscribe(Cluster)
	newer.ack(newer.expect(Cluster, []string{"a"}))
	setIn(t, store, Cluster, "needs it too", "a")
	older := connect("edge-2", "1.40.0")
	older.subscribe(Cluster)
	older.nack(older.expect(Cluster, []string{"a"}), "unknown field")
	older.quiet() // and not what no Envoy of its version ever acknowledged
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

// What waits for something that is rejected goes on at once.
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
// culprit is sought is removed all the same.
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

// A scope that was good, in a response that Envoy rejected, is not the same bytes when
// it is sent again: Envoy would acknowledge it unread, and not serve it. Its version is.
func TestRejectedResponsesAreVaried(t *testing.T) {
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
	// What Envoy looked at is no longer in doubt.
	setIn(t, store, Scope, "2", "a")
	changed := e.expect(Scope, []string{"a"})
	fresh := start("edge-2")
	if bytesOf(changed, "a") != bytesOf(fresh.expect(Scope, []string{"a"}), "a") {
		t.Error("a change is varied without a reason")
	}
}

// On a stream that is not an Envoy's first, nobody knows what it rejected before.
func TestResumedStreamsAreVaried(t *testing.T) {
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

// An Envoy that rejected a secret is sent the last good one again: until then it
// rejects the listeners that name it.
func TestLastGoodSecretIsSentAgain(t *testing.T) {
	store, clock, connect := scripts(t)
	store.ClustersOnDemand = true
	setIn(t, store, Listener, "1", "https")
	setIn(t, store, Secret, "good", "s")
	e := connect("edge-1", "1.40.0")
	e.subscribe(Listener)
	e.ack(e.expect(Listener, []string{"https"}))
	e.subscribe(Secret, "s")
	good := e.expect(Secret, []string{"s"})
	e.ack(good)
	store.Apply(Change{Set: []Resource{testResource(t, Secret, "s", "bad"), testResource(t, Listener, "https", "2")}})
	bad := e.expect(Secret, []string{"s"})
	listener := e.expect(Listener, []string{"https"})
	e.nack(bad, "no key")
	again := e.expect(Secret, []string{"s"})
	if versionOf(again, "s") != versionOf(good, "s") {
		t.Errorf("sent is version %q, want the last good one, %q", versionOf(again, "s"), versionOf(good, "s"))
	}
	e.nack(listener, "no key")
	e.quiet()
	e.ack(again)
	if p := e.progress(Secret, "s"); p != Rejected {
		t.Errorf("the secret is %q", p)
	}
	e.ack(e.expect(Listener, []string{"https"})) // and not after a pause
	e.quiet()
	*clock = clock.Add(firstPause)
	if r := e.expect(Secret, []string{"s"}); versionOf(r, "s") != versionOf(bad, "s") {
		t.Error("the rejected one is not tried again")
	}
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

func bytesOf(r *discoveryv3.DeltaDiscoveryResponse, name string) string {
	for _, resource := range r.GetResources() {
		if resource.GetName() == name {
			return string(resource.GetResource().GetValue())
		}
	}
	return ""
}
