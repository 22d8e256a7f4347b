package admin

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"relay/internal/secret"
)

// A page of another site, in the browser of somebody who may use the endpoint,
// can neither read anything nor call the hooks.
func TestPagesOfOtherSites(t *testing.T) {
	t.Parallel()
	local := newConfig(fakeViews{})
	local.Access.ThisMachine = true
	anyMethod := newConfig(fakeViews{})
	anyMethod.AnyMethod = true
	tests := []struct {
		name   string
		cfg    Config
		method string
		url    string
		header string // name: value
		status int
	}{
		{"form", local, "POST", "http://127.0.0.1:9090/_mlb_signal/hup", "Sec-Fetch-Site: cross-site", 403},
		{"form in an old browser", local, "POST", "http://127.0.0.1:9090/_mlb_signal/hup", "Origin: http://evil.test", 403},
		{"form from another port", local, "POST", "http://127.0.0.1:9090/_mlb_signal/hup", "Sec-Fetch-Site: same-site", 403},
		{"form without an origin", local, "POST", "http://127.0.0.1:9090/_mlb_signal/hup", "Origin: null", 403},
		{"image", anyMethod, "GET", "http://127.0.0.1:9090/_mlb_signal/usr1", "Sec-Fetch-Site: cross-site", 403},
		{"HEAD", anyMethod, "HEAD", "http://127.0.0.1:9090/_mlb_signal/usr1", "Sec-Fetch-Site: cross-site", 403},
		{"script of marathon-lb", anyMethod, "GET", "http://127.0.0.1:9090/_mlb_signal/usr1", "", 204},
		{"DNS rebinding, page", local, "GET", "http://evil.test:9090/", "Sec-Fetch-Site: same-origin", 403},
		{"DNS rebinding, JSON", local, "GET", "http://evil.test:9090/api/v1/apps", "Sec-Fetch-Site: same-origin", 403},
		{"DNS rebinding, status", local, "GET", "http://evil.test:9090/api/v1/status", "Sec-Fetch-Site: same-origin", 403},
		{"DNS rebinding, events", local, "GET", "http://evil.test:9090/api/v1/events", "Sec-Fetch-Site: same-origin", 403},
		{"DNS rebinding, hook", local, "POST", "http://evil.test:9090/_mlb_signal/hup", "Sec-Fetch-Site: same-origin", 403},
		{"DNS rebinding, health", local, "GET", "http://evil.test/readyz", "", 403},
		{"DNS rebinding, looks like it", local, "GET", "http://127.0.0.1.evil.test:9090/", "", 403},
		{"DNS rebinding, begins like it", local, "GET", "http://localhost.evil.test/", "", 403},
		{"by address", local, "GET", "http://127.0.0.1:9090/", "", 200},
		{"by address of IPv6", local, "GET", "http://[::1]:9090/", "", 200},
		{"by address without a port", local, "GET", "http://[::1]/", "", 200},
		{"by name", local, "GET", "http://LocalHost:9090/", "", 200},
		{"hook by name", local, "POST", "http://localhost:9090/_mlb_signal/usr1", "", 204},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(tt.method, tt.url, nil)
			if name, value, ok := strings.Cut(tt.header, ": "); ok {
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			New(tt.cfg, nil).Handler().ServeHTTP(w, r)
			if w.Code != tt.status {
				t.Errorf("status %d, want %d", w.Code, tt.status)
			}
			// Nor does an answer let another site read it, show it or run in it.
			for name, want := range map[string]string{
				"Access-Control-Allow-Origin": "", "X-Content-Type-Options": "nosniff",
				"Cross-Origin-Resource-Policy": "same-origin", "Referrer-Policy": "no-referrer",
			} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "form-action 'none'", "base-uri 'none'"} {
				if got := w.Header().Get("Content-Security-Policy"); !strings.Contains(got, want) {
					t.Errorf("Content-Security-Policy %q has no %q", got, want)
				}
			}
		})
	}
}

// What a client says of itself gets it past neither token nor network, over a
// real connection.
func TestIntruders(t *testing.T) {
	t.Parallel()
	cfg := newConfig(fakeViews{})
	cfg.Pprof = true
	cfg.Access = Access{Token: func() secret.String { return "s3cret" }, HookNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.7.0/24")}}
	address := strings.TrimPrefix(serve(t, cfg), "http://")
	long := strings.Repeat("x", 20<<10)
	tests := []struct {
		name    string
		request string // lines, without Host
		status  int
	}{
		{"with the token", "GET / HTTP/1.1\nAuthorization: Bearer s3cret", 200},
		{"without", "GET / HTTP/1.1", 401},
		{"token in the URL", "GET /?token=s3cret&access_token=s3cret HTTP/1.1", 401},
		{"token as the user", "GET / HTTP/1.1\nAuthorization: Basic czNjcmV0Og==", 401},
		{"token as a cookie", "GET / HTTP/1.1\nCookie: token=s3cret", 401},
		{"longer token", "GET / HTTP/1.1\nAuthorization: Bearer s3cret" + long, 401},
		{"too long token", "GET / HTTP/1.1\nAuthorization: Bearer s3cret" + long + long, 431},
		{"first of two headers wrong", "GET / HTTP/1.1\nAuthorization: Bearer wrong\nAuthorization: Bearer s3cret", 401},
		{"profiles", "GET /debug/pprof/heap HTTP/1.1", 401},
		{"through a path that is open", "GET /healthz/../debug/pprof/heap HTTP/1.1", 401},
		{"through an encoded one", "GET /readyz/%2e%2e/api/v1/apps HTTP/1.1", 401},
		{"below a path that is open", "GET /healthz/metrics HTTP/1.1", 401},
		{"a path of slashes", "GET //metrics HTTP/1.1", 401},
		{"a whole URL", "GET http://127.0.0.1/metrics HTTP/1.1", 401},
		{"other method", "PROPFIND /metrics HTTP/1.1", 401},
		{"other method said in a header", "GET /_mlb_signal/usr1 HTTP/1.1\nX-HTTP-Method-Override: POST", 401},
		{"hook", "POST /_mlb_signal/usr1 HTTP/1.1", 401},
		{"hook forwarded for its network", "POST /_mlb_signal/usr1 HTTP/1.1\nX-Forwarded-For: 10.0.7.20\nX-Real-IP: 10.0.7.20\nForwarded: for=10.0.7.20", 401},
		{"HTTP/2 by upgrade", "GET /metrics HTTP/1.1\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAAP__", 401},
		{"HTTP/2 at once", "PRI * HTTP/2.0", 401},
		{"two lengths", "POST /_mlb_signal/usr1 HTTP/1.1\nContent-Length: 0\nContent-Length: 44", 400},
		{"chunked with a length", "POST /_mlb_signal/usr1 HTTP/1.1\nContent-Length: 5\nTransfer-Encoding: chunked\n\n0", 401},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			first, rest, _ := strings.Cut(tt.request, "\n")
			text := first + "\nHost: relay.test\n" + rest + "\n\n"
			if rest == "" {
				text = first + "\nHost: relay.test\n\n"
			}
			if _, err := conn.Write([]byte(strings.ReplaceAll(text, "\n", "\r\n"))); err != nil {
				t.Fatal(err)
			}
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			if answer.StatusCode != tt.status {
				t.Errorf("status %d, want %d", answer.StatusCode, tt.status)
			}
		})
	}
}
