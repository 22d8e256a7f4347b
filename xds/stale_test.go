package xds

import (
	"fmt"
	"testing"

	"relay/xds/xdstest"
)

// A resource that is withheld while it is rejected is not offered again.
func TestRejectedIsWithheld(t *testing.T) {
	store, clock, connect := scripts(t)
	setIn(t, store, Cluster, "bad", "a")
	e := connect("edge-1", "1.40.0")
	e.subscribe(Cluster)
	r := e.expect(Cluster, []string{"a"})
	store.Apply(Change{Withhold: []Key{{Cluster, "a"}}})
	e.quiet()
	e.nack(r, "bad")
	*clock = clock.Add(quarantinePause)
	e.quiet()
	if lacks := e.session.status()[0].Stale; len(lacks) != 0 {
		t.Errorf("it lacks %+v", lacks)
	}
	setIn(t, store, Cluster, "bad", "a")
	e.ack(e.expect(Cluster, []string{"a"}))
}

// That there is nothing for a name is said again if the response that said so was
// rejected for another name; but not after something came for it.
func TestAnswerInARejectedResponse(t *testing.T) {
	for _, changed := range []bool{false, true} {
		t.Run(fmt.Sprint(changed), func(t *testing.T) {
			store, _, connect := scripts(t)
			setIn(t, store, Secret, "poison", "bad", "worse")
			e := connect("edge-1", "1.40.0")
			e.subscribe(Secret, "bad")
			e.nack(e.expect(Secret, []string{"bad"}), "bad is bad")
			e.subscribe(Secret, "worse")
			r := e.expect(Secret, []string{"worse"}, "bad")
			if changed {
				setIn(t, store, Secret, "good", "bad")
			}
			e.nack(r, "worse is bad")
			if changed {
				e.ack(e.expect(Secret, []string{"bad"}, "worse"))
				// Each may have been rejected for the other one.
				e.nack(e.expect(Secret, []string{"worse"}), "worse is bad")
				e.ack(e.expect(Secret, nil, "worse"))
			} else {
				e.ack(e.expect(Secret, nil, "bad"))
				e.ack(e.expect(Secret, nil, "worse"))
			}
			e.quiet()
		})
	}
}

// A listener that was rejected for its secret is offered again when the secret is replaced, also if
// no good version was known before.
func TestListenerAfterItsFirstGoodSecret(t *testing.T) {
	store, _, connect := scripts(t)
	store.ClustersOnDemand = true
	setIn(t, store, Listener, "1", "https")
	setIn(t, store, Secret, "bad", "s", "unrelated")
	e := connect("edge-1", "1.40.0")
	e.subscribe(Listener)
	e.ack(e.expect(Listener, []string{"https"}))
	e.subscribe(Secret, "s")
	e.nack(e.expect(Secret, []string{"s"}), "no key")
	e.ack(e.expect(Secret, nil, "s"))
	setIn(t, store, Listener, "2", "https")
	e.nack(e.expect(Listener, []string{"https"}), "no key")
	e.subscribe(Secret, "unrelated")
	e.ack(e.expect(Secret, []string{"unrelated"}))
	e.quiet()
	setIn(t, store, Secret, "good", "s")
	e.ack(e.expect(Secret, []string{"s"}))
	e.ack(e.expect(Listener, []string{"https"}))
}

// An Envoy that asks anew for what it rejected is answered: by the last good version, or
// that there is none, whatever it is thought to have.
func TestRejectedIsAskedForAnew(t *testing.T) {
	for _, known := range []bool{false, true} {
		t.Run(fmt.Sprint(known), func(t *testing.T) {
			store, _, connect := scripts(t)
			if known {
				setIn(t, store, Endpoint, "good", "a")
				other := connect("edge-2", "1.40.0")
				other.subscribe(Endpoint, "a")
				other.ack(other.expect(Endpoint, []string{"a"}))
			}
			setIn(t, store, Endpoint, "bad", "a", "b")
			e := connect("edge-1", "1.40.0")
			e.resume(Endpoint, map[string]string{"a": "of another control plane"}, "a")
			e.subscribe(Cluster)
			e.ack(e.expect(Cluster, nil))
			bad := e.expect(Endpoint, []string{"a"})
			e.nack(bad, "bad")
			for range 2 {
				if !known {
					e.ack(e.expect(Endpoint, nil, "a"))
				} else if r := e.expect(Endpoint, []string{"a"}); versionOf(r, "a") == versionOf(bad, "a") {
					t.Error("it is sent what it rejected")
				} else {
					e.ack(r)
				}
				e.quiet()
				e.subscribe(Endpoint, "a")
			}
		})
	}
}

