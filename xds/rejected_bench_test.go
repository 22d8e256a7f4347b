package xds

import (
	"fmt"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
)

// benchRejected is how many clusters an Envoy rejects.
const benchRejected = 10_000

// benchFleet holds clusters that the given number of Envoys have acknowledged.
func benchFleet(b *testing.B, envoys int) (*Store, []*session) {
	b.Helper()
	s, all := NewStore(), make([]*session, envoys)
	s.Open()
	var c Change
	for i := range benchRejected {
		c.Set = append(c.Set, testResource(b, Cluster, benchName(i), "1"))
	}
	s.Apply(c)
	for i := range all {
		all[i] = newSession(s, &envoyNode{id: fmt.Sprint("edge-", i), version: "1.40.0"})
		benchTake(b, all[i], Cluster, benchRequest(b, s, Cluster, false, false))
		benchAnswer(all[i])
	}
	return s, all
}

// benchCome has an Envoy come that is to reject all.
func benchCome(b *testing.B, s *Store) *session {
	b.Helper()
	e := newSession(s, &envoyNode{id: "bad", version: "1.40.0"})
	benchTake(b, e, Cluster, benchRequest(b, s, Cluster, false, false))
	return e
}

// benchReject rejects all until nothing is sent any more.
func benchReject(s *session) {
	for {
		responses, _ := s.plan(time.Time{})
		if len(responses) == 0 {
			return
		}
		for _, r := range responses {
			s.handleRequest(r.typ, &request{DeltaDiscoveryRequest: discoveryv3.DeltaDiscoveryRequest{
				ResponseNonce: r.nonce, ErrorDetail: &statuspb.Status{Message: "bad"},
			}}, time.Time{})
		}
	}
}

// The search for very many culprits.
func BenchmarkRejectAll(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		s, _ := benchFleet(b, 0)
		e := benchCome(b, s)
		b.StartTimer()
		benchReject(e)
	}
}

// The end of the stream of an Envoy that rejected very many resources: all others wait
// meanwhile.
func BenchmarkRejectedLeaves(b *testing.B) {
	s, _ := benchFleet(b, 1000)
	for b.Loop() {
		b.StopTimer()
		e := benchCome(b, s)
		benchReject(e)
		b.StartTimer()
		e.close()
	}
}

// A small change, while one Envoy rejects very many resources.
func BenchmarkChangeWhileRejected(b *testing.B) {
	s, all := benchFleet(b, 10)
	benchReject(benchCome(b, s))
	for i := 0; b.Loop(); i++ {
		s.Apply(Change{Set: []Resource{testResource(b, Cluster, "changing", fmt.Sprint(i))}})
		for _, e := range all {
			benchAnswer(e)
		}
	}
}
