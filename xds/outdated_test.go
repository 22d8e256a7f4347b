package xds

import (
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// A Relay that does not follow the apps does not take an Envoy back to what it knew. It
// serves those that have nothing newer.
func TestOutdated(t *testing.T) {
	const unknown = "00000000000000aa"
	for _, tt := range []struct {
		name     string
		typ      Type
		initial  func(current, before string) map[string]string
		follows  bool
		unserved bool
	}{
		{"nothing", Cluster, func(string, string) map[string]string { return nil }, false, false},
		{"the present version", Cluster, func(current, _ string) map[string]string { return map[string]string{"a": current} }, false, false},
		{"the version before", Cluster, func(_, before string) map[string]string { return map[string]string{"a": before} }, false, false},
		{"what was removed here", Cluster, func(string, string) map[string]string { return map[string]string{"gone": unknown} }, false, false},
		{"what another control plane served", Cluster, func(string, string) map[string]string { return map[string]string{"a": "1"} }, false, false},
		{"a version that it never had", Cluster, func(string, string) map[string]string { return map[string]string{"a": unknown} }, false, true},
		{"a name that it never had", Cluster, func(string, string) map[string]string { return map[string]string{"new": unknown} }, false, true},
		{"newer endpoints", Endpoint, func(string, string) map[string]string { return map[string]string{"a": unknown} }, false, true},
		{"a newer scope", Scope, func(string, string) map[string]string { return map[string]string{"a": unknown} }, false, true},
		{"what another Relay served for a while", Scope, func(string, string) map[string]string { return map[string]string{"a": passingVersion(t, "a")} }, false, false},
		{"a listener, which certificates change too", Listener, func(string, string) map[string]string { return map[string]string{"a": unknown} }, false, false},
		{"a version that it never had, when apps are followed", Cluster, func(string, string) map[string]string { return map[string]string{"a": unknown} }, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store, clock, connect := scripts(t)
			since := *clock
			store.Outdated = func() time.Time {
				if tt.follows {
					return time.Time{}
				}
				return since
			}
			setIn(t, store, tt.typ, "before", "a", "gone")
			before := store.tables[tt.typ].versions[store.tables[tt.typ].ids["a"]].String()
			e := connect("edge-0", "1.40.0")
			if tt.typ == Cluster { // somebody has to acknowledge it
				e.subscribe(Cluster)
				e.ack(e.expect(Cluster, []string{"a", "gone"}))
			}
			setIn(t, store, tt.typ, "current", "a")
			store.Apply(Change{Remove: []Key{{tt.typ, "gone"}}})
			current := store.tables[tt.typ].versions[store.tables[tt.typ].ids["a"]].String()

			e = connect("edge-1", "1.40.0")
			e.resume(tt.typ, tt.initial(current, before), "a")
			err := e.session.outdatedError()
			if (err != nil) != tt.unserved {
				t.Errorf("refused: %v", err)
			}
			if err != nil && status.Code(err) != codes.Unavailable {
				t.Errorf("refused by %v", err)
			}
		})
	}
}

// passingVersion is that of a scope that is so for a while.
func passingVersion(t *testing.T, name string) string {
	t.Helper()
	r, err := NewResource(Scope, name, &routev3.ScopedRouteConfiguration{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return r.Passing().Version
}

// A resource that is so for a while is what it is but for the version, by which no Relay knows it.
func TestPassing(t *testing.T) {
	r, err := NewResource(Scope, "a", &routev3.ScopedRouteConfiguration{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	p := r.Passing()
	var was, is discoveryv3.Resource
	for msg, wire := range map[*discoveryv3.Resource][]byte{&was: r.wire.ReadOnlyData(), &is: p.wire.ReadOnlyData()} {
		if err := proto.Unmarshal(valueOf(wire, fieldResponseResources), msg); err != nil {
			t.Fatal(err)
		}
	}
	if parseVersion(is.Version) != 0 || is.Version != p.Version || parseVersion(was.Version) != r.hash {
		t.Errorf("versions %s and %s", was.Version, is.Version)
	}
	if is.Version = was.Version; !proto.Equal(&was, &is) {
		t.Errorf("%v became %v", &was, &is)
	}
}
