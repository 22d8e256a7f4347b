package traffic

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
)

// entry is what Envoy reports of a failure to connect.
func entry(cluster, address string, port uint32) *accesslogv3.TCPAccessLogEntry {
	return &accesslogv3.TCPAccessLogEntry{CommonProperties: &accesslogv3.AccessLogCommon{
		UpstreamCluster: cluster, UpstreamRemoteAddress: socket(address, port), UpstreamTransportFailureReason: "Connection refused",
		ResponseFlags: &accesslogv3.ResponseFlags{UpstreamConnectionFailure: true},
	}}
}

func socket(address string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: address, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

func node(id string) *corev3.Node { return &corev3.Node{Id: id, Cluster: "external"} }

// Failures of several Envoys are those of one instance, until they are old.
func TestConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, start := NewConnections(), time.Now()
		f.report(node("b"), entry("/a_0", "10.0.0.1", 31000), 1, time.Now())
		time.Sleep(time.Minute)
		f.report(node("a"), entry("/a_0", "::ffff:10.0.0.1", 31000), 1, time.Now())
		f.report(node("a"), entry("/a_0", "10.0.0.1", 31000), 1, time.Now())
		got := f.Unreachable()
		if len(got) != 1 {
			t.Fatalf("%d instances", len(got))
		}
		u := got[0]
		want := Instance{"external", "/a_0", netip.MustParseAddrPort("10.0.0.1:31000")}
		if u.Instance != want || u.Failures != 3 || !slices.Equal(u.Envoys, []string{"a", "b"}) || !u.Since.Equal(start) || !u.Last.Equal(time.Now()) {
			t.Errorf("got %+v", u)
		}
		time.Sleep(forgetAfter + time.Second)
		if got := f.Unreachable(); len(got) > 0 {
			t.Errorf("what is old is still told: %+v", got)
		}
		f.report(node("a"), entry("/a_0", "10.0.0.1", 31000), 1, time.Now())
		if u := f.Unreachable()[0]; u.Failures != 1 || !u.Since.Equal(time.Now()) {
			t.Errorf("what is old counts still: %+v", u)
		}
	})
}

// Entries of other failures, and those that cannot be understood, do not count.
func TestOtherEntries(t *testing.T) {
	f := NewConnections()
	answered := entry("/a_0", "10.0.0.1", 1)
	answered.CommonProperties.UpstreamLocalAddress = socket("10.0.0.9", 2)
	reset := entry("/a_0", "10.0.0.1", 1)
	reset.CommonProperties.ResponseFlags = &accesslogv3.ResponseFlags{UpstreamConnectionTermination: true}
	for _, e := range []*accesslogv3.TCPAccessLogEntry{
		{}, answered, reset, entry("/a_0", "name", 1), entry("/a_0", "", 0), entry(strings.Repeat("x", maxName+1), "10.0.0.1", 1),
	} {
		f.report(node("a"), e, 1, time.Now())
	}
	f.report(nil, &accesslogv3.TCPAccessLogEntry{}, 1, time.Now())
	if got := f.Unreachable(); len(got) > 0 {
		t.Errorf("got %+v", got)
	}
}

// What Envoys report takes no more than so much memory.
func TestConnectionsAreBounded(t *testing.T) {
	f := NewConnections()
	for i := range maxInstances + 10 {
		f.report(node("a"), entry("/a_0", netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}).String(), 1), 1, time.Now())
	}
	for i := range 3 * maxNodes {
		e := entry("/a_0", "10.1.0.0", 1)
		e.CommonProperties.UpstreamTransportFailureReason = strings.Repeat("ü", maxReason)
		f.report(node(fmt.Sprint(i)), e, 1, time.Now())
	}
	got := f.Unreachable()
	if len(got) != maxInstances || len(got[0].Envoys) != maxNodes || len(got[0].Reason) > maxReason {
		t.Errorf("%d instances, the first of %d Envoys, reason of %d bytes", len(got), len(got[0].Envoys), len(got[0].Reason))
	}
}
