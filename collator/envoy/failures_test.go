package envoy_test

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/internal/failure"
	"relay/sources"
	"relay/traffic"
	"relay/xds/envoytest"
)

// failing is a request that fails, and what is said of it.
type failing struct {
	name, code string
	// request is what is sent, with the id in place of "ID"; head is one with a host and a path.
	request    string
	host, path string
	header     string
	status     int
	app        string
	// cut is set if the app's answer ended in the middle, so there is no page; held if the first
	// request stays open, and the next one fails.
	cut, held bool
}

func (f failing) bytes() string {
	if f.request != "" {
		return strings.ReplaceAll(f.request, "ID", f.id())
	}
	return fmt.Sprintf("GET %s?token=secret HTTP/1.1\r\nHost: %s\r\nX-Request-Id: %s\r\n%s\r\n", cmp.Or(f.path, "/"), f.host, f.id(), f.header)
}

func (f failing) id() string { return "id-" + strings.ReplaceAll(f.name, " ", "-") }

// said is an answer that a client got.
type said struct {
	status      int
	code, body  string
	contentType string
	header      http.Header
}

// say sends bytes on a connection of their own, and reads an answer.
func say(address, bytes string) (said, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return said{}, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, bytes); err != nil {
		return said{}, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return said{}, err
	}
	body, err := io.ReadAll(resp.Body)
	return said{resp.StatusCode, resp.Header.Get(failure.Header), string(body), resp.Header.Get("Content-Type"), resp.Header}, err
}

// reported waits for the failure that Envoy reports of a request.
func (e *realEnvoy) reported(t *testing.T, which func(traffic.Failure) bool) (found traffic.Failure) {
	t.Helper()
	e.until(t, "Envoy reports the failure", func() bool {
		for _, f := range e.failures.All(traffic.Filter{}) {
			if which(f) {
				found = f
				return true
			}
		}
		return false
	})
	return found
}

// counted returns the metric of a code.
func (e *realEnvoy) counted(t *testing.T, code string) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	e.failures.Register(registry)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.Metric {
			for _, label := range metric.Label {
				if family.GetName() == "relay_failures_total" && label.GetName() == "code" && label.GetValue() == code {
					return metric.GetCounter().GetValue()
				}
			}
		}
	}
	t.Fatalf("there is no metric of %s", code)
	return 0
}

// failingApps are apps each of which fails in its own way.
func (e *realEnvoy) failingApps() []*sources.App {
	hangs := e.instance(func(conn *net.TCPConn) { _, _ = io.Copy(io.Discard, conn) })
	closes := e.instance(func(conn *net.TCPConn) { _, _ = http.ReadRequest(bufio.NewReader(conn)) })
	answers := func(text string) string {
		return e.instance(func(conn *net.TCPConn) {
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.WriteString(conn, text)
			}
		})
	}
	short := 200 * time.Millisecond
	app := func(name, instance string, change func(*sources.Port)) *sources.App {
		return changed(webApp("/"+name, name+".test"), func(p *sources.Port) {
			p.Endpoints = nil
			if instance != "" {
				p.Endpoints = endpoints(instance)
			}
			if change != nil {
				change(p)
			}
		})
	}
	with := func(h sources.HTTP) func(*sources.Port) { return func(p *sources.Port) { p.HTTP = &h } }
	return []*sources.App{
		e.app("/well", "well.test"),
		app("paths", hangs, with(sources.HTTP{Paths: []sources.Path{{Prefix: "/a"}}})),
		app("offline", "", nil),
		app("refuses", fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(e.t)), nil),
		app("late", hangs, with(sources.HTTP{Timeout: &short})),
		app("idle", hangs, with(sources.HTTP{IdleTimeout: &short})),
		app("closes", closes, nil),
		app("cut", answers("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"), nil),
		app("nonsense", answers("nonsense\r\n\r\n"), nil),
		app("password", hangs, with(sources.HTTP{BasicAuth: &sources.BasicAuth{Realm: "r", User: "u", Hash: "{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M="}})),
		app("networks", hangs, with(sources.HTTP{AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})),
		app("closed", hangs, with(sources.HTTP{Closed: true})),
		app("busy", hangs, func(p *sources.Port) { p.Upstream = &sources.Upstream{MaxRequests: 1} }),
		// It says that it closes the connection: Envoy would send it the next request there else, just as it closes.
		app("fakes", answers("HTTP/1.1 500 No\r\nX-Relay-Error: offline\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
			with(sources.HTTP{ResponseHeaders: sources.HeaderEdits{Add: []sources.Header{{Name: "X-Relay-Error", Value: "busy"}}}})),
	}
}

