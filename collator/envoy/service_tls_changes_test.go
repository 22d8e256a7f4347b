package envoy_test

import (
	"net/netip"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/sources"
)

// Which labels of a service change its listener, and so end its connections once: docs/connections.md has them.
func TestLabelsThatChangeTheListener(t *testing.T) {
	t.Parallel()
	f := &routing.Fleet{Name: "external", Options: routing.DefaultOptions(), HTTP: netip.MustParseAddrPort("127.0.0.1:80")}
	listener := func(more ...string) proto.Message {
		t.Helper()
		app := set(t, serviceApp("/s", sources.TCP{}, "dev.test"), slices.Concat([]string{"TLS_TERMINATE=true", "PORT=8883", "CLIENT_CA=devices"}, more)...)
		services, problems := f.ServicesOf("/s", app)
		if len(services) != 1 || services[0].Closed {
			t.Fatalf("%q: %+v", more, problems)
		}
		made, err := envoy.TCPListener(f, services[0], envoy.RedisAccess{})
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	before := listener()
	for _, label := range []string{
		"CLIENT_CA=other", "CLIENT_SAN=uri:x*", "CLIENT_SAN=bogus:x", "PROXY_PROTOCOL=v2", "CONNECT_TIMEOUT=3s", "MAX_CONNECTIONS=100", "MAX_PENDING_REQUESTS=4", "BALANCE=roundrobin", "PROBE=tcp",
		"MAX_CONNECTION_AGE=bogus", "REBALANCE=-1%/min", "ACCEPT_RATE=-5/s", "ADDRESS_RATE=1e300/s", "TIMEOUT=5s",
	} {
		if !proto.Equal(before, listener(label)) {
			t.Errorf("%s ends connections", label)
		}
	}
	for _, label := range []string{
		"CLIENT_CERTIFICATES=optional", "TLS_PROFILE=old", "TLS_ALPN=mqtt", "IDLE_TIMEOUT=5h", "NUM_RETRIES=5", "BALANCE=source", "HASH_POLICY=source_ip", "BACKEND_NETWORK_ALLOWED_ACL=10.0.0.0/8",
		"BIND_OPTIONS=accept-proxy", "BIND_ADDR=10.0.0.5", "MAX_CONNECTION_AGE=24h", "REBALANCE=10%/min", "ACCEPT_RATE=5/s", "HOLD=30s",
	} {
		if proto.Equal(before, listener(label)) {
			t.Errorf("%s ends no connection: say so in docs/connections.md", label)
		}
	}
	one, other := listener("ACCEPT_RATE=5/s", "REBALANCE=10%/min", "HOLD=30s"), listener("ADDRESS_RATE=50/s", "REBALANCE=5%/min", "HOLD=10s")
	if !proto.Equal(one, other) {
		t.Error("other rates end connections")
	}
}
