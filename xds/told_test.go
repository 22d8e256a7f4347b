package xds

import (
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// An Envoy that tells on a new stream what it has keeps that when it rejects what has
// come since: told that there is none it would drop it.
func TestToldStaysWhenTheNextIsRejected(t *testing.T) {
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
		// What it does not tell of it waits for.
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

// What an Envoy needs for a listener it gives up when it rejects that, and acknowledges
// what has been sent of it unread.
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

// The scopes that an Envoy was sent go with the listener that it rejects. It does not ask
// for them again: they are sent when the listener is acknowledged at last.
func TestScopesOfAListenerThatWasRejected(t *testing.T) {
	store, clock, connect := scripts(t)
	store.ClustersOnDemand = true
	setScoped := func(name string) {
		listener := testResource(t, Listener, name, "1")
		listener.scoped = true
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
