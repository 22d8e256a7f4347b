package envoy_test

import (
	"io"
	"net"
	"testing"
	"time"

	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"

	"relay/sources"
	"relay/xds/envoytest"
)

// An Envoy gives up a connection that waits if its client resets it, but for 1.36. If the client has said all that
// it has to say, or just closes, which looks the same, its turn comes, and the server gets what it said.
func TestClientsLeaveWhileTheyWait(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions() {
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version, withoutHTTPS)
			port := envoytest.FreePort(t)
			app := changed(serviceApp("/shop/echo", sources.TCP{Port: port, AcceptRate: 10}), func(p *sources.Port) { p.Endpoints = endpoints(e.redis()) })
			e.sync(nil, app)
			e.opens(t, port)
			e.tcp.next(t).answer <- ratelimitv3.RateLimitResponse_OVER_LIMIT // what saw that it is open

			conn := dial(t, port).(*net.TCPConn)
			w := e.tcp.next(t)
			_ = conn.SetLinger(0)
			_ = conn.Close()
			if version == envoytest.Oldest {
				w.answer <- ratelimitv3.RateLimitResponse_OVER_LIMIT
			} else {
				select {
				case <-w.left:
				case <-time.After(patience):
					t.Error("a client that resets its connection keeps its place")
				}
			}

			conn = dial(t, port).(*net.TCPConn)
			w = e.tcp.next(t)
			_ = conn.SetDeadline(time.Now().Add(patience))
			_, _ = io.WriteString(conn, "early\n")
			_ = conn.CloseWrite()
			w.answer <- ratelimitv3.RateLimitResponse_OK
			if got, err := io.ReadAll(conn); string(got) != "early\n" {
				t.Errorf("%q came back of what a client said before its turn: %v", got, err)
			}
		})
	}
}
