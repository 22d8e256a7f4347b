package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
)

// authApp signs people on: who has the cookie "user", in its value.
type authApp struct {
	*httptest.Server
	mu    sync.Mutex
	asked []*http.Request
	fault func(w http.ResponseWriter) // in place of an answer
}

func newAuthApp(t *testing.T) *authApp {
	a := &authApp{}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

func (a *authApp) address() string { return a.Listener.Addr().String() }

func (a *authApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.asked = append(a.asked, r)
	fault := a.fault
	a.mu.Unlock()
	if fault != nil {
		fault(w)
		return
	}
	user, err := r.Cookie("user")
	switch {
	case err == nil && user.Value == "anonymous": // lets in, and says nothing of who it is
	case err == nil:
		w.Header().Set("X-User", user.Value)
		w.Header().Set("X-Other", "not for the app")
		w.Header().Add("Set-Cookie", "session=renewed")
	case strings.HasPrefix(r.Header.Get("Accept"), "text/html"):
		w.Header().Set("Location", "https://login.test/?to="+r.Header.Get("X-Forwarded-Uri"))
		w.Header().Add("Set-Cookie", "state=1")
		w.Header().Add("Set-Cookie", "nonce=2")
		w.WriteHeader(http.StatusFound)
	case r.Header.Get("Accept") == "application/json":
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"title":"<100 %> not for you"}`)
	case r.Header.Get("Accept") == "text/plain":
		w.WriteHeader(http.StatusForbidden)
	default:
		w.Header().Set("WWW-Authenticate", `Bearer realm="sso"`)
		w.Header().Set("X-Relay-Error", "none")
		http.Error(w, "sign on first", http.StatusUnauthorized)
	}
}

func (a *authApp) last() *http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.asked) == 0 {
		return nil
	}
	return a.asked[len(a.asked)-1]
}

func (a *authApp) breaks(fault func(w http.ResponseWriter)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fault = fault
}

func TestAuthAppLabel(t *testing.T) {
	w := newWorld(t)
	auth := newAuthApp(t)
	w.start()
	w.marathon.service("/platform/sso", []string{auth.address()}, "RELAY_0_USED_BY", "/shop/*")
	w.marathon.deploy(
		app("/shop/web", "a.test,*.zone.test", 1, "RELAY_0_AUTH_APP", "/platform/sso /verify?x=1", "RELAY_0_AUTH_APP_RESPONSE_HEADERS", "X-User, X-Groups", "RELAY_0_AUTH_APP_REQUEST_HEADERS", "X-Api-Key"),
		app("/shop/admin", "part.test", 1, "HAPROXY_0_PATH", "/admin", "RELAY_0_AUTH_APP", "/platform/sso"),
		app("/shop/rest", "part.test", 1),
		app("/evil/web", "evil.test", 1, "RELAY_0_AUTH_APP", "/platform/sso"),
		app("/shop/lost", "lost.test", 1, "RELAY_0_AUTH_APP", "/shop/none"),
		app("/shop/odd", "odd.test", 1, "RELAY_0_AUTH_APP", "platform/sso"),
	)
	w.clients.expect("http://a.test/", http.StatusUnauthorized, "")
	w.eventually("its task gets requests", func() error { return ok(w.clients.do("http://a.test/", "Cookie", "user=joe")) })
	t.Run("what the app is told", func(t *testing.T) { w.toldAuthApp(auth) })
	t.Run("what the client gets", func(t *testing.T) { w.refusedByAuthApp() })
	t.Run("who is let in", func(t *testing.T) { w.letInByAuthApp() })
	t.Run("references", func(t *testing.T) {
		for _, host := range []string{"evil.test", "lost.test", "odd.test"} {
			w.clients.expect("http://"+host+"/", http.StatusForbidden, "")
			if a := w.clients.do("http://"+host+"/", "Cookie", "user=joe"); a.status != http.StatusForbidden {
				t.Errorf("%s: status %d", host, a.status)
			}
		}
		w.admin.problem("/evil/web", "does not let /evil/web use its port 0")
		w.admin.problem("/shop/lost", "there is no such app")
	})
	t.Run("faults", func(t *testing.T) { w.faultsOfAuthApp(auth) })
	w.envoy.accepted()
}

func (w *world) toldAuthApp(auth *authApp) {
	for _, host := range hostsOf {
		a := w.clients.do("http://a.test/x/%2e%2e/y?token=1", "Host", host, "Cookie", "user=joe", "Authorization", "Bearer t", "X-Api-Key", "k", "X-Secret", "s",
			"X-User", "admin", "X_User", "admin", "X-Groups", "wheel", "X-Other", "o", "X-Forwarded-Uri", "/open", "X-Forwarded-Host", "open.test",
			"X-Forwarded-Method", "OPTIONS", "X-Forwarded-For", "10.0.0.1", "X-Forwarded-Proto", "ftp")
		asked, got := auth.last(), w.clients.echoed(a)
		told := asked.Header
		if asked.Method != http.MethodGet || asked.URL.String() != "/verify?x=1" || asked.Host != host {
			w.t.Errorf("asked by %s %s of %s", asked.Method, asked.URL, asked.Host)
		}
		for name, want := range map[string]string{
			"X-Forwarded-Uri": "/x/%2e%2e/y?token=1", "X-Forwarded-Host": host, "X-Forwarded-Method": "GET", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http",
			"Authorization": "Bearer t", "X-Api-Key": "k", "X-Secret": "", "X-User": "",
		} {
			if strings.Join(told[name], "|") != want {
				w.t.Errorf("is told %s: %q, want %q", name, told[name], want)
			}
		}
		if user := got.Headers["X-User"]; len(user) != 1 || user[0] != "joe" || len(got.Headers["X-Groups"]) > 0 || hasUnderscores(got.Headers) {
			w.t.Errorf("the app gets %v", got.Headers)
		}
		if got.Headers.Get("X-Other") != "o" || got.Headers.Get("Authorization") != "Bearer t" || got.Headers.Get("X-Secret") != "s" {
			w.t.Errorf("the app misses what the client sent: %v", got.Headers)
		}
		if a.header.Get("Set-Cookie") != "session=renewed" {
			w.t.Errorf("the client gets the cookies %q", a.header["Set-Cookie"])
		}
	}
	a := w.clients.do("http://a.test/", "Cookie", "user=anonymous", "X-User", "admin", "X_user", "admin", "x-GROUPS", "wheel", "X.User", "admin", "X~user", "admin", "x!groups", "wheel")
	for name := range w.clients.echoed(a).Headers {
		if low := strings.ToLower(name); strings.HasPrefix(low, "x") && (strings.HasSuffix(low, "user") || strings.HasSuffix(low, "groups")) {
			w.t.Errorf("the app gets %s, which its client sent", name)
		}
	}
}

// hasUnderscores reports whether a header has a name that some apps take for that of another one.
func hasUnderscores(h http.Header) bool {
	for name := range h {
		if strings.Contains(name, "_") {
			return true
		}
	}
	return false
}

func (w *world) refusedByAuthApp() {
	a := w.clients.do("http://a.test/x?y=1", "Accept", "text/html")
	if a.status != http.StatusFound || a.header.Get("Location") != "https://login.test/?to=/x?y=1" || len(a.header["Set-Cookie"]) != 2 {
		w.t.Errorf("status %d, %v", a.status, a.header)
	}
	// What the app says is the client's, but that it is Envoy that says so.
	a = w.clients.do("http://a.test/")
	if a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") != `Bearer realm="sso"` || a.header.Get("X-Relay-Error") != "other" || a.header.Get("X-App") != "" || a.body != "sign on first\n" {
		w.t.Errorf("status %d, %v, %q", a.status, a.header, a.body)
	}
	a = w.clients.do("http://a.test/", "Accept", "application/json")
	if a.status != http.StatusForbidden || a.header.Get("Content-Type") != "application/problem+json" || len(a.header["X-Relay-Error"]) != 0 || a.body != `{"title":"<100 %> not for you"}` {
		w.t.Errorf("status %d, %v, %q", a.status, a.header, a.body)
	}
	if a = w.clients.do("http://a.test/", "Accept", "text/plain"); a.status != http.StatusForbidden || a.body != "" || a.header.Get("Content-Type") != "" {
		w.t.Errorf("an answer without a body: status %d, %v, %q", a.status, a.header, a.body)
	}
	a = w.clients.do("http://a.test/", "Accept", "application/json", "Content-Type", "application/grpc")
	if a.status != http.StatusOK || a.header.Get("Grpc-Status") != "7" || strings.Contains(a.header.Get("Grpc-Message"), "title") {
		w.t.Errorf("by gRPC: status %d, %v", a.status, a.header)
	}
}

func (w *world) letInByAuthApp() {
	for _, path := range []string{"/admin", "//admin", "/%61dmin", "/;x/admin", "/./admin", "/x/../admin", "/admin%2f", "/\\admin", "/admin/../admin"} {
		if a := w.clients.do("http://part.test" + strings.ReplaceAll(path, "\\", "%5c")); a.status == http.StatusOK && a.header.Get("X-App") != "/shop/rest" {
			w.t.Errorf("%s: status %d by %s", path, a.status, a.header.Get("X-App"))
		} else if a.status == http.StatusOK && strings.Contains(path, "admin") && path != "/\\admin" {
			w.t.Errorf("%s goes to the app that serves the rest", path)
		}
	}
	w.clients.expect("http://part.test/", http.StatusOK, "/shop/rest")
	for host, want := range map[string]bool{"A.test": true, "x.zone.test": true} {
		for cookie, open := range map[string]bool{"": false, "user=joe": want} {
			ctx, cancel := context.WithTimeout(w.t.Context(), patience)
			client := w.clients.client(false)
			client.Timeout = patience
			conn, _, err := websocket.Dial(ctx, "ws://a.test/ws", &websocket.DialOptions{HTTPClient: client, Host: host, HTTPHeader: http.Header{"Cookie": {cookie}}})
			if (err == nil) != open {
				w.t.Errorf("WebSocket of %s with %q: %v", host, cookie, err)
			}
			if err == nil {
				w.clients.says(conn, "hello")
				_ = conn.CloseNow()
			}
			cancel()
		}
	}
	body := strings.Repeat("b", 1<<20)
	req, _ := http.NewRequest(http.MethodPost, "http://a.test/upload", strings.NewReader(body))
	req.Header.Set("Cookie", "user=joe")
	if a, err := w.clients.ask(w.clients.client(false), req); err != nil || a.status != http.StatusOK {
		w.t.Errorf("a large body: status %d, %v", a.status, err)
	}
}

// endless answers with more than Envoy is to keep of it.
func endless(w http.ResponseWriter) {
	for range 31 {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			return
		}
	}
}

// faultsOfAuthApp holds that nobody is let in while the app cannot say who may.
func (w *world) faultsOfAuthApp(auth *authApp) {
	end := make(chan struct{})
	for name, fault := range map[string]struct {
		does   func(http.ResponseWriter)
		status int
	}{
		"500":           {func(w http.ResponseWriter) { w.WriteHeader(500) }, 503},
		"503":           {func(w http.ResponseWriter) { w.WriteHeader(503) }, 503},
		"ends":          {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, 503},
		"huge headers":  {func(w http.ResponseWriter) { w.Header().Set("X-User", strings.Repeat("u", 100<<10)) }, 503},
		"many headers":  {func(w http.ResponseWriter) { w.Header()["X-User"] = make([]string, 5000) }, 503},
		"204":           {func(w http.ResponseWriter) { w.WriteHeader(204) }, 204},
		"huge refusal":  {func(w http.ResponseWriter) { w.WriteHeader(403); _, _ = w.Write(make([]byte, 200<<10)) }, 403},
		"endless":       {func(w http.ResponseWriter) { w.WriteHeader(200); endless(w) }, 503},
		"never answers": {func(http.ResponseWriter) { <-end }, 503},
	} {
		auth.breaks(fault.does)
		a := w.clients.do("http://a.test/", "Cookie", "user=joe")
		if a.status != fault.status || a.header.Get("X-App") != "" {
			w.t.Errorf("%s: status %d by %q, want %d", name, a.status, a.header.Get("X-App"), fault.status)
		}
	}
	close(end)
	auth.breaks(nil)
	w.eventually("it is well again", func() error { return ok(w.clients.do("http://a.test/", "Cookie", "user=joe")) })
	w.marathon.service("/platform/sso", nil, "RELAY_0_USED_BY", "/shop/*")
	w.clients.expect("http://a.test/", http.StatusServiceUnavailable, "")
	w.marathon.service("/platform/sso", []string{auth.address()}, "RELAY_0_USED_BY", "/other/*")
	w.eventually("without leave nobody is let in", func() error {
		if a := w.clients.do("http://a.test/", "Cookie", "user=joe"); a.status != http.StatusForbidden {
			return fmt.Errorf("status %d", a.status)
		}
		return nil
	})
}
