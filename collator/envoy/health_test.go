package envoy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strings"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/sources"
	"relay/xds/envoytest"
)

func TestHealth(t *testing.T) {
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		e := startVersion(t, version, proxied, func(f *routing.Fleet, _ *certstest.CA) {
			f.Health = netip.AddrPortFrom(f.HTTP.Addr(), envoytest.FreePort(t))
		})
		e.c.SyncApps([]*sources.App{e.app("/open", "open.test")})
		open := request{host: "open.test", path: "/"}
		e.eventually(t, open, fromApp("/open"))
		// Without its https listener this Envoy is not what it is to be.
		if status := e.health("GET /"); status != 0 {
			t.Errorf("health is told with status %d before the certificates are known", status)
		}
		e.c.SyncCertificates("vault", nil, nil)
		e.until(t, "health is told", func() bool { return e.health("GET /") == 200 })
		for _, asked := range []string{"GET /_haproxy_health_check", "HEAD /any?x", "OPTIONS /"} {
			if status := e.health(asked); status != 200 {
				t.Errorf("%s: status %d", asked, status)
			}
		}
		if e.closes(t) || e.goesAway(t) {
			t.Error("an Envoy that wants requests ends the connections they come by")
		}
		e.adminPost(t, "/healthcheck/fail")
		e.until(t, "health fails", func() bool { return e.health("GET /") == 503 })
		e.eventually(t, open, fromApp("/open"))
		if !e.closes(t) || !e.goesAway(t) {
			t.Error("connections are kept open by an Envoy that wants no requests")
		}
		e.adminPost(t, "/healthcheck/ok")
		e.until(t, "health is good again", func() bool { return e.health("GET /") == 200 && !e.closes(t) })
	})
}

// health asks by HTTP/1.0, as HAProxy does, and returns the status; 0 if there is no answer.
func (e *realEnvoy) health(asked string) int {
	conn, err := net.DialTimeout("tcp", e.fleet.Health.String(), patience)
	if err != nil {
		return 0
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, asked+" HTTP/1.0\r\n\r\n"); err != nil {
		return 0
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// closes reports whether Envoy asks the client to end its connection after a request.
func (e *realEnvoy) closes(t *testing.T) bool {
	t.Helper()
	conn, err := net.DialTimeout("tcp", e.fleet.HTTP.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: open.test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.Close
}

// goesAway reports whether Envoy asks for the same by HTTP/2.
func (e *realEnvoy) goesAway(t *testing.T) bool {
	t.Helper()
	transport := e.transport(request{})
	transport.DisableKeepAlives, transport.Protocols = false, new(http.Protocols)
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	reused := false
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }})
	for range 2 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://open.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	return !reused
}

func (e *realEnvoy) adminPost(t *testing.T, path string) {
	t.Helper()
	resp, err := http.Post("http://"+e.envoy.Admin+path, "", strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}
