package envoytest_test

import (
	"net"
	"slices"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"relay/xds"
	"relay/xds/envoytest"
	"relay/xds/xdstest"
)

// An Envoy that starts has a cluster that was changed after its endpoints came. It waits
// for them to come again, and loses its stream before they do. On the new stream it
// tells that it has them, asks for clusters all the same, and for listeners not before
// it has got them.
func TestEnvoyCutOffWhileItStarts(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		s := newSite(t, version, func(s *site) {
			s.put(clusters.url, named{name: "a", message: clusterWithEndpoints("a", time.Second)}, named{name: "b", message: clusterWithEndpoints("b", time.Second)})
			s.set(content{endpoints, "a", good}, content{listeners, "n", good})
			s.store.Apply(xds.Change{Withhold: []xds.Key{{Type: xds.Endpoint, Name: "b"}}})
		})
		s.proxy.Await(0, "endpoints acknowledged", func(e *xdstest.Exchange) bool {
			return slices.ContainsFunc(e.Requests, func(r *discoveryv3.DeltaDiscoveryRequest) bool {
				return r.GetTypeUrl() == endpoints.url && r.GetResponseNonce() != ""
			})
		})
		lost := 0
		s.proxy.LoseResponses(func(r *discoveryv3.DeltaDiscoveryResponse) bool {
			if r.GetTypeUrl() == endpoints.url {
				lost++
			}
			return r.GetTypeUrl() == endpoints.url
		})
		s.put(clusters.url, named{name: "a", message: clusterWithEndpoints("a", 2*time.Second)})
		s.proxy.Await(0, "the changed cluster acknowledged, its endpoints lost", func(e *xdstest.Exchange) bool {
			acked := 0
			for _, r := range e.Requests {
				if r.GetTypeUrl() == clusters.url && r.GetResponseNonce() != "" {
					acked++
				}
			}
			return acked == 2 && lost == 1
		})
		s.proxy.LoseResponses(nil)
		s.proxy.Cut()
		s.proxy.Await(1, "Envoy asks for clusters, tells of endpoints", func(e *xdstest.Exchange) bool {
			return len(e.Requests) >= 2 && e.Requests[0].GetTypeUrl() == clusters.url && len(e.Requests[1].GetInitialResourceVersions()) == 1
		})
		s.set(content{endpoints, "b", good})
		s.served(listeners, "n", good)
	})
}

// The scopes that Envoy was sent go with the listener that it rejects. It does not ask for
// them when the listener comes again, and tells on a new stream that it has them.
//
// The oldest Envoy is of no use here: it acknowledges whatever scopes come then, and
// serves none until it is started again.
func TestScopesOfAListenerThatWasRejected(t *testing.T) {
	t.Parallel()
	for _, how := range []reconnection{cut, another} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			var taken net.Listener
			s := newSite(t, envoytest.Newest, func(s *site) {
				var err error
				if taken, err = net.Listen("tcp", s.at("")); err != nil {
					t.Fatal(err)
				}
				s.put(listeners.url, named{name: "http", message: s.scopedListener()})
				s.set(content{scopes, "n", good})
			})
			defer func() { _ = taken.Close() }()
			s.shows(listeners, "http", xds.Rejected)
			s.shows(scopes, "n", xds.Acknowledged)
			_ = taken.Close()
			s.reconnect(how)
			s.served(scopes, "n", good)
			s.set(content{scopes, "n", other})
			s.served(scopes, "n", other)
			if got := s.rejections(); got != "" {
				t.Errorf("rejected are %q", got)
			}
		})
	}
}
