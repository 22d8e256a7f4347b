package marathon

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"relay/certs/certstest"
)

// answering listens, and sends the same bytes to whoever has sent a request.
func answering(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// The error of a read that fails for a wrong setting says what to write instead.
func TestErrorsOfWrongURLs(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	secured := httptest.NewUnstartedServer(http.NotFoundHandler())
	var err error
	if secured.TLS, err = certstest.TestCA(t).TestIssue(t, []string{"localhost"}, certstest.Options{}).ServerTLS(); err != nil {
		t.Fatal(err)
	}
	secured.Config.ErrorLog = log.New(io.Discard, "", 0)
	secured.StartTLS()
	defer secured.Close()
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	defer bad.Close()
	host := func(s *httptest.Server) string { return s.Listener.Addr().String() }
	_, tlsPort, _ := net.SplitHostPort(host(secured))
	nginx := "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<center>The plain HTTP request was sent to HTTPS port</center>"
	alert, closed, asks := answering(t, "\x15\x03\x03\x00\x02\x02\x0a"), answering(t, ""), answering(t, nginx)
	tests := []struct{ name, url, proxy, want string }{
		{"https to a plain port", "https://" + host(plain), "", "speaks no TLS: write http://" + host(plain)},
		{"http to TLS of Go", "http://" + host(secured), "", "takes TLS: write https://" + host(secured)},
		{"http to TLS of nginx", "http://" + asks, "", "takes TLS: write https://" + asks},
		{"http to TLS that sends an alert", "http://" + alert, "", "takes TLS: write https://" + alert},
		{"http to TLS that closes", "http://" + closed, "", "if this port takes TLS, write https://" + closed},
		{"unknown authority", "https://localhost:" + tlsPort, "", "by --marathon-ca-file"},
		{"a proxy that is away", "http://m.test:8080", "http://me:s.secret@127.0.0.1:1", "through the proxy 127.0.0.1:1, which HTTP_PROXY in the environment names; to go without it, add m.test to NO_PROXY"},
		{"a proxy that is away, https", "https://m.test:8080", "http://127.0.0.1:1", "which HTTPS_PROXY"},
		{"a proxy that cannot reach it", "http://m.test:8080", "http://" + host(bad), "502 Bad Gateway (through the proxy " + host(bad)},
		{"no proxy", "http://" + host(bad), "", "502 Bad Gateway"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := newClient(Config{URLs: []string{tt.url}}.withDefaults())
			if err != nil {
				t.Fatal(err)
			}
			transport := c.http.Transport.(*http.Transport)
			defer transport.CloseIdleConnections()
			transport.Proxy = nil
			if tt.proxy != "" {
				proxy, err := url.Parse(tt.proxy)
				if err != nil {
					t.Fatal(err)
				}
				transport.Proxy = http.ProxyURL(proxy)
			}
			err = c.apps(t.Context(), target{base: c.servers[0].url, origin: c.servers[0]}, nil, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if noted := err != nil && strings.Contains(err.Error(), "NO_PROXY"); noted != (tt.proxy != "") {
				t.Errorf("error %v: a proxy is said: %v", err, noted)
			}
		})
	}
}

// A URL that is none is refused with what to write, and without what may be a password.
func TestWrongURLs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ url, want string }{
		{"m.test:8080", "has no scheme: write --marathon http://m.test:8080, or https://"},
		{"10.0.0.1:8080", "write --marathon http://10.0.0.1:8080"},
		{"localhost", "write --marathon http://localhost"},
		{"me:s.secret@m.test:8080", "has no scheme: write --marathon http://host:8080"},
		{"me:s.secret", "has no scheme: write --marathon http://host:8080"},
		{"me:s/secret", "has no scheme: write --marathon http://host:8080"},
		{"http://m1.test:8080 http://m2.test:8080", "write a comma between URLs"},
		{"http://me:s.secret@m1.test http://m2.test", "write a comma between URLs"},
		{"http://m1.test:8080;http://m2.test:8080", "with a comma between several"},
		{"ftp://m.test", "not an http or https URL"},
		{"http://", "with a host"},
		{"http://m.test/?a=b", "query or a fragment"},
	} {
		_, err := parseServers([]string{"http://ok.test", tt.url}, nil)
		if err == nil || !strings.Contains(err.Error(), "URL number 2") || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", tt.url, err, tt.want)
		}
	}
	for _, good := range []string{" http://m.test:8080 ", "https://me:p;w@m.test/marathon/"} {
		if _, err := parseServers([]string{good}, nil); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}
