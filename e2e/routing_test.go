package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// The main job: an app deployed to Marathon answers under its domain, by HTTP
// and, with a certificate, by HTTPS.
func TestRouting(t *testing.T) {
	w := newWorld(t)
	w.certs.issue("a.test")
	w.certs.issue("b.test")
	w.start()
	w.marathon.deploy(app("/a", "a.test", 1), app("/b", "b.test", 1))

	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	w.clients.expect("http://b.test/", http.StatusOK, "/b")
	for _, domain := range []string{"a.test", "b.test"} {
		a := w.clients.expect("https://"+domain+"/", http.StatusOK, "/"+domain[:1])
		if !slices.Equal(a.tls, []string{domain}) {
			t.Errorf("https://%s has the certificate of %q", domain, a.tls)
		}
	}
	w.clients.echo("ws://a.test/ws")
	w.clients.echo("wss://b.test/ws")

	client := w.clients.client(false)
	for _, host := range []string{"A.Test", "a.test:8080", "a.test.", "A.TEST.:80"} {
		a, err := w.clients.get(client, "http://a.test/", host)
		if err != nil || a.status != http.StatusOK || a.header.Get("X-App") != "/a" {
			t.Errorf("Host %q: status %d by app %q, %v; want 200 by /a", host, a.status, a.header.Get("X-App"), err)
		}
		if strings.Contains(strings.ToLower(a.body), "x-relay") {
			t.Errorf("Host %q: the app sees Relay's own header:\n%s", host, a.body)
		}
	}
	a := w.clients.expect("http://unknown.test/", http.StatusNotFound, "")
	if !strings.Contains(a.body, "<html") || !strings.Contains(a.header.Get("Content-Type"), "text/html") {
		t.Errorf("unknown host: %q %q; want an HTML page", a.header.Get("Content-Type"), a.body)
	}
}

// A redirect to HTTPS holds for everything but ACME challenges, which reach
// marathon-acme whether or not the app runs.
func TestRedirectAndChallenge(t *testing.T) {
	w := newWorld(t)
	w.certs.issue("a.test")
	w.start()
	w.marathon.deploy(
		app("/a", "a.test", 0, "HAPROXY_0_REDIRECT_TO_HTTPS", "true", "MARATHON_ACME_0_DOMAIN", "a.test,only-acme.test"),
		app("/marathon-acme", "acme.test", 1, "HAPROXY_GROUP", "internal"),
	)
	a := w.clients.expect("http://a.test/x?y=1", http.StatusMovedPermanently, "")
	if want := "https://a.test:" + w.clients.https[strings.LastIndex(w.clients.https, ":")+1:] + "/x?y=1"; a.header.Get("Location") != want {
		t.Errorf("redirect to %q, want %q", a.header.Get("Location"), want)
	}
	w.clients.expect("http://a.test/.well-known/acme-challenge/token", http.StatusOK, "/marathon-acme")
	w.clients.expect("http://only-acme.test/.well-known/acme-challenge/token", http.StatusOK, "/marathon-acme")
	w.clients.expect("http://only-acme.test/", http.StatusNotFound, "")
	w.clients.expect("https://a.test/.well-known/acme-challenge/token", http.StatusServiceUnavailable, "")
	w.clients.expect("https://a.test/", http.StatusServiceUnavailable, "")

	a, err := w.clients.get(w.clients.client(false), "http://acme.test/", "")
	if err != nil || a.status != http.StatusNotFound {
		t.Errorf("an app of another group is served: %d, %v", a.status, err)
	}
}

// What a client says of itself does not pass for what Envoy says of it.
func TestForwardedHeadersAreEnvoys(t *testing.T) {
	w := newWorld(t)
	w.certs.issue("a.test")
	w.start()
	w.marathon.deploy(app("/a", "a.test", 1, "HAPROXY_0_REDIRECT_TO_HTTPS", "true"), app("/b", "b.test", 1))
	w.clients.expect("https://a.test/", http.StatusOK, "/a")
	client := w.clients.client(false)
	for _, header := range []string{"X-Forwarded-Proto", "X-Relay-Scope"} {
		req, err := http.NewRequest(http.MethodGet, "http://a.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(header, map[string]string{"X-Forwarded-Proto": "https", "X-Relay-Scope": "b.test"}[header])
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusMovedPermanently {
			t.Errorf("with a forged %s: status %d, want the redirect", header, resp.StatusCode)
		}
	}
}

// A client that sends the head of a request byte by byte is not waited for.
func TestSlowClient(t *testing.T) {
	w := newWorld(t)
	w.relay.fleet.Options.RequestHeadersTimeout = 300 * time.Millisecond
	w.marathon.deploy(app("/a", "a.test", 1))
	w.start()
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	conn, err := net.Dial("tcp", w.clients.http)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	done := make(chan struct{})
	defer func() { <-done }()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer close(done)
		drip := time.NewTicker(50 * time.Millisecond)
		defer drip.Stop()
		for text := "GET / HTTP/1.1\r\nHost: a.test\r\nX-Slow: "; ; text = "x" {
			if _, err := conn.Write([]byte(text)); err != nil {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-drip.C:
			}
		}
	}()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusRequestTimeout {
		t.Errorf("status %d, want 408", answer.StatusCode)
	}
}

// A domain that takes some paths only has no others, whoever has the wildcard
// domain above it, and however the host is spelled.
func TestPathsOfADomainUnderAWildcard(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/exact", "a.zone.test", 1, "HAPROXY_0_PATH", "/api"), app("/all", "*.zone.test", 1))
	w.start()
	for _, host := range []string{"a.zone.test", "A.Zone.test", "a.zone.test.", "A.zone.test.:80"} {
		for path, want := range map[string]int{"/api/x": http.StatusOK, "/other": http.StatusNotFound} {
			client := w.clients.client(false)
			w.eventually(host+path, func() error {
				a, err := w.clients.get(client, "http://a.zone.test"+path, host)
				if err != nil {
					return err
				}
				if a.status != want || want == http.StatusOK && a.header.Get("X-App") != "/exact" {
					return fmt.Errorf("status %d by app %q, want %d", a.status, a.header.Get("X-App"), want)
				}
				return nil
			})
		}
	}
	w.clients.expect("http://b.zone.test/other", http.StatusOK, "/all")
	w.clients.expect("http://B.b.zone.test/other", http.StatusOK, "/all")
}
