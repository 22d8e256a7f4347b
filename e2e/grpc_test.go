package e2e

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// A gRPC client gets one line, and a status that says whether it may try again.
func TestAnswersToGRPCClients(t *testing.T) {
	w := newWorld(t)
	w.start()
	_, unused, _ := net.SplitHostPort(freeAddress(t))
	w.marathon.rawApp("/dead", "dead.test", "127.0.0.1", unused)
	slow := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	slow.Config.Protocols = new(http.Protocols)
	slow.Config.Protocols.SetUnencryptedHTTP2(true)
	slow.Start()
	w.marathon.backend("/slow", "slow.test", slow, "RELAY_0_HTTP2", "true", "RELAY_0_TIMEOUT", "50ms")
	w.marathon.deploy(app("/offline", "offline.test", 0), app("/closed", "closed.test", 1, "HAPROXY_0_AUTH", "unknown"))
	w.clients.expect("http://offline.test/", http.StatusServiceUnavailable, "")
	w.clients.expect("http://closed.test/", http.StatusForbidden, "")
	w.clients.expect("http://dead.test/", http.StatusBadGateway, "")
	w.clients.expect("http://slow.test/", http.StatusGatewayTimeout, "")
	for _, tt := range []struct {
		host string
		code codes.Code
		text string
	}{
		{"unknown.test", codes.Unimplemented, "no-such-domain: There is no application at this address. Request "},
		{"offline.test", codes.Unavailable, "offline: "},
		{"dead.test", codes.Unavailable, "unreachable: "},
		{"slow.test", codes.DeadlineExceeded, "timed-out: "},
		{"closed.test", codes.PermissionDenied, "forbidden: "},
	} {
		conn, err := grpc.NewClient("passthrough:///"+w.clients.http, grpc.WithAuthority(tt.host), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_, err = grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		cancel()
		got := status.Convert(err)
		if got.Code() != tt.code || !strings.HasPrefix(got.Message(), tt.text) || strings.Contains(got.Message(), "<") || len(got.Message()) > 200 {
			t.Errorf("%s: %s %q, want %s %q", tt.host, got.Code(), got.Message(), tt.code, tt.text)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}
