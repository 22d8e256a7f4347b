package xds

import (
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// An Envoy that tells on a new stream what it has keeps that when it rejects a newer version. If it
// were told that there is none, it would drop what it has.
func TestInitialVersionStaysWhenTheNextIsRejected(t *testing.T) {
	store, _, connect := scripts(t)
	store.ClustersOnDemand = true
	for _, typ := range []Type{Cluster, Secret, ExtensionConfig} {
		setIn(t, store, typ, "old", "a")
		old := store.tables[typ].versions[store.tables[typ].ids["a"]].String()
		setIn(t, store, typ, "new", "a")
		e := connect("edge-"+typ.String(), "1.40.0")
		e.resume(Scope, map[string]string{})
		e.ack(e.expect(Scope, nil))
		e.resume(Listener, map[string]string{})
		e.ack(e.expect(Listener, nil))
		e.resume(typ, map[string]string{"a": old}, "a", "never")
		e.nack(e.expect(typ, []string{"a"}, "never"), "bad")
		e.ack(e.expect(typ, nil, "never"))
		e.quiet()
		if got := e.progress(typ, "a"); got != Rejected {
			t.Errorf("%s: shown as %q", typ, got)
		}
		// It waits for what it does not tell of.
		e = connect("edge-2-"+typ.String(), "1.40.0")
		e.resume(Scope, map[string]string{})
		e.ack(e.expect(Scope, nil))
		e.resume(Listener, map[string]string{})
		e.ack(e.expect(Listener, nil))
		e.resume(typ, map[string]string{"other": old}, "a")
		e.nack(e.expect(typ, []string{"a"}), "bad")
		e.ack(e.expect(typ, nil, "a"))
		e.quiet()
	}
}

// Envoy rejects listeners for a secret, and other secrets that the same filter chain
// needs. They are offered again when a rejected secret is replaced, and not after a pause, though no
// good version of the secret was known.
func TestRejectedForASecretThatIsReplaced(t *testing.T) {
	store, _, connect := scripts(t)
	store.ClustersOnDemand = true
	setIn(t, store, Listener, "1", "https")
	setIn(t, store, Secret, "1", "certificate", "authorities")
	e := connect("edge-1", "1.40.0")
	e.subscribe(Listener)
	e.nack(e.expect(Listener, []string{"https"}), "the certificate is bad")
	e.subscribe(Secret, "certificate", "authorities")
	e.nack(e.expect(Secret, []string{"certificate", "authorities"}), "the certificate is bad")
	for _, name := range []string{"certificate", "authorities"} {
		e.nack(e.expect(Secret, []string{name}), "the certificate is bad")
		e.ack(e.expect(Secret, nil, name))
	}
	e.quiet()
	setIn(t, store, Secret, "2", "certificate")
	e.ack(e.expect(Secret, []string{"certificate"}))
	e.ack(e.expect(Secret, []string{"authorities"}))
	e.ack(e.expect(Listener, []string{"https"}))
	e.quiet()
	if len(store.Rejected()) != 0 {
		t.Errorf("rejected are %+v", store.Rejected())
	}
}

// After a restart of Relay most Envoys acknowledge nothing: they tell what they have.
// That is known to be good, for those that reject what comes next, and for others.
func TestInitialVersionCountsAsAcknowledged(t *testing.T) {
	store, _, connect := scripts(t)
	store.ClustersOnDemand = true
	setIn(t, store, Listener, "1", "http")
	setIn(t, store, Secret, "good", "s")
	versions := func(typ Type, name string) map[string]string {
		return map[string]string{name: store.tables[typ].versions[0].String()}
	}
	good := versions(Secret, "s")
	e := connect("edge-1", "1.40.0")
	e.resume(Listener, versions(Listener, "http"))
	e.resume(Secret, good, "s")
	e.quiet()
	for _, node := range []string{"edge-2", "edge-3"} {
		other := connect(node, "1.40.0")
		other.subscribe(Listener)
		other.nack(other.expect(Listener, []string{"http"}), "cannot bind")
	}
	if r := store.Rejected(); len(r) != 1 || !r[0].Acknowledged || r[0].Quarantined {
		t.Errorf("rejected are %+v, want the listener, acknowledged by others", r)
	}
	setIn(t, store, Secret, "bad", "s")
	e.nack(e.expect(Secret, []string{"s"}), "no key")
	if again := e.expect(Secret, []string{"s"}); versionOf(again, "s") != good["s"] {
		t.Error("the version that Envoy told of is not sent again")
	}
}

// Listeners wait while a rejected secret, or its last good version, is sent again: Envoy would
// reject them for it.
func TestListenersWaitForASecretThatIsTriedAgain(t *testing.T) {
	store, clock, connect := scripts(t)
	store.ClustersOnDemand = true
	setIn(t, store, Listener, "1", "https")
	setIn(t, store, Secret, "good", "s")
	e := connect("edge-1", "1.40.0")
	e.subscribe(Listener)
	e.ack(e.expect(Listener, []string{"https"}))
	e.subscribe(Secret, "s")
	e.ack(e.expect(Secret, []string{"s"}))
	setIn(t, store, Secret, "bad", "s")
	e.nack(e.expect(Secret, []string{"s"}), "no key")
	good := e.expect(Secret, []string{"s"})
	setIn(t, store, Listener, "2", "https")
	e.quiet()
	e.ack(good)
	e.ack(e.expect(Listener, []string{"https"}))
	*clock = clock.Add(firstPause)
	bad := e.expect(Secret, []string{"s"})
	setIn(t, store, Listener, "3", "https")
	e.quiet()
	e.nack(bad, "no key")
	good = e.expect(Secret, []string{"s"})
	e.quiet()
	// But not for ever.
	if want := clock.Add(ackLimit); e.retryAt.IsZero() || e.retryAt.After(want) {
		t.Errorf("the stream wakes at %s, want %s or before", e.retryAt, want)
	}
	*clock = clock.Add(ackLimit)
	e.ack(e.expect(Listener, []string{"https"}))
	e.ack(good)
}

// When an Envoy rejects a listener it unsubscribes from what the listener needs, and acknowledges
// unread what it was sent of that.
func TestAcknowledgedUnread(t *testing.T) {
	store, _, connect := scripts(t)
	store.ClustersOnDemand = true
	setIn(t, store, Secret, "1", "s")
	e, other := connect("edge-1", "1.40.0"), connect("edge-2", "1.40.0")
	e.subscribe(Secret, "s")
	sent := e.expect(Secret, []string{"s"})
	e.send(Secret, &discoveryv3.DeltaDiscoveryRequest{ResourceNamesUnsubscribe: []string{"s"}})
	e.ack(sent)
	e.subscribe(Secret, "s")
	sent = e.expect(Secret, []string{"s"})
	e.send(Secret, &discoveryv3.DeltaDiscoveryRequest{ResourceNamesUnsubscribe: []string{"s"}})
	e.subscribe(Secret, "s")
	e.ack(sent)
	other.subscribe(Secret, "s")
	other.nack(other.expect(Secret, []string{"s"}), "no key")
	if r := store.Rejected(); len(r) != 1 || r[0].Acknowledged {
		t.Errorf("rejected are %+v, want the secret, acknowledged by none", r)
	}
	e.ack(e.expect(Secret, []string{"s"}))
	if r := store.Rejected(); len(r) != 1 || !r[0].Acknowledged {
		t.Errorf("rejected are %+v, want the secret, acknowledged by one", r)
	}
}

// When an Envoy rejects a listener it forgets the scopes that it was sent. It does not ask for them
// again: they are sent when the listener is acknowledged at last.
func TestScopesOfAListenerThatWasRejected(t *testing.T) {
	store, clock, connect := scripts(t)
	store.ClustersOnDemand = true
	setScoped := func(name string) {
		listener := testResource(t, Listener, name, "1")
		listener.usesScopes = true
		store.Apply(Change{Set: []Resource{listener}})
	}
	setScoped("http")
	setScoped("https")
	setIn(t, store, Listener, "1", "tcp/1")
	setIn(t, store, Scope, "1", "a")
	e := connect("edge-1", "1.40.0")
	e.subscribe(Listener)
	listeners := e.expect(Listener, []string{"http", "https", "tcp/1"})
	e.subscribe(Scope)
	e.ack(e.expect(Scope, []string{"a"}))
	e.nack(listeners, "cannot bind")
	e.nack(e.expect(Listener, []string{"http"}), "cannot bind")
	e.nack(e.expect(Listener, []string{"https", "tcp/1"}), "cannot bind")
	e.nack(e.expect(Listener, []string{"https"}), "cannot bind")
	e.ack(e.expect(Listener, []string{"tcp/1"}))
	e.quiet()
	*clock = clock.Add(firstPause)
	e.ack(e.expect(Listener, []string{"http", "https"}))
	e.ack(e.expect(Scope, []string{"a"}))
	e.quiet()
	// The others find them in Envoy.
	setScoped("also http")
	e.ack(e.expect(Listener, []string{"also http"}))
	e.quiet()

	// On a new stream Envoy tells of them.
	e = connect("edge-2", "1.40.0")
	e.resume(Listener, map[string]string{"tcp/1": "1"})
	listeners = e.expect(Listener, []string{"also http", "http", "https", "tcp/1"})
	e.resume(Scope, map[string]string{"a": store.tables[Scope].versions[0].String()})
	e.quiet()
	e.ack(listeners)
	e.ack(e.expect(Scope, []string{"a"}))
	e.quiet()
	// One that starts asks for them by itself.
	e = connect("edge-3", "1.40.0")
	e.subscribe(Listener)
	listeners = e.expect(Listener, []string{"also http", "http", "https", "tcp/1"})
	e.subscribe(Scope)
	e.ack(e.expect(Scope, []string{"a"}))
	e.ack(listeners)
	e.quiet()
}

// If Envoy acknowledged a resource unread and subscribed to it again, it tells on a new stream that
// it has it. It is sent all the same.
func TestInitialVersionThoughUnread(t *testing.T) {
	store, _, connect := scripts(t)
	store.ClustersOnDemand = true
	setIn(t, store, Secret, "1", "s")
	e := connect("edge-1", "1.40.0")
	e.subscribe(Secret, "s")
	sent := e.expect(Secret, []string{"s"})
	e.send(Secret, &discoveryv3.DeltaDiscoveryRequest{ResourceNamesUnsubscribe: []string{"s"}})
	e.ack(sent)
	e.subscribe(Secret, "s")
	e.session.close()
	for range 2 {
		e = connect("edge-1", "1.40.0")
		e.resume(Secret, map[string]string{"s": versionOf(sent, "s")}, "s")
		sent = e.expect(Secret, []string{"s"})
		e.session.close() // before it is answered
	}
	e = connect("edge-1", "1.40.0")
	e.resume(Secret, map[string]string{"s": versionOf(sent, "s")}, "s")
	e.ack(e.expect(Secret, []string{"s"}))
	e.session.close()
	e = connect("edge-1", "1.40.0")
	e.resume(Secret, map[string]string{"s": versionOf(sent, "s")}, "s")
	e.quiet()
}
