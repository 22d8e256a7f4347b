package xds

import (
	"slices"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"

	"relay/xds/xdstest"
)

// script is one Envoy's side of the protocol, without a connection: it sends what a test says, at the
// time that the clock shows.
type script struct {
	t       *testing.T
	session *session
	clock   *time.Time
	waiting []*discoveryv3.DeltaDiscoveryResponse
	retryAt time.Time
}

// scripts returns an open store, and what connects an Envoy to it.
func scripts(t *testing.T) (*Store, *time.Time, func(node, version string) *script) {
	t.Helper()
	t.Parallel()
	store, clock := NewStore(), new(time.Time)
	*clock = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	store.Open()
	return store, clock, func(node, version string) *script {
		return &script{t: t, session: newSession(store, &envoyNode{id: node, version: version}), clock: clock}
	}
}

func setIn(t *testing.T, store *Store, typ Type, content string, names ...string) {
	t.Helper()
	var c Change
	for _, name := range names {
		c.Set = append(c.Set, testResource(t, typ, name, content))
	}
	store.Apply(c)
}

func (s *script) send(typ Type, req *discoveryv3.DeltaDiscoveryRequest) *Rejection {
	s.t.Helper()
	req.TypeUrl = typ.URL()
	return s.session.handleRequest(typ, encoded(s.t, req), *s.clock)
}

func (s *script) subscribe(typ Type, names ...string) {
	s.t.Helper()
	s.send(typ, &discoveryv3.DeltaDiscoveryRequest{ResourceNamesSubscribe: names})
}

func (s *script) unsubscribe(typ Type, names ...string) {
	s.t.Helper()
	s.send(typ, &discoveryv3.DeltaDiscoveryRequest{ResourceNamesUnsubscribe: names})
}

// resume is a first request on a new stream.
func (s *script) resume(typ Type, versions map[string]string, names ...string) {
	s.t.Helper()
	s.send(typ, &discoveryv3.DeltaDiscoveryRequest{ResourceNamesSubscribe: names, InitialResourceVersions: versions})
}

func (s *script) ack(r *discoveryv3.DeltaDiscoveryResponse) {
	s.t.Helper()
	typ, _ := TypeOf(r.GetTypeUrl())
	s.send(typ, &discoveryv3.DeltaDiscoveryRequest{ResponseNonce: r.GetNonce()})
}

func (s *script) nack(r *discoveryv3.DeltaDiscoveryResponse, message string) *Rejection {
	s.t.Helper()
	typ, _ := TypeOf(r.GetTypeUrl())
	return s.send(typ, &discoveryv3.DeltaDiscoveryRequest{ResponseNonce: r.GetNonce(), ErrorDetail: &statuspb.Status{Message: message}})
}

func (s *script) plan() {
	s.t.Helper()
	responses, retryAt := s.session.plan(*s.clock)
	for _, r := range responses {
		s.waiting = append(s.waiting, decode(s.t, r))
	}
	s.retryAt = retryAt
}

// expect takes the next response, which must be of the type, with exactly these
// resources and removals.
func (s *script) expect(typ Type, names []string, removed ...string) *discoveryv3.DeltaDiscoveryResponse {
	s.t.Helper()
	s.plan()
	if len(s.waiting) == 0 {
		s.t.Fatalf("nothing is sent; want %s with %q, without %q", typ, names, removed)
	}
	r := s.waiting[0]
	s.waiting = s.waiting[1:]
	got, gone := xdstest.Names(r), slices.Sorted(slices.Values(r.GetRemovedResources()))
	slices.Sort(names)
	if r.GetTypeUrl() != typ.URL() || !slices.Equal(got, names) || !slices.Equal(gone, removed) {
		s.t.Fatalf("sent is %s with %q, without %q; want %s with %q, without %q", r.GetTypeUrl(), got, gone, typ, names, removed)
	}
	return r
}

// quiet fails the test if something is sent.
func (s *script) quiet() {
	s.t.Helper()
	s.plan()
	for _, r := range s.waiting {
		s.t.Fatalf("sent is %s with %q, without %q; want nothing", r.GetTypeUrl(), xdstest.Names(r), r.GetRemovedResources())
	}
}

// progress is that of one resource.
func (s *script) progress(typ Type, name string) Progress {
	return s.session.progress([]Key{{typ, name}})[0].Progress
}

func nobodyRejects(t *testing.T, store *Store) {
	t.Helper()
	if r := store.Rejected(); len(r) != 0 {
		t.Errorf("rejected: %+v", r)
	}
}
