package xds

import (
	"testing"
)

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

// A resource that several Envoys of a version reject is in quarantine for the version: others of it
// have the last good version. Envoys of other versions are sent the resource.
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
	// The third one has an older version, and keeps it.
	envoys[2].ack(busy)
	envoys[2].quiet()
	if p := envoys[2].progress(Cluster, "a"); p != Quarantined {
		t.Errorf("it is %q for an Envoy that has not seen it", p)
	}
	// An Envoy that has none is sent the last good version.
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
	setIn(t, store, Cluster, "repaired", "a")
	for _, e := range append(envoys, fresh, newer) {
		e.ack(e.expect(Cluster, []string{"a"}))
		e.quiet()
	}
	if r := store.Rejected(); len(r) != 0 {
		t.Errorf("still rejected: %+v", r)
	}
}

// If nothing better is known, an Envoy is sent what others rejected, in a response of its own: their
// reason may be theirs alone. When it acknowledges that, all others are sent it.
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