func failingRequests() []failing {
	return []failing{
		{name: "unknown host", code: "no-such-domain", host: "nope.test", status: 404},
		{name: "user in the host", code: "no-such-domain", request: "GET http://u:secret@nope2.test/ HTTP/1.1\r\nHost: u:secret@nope2.test\r\nX-Request-Id: ID\r\n\r\n", status: 404},
		{name: "no path", code: "no-such-domain", request: "OPTIONS * HTTP/1.1\r\nHost: well.test\r\nX-Request-Id: ID\r\n\r\n", status: 404},
		{name: "unknown path", code: "no-such-path", host: "paths.test", path: "/b", status: 404},
		{name: "no instance", code: "offline", host: "offline.test", path: "/a;session=secret", status: 503, app: "/offline"},
		{name: "refused", code: "unreachable", host: "refuses.test", status: 502, app: "/refuses"},
		{name: "late", code: "timed-out", host: "late.test", status: 504, app: "/late"},
		{name: "idle", code: "idle", host: "idle.test", status: 504, app: "/idle"},
		{name: "closed", code: "interrupted", host: "closes.test", status: 502, app: "/closes"},
		{name: "cut off", code: "interrupted", host: "cut.test", status: 200, app: "/cut", cut: true},
		{name: "no HTTP", code: "bad-answer", host: "nonsense.test", status: 502, app: "/nonsense"},
		{name: "busy", code: "busy", host: "busy.test", status: 503, app: "/busy", held: true},
		{name: "password", code: "unauthorized", host: "password.test", status: 401, app: "/password"},
		{name: "wrong password", code: "unauthorized", host: "password.test", header: "Authorization: Basic c2VjcmV0OnNlY3JldA==\r\n", status: 401, app: "/password"},
		{name: "network", code: "forbidden", host: "networks.test", status: 403, app: "/networks"},
		{name: "closed app", code: "forbidden", host: "closed.test", status: 403, app: "/closed"},
		{name: "climbs", code: "bad-request", host: "paths.test", path: "/a/../b", status: 400},
		{name: "no request", code: "bad-request", request: "secret\r\n\r\n", status: 400},
		{name: "slow head", code: "too-slow", request: "GET /?token=secret HTTP/1.1\r\nHost: well.test\r\n", status: 408},
		{name: "slow body", code: "too-slow", request: "POST /?token=secret HTTP/1.1\r\nHost: idle.test\r\nX-Request-Id: ID\r\nContent-Length: 9\r\n\r\nsecr", status: 408, app: "/idle"},
		{name: "large head", code: "too-large", host: "well.test", header: "X-Large: " + strings.Repeat("x", 70_000) + "\r\n", status: 431},
	}
}

// Each failure has one code, in the page, in the header, in what Envoy reports, and in the metric.
func TestFailures(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version, func(f *routing.Fleet, _ *certstest.CA) { f.Options.RequestHeadersTimeout = 500 * time.Millisecond })
		e.c.SyncCertificates("vault", nil, nil)
		e.c.SyncApps(e.failingApps())
		e.eventually(t, request{host: "well.test", path: "/"}, fromApp("/well"))
		e.eventually(t, request{host: "closed.test", path: "/"}, status(403))
		for _, f := range failingRequests() {
			if f.code == "unauthorized" && version != envoytest.Newest {
				continue // older Envoys cannot ask for a password
			}
			t.Run(f.name, func(t *testing.T) { e.testFailing(t, f) })
		}
		t.Run("an app's own", e.testOwnAnswers)
		for _, f := range e.failures.All(traffic.Filter{}) {
			if strings.Contains(fmt.Sprintf("%+v", f), "secret") {
				t.Errorf("a secret is kept: %+v", f)
			}
		}
	})
}

func (e *realEnvoy) testFailing(t *testing.T, f failing) {
	before := e.counted(t, f.code)
	if f.held {
		e.hold(t, f)
	}
	var a said
	e.until(t, f.name+" fails", func() (failed bool) {
		a, _ = say(e.fleet.HTTP.String(), f.bytes())
		return a.status == f.status
	})
	if !f.cut {
		if a.code != f.code || !strings.Contains(a.body, "Error: "+f.code+"<") || a.contentType != "text/html; charset=utf-8" {
			t.Errorf("got %+v, want %s", a, f.code)
		}
		if parsed := f.code != "too-large" && f.name != "slow head" && f.name != "no request"; parsed && !strings.HasSuffix(a.body, "<p>Request "+f.id()) {
			t.Errorf("the id of the request is not in the page: %s", a.body)
		}
	}
	got := e.reported(t, func(r traffic.Failure) bool {
		same := r.RequestID == f.id() || r.Count > 1 && r.App == f.app // one like it came just before
		return r.Code == f.code && (same || r.RequestID == "" && f.app == "" && r.Domain == "")
	})
	if got.Status != f.status || got.App != f.app || got.Client != "127.0.0.1" || got.Fleet != "external" || got.Envoy == "" || got.Count == 0 {
		t.Errorf("Envoy reports %+v, want %d of %q", got, f.status, f.app)
	}
	if f.app != "" && got.Port != 0 || f.app == "" && got.Port != -1 {
		t.Errorf("port %d of %q", got.Port, got.App)
	}
	if last := e.failures.LastFailures(f.app, 1); f.app != "" && (len(last) == 0 || last[0].Code != f.code) {
		t.Errorf("the last failure of %s: %+v", f.app, last)
	}
	if got := e.counted(t, f.code); got <= before {
		t.Errorf("the metric of %s went from %v to %v", f.code, before, got)
	}
}

