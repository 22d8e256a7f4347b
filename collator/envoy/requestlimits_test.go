package envoy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"relay/certs/certstest"
	"relay/collator/collatortest"
	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/sources"
	"relay/traffic"
	"relay/xds/envoytest"
)

// behindProxy has clients say their address themselves, as a proxy would.
func behindProxy(f *routing.Fleet, _ *certstest.CA) {
	f.Proxies.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
}

// knowsLimits are the versions of Envoy that know chains of filters.
func knowsLimits() []string {
	return slices.DeleteFunc(envoytest.AllVersions(), func(version string) bool { return version < "1.38" })
}

// limitedApps are apps with settings, by domain, beside one without, whose domain is plain.test. Their
// instances say how large the body is that they got.
func (e *realEnvoy) limitedApps(t *testing.T, domains map[string][]string, apps ...*sources.App) {
	t.Helper()
	sizes := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d bytes", n)
	}))
	t.Cleanup(sizes.Close)
	apps = append(apps, webApp("/plain", "plain.test"))
	for domain, settings := range domains {
		apps = append(apps, collatortest.Set(t, webApp("/"+strings.TrimPrefix(domain, "*."), domain), settings...))
	}
	for i := range apps {
		apps[i] = changed(apps[i], func(p *sources.Port) { p.Endpoints = endpoints(sizes.Listener.Addr().String()) })
	}
	e.c.SyncApps(apps)
	e.eventually(t, request{host: "plain.test"}, status(http.StatusOK))
}

// statuses are those of requests, one after the other: each is of an address, or a header.
func (e *realEnvoy) statuses(t *testing.T, host string, clients ...string) (all []int) {
	t.Helper()
	for _, client := range clients {
		name, value, isHeader := strings.Cut(client, "=")
		if !isHeader {
			name, value = "X-Forwarded-For", client
		}
		a, err := e.send(t.Context(), request{host: host, path: "/", header: http.Header{name: {value}}})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a.status)
	}
	return all
}

