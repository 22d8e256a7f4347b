package edge_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"relay/certs/certstest"
	"relay/probe"
	"relay/probe/edge"
)

// trusting is a prober that trusts an authority by a file.
func trusting(t *testing.T, ca *certstest.CA) *edge.Prober {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, ca.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return &edge.Prober{Place: "here", CAFile: path}
}

// What is wrong with TLS is said in words, with the certificate that was shown.
func TestTLS(t *testing.T) {
	t.Parallel()
	ca, other := certstest.TestCA(t), certstest.TestCA(t)
	past, future := time.Now().AddDate(0, 0, -3), time.Now().AddDate(0, 0, 3)
	tests := []struct {
		name   string
		shown  *certstest.Issued
		reason string
	}{
		{"good", ca.TestIssue(t, []string{"a.test"}, certstest.Options{}), ""},
		{"a wildcard", ca.TestIssue(t, []string{"*.test"}, certstest.Options{}), ""},
		{"another name", ca.TestIssue(t, []string{"*.b.test", "c.test", "d.test", "e.test"}, certstest.Options{NotAfter: future}),
			"tls: certificate for *.b.test, c.test, d.test and 1 more, expires " + future.UTC().Format(time.DateOnly) + ", not for a.test"},
		{"expired", ca.TestIssue(t, []string{"a.test"}, certstest.Options{NotBefore: past.AddDate(0, -1, 0), NotAfter: past}), "tls: certificate for a.test, expired " + past.UTC().Format(time.DateTime)},
		{"not valid yet", ca.TestIssue(t, []string{"a.test"}, certstest.Options{NotBefore: future, NotAfter: future.AddDate(0, 1, 0)}), "tls: certificate for a.test, expires "},
		{"another authority", other.TestIssue(t, []string{"a.test"}, certstest.Options{}), "tls: certificate for a.test, expires "},
		{"no TLS", nil, "tls: the answer is no TLS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			handle := answering(head(200, "Content-Length: 0"))
			if tt.shown != nil {
				handle = overTLS(t, tt.shown, handle)
			} else {
				handle = func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 400 no\r\n\r\n") }
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			r := edge.HTTP{Prober: trusting(t, ca)}.Probe(ctx, probe.Target{Kind: probe.HTTP, Address: serve(t, handle), TLS: true, ServerName: "a.test", Domain: "a.test"})
			if r.OK != (tt.reason == "") || !strings.HasPrefix(r.Reason, tt.reason) {
				t.Errorf("got %q, want %q: %+v", r.Reason, tt.reason, r)
			}
			if r.OK && (r.CertificateExpires.Before(time.Now()) || r.Phases["tls"] <= 0) {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func overTLS(t *testing.T, shown *certstest.Issued, handle func(net.Conn)) func(net.Conn) {
	t.Helper()
	config, err := shown.ServerTLS()
	if err != nil {
		t.Fatal(err)
	}
	return func(conn net.Conn) { handle(tls.Server(conn, config)) }
}

// A file of authorities is read again when it changes, and the old ones stay while it cannot be read.
func TestAuthoritiesChange(t *testing.T) {
	t.Parallel()
	ca, next := certstest.TestCA(t), certstest.TestCA(t)
	p := trusting(t, ca)
	address := serve(t, overTLS(t, next.TestIssue(t, []string{"a.test"}, certstest.Options{}), answering(head(204))))
	target := probe.Target{Kind: probe.HTTP, Address: address, TLS: true, ServerName: "a.test", Domain: "a.test"}
	reached := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		return edge.HTTP{Prober: p}.Probe(ctx, target).OK
	}
	if reached() {
		t.Fatal("an authority is trusted that is not in the file")
	}
	if err := os.WriteFile(p.CAFile, next.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(p.CAFile, time.Now(), time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if !reached() {
		t.Error("the file was not read again")
	}
	if err := os.Remove(p.CAFile); err != nil {
		t.Fatal(err)
	}
	if !reached() {
		t.Error("the authorities are gone with the file")
	}
	if err := (&edge.Prober{CAFile: p.CAFile}).Check(); err == nil {
		t.Error("a file that is not there is no error at first")
	}
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	ca := certstest.TestCA(t)
	config, err := ca.TestIssue(t, []string{"a.test"}, certstest.Options{}).ServerTLS()
	if err != nil {
		t.Fatal(err)
	}
	for _, secure := range []bool{false, true} {
		options := []grpc.ServerOption{}
		if secure {
			options = append(options, grpc.Creds(credentials.NewTLS(config)))
		}
		server, checks := grpc.NewServer(options...), health.NewServer()
		grpc_health_v1.RegisterHealthServer(server, checks)
		checks.SetServingStatus("well", grpc_health_v1.HealthCheckResponse_SERVING)
		checks.SetServingStatus("ill", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(server.Stop)
		for service, reason := range map[string]string{"well": "", "ill": "health check: the health check says NOT_SERVING", "none": "health check: the health check knows no such service"} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			target := probe.Target{Kind: probe.GRPC, Address: listener.Addr().String(), TLS: secure, ServerName: "a.test", Domain: "a.test", Ask: probe.Ask{Path: service}}
			if r := (edge.GRPC{Prober: trusting(t, ca)}).Probe(ctx, target); r.OK != (reason == "") || r.Reason != reason || !r.Answered {
				t.Errorf("%s (TLS %v): got %+v", service, secure, r)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // enough to connect, on a busy machine too
	defer cancel()
	silent := serve(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	if r := (edge.GRPC{Prober: &edge.Prober{}}).Probe(ctx, probe.Target{Kind: probe.GRPC, Address: silent}); r.OK || r.Reason != "health check: no answer in time" {
		t.Errorf("got %+v", r)
	}
}