// hold sends a request on a connection that stays open, and waits until the app has it.
func (e *realEnvoy) hold(t *testing.T, f failing) {
	t.Helper()
	conn, err := net.Dial("tcp", e.fleet.HTTP.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, f.bytes()); err != nil {
		t.Fatal(err)
	}
	active := "cluster." + f.app + "_0.upstream_rq_active"
	e.until(t, "the app has the request", func() bool {
		stats, err := e.envoy.Stats(t.Context(), regexp.MustCompile("^"+regexp.QuoteMeta(active)+"$"))
		return err == nil && stats[active] > 0
	})
}

// testOwnAnswers has an app answer with an error. That is no failure, whatever it says.
func (e *realEnvoy) testOwnAnswers(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		a, err := say(e.fleet.HTTP.String(), method+" / HTTP/1.1\r\nHost: fakes.test\r\nContent-Length: 0\r\nX-Request-Id: fake\r\n\r\n")
		if err != nil || a.status != 500 || len(a.header.Values(failure.Header)) > 0 {
			t.Errorf("%s: got %+v, %v", method, a, err)
		}
	}
	// What comes after it shows that nothing came before.
	f := failing{name: "after", code: "offline", host: "offline.test", status: 503}
	if _, err := say(e.fleet.HTTP.String(), f.bytes()); err != nil {
		t.Fatal(err)
	}
	e.reported(t, func(r traffic.Failure) bool { return r.App == "/offline" && (r.RequestID == f.id() || r.Count > 1) })
	if got := e.failures.LastFailures("/fakes", 10); len(got) > 0 {
		t.Errorf("an app's answer is a failure: %+v", got)
	}
}

// What a client sends as the id of its request, or as a host, brings nothing into the page.
func TestHostileRequestIDs(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t)
	e.c.SyncCertificates("vault", nil, nil)
	e.c.SyncApps([]*sources.App{e.app("/well", "well.test")})
	e.eventually(t, request{host: "well.test", path: "/"}, fromApp("/well"))
	for _, id := range []string{
		"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "a'b", "a&lt;b", "%3Cscript%3E", "a b", "%REQ(host)%", "<", strings.Repeat("a", 101),
		"\xff\xfe", "ä", "+ADw-script+AD4-<", "a<!--",
	} {
		for _, host := range []string{"nope.test", "<b>.test"} {
			a, err := say(e.fleet.HTTP.String(), fmt.Sprintf("GET /<i> HTTP/1.1\r\nHost: %s\r\nX-Request-Id: %s\r\n\r\n", host, id))
			if err != nil {
				t.Fatal(err)
			}
			if host == "nope.test" && !strings.HasSuffix(a.body, "<p>Request -") || a.contentType != "text/html; charset=utf-8" ||
				strings.Contains(a.body, "script") || strings.Contains(a.body, "<b>") || strings.Contains(a.body, "<i>") {
				t.Errorf("the id %q is in the page: %s", id, a.body)
			}
		}
	}
	for _, id := range []string{"a", "7bcaaaee-24d5-497d-a430-a90e4c212d1a", "Root=1-67891233-abcdef012345678912345678", "a/b+c==", strings.Repeat("a", 100)} {
		a, err := say(e.fleet.HTTP.String(), fmt.Sprintf("GET / HTTP/1.1\r\nHost: nope.test\r\nX-Request-Id: %s\r\n\r\n", id))
		if err != nil || !strings.HasSuffix(a.body, "<p>Request "+id) {
			t.Errorf("the id %q is not in the page: %s, %v", id, a.body, err)
		}
		e.reported(t, func(f traffic.Failure) bool { return f.RequestID == id || f.Count > 1 })
	}
}

