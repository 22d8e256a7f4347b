package blackbox_test

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"relay/certs/certstest"
	"relay/probe"
	"relay/probe/blackbox"
)

func tlsServer(conn net.Conn, config *tls.Config) net.Conn { return tls.Server(conn, config) }

func TestGRPCModule(t *testing.T) {
	t.Parallel()
	ca := certstest.TestCA(t)
	config, err := ca.TestIssue(t, []string{"a.test"}, certstest.Options{}).ServerTLS()
	if err != nil {
		t.Fatal(err)
	}
	server, checks := grpc.NewServer(grpc.Creds(credentials.NewTLS(config))), health.NewServer()
	grpc_health_v1.RegisterHealthServer(server, checks)
	checks.SetServingStatus("ill", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	target := probe.Target{Address: listener.Addr().String(), TLS: true, ServerName: "a.test", Domain: "a.test"}
	if r := asks(t, "modules: {m: {prober: grpc}}", ca, target); !r.OK || !r.Answered {
		t.Errorf("got %+v", r)
	}
	if r := asks(t, "modules: {m: {prober: grpc, grpc: {service: ill}}}", ca, target); r.OK || r.Reason == "" || !r.Answered {
		t.Errorf("got %+v", r)
	}
	// blackbox_exporter's call has no end of its own.
	target.Address, target.TLS = serve(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }), false
	begin := time.Now()
	if r := asksWithin(t, asksFor, "modules: {m: {prober: grpc}}", ca, target); r.OK || !strings.HasPrefix(r.Reason, "no answer in time") || time.Since(begin) > 4*asksFor {
		t.Errorf("got %+v after %v", r, time.Since(begin))
	}
}

func TestDNSModule(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go answerNames(conn)
	address := conn.LocalAddr().String()
	const module = "modules: {m: {prober: dns, dns: {query_name: shop.test, query_type: A, preferred_ip_protocol: ip4, validate_answer_rrs: {fail_if_not_matches_regexp: ['192.0.2.1']}}}}"
	if r := asks(t, module, nil, probe.Target{Address: address}); !r.OK {
		t.Errorf("got %+v", r)
	}
	if r := asks(t, strings.Replace(module, "192.0.2.1", "192.0.2.2", 1), nil, probe.Target{Address: address}); r.OK || r.Reason == "" {
		t.Errorf("got %+v", r)
	}
}

// answerNames answers each question with one address.
func answerNames(conn net.PacketConn) {
	buffer := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buffer[:n]) != nil || len(m.Questions) == 0 {
			continue
		}
		m.Response, m.Additionals = true, nil
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 1},
			Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}},
		}}
		if answer, err := m.Pack(); err == nil {
			_, _ = conn.WriteTo(answer, from)
		}
	}
}

func TestUnknownModule(t *testing.T) {
	t.Parallel()
	if r := asks(t, "modules: {m: {prober: tcp}}", nil, probe.Target{Address: "127.0.0.1:1", Ask: probe.Ask{Module: "other"}}); r.OK || r.Reason != `the settings have no module "other"` {
		t.Errorf("got %+v", r)
	}
	if _, err := blackbox.Probers(probe.Settings{CAFile: "/nowhere/ca.pem"}); err == nil {
		t.Error("authorities that are not there are no error")
	}
}