// A resource that is offered again is sent apart from changes, also if others acknowledged it. One
// that only others rejected, and some acknowledged, is sent with all else.
func TestSuspectsAreSentApart(t *testing.T) {
	store, clock, connect := scripts(t)
	setIn(t, store, Cluster, "1", "a", "b")
	fine := connect("edge-1", "1.40.0")
	fine.subscribe(Cluster)
	fine.ack(fine.expect(Cluster, []string{"a", "b"}))
	e := connect("edge-2", "1.40.0")
	e.subscribe(Cluster)
	e.nack(e.expect(Cluster, []string{"a", "b"}), "a is bad")
	e.nack(e.expect(Cluster, []string{"a"}), "a is bad")
	e.ack(e.expect(Cluster, []string{"b"}))
	setIn(t, store, Cluster, "2", "b")
	*clock = clock.Add(firstPause)
	e.ack(e.expect(Cluster, []string{"b"}))
	e.nack(e.expect(Cluster, []string{"a"}), "a is bad")
	other := connect("edge-3", "1.40.0")
	other.subscribe(Cluster)
	other.ack(other.expect(Cluster, []string{"a", "b"}))
}

// An Envoy that has an older version of a scope keeps the clusters that existed when that version was
// replaced, and no others.
func TestClustersOfAStaleScopeStay(t *testing.T) {
	store, _, connect := scripts(t)
	setIn(t, store, Cluster, "1", "old", "unused")
	setIn(t, store, Scope, "old", "n")
	var envoys []*script
	for _, node := range []string{"edge-1", "edge-2", "edge-3"} {
		e := connect(node, "1.40.0")
		e.subscribe(Cluster)
		e.ack(e.expect(Cluster, []string{"old", "unused"}))
		e.subscribe(Scope)
		e.ack(e.expect(Scope, []string{"n"}))
		envoys = append(envoys, e)
	}
	setIn(t, store, Scope, "more", "other")
	for _, e := range envoys[:2] {
		e.ack(e.expect(Scope, []string{"other"}))
	}
	busy := envoys[2].expect(Scope, []string{"other"})
	store.Apply(Change{Remove: []Key{{Cluster, "unused"}}})
	store.Apply(Change{Set: []Resource{testResource(t, Scope, "n", "bad")}, Remove: []Key{{Cluster, "old"}}})
	for _, e := range envoys[:2] {
		e.ack(e.expect(Cluster, nil, "unused"))
		e.nack(e.expect(Scope, []string{"n"}), "bad")
		e.quiet()
	}
	envoys[2].ack(busy)
	envoys[2].ack(envoys[2].expect(Cluster, nil, "unused"))
	envoys[2].quiet()
}

// An Envoy that rejects very many resources is offered some of them at a time.
func TestVeryManyAreRetriedInParts(t *testing.T) {
	store, clock, connect := scripts(t)
	var names []string
	for i := range 2*maxRetriesAtOnce + 50 {
		names = append(names, fmt.Sprintf("c%d", i))
	}
	setIn(t, store, Cluster, "1", names...)
	e := connect("edge-1", "1.40.0")
	e.subscribe(Cluster)
	rejectAll := func() (offered map[string]bool) {
		t.Helper()
		offered = make(map[string]bool)
		for e.plan(); len(e.waiting) > 0; e.plan() {
			r := e.waiting[0]
			e.waiting = e.waiting[1:]
			for _, name := range xdstest.Names(r) {
				offered[name] = true
			}
			e.nack(r, "bad")
		}
		return offered
	}
	if offered := rejectAll(); len(offered) != len(names) {
		t.Fatalf("%d are offered at first", len(offered))
	}
	seen := make(map[string]bool)
	for range 20 {
		*clock = clock.Add(firstPause)
		offered := rejectAll()
		if len(offered) > maxRetriesAtOnce {
			t.Errorf("%d are offered again at a time", len(offered))
		}
		for name := range offered {
			seen[name] = true
		}
	}
	if len(seen) != len(names) {
		t.Errorf("%d of %d were offered again in the end", len(seen), len(names))
	}
}
