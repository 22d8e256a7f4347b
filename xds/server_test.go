package xds

import (
	"maps"
	"strings"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"relay/xds/xdstest"
)

// xDS protocol, "Wildcard subscriptions": a first request without names asks for
// everything, also for what comes later.
func TestWildcard(t *testing.T) {
	f := serve(t)
	f.set(Cluster, "1", "a", "b")
	for _, names := range [][]string{nil, {"*"}} {
		c := f.connect()
		c.Subscribe(clusters, names...)
		c.Ack(c.Expect(clusters, []string{"a", "b"}))
		f.set(Cluster, "2", "b", "c")
		c.Ack(c.Expect(clusters, []string{"b", "c"}))
		f.set(Cluster, "2", "c")
		f.remove(Cluster, "c")
		c.Ack(c.Expect(clusters, nil, "c"))
		f.set(Cluster, "1", "b")
		c.Ack(c.Expect(clusters, []string{"b"}))
	}
}

// "How the client specifies what resources to return": types other than those
// with a legacy wildcard start with nothing.
func TestFirstRequestWithoutNames(t *testing.T) {
	f := serve(t)
	f.set(Secret, "1", "a")
	c := f.connect()
	c.Subscribe(secrets)
	c.ExpectNothing()
	c.Subscribe(secrets, "a")
	c.Expect(secrets, []string{"a"})
}

// An Envoy with nothing to get must be told so, or it waits for ever.
func TestEmptyWildcardIsAnswered(t *testing.T) {
	f := serve(t)
	c := f.connect()
	c.Subscribe(clusters)
	c.Ack(c.Expect(clusters, nil))
	c.ExpectNothing()
}

// "Unsubscribing from resources": from a name, from "*", and from a name that
// the wildcard still covers, which is answered anew.
func TestUnsubscribe(t *testing.T) {
	f := serve(t)
	f.set(Cluster, "1", "a", "b")
	c := f.connect()
	c.Subscribe(clusters, "*", "a", "x")
	c.Ack(c.Expect(clusters, []string{"a", "b"}, "x"))
	c.Unsubscribe(clusters, "a", "x")
	c.Ack(c.Expect(clusters, []string{"a"}, "x"))
	c.Subscribe(clusters, "b")
	c.Ack(c.Expect(clusters, []string{"b"}))
	c.Unsubscribe(clusters, "*")
	c.ExpectNothing()
	f.set(Cluster, "2", "a", "b", "c")
	c.Ack(c.Expect(clusters, []string{"b"}))
	c.Unsubscribe(clusters, "b")
	c.ExpectNothing()
	f.set(Cluster, "3", "a", "b", "c")
	c.ExpectNothing()
}

// "Subscribing to resources": a name that does not exist is answered as removed
// and sent when it comes; a name asked for again is answered again.
func TestUnknownAndRepeatedNames(t *testing.T) {
	f := serve(t)
	c := f.connect()
	c.Subscribe(endpoints, "a")
	c.Ack(c.Expect(endpoints, nil, "a"))
	f.set(Endpoint, "1", "a", "b")
	c.Ack(c.Expect(endpoints, []string{"a"}))
	c.Subscribe(endpoints, "a")
	c.Ack(c.Expect(endpoints, []string{"a"}))
	c.ExpectNothing()
}

// "ACK/NACK": one response at a time; what changes meanwhile is merged; an old
// nonce acknowledges nothing.
func TestMergeWhileUnanswered(t *testing.T) {
	f := serve(t)
	f.set(Secret, "1", "a", "b", "c")
	c := f.connect()
	c.Subscribe(secrets, "a", "b", "c")
	first := c.Expect(secrets, []string{"a", "b", "c"})
	f.set(Secret, "2", "a")
	f.set(Secret, "3", "a", "b")
	f.remove(Secret, "c")
	c.ExpectNothing()
	c.Ack(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: secrets, Nonce: "old"})
	c.ExpectNothing()
	c.Ack(first)
	c.Ack(c.Expect(secrets, []string{"a", "b"}, "c"))
	c.ExpectNothing()
}

// A rejected response is sent again in halves until the culprit is alone; that
// is not sent again until it changes, and all else gets through.
func TestRejectionCostsOnlyTheCulprit(t *testing.T) {
	f := serve(t)
	f.set(Secret, "good", "a", "b", "c", "d", "e")
	f.set(Secret, "poison", "c")
	c := f.connect()
	c.Subscribe(secrets, "a", "b", "c", "d", "e")
	got := map[string]bool{}
	for len(got) < 5 {
		r := c.Next()
		if names := xdstest.Names(r); strings.Contains(strings.Join(names, ""), "c") {
			c.Nack(r, "no c please")
			continue
		} else {
			for _, name := range names {
				got[name] = true
			}
		}
		// There is no good version of c: an Envoy that waits for it is told so.
		for _, name := range r.GetRemovedResources() {
			got["no "+name] = true
		}
		c.Ack(r)
	}
	if !got["no c"] {
		t.Errorf("told is %v, and not that there is no c", got)
	}
	c.ExpectNothing()
	status := f.server.Streams()[0].Types[0]
	if status.Rejected == nil || status.Rejected.Message != "no c please" || len(status.Stale) != 1 || status.Stale[0].Name != "c" || status.Stale[0].By != ThisEnvoy {
		t.Errorf("status %+v; want c rejected", status)
	}
	f.set(Secret, "repaired", "c")
	c.Ack(c.Expect(secrets, []string{"c"}))
	c.ExpectNothing()
	if l := f.server.Streams()[0].Types[0].Stale; len(l) != 0 {
		t.Errorf("still lacking: %+v", l)
	}
}

