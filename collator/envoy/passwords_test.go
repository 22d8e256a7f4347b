package envoy_test

import (
	"encoding/base64"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"relay/internal/secret"
	"relay/sources"
	"relay/xds/envoytest"
)

// Passwords implements passwords.Apps.
func (e *realEnvoy) Passwords(fleet, name string, port int) *sources.BasicAuth {
	app := e.c.Routed(name)
	if app == nil || port >= len(app.Ports) || !e.c.Routes(fleet, name, port) || app.Ports[port].HTTP == nil {
		return nil
	}
	return app.Ports[port].HTTP.BasicAuth
}

// Hashes of passwords, which are in their names.
const (
	sha512Secret = "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1"
	sha256Other  = "$5$saltsalt$kmJUCIm73946uXVnGZjCdBUolDZJ3cOBx5hc3E.xjEC"
	bcryptSecret = "$2y$05$jAol9CIlh6fUQ7ElMovyF.OpmRRkbrIGGTRQiYdaXojW1dx2jpT1y"
	sha1Secret   = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
)

// login is the header of a user with a password.
func login(user, password string) http.Header {
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}}
}

// withUsers has a port ask for passwords; users are names and hashes in turn.
func (e *realEnvoy) withUsers(app *sources.App, users ...string) *sources.App {
	return changed(app, func(p *sources.Port) {
		var all []sources.User
		for i := 0; i < len(users); i += 2 {
			all = append(all, sources.User{Name: users[i], Hash: secret.String(users[i+1])})
		}
		auth, reason := sources.NewBasicAuth("My realm", all)
		if auth == nil {
			e.t.Fatal(reason)
		}
		p.HTTP = &sources.HTTP{BasicAuth: auth}
	})
}

// knowsChains reports whether Envoys of a version run filters of a route.
func knowsChains(version string) bool { return version != "1.36" && version != "1.37" }

// Who is let in by a password that Relay checks, by any spelling of the host and every protocol. Envoys that know no filters
// of routes let in nobody.
func TestPasswordsAtRelay(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions() {
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version)
			e.certificates("a.test")
			e.c.SyncApps([]*sources.App{
				e.withUsers(e.app("/a", "a.test", "*.zone.test"), "joe", sha512Secret, "jürgen", sha256Other),
				e.withUsers(e.app("/b", "b.test"), "joe", sha1Secret, "ann", bcryptSecret), e.app("/open", "open.test"),
			})
			e.eventually(t, request{host: "open.test", path: "/"}, fromApp("/open"))
			if !knowsChains(version) {
				e.eventually(t, request{host: "a.test", path: "/", header: login("joe", "secret")}, status(403))
				return
			}
			e.eventually(t, request{host: "a.test", path: "/", header: login("joe", "secret")}, fromApp("/a"))
			e.eventually(t, request{host: "b.test", path: "/", header: login("ann", "secret")}, fromApp("/b"))
			e.eventually(t, request{host: "a.test", path: "/", tls: true, sni: "a.test", header: login("joe", "secret")}, fromApp("/a"))
			e.testLogins(t)
			e.testOtherProtocols(t)
			if dump, err := e.envoy.Get(t.Context(), "/config_dump"); err != nil || strings.Contains(dump, "saltsalt") || strings.Contains(dump, "jAol9CIl") {
				t.Errorf("Envoy has a hash, or %v", err)
			}
		})
	}
}

