package xds

import (
	"testing"
)

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

// An Envoy that rejects the last good version too is not sent it again.
func TestLastGoodIsRejectedToo(t *testing.T) {
	store, clock, connect := scripts(t)
	setIn(t, store, Cluster, "good", "a")
	var rejecting []*script
	for _, node := range []string{"edge-1", "edge-2"} {
		e := connect(node, "1.40.0")
		e.subscribe(Cluster)
		e.ack(e.expect(Cluster, []string{"a"}))
		rejecting = append(rejecting, e)
	}
	setIn(t, store, Cluster, "bad", "a")
	var bad string
	for _, e := range rejecting {
		r := e.expect(Cluster, []string{"a"})
		bad = versionOf(r, "a")
		e.nack(r, "bad")
	}
	e := connect("edge-3", "1.40.0")
	e.subscribe(Cluster)
	r := e.expect(Cluster, []string{"a"})
	if versionOf(r, "a") == bad {
		t.Error("it is not sent the last good one")
	}
	e.nack(r, "no room")
	for range 2 {
		r := e.expect(Cluster, []string{"a"})
		if versionOf(r, "a") != bad {
			t.Error("it is sent what it rejected, and not the present one")
		}
		e.nack(r, "no room")
		e.quiet()
		*clock = clock.Add(lastPause)
	}
}
