package xds

import (
	"fmt"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// An Envoy with a cluster that is warming does not ask for clusters on a new stream.
// The cluster waits for its endpoints: they are sent although Envoy has them.
func TestEndpointsBeforeClusters(t *testing.T) {
	store, _, connect := scripts(t)
	setIn(t, store, Cluster, "1", "a", "b")
	setIn(t, store, Endpoint, "1", "a", "b")
	store.Apply(Change{Remove: []Key{{Endpoint, "b"}}})
	table := &store.tables[Endpoint]
	current := table.versions[table.ids["a"]].String()
	e := connect("edge-1", "1.40.0")
	e.resume(Endpoint, map[string]string{"a": current, "b": "gone since"}, "a", "b")
	e.ack(e.expect(Endpoint, []string{"a"}, "b"))
	e.quiet()
	// Where clusters came first they are not.
	e = connect("edge-2", "1.40.0")
	e.resume(Cluster, map[string]string{"a": store.tables[Cluster].versions[0].String()})
	e.ack(e.expect(Cluster, []string{"b"}))
	e.resume(Endpoint, map[string]string{"a": current}, "a")
	e.resume(Listener, map[string]string{"http": "1"})
	e.ack(e.expect(Listener, nil, "http"))
	e.quiet()
}

// What names clusters waits for an Envoy that has not asked for them, but not for ever;
// and such an Envoy is a problem.
func TestScopesWaitForClusters(t *testing.T) {
	store, clock, connect := scripts(t)
	setIn(t, store, Cluster, "1", "new")
	setIn(t, store, Scope, "new", "s")
	setIn(t, store, Listener, "new", "tcp/1")
	late, never := connect("edge-1", "1.40.0"), connect("edge-2", "1.40.0")
	for _, e := range []*script{late, never} {
		e.resume(Endpoint, map[string]string{"old": "1"}, "old")
		e.ack(e.expect(Endpoint, nil, "old"))
		e.resume(Listener, map[string]string{})
		e.resume(Scope, map[string]string{"s": "0000000000000001"})
		e.quiet()
	}
	late.resume(Cluster, map[string]string{})
	clusters := late.expect(Cluster, []string{"new"})
	late.quiet()
	late.ack(clusters)
	late.ack(late.expect(Scope, []string{"s"}))
	late.ack(late.expect(Listener, []string{"tcp/1"}))

	never.quiet()
	if want := clock.Add(ackLimit); !never.retryAt.Equal(want) {
		t.Errorf("the stream wakes at %s, want %s", never.retryAt, want)
	}
	if never.session.noClusters(*clock) {
		t.Error("it is a problem at once")
	}
	*clock = clock.Add(ackLimit)
	never.ack(never.expect(Scope, []string{"s"}))
	never.ack(never.expect(Listener, []string{"tcp/1"}))
	if !never.session.noClusters(*clock) || late.session.noClusters(*clock) {
		t.Errorf("no clusters: late %t, never %t", late.session.noClusters(*clock), never.session.noClusters(*clock))
	}
}

// Clusters on demand are asked for by requests: nothing waits for them, and it is no
// problem that nobody needs one.
func TestScopesDoNotWaitForClustersOnDemand(t *testing.T) {
	store, clock, connect := scripts(t)
	store.ClustersOnDemand = true
	setIn(t, store, Scope, "new", "s")
	e := connect("edge-1", "1.40.0")
	e.subscribe(Scope)
	e.ack(e.expect(Scope, []string{"s"}))
	*clock = clock.Add(2 * ackLimit)
	if e.session.noClusters(*clock) {
		t.Error("it is a problem that no cluster was needed")
	}
	for _, want := range []bool{false, true} {
		names := []string{"a"}
		if want {
			names = nil // all
		}
		asks := connect(fmt.Sprint("edge-", want), "1.40.0")
		asks.subscribe(Cluster, names...)
		if got := asks.session.allClusters(); got != want {
			t.Errorf("asking for %q is all clusters: %t", names, got)
		}
	}
}

// An Envoy that was cut off while it started has clusters that wait for endpoints which
// it has told of already. It has not come as far as to ask for listeners.
func TestEndpointsOfAnEnvoyThatStarts(t *testing.T) {
	store, clock, connect := scripts(t)
	setIn(t, store, Cluster, "1", "a")
	setIn(t, store, Endpoint, "1", "a")
	versions := func(typ Type) map[string]string {
		return map[string]string{"a": store.tables[typ].versions[0].String()}
	}
	for _, asks := range []bool{true, false} {
		e := connect(fmt.Sprint("edge-", asks), "1.40.0")
		e.resume(Cluster, versions(Cluster))
		e.resume(Endpoint, versions(Endpoint), "a")
		if asks {
			e.resume(Listener, map[string]string{})
			e.expect(Listener, nil)
		}
		e.quiet()
		*clock = clock.Add(startLimit)
		if !asks {
			e.ack(e.expect(Endpoint, []string{"a"}))
		}
		e.quiet()
		*clock = clock.Add(startLimit)
		e.quiet()
	}
}

// However many requests come for a type that is not open, what is kept is one
// subscription.
func TestRequestsBeforeATypeIsOpen(t *testing.T) {
	t.Parallel()
	store := NewStore()
	s := newSession(store, new(envoyNode))
	defer s.close()
	for i := range 10_000 {
		s.handleRequest(Secret, &request{subscribe: []string{fmt.Sprintf("x%d.test", i)}, unsubscribe: []string{fmt.Sprintf("x%d.test", i-2)}}, testTime)
	}
	if n := s.nameCount(Secret); n != 2 {
		t.Errorf("%d names are kept", n)
	}
	s.handleRequest(Cluster, &request{}, testTime)
	s.handleRequest(Cluster, &request{subscribe: []string{"by name"}}, testTime)
	s.handleRequest(Listener, &request{subscribe: []string{"*", "by name"}}, testTime)
	s.handleRequest(Listener, &request{unsubscribe: []string{"*"}}, testTime)
	s.handleRequest(Scope, &request{initial: []initialVersion{{"old", "1"}}}, testTime)
	store.ClustersOnDemand = true
	store.Apply(Change{Set: []Resource{
		testResource(t, Cluster, "a", "1"), testResource(t, Listener, "b", "1"), testResource(t, Listener, "by name", "1"),
		testResource(t, Secret, "x9999.test", "1"), testResource(t, Secret, "x1.test", "1"),
	}})
	store.Open()
	s.handleKept(testTime)
	got := make(map[string]bool)
	responses, _ := s.plan(testTime)
	for len(responses) > 0 {
		r := responses[0]
		msg := decode(t, r)
		s.handleRequest(r.typ, encoded(t, &discoveryv3.DeltaDiscoveryRequest{ResponseNonce: msg.GetNonce()}), testTime)
		more, _ := s.plan(testTime)
		responses = append(responses[1:], more...)
		for _, resource := range msg.GetResources() {
			got[r.typ.String()+" "+resource.GetName()] = true
		}
		for _, name := range msg.GetRemovedResources() {
			got[r.typ.String()+" no "+name] = true
		}
	}
	for _, want := range []string{
		"clusters a", "clusters no by name", "listeners by name", "secrets x9999.test", "secrets no x9998.test", "scopes no old",
	} {
		if !got[want] {
			t.Errorf("no %q", want)
		}
		delete(got, want)
	}
	for more := range got {
		t.Errorf("also %q", more)
	}
}

// What an Envoy asks for by a server name is resolved when the type is opened: before,
// nobody knows which secret answers for it.
func TestAliasesAskedForBeforeATypeIsOpen(t *testing.T) {
	t.Parallel()
	versions := map[string]string{}
	for _, life := range []string{"the first Relay", "the next one"} {
		store := NewStore()
		s := newSession(store, &envoyNode{id: "edge-1"})
		req := &request{subscribe: []string{"a.test"}}
		for name, version := range versions {
			req.initial = append(req.initial, initialVersion{name, version})
		}
		s.handleRequest(Secret, req, testTime)
		store.Apply(Change{
			Set:     []Resource{testResource(t, Secret, "vault/a", "1")},
			Resolve: func(string) (string, bool, bool) { return "vault/a", true, true },
		})
		store.Open()
		s.handleKept(testTime)
		responses, _ := s.plan(testTime)
		switch {
		case len(versions) > 0 && len(responses) > 0:
			t.Errorf("%s sends %v, without %q", life, responses[0].resources, decode(t, responses[0]).GetRemovedResources())
		case len(versions) == 0:
			for _, r := range responses {
				for _, resource := range decode(t, r).GetResources() {
					versions[resource.GetName()] = resource.GetVersion()
				}
			}
			if versions["a.test"] == "" {
				t.Fatalf("%s sends %v", life, responses)
			}
		}
		s.close()
	}
}