// A request that another instance answers is no failure.
func TestRetriedIsNoFailure(t *testing.T) {
	t.Parallel()
	e := startEnvoyWith(t, envoytest.Options{Args: nothingEjected})
	closes := e.instance(func(conn *net.TCPConn) { _, _ = http.ReadRequest(bufio.NewReader(conn)) })
	e.c.SyncCertificates("vault", nil, nil)
	e.c.SyncApps([]*sources.App{
		changed(webApp("/half", "half.test"), func(p *sources.Port) { p.Endpoints = endpoints(e.reading("/half"), closes) }),
		changed(webApp("/offline", "offline.test"), func(p *sources.Port) { p.Endpoints = nil }),
	})
	e.eventually(t, request{host: "half.test", path: "/"}, fromApp("/half"))
	for range 40 {
		if a, err := e.send(t.Context(), request{host: "half.test", path: "/"}); err != nil || a.status != 200 {
			t.Fatalf("got %+v, %v", a, err)
		}
	}
	e.eventually(t, request{host: "offline.test", path: "/"}, status(503))
	e.reported(t, func(f traffic.Failure) bool { return f.App == "/offline" })
	if got := e.failures.LastFailures("/half", 10); len(got) > 0 {
		t.Errorf("what was answered in the end is a failure: %+v", got)
	}
}

// TCP connections that fail are reported, too; those that another instance takes are not.
func TestTCPFailures(t *testing.T) {
	t.Parallel()
	e := startEnvoyWith(t, envoytest.Options{Args: nothingEjected})
	ports := make(map[string]uint16)
	service := func(id string, tasks ...string) *sources.App {
		ports[id] = envoytest.FreePort(t)
		return changed(serviceApp(id, sources.TCP{Port: ports[id]}), func(p *sources.Port) { p.Endpoints = endpoints(tasks...) })
	}
	dead := fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t))
	busy := service("/busy", e.greets())
	busy.Ports[0].Upstream = &sources.Upstream{MaxConnections: 1}
	e.c.SyncCertificates("vault", nil, nil)
	e.c.SyncApps([]*sources.App{service("/half", e.greets(), dead), service("/refuses", dead), service("/offline"), busy})
	at := func(id string) string { return fmt.Sprintf("127.0.0.1:%d", ports[id]) }
	e.until(t, "the service is served", func() bool { return greeted(at("/half")) == nil })
	for range 20 {
		if err := greeted(at("/half")); err != nil {
			t.Fatal(err)
		}
	}
	var held net.Conn
	e.until(t, "the one connection that is allowed is open", func() bool {
		conn, err := net.Dial("tcp", at("/busy"))
		if err != nil {
			return false
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, err = bufio.NewReader(conn).ReadString('\n')
		held = conn
		return err == nil
	})
	for id, code := range map[string]string{"/refuses": "unreachable", "/offline": "offline", "/busy": "busy"} {
		e.until(t, "a connection fails", func() bool { return greeted(at(id)) != nil })
		f := e.reported(t, func(f traffic.Failure) bool { return f.App == id && f.Code == code })
		if f.Method != "TCP" || f.Port != 0 || f.Client != "127.0.0.1" || f.Status != 0 || id == "/refuses" && f.Instance.String() != dead {
			t.Errorf("%s: Envoy reports %+v", id, f)
		}
	}
	_ = held.Close()
	if got := e.failures.LastFailures("/half", 10); len(got) > 0 {
		t.Errorf("connections that were made are failures: %+v", got)
	}
}

// gRPC clients get the code in a header and in grpc-message.
func TestGRPCFailures(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t)
	e.c.SyncCertificates("vault", []*certs.Certificate{}, nil)
	e.c.SyncApps([]*sources.App{e.app("/well", "well.test"), changed(webApp("/offline", "offline.test"), func(p *sources.Port) { p.Endpoints = nil })})
	e.eventually(t, request{host: "well.test", path: "/"}, fromApp("/well"))
	for host, want := range map[string]struct{ code, status string }{"nope.test": {"no-such-domain", "12"}, "offline.test": {"offline", "14"}} {
		a, err := say(e.fleet.HTTP.String(), fmt.Sprintf("POST /a.B/C HTTP/1.1\r\nHost: %s\r\nContent-Type: application/grpc\r\nX-Request-Id: g\r\nContent-Length: 0\r\n\r\n", host))
		message := a.header.Get("Grpc-Message")
		if err != nil || a.code != want.code || a.header.Get("Grpc-Status") != want.status || !strings.HasPrefix(message, want.code+": ") ||
			!strings.HasSuffix(message, " Request g") || strings.Contains(message, "<") {
			t.Errorf("%s: got %+v, %v", host, a, err)
		}
		e.reported(t, func(f traffic.Failure) bool { return f.Code == want.code && f.Domain == host })
	}
}
