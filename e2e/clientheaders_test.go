package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/xds/envoytest"
)

// steered is a request by whose headers Envoy would let those it trusts decide
// what becomes of the request.
type steered struct {
	path    string
	headers []string
}

const tryMany = "X-Envoy-Max-Retries: 100"

var steering = []steered{
	{"/fail", []string{"X-Envoy-Retry-On: 5xx", tryMany}},
	{"/fail", []string{"X-Envoy-Retry-On: retriable-status-codes", "X-Envoy-Retriable-Status-Codes: 500", tryMany}},
	{"/fail", []string{"X-Envoy-Retry-On: retriable-headers", "X-Envoy-Retriable-Header-Names: x-failed", tryMany}},
	{"/fail", []string{"X-Envoy-Retry-Grpc-On: unavailable", "Content-Type: application/grpc", tryMany}},
	{"/slow", []string{"X-Envoy-Upstream-Rq-Timeout-Ms: 1"}},
	{"/slow", []string{"X-Envoy-Upstream-Rq-Timeout-Ms: 1", "X-Envoy-Upstream-Rq-Timeout-Alt-Response: 1"}},
	{"/slow", []string{"X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: 1"}},
	{"/slow", []string{"X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: 1", "X-Envoy-Hedge-On-Per-Try-Timeout: true", "X-Envoy-Retry-On: 5xx", tryMany}},
	{"/slow", []string{"X-Envoy-Upstream-Stream-Duration-Ms: 1"}},
	{"/slow", []string{"X-Envoy-Expected-Rq-Timeout-Ms: 1"}},
	{"/slow", []string{"Grpc-Timeout: 1m", "Content-Type: application/grpc"}},
	{"/", []string{"X-Envoy-Upstream-Alt-Stat-Name: forged"}},
	{"/", []string{"X-Envoy-Original-Dst-Host: 127.0.0.1:1"}},
	{"/", []string{"X-Envoy-Force-Trace: true", "X-Client-Trace-Id: 1"}},
	{"/", []string{"X-Envoy-Decorator-Operation: forged"}},
}

// told are headers that Envoy sets for apps, or that it passes on from clients
// it trusts.
var told = []string{
	"X-Envoy-Attempt-Count", "X-Envoy-Downstream-Service-Cluster", "X-Envoy-Downstream-Service-Node", "X-Envoy-External-Address",
	"X-Envoy-Internal", "X-Envoy-Ip-Tags", "X-Envoy-Is-Timeout-Retry", "X-Envoy-Original-Host", "X-Envoy-Original-Path",
	"X-Envoy-Original-Url", "X-Envoy-Peer-Metadata", "X-Envoy-Whatever", "X-Relay-Scope",
}

// recorder is an app that remembers the headers of each request that it got.
type recorder struct {
	mu   sync.Mutex
	seen map[string][]http.Header // by X-Request-Of
}

func (a *recorder) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	name := r.Header.Get("X-Request-Of")
	a.seen[name] = append(a.seen[name], r.Header)
	a.mu.Unlock()
	rw.Header().Set("X-App", "/recorder")
	switch r.URL.Path {
	case "/fail":
		rw.Header().Set("X-Failed", "1")
		rw.Header().Set("Grpc-Status", "14")
		rw.WriteHeader(http.StatusInternalServerError)
	case "/slow":
		select {
		case <-r.Context().Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (a *recorder) got(name string) []http.Header {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen[name]
}

// Clients come from loopback here, which Envoy trusts by default.
func TestClientsDoNotSteerEnvoy(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		w := newWorld(t)
		w.envoy.version = version
		w.certs.issue("a.test", "own.test")
		w.start()
		a := &recorder{seen: make(map[string][]http.Header)}
		w.marathon.backend("/recorder", "a.test", httptest.NewServer(a))
		w.marathon.backend("/own", "own.test", httptest.NewServer(a), "RELAY_0_NUM_RETRIES", "1", "RELAY_0_RETRY_ON", "5xx")
		w.clients.expect("https://a.test/", http.StatusOK, "/recorder")
		w.clients.expect("https://own.test/", http.StatusOK, "/recorder")
		for protocol, client := range clientsByProtocol(w) {
			for _, domain := range []string{"a.test", "own.test"} {
				for i, s := range steering {
					steer(w, client, a, fmt.Sprintf("%s %s %d", protocol, domain, i), scheme(protocol)+domain, s)
				}
			}
			forge(w, client, a, protocol)
		}
		text, err := w.envoy.Get(t.Context(), "/stats")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text, "forged") {
			t.Error("a client made Envoy count by a name of its own")
		}
	})
}

