package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// hostsOf are spellings of hosts of a domain and of a wildcard domain: a
// restriction must hold for each.
var hostsOf = []string{"a.test", "A.Test", "a.test.", "A.TEST.:8080", "x.zone.test", "X.Zone.Test.:80"}

func TestAuthLabel(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.marathon.deploy(
		app("/auth", "a.test,*.zone.test", 1, "HAPROXY_0_AUTH", "My realm:joe:"+passwordHash),
		app("/crypt", "crypt.test,*.crypt.test", 1, "HAPROXY_0_AUTH", "r:joe:$6$topsecret"),
		app("/broken", "broken.test", 1, "HAPROXY_0_AUTH", "joe:topsecret"),
		app("/part", "part.test", 1, "HAPROXY_0_PATH", "/admin", "HAPROXY_0_AUTH", "r:joe:"+passwordHash),
		app("/rest", "part.test", 1),
		app("/own", "own.test", 1),
	)
	a := w.clients.expect("http://a.test/", http.StatusUnauthorized, "")
	if got := a.header.Get("WWW-Authenticate"); got != `Basic realm="My realm"` {
		t.Errorf("asks for a password by %q", got)
	}
	w.clients.expect("http://x.zone.test/", http.StatusUnauthorized, "")
	w.eventually("its task gets requests", func() error { // a password is asked for before
		if a := w.clients.do("http://a.test/", "Authorization", "Basic am9lOnBhc3N3b3Jk"); a.status != http.StatusOK {
			return fmt.Errorf("status %d", a.status)
		}
		return nil
	})
	for _, host := range hostsOf {
		for login, status := range map[string]int{
			"": 401, "Basic am9lOnBhc3N3b3Jk": 200, "Basic am9lOndyb25n": 401, "Basic eDpwYXNzd29yZA==": 401, "Bearer am9lOnBhc3N3b3Jk": 401,
		} {
			if a := w.clients.do("http://a.test/", "Host", host, "Authorization", login); a.status != status {
				t.Errorf("Host %s, login %q: status %d, want %d", host, login, a.status, status)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if conn, _, err := websocket.Dial(ctx, "ws://A.test/ws", &websocket.DialOptions{HTTPClient: w.clients.client(false), Host: "A.Test"}); err == nil {
		_ = conn.CloseNow()
		t.Error("a WebSocket was opened without password")
	}
	for _, host := range []string{"crypt.test", "x.crypt.test", "broken.test"} {
		a := w.clients.expect("http://"+host+"/", http.StatusForbidden, "")
		if !strings.Contains(a.body, "<html") || !strings.Contains(a.header.Get("Content-Type"), "text/html") {
			t.Errorf("the answer is %q %q", a.header.Get("Content-Type"), a.body)
		}
	}
	w.clients.expect("http://part.test/admin", http.StatusUnauthorized, "")
	w.clients.expect("http://part.test/", http.StatusOK, "/rest")
	w.clients.expect("http://own.test/", http.StatusOK, "/own")
	// What an app checks itself is none of Envoy's business.
	if a := w.clients.do("http://own.test/", "Host", "OWN.test", "Authorization", "Basic am9lOndyb25n"); a.status != http.StatusOK {
		t.Errorf("a login for the app itself: status %d", a.status)
	}
	w.admin.problem("/crypt", "malformed")
	w.admin.problem("/broken", "realm:user:hash")
	w.envoy.accepted()
	hides(w, passwordHash[5:], "topsecret")
}

// Hashes of crypt(3), as marathon-lb takes them, let in who knows the password: Relay checks it.
func TestAuthLabelWithHashesOfCrypt(t *testing.T) {
	w := newWorld(t)
	w.start()
	const (
		sha512 = "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1"
		sha256 = "$5$saltsalt$kmJUCIm73946uXVnGZjCdBUolDZJ3cOBx5hc3E.xjEC"
	)
	right, other, wrong := "Basic am9lOnNlY3JldA==", "Basic am9lOm90aGVy", "Basic am9lOndyb25n"
	deploy := func(version, hash string) {
		w.marathon.deploy(app("/auth", "a.test,*.zone.test", 1, "HAPROXY_0_AUTH", "My realm:joe:"+hash, "V", version),
			app("/part", "part.test", 1, "HAPROXY_0_PATH", "/admin", "HAPROXY_0_AUTH", "r:joe:"+sha512, "HAPROXY_0_STICKY", "true"), app("/rest", "part.test", 1),
			app("/slow", "slow.test", 1, "HAPROXY_0_AUTH", "r:joe:"+strings.Replace(sha512, "$6$", "$6$rounds=999999999$", 1)))
	}
	deploy("1", sha512)
	a := w.clients.expect("http://a.test/", http.StatusUnauthorized, "")
	if got := a.header.Get("WWW-Authenticate"); got != `Basic realm="My realm"` {
		t.Errorf("asks for a password by %q", got)
	}
	expect := func(url, host, login string, want int) {
		t.Helper()
		if a := w.clients.do(url, "Host", host, "Authorization", login); a.status != want {
			t.Errorf("%s, Host %s, login %q: status %d, want %d", url, host, login, a.status, want)
		}
	}
	w.eventually("its task gets requests", func() error {
		if a := w.clients.do("http://a.test/", "Authorization", right); a.status != http.StatusOK {
			return fmt.Errorf("status %d", a.status)
		}
		return nil
	})
	for _, host := range hostsOf {
		for login, status := range map[string]int{"": 401, right: 200, wrong: 401, other: 401} {
			expect("http://a.test/", host, login, status)
		}
	}
	w.clients.expect("http://part.test/", http.StatusOK, "/rest")
	for _, path := range []string{"/admin", "//admin", "/%61dmin", "/x/%2e%2e/admin", "/admin;x", "/./admin/"} {
		for login, letIn := range map[string]bool{"": false, wrong: false, right: true} {
			a := w.clients.do("http://part.test"+path, "Authorization", login)
			if in := a.header.Get("X-App") == "/part"; in && !letIn || path == "/admin" && in != letIn {
				t.Errorf("%s, login %q: status %d", path, login, a.status)
			}
		}
	}
	w.clients.expect("http://slow.test/", http.StatusForbidden, "")
	w.admin.problem("/slow", "too long to check")
	deploy("2", sha256)
	w.eventually("the new password counts", func() error {
		if a := w.clients.do("http://a.test/", "Authorization", other); a.status != http.StatusOK {
			return fmt.Errorf("status %d", a.status)
		}
		return nil
	})
	expect("http://a.test/", "a.test", right, http.StatusUnauthorized)
	w.envoy.accepted()
	hides(w, sha512[12:], sha256[12:], "saltsalt", "am9lOnNlY3JldA==")
}

// hides fails the test if a secret is in the log or on a page.
func hides(w *world, secrets ...string) {
	w.t.Helper()
	texts := map[string]string{"the log": w.relay.log.String()}
	for _, page := range []string{"/", "/api/v1/apps", "/api/v1/apps/auth", "/api/v1/problems", "/metrics"} {
		status, body := w.admin.get(page)
		if status != http.StatusOK {
			w.t.Fatalf("%s: status %d", page, status)
		}
		texts[page] = body
	}
	for _, secret := range secrets {
		for where, text := range texts {
			if strings.Contains(text, secret) {
				w.t.Errorf("%s shows %s", where, secret)
			}
		}
	}
}

func TestNetworksLabel(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.marathon.deploy(
		app("/near", "near.test", 1, "HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "10.0.0.0/8 127.0.0.0/8"),
		app("/far", "a.test,*.zone.test", 1, "HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "10.0.0.0/8 fd00::/8"),
		app("/broken", "broken.test", 1, "HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "127.0.0.0/8 intranet"),
		app("/empty", "empty.test", 1, "HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", ""),
	)
	w.clients.expect("http://near.test/", http.StatusOK, "/near")
	w.clients.expect("http://a.test/", http.StatusForbidden, "")
	w.clients.expect("http://x.zone.test/", http.StatusForbidden, "")
	for _, host := range hostsOf {
		for _, spoof := range [][]string{nil, {"X-Forwarded-For", "10.0.0.1"}, {"X-Envoy-External-Address", "10.0.0.1"}, {"X-Real-Ip", "10.0.0.1"}, {"Forwarded", "for=10.0.0.1"}} {
			if a := w.clients.do("http://a.test/", append([]string{"Host", host}, spoof...)...); a.status != http.StatusForbidden {
				t.Errorf("Host %s, %v: status %d", host, spoof, a.status)
			}
		}
	}
	w.clients.expect("http://broken.test/", http.StatusForbidden, "")
	w.clients.expect("http://empty.test/", http.StatusForbidden, "")
	w.admin.problem("/broken", "intranet")
	w.admin.problem("/empty", "names no network")
	w.envoy.accepted()
}

// The challenges of certificates are let through whatever the app restricts.
func TestChallengesPassRestrictions(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.marathon.deploy(app("/marathon-acme", "acme.test", 1), app("/a", "a.test", 1, "MARATHON_ACME_0_DOMAIN", "a.test", "HAPROXY_0_AUTH", "r:joe:"+passwordHash,
		"HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "10.0.0.0/8"))
	w.clients.expect("http://a.test/.well-known/acme-challenge/x", http.StatusOK, "/marathon-acme")
	w.clients.expect("http://a.test/", http.StatusForbidden, "")
	w.envoy.accepted()
}

// Labels that come, change and go leave connections alone, even of the app
// itself.
func TestLabelsLeaveConnectionsAlone(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.marathon.deploy(app("/other", "other.test", 1))
	w.clients.expect("http://other.test/", http.StatusOK, "/other")
	conn := w.clients.echo("ws://other.test/ws")
	w.marathon.deploy(app("/a", "a.test", 1, "HAPROXY_0_AUTH", "r:joe:"+passwordHash, "HAPROXY_0_STICKY", "true"))
	w.clients.expect("http://a.test/", http.StatusUnauthorized, "")
	w.marathon.deploy(app("/a", "a.test", 1, "HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "10.0.0.0/8", "HAPROXY_0_HTTP_BACKEND_REVPROXY_PATH", "/x"))
	w.clients.expect("http://a.test/", http.StatusForbidden, "")
	w.marathon.deploy(app("/a", "a.test", 1))
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	w.clients.says(conn, "still here")
	w.envoy.accepted()
}