// TestRateLimits holds what limits of requests count, by each version that knows them.
func TestRateLimits(t *testing.T) {
	t.Parallel()
	const ok, refused = http.StatusOK, http.StatusTooManyRequests
	for _, version := range knowsLimits() {
		t.Run("Envoy "+version, func(t *testing.T) {
			e := startVersion(t, version, behindProxy)
			e.limitedApps(t, map[string][]string{
				"all.test":    {"RATE_LIMIT=3/h"},
				"burst.test":  {"RATE_LIMIT=3/d burst 1"},
				"each.test":   {"RATE_LIMIT_PER_CLIENT=2/h"},
				"key.test":    {"RATE_LIMIT_PER_CLIENT=2/h by header X-Api-Key"},
				"both.test":   {"RATE_LIMIT=5/h", "RATE_LIMIT_PER_CLIENT=3/h"},
				"*.wild.test": {"RATE_LIMIT=1/h"},
				"wrong.test":  {"RATE_LIMIT=many", "RATE_LIMIT_PER_CLIENT=1/week"},
				"path.test":   {"RATE_LIMIT=2/h", "PATH=/api", "BACKEND_WEIGHT=1"},
			}, webApp("/whole", "path.test"))
			for _, c := range []struct {
				host    string
				clients []string
				want    []int
			}{
				{"all.test", []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"}, []int{ok, ok, ok, refused}},
				{"ALL.test.", []string{"192.0.2.5"}, []int{refused}},
				{"burst.test", []string{"192.0.2.1", "192.0.2.2"}, []int{ok, refused}},
				{"each.test", []string{"192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"}, []int{ok, ok, refused, ok}},
				// A client by IPv6 has many addresses, of one network.
				{"each.test", []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"}, []int{ok, ok, refused, ok}},
				{"key.test", []string{"X-Api-Key=a", "X-Api-Key=a", "X-Api-Key=a", "X-Api-Key=b"}, []int{ok, ok, refused, ok}},
				// Who leaves the header out counts by the address.
				{"key.test", []string{"192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"}, []int{ok, ok, refused, ok}},
				// Values that are long, which Envoys would have to keep, or empty are as none.
				{"key.test", []string{"X-Api-Key=" + strings.Repeat("a", 257), "X-Api-Key=" + strings.Repeat("b", 20_000), "X-Api-Key="}, []int{ok, ok, refused}},
				{"key.test", []string{"X-Api-Key=" + strings.Repeat("c", 256)}, []int{ok}},
				// A client that is over its limit takes nothing from the others.
				{"both.test", []string{"192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.2"},
					[]int{ok, ok, ok, refused, refused, ok, ok, refused}},
				{"x.wild.test", []string{"192.0.2.1"}, []int{ok}},
				{"Y.wild.test:80", []string{"192.0.2.1"}, []int{refused}},
				{"wrong.test", []string{"192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.1"}, []int{ok, ok, ok, ok}},
			} {
				if got := e.statuses(t, c.host, c.clients...); !slices.Equal(got, c.want) {
					t.Errorf("%s, %v: statuses %v, want %v", c.host, c.clients, got, c.want)
				}
			}
			// Another spelling of a path does not get around its limit; another path has none.
			for _, c := range []struct {
				path string
				want int
			}{{"/api", ok}, {"/api/x", ok}, {"/api", refused}, {"//api", refused}, {"/%61pi", refused}, {"/;x/api", refused}, {"/other", ok}} {
				if a, err := e.send(t.Context(), request{host: "path.test", path: c.path}); err != nil || a.status != c.want {
					t.Errorf("%s: %+v, %v, want %d", c.path, a, err, c.want)
				}
			}
			a, err := say(e.fleet.HTTP.String(), "GET / HTTP/1.1\r\nHost: all.test\r\n\r\n")
			if err != nil || a.status != refused || a.code != "too-many-requests" || a.header.Get("Retry-After") != "1200" || !strings.Contains(a.body, "too many requests") {
				t.Errorf("answer over the limit: %+v, %v", a, err)
			}
			e.reported(t, func(f traffic.Failure) bool { return f.Code == "too-many-requests" && f.App == "/all.test" })
			grpc, err := say(e.fleet.HTTP.String(), "POST / HTTP/1.1\r\nHost: all.test\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n")
			if err != nil || grpc.header.Get("Grpc-Status") != "8" {
				t.Errorf("answer over the limit by gRPC: %+v, %v", grpc, err)
			}
		})
	}
}

// TestSizeLimits holds how large requests may be.
func TestSizeLimits(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions() {
		t.Run("Envoy "+version, func(t *testing.T) {
			e := startVersion(t, version)
			e.limitedApps(t, map[string][]string{
				"body.test": {"MAX_REQUEST_BODY=1MB"}, "large.test": {"MAX_REQUEST_BODY=1GB"}, "grpc.test": {"MAX_REQUEST_BODY=1kB", "HTTP2=true"},
				"head.test": {"MAX_REQUEST_HEADERS=2kB", "HTTP_BACKEND_REVPROXY_PATH=/x"}, "wrong.test": {"MAX_REQUEST_BODY=huge", "MAX_REQUEST_HEADERS=1"},
			})
			old := version < "1.38"
			const mb = 1 << 20
			ask := func(host, head, body string) said {
				t.Helper()
				a, err := say(e.fleet.HTTP.String(), "POST /x HTTP/1.1\r\nHost: "+host+"\r\n"+head+"\r\n"+body)
				if err != nil {
					t.Fatalf("%s: %v", host, err)
				}
				return a
			}
			known := func(n int) (head, body string) {
				return fmt.Sprintf("Content-Length: %d\r\n", n), strings.Repeat("x", n)
			}
			chunked := func(n int) (head, body string) {
				var b strings.Builder
				for ; n > 0; n -= 1 << 16 {
					part := min(n, 1<<16)
					fmt.Fprintf(&b, "%x\r\n%s\r\n", part, strings.Repeat("x", part))
				}
				return "Transfer-Encoding: chunked\r\n", b.String() + "0\r\n\r\n"
			}
			for name, c := range map[string]struct {
				host       string
				head, body string
				status     int
				code       string
			}{
				"none":             {"body.test", "Content-Length: 0\r\n", "", 200, ""},
				"known":            {host: "body.test", status: 200},
				"known, too large": {"body.test", fmt.Sprintf("Content-Length: %d\r\n", mb+1), "", 413, "body-too-large"},
				"odd host":         {"BODY.test.:80", fmt.Sprintf("Content-Length: %d\r\n", mb+1), "", 413, "body-too-large"},
				"huge":             {"body.test", "Content-Length: 999999999999999999\r\n", "", 413, "body-too-large"},
				"head":             {"head.test", "X-A: " + strings.Repeat("x", 1000) + "\r\nContent-Length: 0\r\n", "", 200, ""},
				"large head":       {"head.test", "X-A: " + strings.Repeat("x", 2000) + "\r\nContent-Length: 0\r\n", "", 431, "too-large"},
				"wrong":            {"wrong.test", "X-A: " + strings.Repeat("x", 9000) + "\r\nContent-Length: 0\r\n", "", 200, ""},
			} {
				if name == "known" {
					c.head, c.body = known(mb)
				}
				if c.code == "too-large" && old {
					c.status, c.code = 200, ""
				}
				if a := ask(c.host, c.head, c.body); a.status != c.status || a.code != c.code {
					t.Errorf("%s: %d %q, want %d %q", name, a.status, a.code, c.status, c.code)
				}
			}
			e.reported(t, func(f traffic.Failure) bool { return f.Code == "body-too-large" && f.App == "/body.test" })
			for name, c := range map[string]struct {
				host string
				size int
				more string
				want int
			}{
				"chunked": {"body.test", mb, "", 200}, "chunked, too large": {"body.test", mb + 1, "", 413},
				"beyond what is held":              {"large.test", sources.MaxHeldBody + 1, "", 413},
				"gRPC of an app that speaks HTTP":  {"body.test", mb + 1, "Content-Type: application/grpc\r\n", 0},
				"WebSocket that is no GET request": {"body.test", mb + 1, "Connection: Upgrade\r\nUpgrade: websocket\r\n", 0},
			} {
				if old {
					continue
				}
				head, body := chunked(c.size)
				a := ask(c.host, c.more+head, body)
				if c.want != 0 && a.status != c.want || c.want == 0 && strings.Contains(a.body, fmt.Sprint(c.size, " bytes")) {
					t.Errorf("%s: %d %q %q, want %d", name, a.status, a.code, a.body, c.want)
				}
				if head, body := chunked(sources.MaxHeldBody); name == "beyond what is held" {
					if a := ask(c.host, head, body); a.status != 200 || a.body != fmt.Sprint(sources.MaxHeldBody, " bytes") {
						t.Errorf("as much as is held: %d %q", a.status, a.body)
					}
				}
			}
		})
	}
}

// TestStreamsAreNotHeld holds that what never ends is not waited for: WebSockets, and gRPC of an app that speaks it.
func TestStreamsAreNotHeld(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions() {
		t.Run("Envoy "+version, func(t *testing.T) {
			e := startVersion(t, version)
			// It answers as soon as a part of the request has come.
			first := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n, _ := r.Body.Read(make([]byte, 100))
				fmt.Fprintf(w, "first %d", n)
			}))
			first.Config.Protocols = new(http.Protocols)
			first.Config.Protocols.SetUnencryptedHTTP2(true)
			first.Start()
			t.Cleanup(first.Close)
			grpc := changed(collatortest.Set(t, webApp("/grpc", "grpc.test"), "MAX_REQUEST_BODY=1kB", "HTTP2=true"), func(p *sources.Port) {
				p.Endpoints = endpoints(first.Listener.Addr().String())
			})
			ws := collatortest.Set(t, e.app("/ws", "ws.test"), "MAX_REQUEST_BODY=1kB")
			e.c.SyncApps([]*sources.App{grpc, ws})
			e.eventually(t, request{host: "ws.test"}, status(http.StatusOK))
			a, err := say(e.fleet.HTTP.String(), "POST / HTTP/1.1\r\nHost: grpc.test\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
			if err != nil || a.body != "first 5" {
				t.Errorf("gRPC: %+v, %v", a, err)
			}
			conn, _, err := websocket.Dial(t.Context(), "ws://"+e.fleet.HTTP.String()+"/", &websocket.DialOptions{Host: "ws.test"})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.CloseNow() }()
			message := []byte(strings.Repeat("x", 4000))
			if err := conn.Write(t.Context(), websocket.MessageText, message); err != nil {
				t.Fatal(err)
			}
			if _, got, err := conn.Read(t.Context()); err != nil || len(got) != len(message) {
				t.Errorf("WebSocket: %d bytes, %v", len(got), err)
			}
		})
	}
}

// The expression for lengths that are too large is right, and one that Envoy takes: it may have 100 instructions.
func TestNumberAbove(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{1, 9, 10, 99, 100, 1024, 1999, 9990, 99999, 1 << 20, 10 << 20, 11111111, 16777216, 15999999, sources.MaxHeldBody} {
		pattern := envoy.NumberAbove(n)
		if parsed, err := syntax.Parse(pattern, syntax.Perl); err != nil {
			t.Error(err)
		} else if program, err := syntax.Compile(parsed.Simplify()); err != nil || len(program.Inst) > 95 {
			t.Errorf("%s has %d instructions, %v", pattern, len(program.Inst), err)
		}
		above := regexp.MustCompile("^(?:" + pattern + ")$")
		for _, other := range []int64{0, 1, n / 10, n / 2, n - 1, n, n + 1, n + 9, n + 10, n + 1000, 2 * n, 10 * n, 11 * n, 1000 * n} {
			if got := above.MatchString(strconv.FormatInt(other, 10)); got != (other > n) {
				t.Errorf("%d above %d: %v", other, n, got)
			}
		}
	}
}