// "Initial resource versions": what the client has is not sent again, what it has in another version
// is, and what does not exist any more is removed.
func TestReconnect(t *testing.T) {
	f := serve(t)
	f.set(Cluster, "1", "a", "b")
	f.set(Scope, "1", "s")
	c := f.connect()
	c.Subscribe(clusters)
	r := c.Expect(clusters, []string{"a", "b"})
	c.Ack(r)
	c.Close()
	versions := xdstest.Versions(r)

	same := f.connect()
	same.Resume(clusters, versions)
	same.ExpectNothing()
	same.Close()

	f.set(Cluster, "2", "b", "c")
	f.remove(Cluster, "a")
	again := f.connect()
	again.Resume(clusters, versions)
	again.Ack(again.Expect(clusters, []string{"b", "c"}))
	// The removal waits until Envoy has the scopes, which may still name it.
	again.ExpectNothing()
	again.Resume(listeners, map[string]string{"gone": "1"})
	again.Ack(again.Expect(listeners, nil, "gone"))
	again.Resume(scopes, map[string]string{"s": "old"})
	s := again.Expect(scopes, []string{"s"})
	again.Subscribe(ExtensionConfig.URL(), "hosts")
	again.Ack(again.Expect(ExtensionConfig.URL(), nil, "hosts"))
	again.ExpectNothing()
	again.Ack(s)
	again.Ack(again.Expect(clusters, nil, "a"))
}

// A new store with the same content has the same versions: a restarted Relay
// sends nothing again.
func TestVersionsAreContentHashes(t *testing.T) {
	a, b := testResource(t, Cluster, "a", "1"), testResource(t, Cluster, "a", "1")
	if other := testResource(t, Cluster, "a", "2"); a.Version != b.Version || a.Version == other.Version {
		t.Errorf("versions %s, %s, %s; want the first two alike", a.Version, b.Version, other.Version)
	}
}

// Endpoints of a changed cluster are sent again, since Envoy waits for them
// without asking.
func TestEndpointsFollowChangedCluster(t *testing.T) {
	f := serve(t)
	f.set(Cluster, "1", "a", "b")
	f.set(Endpoint, "1", "a", "b")
	c := f.connect()
	c.Subscribe(clusters)
	r := c.Expect(clusters, []string{"a", "b"})
	c.Subscribe(endpoints, "a", "b")
	c.Ack(c.Expect(endpoints, []string{"a", "b"}))
	c.Ack(r)
	f.set(Cluster, "2", "b")
	c.Ack(c.Expect(clusters, []string{"b"}))
	c.Ack(c.Expect(endpoints, []string{"b"}))
	c.ExpectNothing()
}

// The make-before-break order on the wire: cluster, then scope, then removal of
// the scope, then of the cluster.
func TestOrder(t *testing.T) {
	f := serve(t)
	f.set(Cluster, "1", "old")
	f.set(Scope, "old", "s")
	c := f.connect()
	c.Subscribe(clusters)
	c.Ack(c.Expect(clusters, []string{"old"}))
	c.Subscribe(scopes)
	c.Ack(c.Expect(scopes, []string{"s"}))

	f.store.Apply(Change{
		Set:    []Resource{testResource(t, Cluster, "new", "1"), testResource(t, Scope, "s", "new")},
		Remove: []Key{{Cluster, "old"}},
	})
	cluster := c.Expect(clusters, []string{"new"})
	c.ExpectNothing()
	c.Ack(cluster)
	scope := c.Expect(scopes, []string{"s"})
	c.ExpectNothing()
	c.Ack(scope)
	c.Ack(c.Expect(clusters, nil, "old"))
}

// Nothing is answered before the store is open, type by type; withheld
// resources are neither sent nor removed.
func TestClosedTypesAndWithheldResources(t *testing.T) {
	f := closedFixture(t)
	f.store.ClustersOnDemand = true // nothing waits for clusters
	f.set(Listener, "1", "http")
	f.store.Apply(Change{Withhold: []Key{{Listener, "https"}}})
	c := f.connect()
	c.Resume(listeners, map[string]string{"https": "v", "other": "v"})
	c.Subscribe(secrets, "a")
	c.ExpectNothing()
	f.store.Open(Cluster, Endpoint, Listener, Scope, ExtensionConfig)
	c.Ack(c.Expect(listeners, []string{"http"}, "other"))
	c.ExpectNothing()
	f.set(Secret, "1", "a")
	f.set(Listener, "1", "https")
	c.Ack(c.Expect(listeners, []string{"https"}))
	c.ExpectNothing()
	f.store.Open()
	c.Ack(c.Expect(secrets, []string{"a"}))
}

