package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// An instance that refuses connections is told of where people look, though its requests are
// answered by another one, until it is no instance any more.
func TestUnreachableInstances(t *testing.T) {
	w := newWorld(t)
	w.start()
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set("X-App", "/half") }))
	t.Cleanup(s.Close)
	alive, dead := s.Listener.Addr().String(), freeAddress(t)
	port, address := w.tcp.port()
	vhost := []string{"HAPROXY_0_VHOST", "half.test"}
	w.marathon.service("/half", []string{alive, dead}, vhost...)
	w.marathon.service("/down", []string{freeAddress(t)}, modeLabel, "tcp", "HAPROXY_0_PORT", port)
	w.clients.expect("http://half.test/secret?token=x", http.StatusOK, "/half")

	secretive := func(text string) {
		t.Helper()
		if strings.Contains(text, "token") || strings.Contains(text, "/secret") {
			t.Errorf("a URL is shown: %s", text)
		}
	}
	w.eventually("the instance is told of", func() error {
		for range 10 {
			if a := w.clients.do("http://half.test/secret?token=x"); a.status != http.StatusOK {
				t.Errorf("status %d", a.status)
			}
		}
		for _, p := range w.admin.problems() {
			if p.Subject == "/half" && strings.Contains(p.Reason, dead) && strings.Contains(p.Reason, "refused") {
				secretive(p.Reason)
				return nil
			}
		}
		return fmt.Errorf("problems: %v", w.admin.problems())
	})
	for _, p := range w.admin.problems() {
		if strings.Contains(p.Reason, alive) {
			t.Errorf("the instance that answers has a problem: %s", p.Reason)
		}
	}
	if _, out, _ := w.admin.explain("half.test"); !strings.Contains(out, "could not connect") || !strings.Contains(out, "5 times in a row") {
		t.Errorf("relay explain: %s", out)
	}
	w.eventually("the TCP service is told of", func() error {
		if conn, err := net.Dial("tcp", address); err == nil {
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
		if n, _ := w.admin.metric(`relay_unreachable_instances{fleet="external"}`); n != 2 {
			return fmt.Errorf("%v instances, problems: %v", n, w.admin.problems())
		}
		return nil
	})

	w.marathon.service("/half", []string{alive}, vhost...)
	w.eventually("nothing is told any more", func() error {
		for _, p := range w.admin.problems() {
			if p.Subject == "/half" {
				return fmt.Errorf("%v", p)
			}
		}
		return nil
	})
	w.envoy.nothingRejected()
}

// Only Envoys of a fleet may report, and not more at once than Envoys do.
func TestWhoMayReport(t *testing.T) {
	w := newWorld(t)
	w.relay.start()
	conn, err := grpc.NewClient(w.relay.config.XDS.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	for _, tt := range []struct {
		fleet string
		size  int
		want  codes.Code
	}{{"external", 10, codes.OK}, {"unknown", 10, codes.InvalidArgument}, {"external", 2 << 20, codes.ResourceExhausted}} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		stream, err := alsv3.NewAccessLogServiceClient(conn).StreamAccessLogs(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.Send(&alsv3.StreamAccessLogsMessage{Identifier: &alsv3.StreamAccessLogsMessage_Identifier{
			Node: &corev3.Node{Id: "reporter", Cluster: tt.fleet}, LogName: strings.Repeat("x", tt.size),
		}})
		if _, err = stream.CloseAndRecv(); status.Code(err) != tt.want {
			t.Errorf("fleet %s, %d bytes: %v, want %s", tt.fleet, tt.size, err, tt.want)
		}
		cancel()
	}
}
