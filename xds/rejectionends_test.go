package xds

import "testing"

// setBoth sets a listener and its variant.
func setBoth(t *testing.T, store *Store, first, second string) {
	t.Helper()
	r := testResource(t, Listener, "https", first).OrWithout(selector, testResource(t, Listener, "https", second))
	store.Apply(Change{Set: []Resource{r}})
}

func (s *script) able() *script {
	s.session.envoy.extensions = []string{selector}
	return s
}

// A stream that rejects the same again, since what it rejected came back meanwhile, is
// one stream; when it ends nobody rejects anything.
func TestRejectionEndsWithTheStream(t *testing.T) {
	store, _, connect := scripts(t)
	setIn(t, store, Cluster, "bad", "a")
	e := connect("edge-1", "1.40.0")
	e.subscribe(Cluster)
	r := e.expect(Cluster, []string{"a"})
	setIn(t, store, Cluster, "other", "a")
	setIn(t, store, Cluster, "bad", "a")
	e.nack(r, "bad")
	e.nack(e.expect(Cluster, []string{"a"}), "bad")
	e.quiet()
	e.session.close()
	nobodyRejects(t, store)
}

// The same holds if the resource has lost its variant, and is offered again for that.
func TestRejectionOfAVariantEndsWithTheStream(t *testing.T) {
	store, _, connect := scripts(t)
	store.ClustersOnDemand = true
	setBoth(t, store, "bad", "good")
	e := connect("edge-1", "1.40.0").able()
	e.subscribe(Listener)
	e.nack(e.expect(Listener, []string{"https"}), "bad")
	setIn(t, store, Listener, "bad", "https")
	e.nack(e.expect(Listener, []string{"https"}), "bad")
	e.session.close()
	nobodyRejects(t, store)
}

// An Envoy that is not sent any more what it rejected rejects nothing.
func TestRejectionOfAVariantThatIsNotSentAnyMore(t *testing.T) {
	store, _, connect := scripts(t)
	store.ClustersOnDemand = true
	setIn(t, store, Listener, "bad", "https")
	unable, able := connect("edge-1", "1.40.0"), connect("edge-2", "1.40.0").able()
	for _, e := range []*script{unable, able} {
		e.subscribe(Listener)
		e.nack(e.expect(Listener, []string{"https"}), "bad")
	}
	setBoth(t, store, "bad", "good")
	unable.ack(unable.expect(Listener, []string{"https"}))
	able.quiet()
	if r := store.Rejected(); len(r) != 1 || len(r[0].Nodes) != 1 || r[0].Nodes[0] != "edge-2" {
		t.Errorf("rejected: %+v", r)
	}
	unable.session.close()
	able.session.close()
	nobodyRejects(t, store)
}

// The ACK of a resource counts, though its variant changed in between, and the other way round.
func TestAcknowledgedWhileTheOtherVariantChanges(t *testing.T) {
	store, _, connect := scripts(t)
	store.ClustersOnDemand = true
	setBoth(t, store, "same", "1")
	e := connect("edge-1", "1.40.0").able()
	e.subscribe(Listener)
	r := e.expect(Listener, []string{"https"})
	setBoth(t, store, "same", "2")
	e.ack(r)
	for _, node := range []string{"edge-2", "edge-3"} {
		other := connect(node, "1.40.0").able()
		other.subscribe(Listener)
		other.nack(other.expect(Listener, []string{"https"}), "cannot bind")
	}
	if r := store.Rejected(); len(r) != 1 || !r[0].Acknowledged || r[0].Quarantined {
		t.Errorf("rejected: %+v", r)
	}
}