// "Node identifier": only the first request of a stream carries it; two streams
// may carry the same one, and are served apart.
func TestTwoStreamsOfOneNode(t *testing.T) {
	f := serve(t)
	f.set(Cluster, "1", "a")
	one, two := f.connect(), f.connect()
	one.Subscribe(clusters)
	first := one.Expect(clusters, []string{"a"})
	two.Subscribe(clusters)
	two.Ack(two.Expect(clusters, []string{"a"}))
	f.set(Cluster, "2", "a")
	two.Ack(two.Expect(clusters, []string{"a"}))
	one.ExpectNothing()
	one.Ack(first)
	one.Ack(one.Expect(clusters, []string{"a"}))
	if n := len(f.server.Streams()); n != 2 {
		t.Errorf("%d streams, want 2", n)
	}
}

// "Aggregated discovery service": types are answered on their own, in whatever
// order they are asked for; an answer to one acknowledges no other.
func TestRequestsOutOfOrder(t *testing.T) {
	f := serve(t)
	f.set(Cluster, "1", "a")
	f.set(Endpoint, "1", "a")
	f.set(Secret, "1", "s")
	c := f.connect()
	c.Subscribe(secrets, "s")
	s := c.Expect(secrets, []string{"s"})
	c.Subscribe(endpoints, "a")
	e := c.Expect(endpoints, []string{"a"})
	c.Subscribe(clusters)
	k := c.Expect(clusters, []string{"a"})
	f.set(Cluster, "2", "a")
	f.set(Secret, "2", "s")
	// The nonce of one type says nothing about another.
	c.Ack(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: secrets, Nonce: k.GetNonce()})
	c.ExpectNothing()
	c.Ack(e)
	c.Ack(s)
	c.Ack(c.Expect(secrets, []string{"s"}))
	c.Ack(k)
	c.Expect(clusters, []string{"a"})
}

// A type that nobody serves is answered as having nothing, not left to wait.
func TestUnknownType(t *testing.T) {
	f := serve(t)
	c := f.connect()
	const runtimes = "type.googleapis.com/envoy.service.runtime.v3.Runtime"
	c.Subscribe(runtimes, "layer")
	c.Ack(c.Expect(runtimes, nil, "layer"))
	c.ExpectNothing()
}

func TestRefusals(t *testing.T) {
	f := serve(t)
	conn, err := grpc.NewClient(f.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	sotw, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sotw.Recv(); status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "DELTA_GRPC") {
		t.Errorf("state of the world: %v; want Unimplemented that names DELTA_GRPC", err)
	}
	var nothing discoveryv3.DeltaDiscoveryResponse
	err = conn.Invoke(t.Context(), "/envoy.service.cluster.v3.ClusterDiscoveryService/FetchClusters", &discoveryv3.DiscoveryRequest{}, &nothing)
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "aggregated discovery only") {
		t.Errorf("separate service: %v; want Unimplemented that names ADS", err)
	}
	c := xdstest.Connect(t, f.address, "no-such-fleet", "envoy-1")
	c.Subscribe(clusters)
	if err := c.End(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), `"edge"`) {
		t.Errorf("unknown fleet: %v; want InvalidArgument that names the fleets", err)
	}
}

func TestStatus(t *testing.T) {
	f := serve(t)
	f.set(Cluster, "1", "a", "b")
	c := f.connect()
	c.Subscribe(clusters)
	r := c.Expect(clusters, []string{"a", "b"})
	f.set(Cluster, "2", "b")
	got := f.server.Streams()[0]
	if s := got.Types[0]; got.NodeID != "envoy-1" || got.Fleet != "edge" || !s.InFlight || s.Sent != 1 || s.Acked != 0 || s.Behind != 1 || s.Resources != 2 {
		t.Errorf("status with a response in flight: %+v", got)
	}
	c.Ack(r)
	c.Ack(c.Expect(clusters, []string{"b"}))
	c.ExpectNothing()
	if s := f.server.Streams()[0].Types[0]; s.InFlight || s.Sent != 2 || s.Acked != 2 || s.Behind != 0 || s.Subscribed != "*" {
		t.Errorf("status at rest: %+v", s)
	}
	if counts := f.store.Counts(); !maps.Equal(counts, map[Type]int{Cluster: 2, Endpoint: 0, Secret: 0, Listener: 0, Scope: 0, ExtensionConfig: 0}) {
		t.Errorf("counts %v", counts)
	}
}
