package xds

import (
	"fmt"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// Nothing that is done for a change may take longer in a large store.
var benchSizes = []int{1_000, 50_000}

func benchName(i int) string { return fmt.Sprintf("/team-%02d/service-%05d_0", i%40, i) }

// benchStore holds n clusters, endpoint sets and scopes.
func benchStore(b *testing.B, n int) *Store {
	b.Helper()
	s := NewStore()
	s.Open()
	var c Change
	for _, t := range []Type{Cluster, Endpoint, Scope} {
		for i := range n {
			c.Set = append(c.Set, testResource(b, t, benchName(i), "1"))
		}
	}
	s.Apply(c)
	return s
}

// benchRequest is a first request as it comes from the wire.
func benchRequest(b *testing.B, s *Store, t Type, byName, again bool) []byte {
	b.Helper()
	req := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: t.URL(), InitialResourceVersions: make(map[string]string)}
	for id, e := range s.tables[t].entries {
		if byName {
			req.ResourceNamesSubscribe = append(req.ResourceNamesSubscribe, e.name)
		}
		if again {
			req.InitialResourceVersions[e.name] = s.tables[t].versions[id].String()
		}
	}
	body, err := proto.Marshal(req)
	if err != nil {
		b.Fatal(err)
	}
	return body
}

func benchTake(b *testing.B, s *session, t Type, body []byte) {
	b.Helper()
	req := &request{raw: mem.BufferSlice{mem.SliceBuffer(body)}}
	if err := req.parse(); err != nil {
		b.Fatal(err)
	}
	s.handleRequest(t, req, time.Time{})
}

// benchSession is a session whose Envoy has all of a store and has acknowledged it.
func benchSession(b *testing.B, store *Store) *session {
	b.Helper()
	s := newSession(store, &envoyNode{version: "1.40.0"})
	b.Cleanup(s.close)
	for _, t := range []Type{Cluster, Endpoint, Scope, Listener} {
		benchTake(b, s, t, benchRequest(b, store, t, t == Endpoint, false))
	}
	for range 3 {
		benchAnswer(s)
	}
	return s
}

// benchAnswer plans and acknowledges; it returns the number of resources.
func benchAnswer(s *session) (resources int) {
	responses, _ := s.plan(time.Time{})
	for _, r := range responses {
		resources += len(r.buffers) - 1
		s.handleRequest(r.typ, &request{DeltaDiscoveryRequest: discoveryv3.DeltaDiscoveryRequest{ResponseNonce: r.nonce}}, time.Time{})
	}
	return resources
}

func benchChanges(b *testing.B) [2]Change {
	b.Helper()
	return [2]Change{
		{Set: []Resource{testResource(b, Endpoint, benchName(7), "2")}},
		{Set: []Resource{testResource(b, Endpoint, benchName(7), "3")}},
	}
}

func BenchmarkApply(b *testing.B) {
	for _, n := range benchSizes {
		for _, sessions := range []int{0, 1, 100} {
			b.Run(fmt.Sprintf("%d/sessions=%d", n, sessions), func(b *testing.B) {
				store := benchStore(b, n)
				for range sessions {
					benchSession(b, store)
				}
				changes := benchChanges(b)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					store.Apply(changes[i%2])
				}
			})
		}
	}
}

// BenchmarkChange is one change for one stream: apply, plan, ACK, plan again.
func BenchmarkChange(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			store := benchStore(b, n)
			s := benchSession(b, store)
			changes := benchChanges(b)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				store.Apply(changes[i%2])
				if got := benchAnswer(s) + benchAnswer(s); got != 1 {
					b.Fatalf("%d resources are sent for one change", got)
				}
			}
		})
	}
}

// BenchmarkConnect is a stream of a new Envoy: the requests and what is sent.
func BenchmarkConnect(b *testing.B) {
	benchConnect(b, false, 3*50_000)
}

// BenchmarkReconnect is a stream of an Envoy that has everything.
func BenchmarkReconnect(b *testing.B) {
	benchConnect(b, true, 0)
}

func benchConnect(b *testing.B, again bool, want int) {
	store := benchStore(b, 50_000)
	types := []Type{Cluster, Endpoint, Listener, Scope}
	bodies := make([][]byte, len(types))
	for i, t := range types {
		bodies[i] = benchRequest(b, store, t, t == Endpoint, again)
	}
	b.ReportAllocs()
	for b.Loop() {
		s := newSession(store, &envoyNode{version: "1.40.0"})
		for i, t := range types {
			benchTake(b, s, t, bodies[i])
		}
		got := 0
		for range 3 {
			got += benchAnswer(s)
		}
		if got != want {
			b.Fatalf("%d resources were sent, not %d", got, want)
		}
		s.close()
	}
}

// BenchmarkFollowed is one change for a hundred streams, with and without somebody who wants to
// know when all have it.
func BenchmarkFollowed(b *testing.B) {
	for _, followed := range []bool{false, true} {
		b.Run(fmt.Sprint(followed), func(b *testing.B) {
			store := benchStore(b, 1000)
			if followed {
				store.OnConverged(func(Converged) {})
			}
			sessions := make([]*session, 100)
			for i := range sessions {
				sessions[i] = benchSession(b, store)
			}
			changes := benchChanges(b)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				store.Apply(changes[i%2])
				for _, s := range sessions {
					benchAnswer(s)
					benchAnswer(s)
				}
			}
		})
	}
}