func (e *realEnvoy) testLogins(t *testing.T) {
	for _, tt := range []struct {
		what   string
		host   string
		header http.Header
		status int
	}{
		{"no password", "a.test", nil, 401},
		{"wrong", "a.test", login("joe", "wrong"), 401},
		{"empty", "a.test", login("joe", ""), 401},
		{"of another user", "a.test", login("joe", "other"), 401},
		{"second user", "a.test", login("jürgen", "other"), 200},
		{"unknown user", "a.test", login("ann", "secret"), 401},
		{"user of another app", "b.test", login("jürgen", "other"), 401},
		{"SHA-1 beside bcrypt", "b.test", login("joe", "secret"), 200},
		{"long", "a.test", login("joe", strings.Repeat("x", 40_000)), 401},
		{"bearer", "a.test", http.Header{"Authorization": {"Bearer c2VjcmV0"}}, 401},
		{"not base64", "a.test", http.Header{"Authorization": {"Basic !!"}}, 401},
		{"two headers", "a.test", http.Header{"Authorization": {"Basic am9lOndyb25n", login("joe", "secret").Get("Authorization")}}, 401},
		{"hash as password", "a.test", login("joe", sha512Secret), 401},
		{"Envoy's own headers", "a.test", http.Header{"X-Relay-Password": {"x"}, "X-Relay-Fleet": {"x"}, "X-Relay-Route": {"/open_0"}}, 401},
	} {
		if a, err := e.send(t.Context(), request{host: tt.host, path: "/", header: tt.header}); err != nil || a.status != tt.status {
			t.Errorf("%s: %d %v, want %d", tt.what, a.status, err, tt.status)
		}
	}
	for _, host := range []string{"a.test", "A.Test", "a.test.", "A.TEST.:8080", "x.zone.test", "X.Zone.Test.:80"} {
		for header, want := range map[string]int{"": 401, "secret": 200} {
			h := login("joe", header)
			if a, err := e.send(t.Context(), request{host: host, path: "//x/../y?q", header: h}); err != nil || a.status != want {
				t.Errorf("Host %s, %q: %d %v, want %d", host, header, a.status, err, want)
			}
		}
	}
	a, err := say(e.fleet.HTTP.String(), "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
	if err != nil || a.code != "unauthorized" || !strings.Contains(a.body, "asks for a user name and a password") {
		t.Errorf("what visitors see: %+v, %v", a, err)
	}
	resp := e.answerTo(t, "a.test")
	if got := resp.Header.Get("WWW-Authenticate"); got != `Basic realm="My realm"` {
		t.Errorf("asks for a password by %q", got)
	}
}

// answerTo returns the answer to a request without a password.
func (e *realEnvoy) answerTo(t *testing.T, host string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+e.fleet.HTTP.String()+"/", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp
}

func (e *realEnvoy) testOtherProtocols(t *testing.T) {
	for password, want := range map[string]int{"secret": 200, "wrong": 401} {
		a, err := e.send(t.Context(), request{host: "A.test", path: "/", tls: true, sni: "a.test", http2: true, header: login("joe", password)})
		if err != nil || a.status != want || a.protocol != 2 {
			t.Errorf("HTTP/2, %s: %d by %d, %v", password, a.status, a.protocol, err)
		}
		ws, resp, err := websocket.Dial(t.Context(), "ws://"+e.fleet.HTTP.String()+"/", &websocket.DialOptions{Host: "A.Test", HTTPHeader: login("joe", password)})
		if want == 401 {
			if err == nil || resp == nil || resp.StatusCode != 401 {
				t.Errorf("a WebSocket with a wrong password: %v, %v", resp, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("a WebSocket: %v", err)
			continue
		}
		if err := ws.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
			t.Error(err)
		}
		if _, message, err := ws.Read(t.Context()); err != nil || string(message) != "hello" {
			t.Errorf("a WebSocket: %q %v", message, err)
		}
		_ = ws.CloseNow()
	}
}

// A new hash counts at once, and changes nothing in Envoy.
func TestPasswordChanges(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t)
	app := e.app("/a", "a.test")
	e.c.SyncApps([]*sources.App{e.withUsers(app, "joe", sha512Secret)})
	old, newer := request{host: "a.test", path: "/", header: login("joe", "secret")}, request{host: "a.test", path: "/", header: login("joe", "other")}
	e.eventually(t, old, fromApp("/a"))
	if got, err := e.send(t.Context(), newer); err != nil || got.status != 401 {
		t.Errorf("the new password, before: %d, %v", got.status, err)
	}
	e.settled(t)
	before := e.store.Revision()
	e.c.UpdateApps([]*sources.App{e.withUsers(app, "joe", sha256Other)}, nil)
	if err := e.c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := e.send(t.Context(), old); err != nil || got.status != 401 {
		t.Errorf("the old password, after: %d, %v", got.status, err)
	}
	if got, err := e.send(t.Context(), newer); err != nil || got.status != 200 {
		t.Errorf("the new password, after: %d, %v", got.status, err)
	}
	if after := e.store.Revision(); after != before {
		t.Errorf("the change was sent to Envoys: revision %d after %d", after, before)
	}
}

// While Relay is away nobody is let in, not even who was before. A Relay that is started anew is waited for.
func TestPasswordsWithoutRelay(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t)
	e.c.SyncApps([]*sources.App{e.withUsers(e.app("/a", "a.test"), "joe", sha512Secret), e.app("/open", "open.test")})
	in := request{host: "a.test", path: "/", header: login("joe", "secret")}
	e.eventually(t, in, fromApp("/a"))
	comeBack := e.link.leave()
	start := time.Now()
	if a, err := e.send(t.Context(), in); err != nil || a.status != 503 || !strings.Contains(a.body, "try again") {
		t.Errorf("Relay is away: %+v, %v", a, err)
	}
	if took := time.Since(start); took > passwordLimit {
		t.Errorf("a client waited for %s", took)
	}
	if a, err := e.send(t.Context(), request{host: "open.test", path: "/"}); err != nil || a.status != 200 {
		t.Errorf("another app: %d, %v", a.status, err)
	}
	answered := make(chan answer, 1)
	go func() { a, _ := e.send(t.Context(), in); answered <- a }()
	comeBack()
	if a := <-answered; a.status != 200 {
		t.Errorf("Relay comes back: %d", a.status)
	}
}