// What an app says to Envoy in its answers concerns no other app, and does not
// take its own tasks out.
func TestAppsDoNotSteerEnvoy(t *testing.T) {
	t.Parallel()
	said := []string{
		"X-Envoy-Immediate-Health-Check-Fail", "X-Envoy-Degraded", "X-Envoy-Ratelimited", "X-Envoy-Overloaded", "X-Envoy-Upstream-Canary",
		"X-Envoy-Max-Retries", "X-Envoy-Retry-On", "X-Envoy-Decorator-Operation", "X-Envoy-Upstream-Healthchecked-Cluster",
	}
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		w := newWorld(t)
		w.envoy.version = version
		w.start()
		w.marathon.backend("/loud", "loud.test", httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("X-App", "/loud")
			for _, name := range said {
				rw.Header().Set(name, "true")
			}
		})))
		w.marathon.deploy(app("/quiet", "quiet.test", 1))
		w.clients.expect("http://loud.test/", http.StatusOK, "/loud")
		w.clients.expect("http://quiet.test/", http.StatusOK, "/quiet")
		client := w.clients.client(true)
		for range 20 {
			for _, url := range []string{"http://loud.test/", "http://quiet.test/"} {
				if a, err := w.clients.get(client, url, ""); err != nil || a.status != http.StatusOK {
					t.Fatalf("%s: status %d, %v", url, a.status, err)
				}
			}
		}
	})
}

// steer sends a request that tries to steer Envoy, and fails the test if it did
// or if the app heard of it.
func steer(w *world, client *http.Client, a *recorder, name, url string, s steered) {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodPost, url+s.path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("X-Request-Of", name)
	for _, header := range s.headers {
		key, value, _ := strings.Cut(header, ": ")
		req.Header.Set(key, value)
	}
	status, tries := http.StatusOK, 1
	if s.path == "/fail" {
		status = http.StatusInternalServerError
		if strings.HasSuffix(url, "own.test") {
			tries = 2 // as its labels say
		}
	}
	got, err := w.clients.ask(client, req)
	if err != nil || got.status != status {
		w.t.Errorf("%s, %q: status %d, %v; want %d", name, s.headers, got.status, err, status)
	}
	seen := a.got(name)
	if len(seen) != tries {
		w.t.Errorf("%s, %q: the app got the request %d times, want %d", name, s.headers, len(seen), tries)
	}
	for _, header := range s.headers {
		key, value, _ := strings.Cut(header, ": ")
		if strings.HasPrefix(key, "X-Envoy-") && len(seen) > 0 && seen[0].Get(key) == value {
			w.t.Errorf("%s, %q: the app got %s", name, s.headers, key)
		}
	}
}

// forge sends what only Envoy may say, and fails the test if the app got it.
func forge(w *world, client *http.Client, a *recorder, protocol string) {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodGet, scheme(protocol)+"a.test/", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, key := range told {
		req.Header.Set(key, "forged")
	}
	name := protocol + " forged"
	req.Header.Set("X-Request-Of", name)
	if got, err := w.clients.ask(client, req); err != nil || got.status != http.StatusOK {
		w.t.Fatalf("%s: status %d, %v", name, got.status, err)
	}
	header := a.got(name)[0]
	for _, key := range told {
		switch values := header.Values(key); key {
		case "X-Envoy-External-Address":
			if len(values) != 1 || values[0] == "forged" {
				w.t.Errorf("%s: the app got %s %q, want what Envoy says", name, key, values)
			}
		default:
			if len(values) > 0 {
				w.t.Errorf("%s: the app got %s %q, want none", name, key, values)
			}
		}
	}
}

// scheme begins a URL of a protocol of clientsByProtocol.
func scheme(protocol string) string {
	if strings.HasSuffix(protocol, "TLS") {
		return "https://"
	}
	return "http://"
}

// clientsByProtocol connect to Envoy, each by one protocol only.
func clientsByProtocol(w *world) map[string]*http.Client {
	clients := make(map[string]*http.Client)
	for _, name := range []string{"HTTP/1", "HTTP/2", "HTTP/1 over TLS", "HTTP/2 over TLS"} {
		client := w.clients.client(true)
		transport := client.Transport.(*http.Transport)
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetHTTP1(strings.HasPrefix(name, "HTTP/1"))
		transport.Protocols.SetHTTP2(name == "HTTP/2 over TLS")
		transport.Protocols.SetUnencryptedHTTP2(name == "HTTP/2")
		clients[name] = client
	}
	return clients
}
