package xds

import (
	"fmt"
	"testing"
)

// What is due on a stream keeps its id until the stream has seen that it is gone, be it
// in the log of changes still or not.
func TestDueIDsAreNotReclaimed(t *testing.T) {
	store, _, connect := scripts(t)
	setIn(t, store, Cluster, "1", "first")
	e := connect("edge-1", "1.40.0")
	e.subscribe(Cluster)
	r := e.expect(Cluster, []string{"first"})
	var set, more Change
	for i := range 2 * minLog {
		set.Set = append(set.Set, testResource(t, Cluster, fmt.Sprint("c", i), "1"))
		more.Set = append(more.Set, testResource(t, Cluster, "first", fmt.Sprint(i)))
		more.Remove = append(more.Remove, set.Set[i].Key)
	}
	store.Apply(set)
	e.plan() // they are due, and wait for an answer
	store.Apply(Change{Remove: more.Remove})
	store.Apply(Change{Set: more.Set})
	store.Apply(Change{Set: more.Set})
	e.ack(r)
	e.ack(e.expect(Cluster, []string{"first"}))
	e.quiet()
}

// Names that stand in a response are not mixed up with others when it is answered.
func TestSentIDsAreNotReclaimed(t *testing.T) {
	store, _, connect := scripts(t)
	setIn(t, store, Secret, "1", "gone")
	e := connect("edge-1", "1.40.0")
	e.subscribe(Secret, "gone")
	r := e.expect(Secret, []string{"gone"})
	id := store.tables[Secret].ids["gone"]
	e.unsubscribe(Secret, "gone")
	store.Apply(Change{Remove: []Key{{Secret, "gone"}}})
	reclaim := func() {
		for i := range minReclaim {
			store.intern(Secret, []string{fmt.Sprint("asked for in vain ", i)})
		}
		store.tables[Secret].reclaimAt = 0
		store.reclaimIfDue(Secret)
	}
	reclaim()
	if name := store.tables[Secret].entries[id].name; name != "gone" {
		t.Errorf("the id of a name that was sent stands for %q", name)
	}
	e.ack(r)
	reclaim()
	if name := store.tables[Secret].entries[id].name; name != "" {
		t.Errorf("the id of %q is kept for good", name)
	}
}

// An Envoy is sent nothing of what it unsubscribed from while that was in flight.
func TestUnsubscribedWhileInFlight(t *testing.T) {
	store, _, connect := scripts(t)
	setIn(t, store, Secret, "1", "a", "b", "kept")
	e := connect("edge-1", "1.40.0")
	e.subscribe(Secret, "a", "b", "kept")
	r := e.expect(Secret, []string{"a", "b", "kept"})
	e.unsubscribe(Secret, "a", "b")
	e.nack(r, "bad")
	e.ack(e.expect(Secret, []string{"kept"}))
	e.quiet()
	setIn(t, store, Secret, "2", "a", "b")
	e.quiet()
}

// Nobody rejects a resource if the Envoy unsubscribed before the rejection came.
func TestUnsubscribedBeforeTheRejection(t *testing.T) {
	store, clock, connect := scripts(t)
	setIn(t, store, Secret, "1", "a")
	e := connect("edge-1", "1.40.0")
	e.subscribe(Secret, "a")
	r := e.expect(Secret, []string{"a"})
	e.unsubscribe(Secret, "a")
	e.nack(r, "bad")
	nobodyRejects(t, store)
	*clock = clock.Add(lastPause)
	e.quiet()
}
