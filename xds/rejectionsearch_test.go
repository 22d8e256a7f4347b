package xds

import (
	"testing"
)

// withScope connects an Envoy that has a cluster and scopes that may name it.
func withScope(t *testing.T, store *Store, connect func(node, version string) *script, scopes ...string) *script {
	t.Helper()
	setIn(t, store, Cluster, "1", "old")
	setIn(t, store, Scope, "old", scopes...)
	e := connect("edge-1", "1.40.0")
	e.subscribe(Cluster)
	e.ack(e.expect(Cluster, []string{"old"}))
	e.subscribe(Scope)
	e.ack(e.expect(Scope, scopes))
	return e
}

// A scope that changes while its rejection is on its way still replaces the one that the
// Envoy has: the clusters of that stay.
func TestClustersStayWhileARejectedScopeChanges(t *testing.T) {
	store, _, connect := scripts(t)
	e := withScope(t, store, connect, "n")
	store.Apply(Change{Set: []Resource{testResource(t, Scope, "n", "bad")}, Remove: []Key{{Cluster, "old"}}})
	r := e.expect(Scope, []string{"n"})
	setIn(t, store, Scope, "good", "n")
	e.quiet()
	e.nack(r, "bad")
	if p := e.progress(Scope, "n"); p != Due {
		t.Errorf("it is %q", p)
	}
	r = e.expect(Scope, []string{"n"})
	e.quiet()
	e.ack(r)
	e.ack(e.expect(Cluster, nil, "old"))
	e.quiet()
}

// So they do if it is removed meanwhile, until the Envoy has removed it too.
func TestClustersStayWhileARejectedScopeGoes(t *testing.T) {
	store, _, connect := scripts(t)
	e := withScope(t, store, connect, "n")
	setIn(t, store, Scope, "bad", "n")
	r := e.expect(Scope, []string{"n"})
	store.Apply(Change{Remove: []Key{{Cluster, "old"}}})
	store.Apply(Change{Remove: []Key{{Scope, "n"}}})
	e.nack(r, "bad")
	r = e.expect(Scope, nil, "n")
	e.quiet()
	e.ack(r)
	e.ack(e.expect(Cluster, nil, "old"))
	e.quiet()
}

// The clusters of a scope stay that is found to be the culprit among others.
func TestClustersOfTheCulpritStay(t *testing.T) {
	for _, culprit := range []string{"m", "n"} {
		t.Run(culprit, func(t *testing.T) {
			store, _, connect := scripts(t)
			e := withScope(t, store, connect, "m", "n")
			store.Apply(Change{
				Set:    []Resource{testResource(t, Scope, "m", "1"), testResource(t, Scope, "n", "1")},
				Remove: []Key{{Cluster, "old"}},
			})
			e.nack(e.expect(Scope, []string{"m", "n"}), "bad")
			for _, name := range []string{"m", "n"} {
				r := e.expect(Scope, []string{name})
				e.quiet()
				if name == culprit {
					e.nack(r, "bad")
				} else {
					e.ack(r)
				}
			}
			e.quiet()
		})
	}
}

// What an Envoy may have of a response that it rejected is removed when it is deleted, also if the
// Envoy reconnects in between, and rejects it alone. Then nothing is unconfirmed.
func TestDeletedAfterAReconnect(t *testing.T) {
	store, _, connect := scripts(t)
	store.ClustersOnDemand = true
	setIn(t, store, Listener, "1", "tcp/1", "tcp/2")
	e := connect("edge-1", "1.40.0")
	e.subscribe(Listener)
	e.nack(e.expect(Listener, []string{"tcp/1", "tcp/2"}), "cannot bind one of them")
	e.session.close()
	e = connect("edge-1", "1.40.0")
	e.subscribe(Listener)
	e.nack(e.expect(Listener, []string{"tcp/1", "tcp/2"}), "cannot bind one of them")
	e.nack(e.expect(Listener, []string{"tcp/1"}), "not another time")
	e.ack(e.expect(Listener, []string{"tcp/2"}))
	store.Apply(Change{Remove: []Key{{Listener, "tcp/1"}}})
	e.ack(e.expect(Listener, nil, "tcp/1"))
	e.quiet()
	if u := e.session.types[Listener].unconfirmed(); !u.empty() {
		t.Errorf("in doubt are still %v and %v", u.resend, u.unanswered)
	}
}