// passwordLimit is for how long a client waits for Relay at most: Envoy's limit is half of it. One that waited for as long as Relay
// hangs would wait until Envoy has noticed, which takes 40 s.
const passwordLimit = 30 * time.Second

// A Relay that accepts connections and says nothing lets in nobody.
func TestPasswordsWithRelayThatHangs(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t)
	e.c.SyncApps([]*sources.App{e.withUsers(e.app("/a", "a.test"), "joe", sha512Secret)})
	in := request{host: "a.test", path: "/", header: login("joe", "secret")}
	e.eventually(t, in, fromApp("/a"))
	resume := e.link.hang()
	defer resume()
	for range 3 {
		start := time.Now()
		a, err := e.send(t.Context(), in)
		if err == nil && a.status == 200 {
			continue // Relay was about to read from the connection
		}
		if err != nil || a.status != 503 || time.Since(start) > passwordLimit {
			t.Errorf("Relay hangs: %+v, %v after %s", a, err, time.Since(start))
		}
		return
	}
	t.Error("Relay does not hang")
}

// Other restrictions of the same port hold as well, on both sides of the one that waits.
func TestPasswordAndNetworks(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t)
	far := e.withUsers(e.app("/far", "far.test"), "joe", sha512Secret)
	far = changed(far, func(p *sources.Port) { p.HTTP.AllowedNetworks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	near := e.withUsers(e.app("/near", "near.test"), "joe", sha512Secret)
	near = changed(near, func(p *sources.Port) {
		p.HTTP.AllowedNetworks, p.HTTP.Sticky, p.HTTP.LocationPrefix = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, true, "/x"
	})
	e.c.SyncApps([]*sources.App{far, near})
	e.eventually(t, request{host: "near.test", path: "/", header: login("joe", "secret")}, fromApp("/near"))
	for host, want := range map[string][2]int{"far.test": {403, 403}, "near.test": {200, 401}} {
		for i, password := range []string{"secret", "wrong"} {
			if a, err := e.send(t.Context(), request{host: host, path: "/", header: login("joe", password)}); err != nil || a.status != want[i] {
				t.Errorf("%s with %s: %d, %v", host, password, a.status, err)
			}
		}
	}
}
