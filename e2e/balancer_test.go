package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/xds/envoytest"
)

// balancer ends the TLS of clients, and asks each Envoy whether it wants requests.
type balancer struct {
	t       *testing.T
	targets []*target
	next    atomic.Int64
	failed  atomic.Pointer[string]
}

type target struct {
	http, health string
	up           atomic.Bool
	unanswered   atomic.Int64 // requests that it was picked for
}

// startBalancer starts one for the names, and returns where clients connect.
func startBalancer(t *testing.T, certs *certificates, names []string, targets ...*target) (b *balancer, address string) {
	t.Helper()
	b = &balancer{t: t, targets: targets}
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	proxy := &httputil.ReverseProxy{
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			target := b.pick()
			if target == nil {
				return nil, errors.New("no Envoy is up")
			}
			defer target.unanswered.Add(-1)
			r.URL.Host = target.http
			return transport.RoundTrip(r)
		}),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http"})
			r.SetXForwarded()
			r.Out.Host = r.In.Host
			r.Out.Method = http.MethodPost // which is not sent twice
		},
		ErrorHandler: func(rw http.ResponseWriter, _ *http.Request, err error) {
			text := err.Error()
			b.failed.CompareAndSwap(nil, &text)
			rw.WriteHeader(http.StatusBadGateway)
		},
	}
	server := httptest.NewUnstartedServer(proxy)
	issued := certs.ca.TestIssue(t, names, certstest.Options{})
	pair, err := tls.X509KeyPair(issued.Bundle(), issued.Key)
	if err != nil {
		t.Fatal(err)
	}
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		b.watch(stop)
	}()
	t.Cleanup(func() { close(stop); <-done; server.Close(); transport.CloseIdleConnections() })
	return b, server.Listener.Addr().String()
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// pick returns the next target that is up, if any.
func (b *balancer) pick() *target {
	first := b.next.Add(1) // others pick at the same time: by b.next alone one might come to the same target again
	for i := range b.targets {
		next := b.targets[(first+int64(i))%int64(len(b.targets))]
		next.unanswered.Add(1)
		if next.up.Load() {
			return next
		}
		next.unanswered.Add(-1)
	}
	return nil
}

// watch asks all targets, again and again.
func (b *balancer) watch(stop <-chan struct{}) {
	// An Envoy that answers late on a busy machine is up: if both were down, requests would fail.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	for {
		for _, target := range b.targets {
			resp, err := client.Get("http://" + target.health + "/_haproxy_health_check")
			if err == nil {
				_ = resp.Body.Close()
			}
			target.up.Store(err == nil && resp.StatusCode == http.StatusOK)
		}
		select {
		case <-stop:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// An Envoy is taken out while a balancer sends it requests, as docs/edge.md says, and none
// fails. The fleet has no HTTPS of its own: the balancer has.
func TestEnvoyIsTakenOut(t *testing.T) {
	w := newWorld(t)
	second := *w.relay.fleet
	second.Name = "second"
	w.relay.config.Fleets = append(w.relay.config.Fleets, second)
	w.relay.fleet = &w.relay.config.Fleets[0]
	var targets []*target
	for i := range w.relay.config.Fleets {
		f := &w.relay.config.Fleets[i]
		f.HTTP, f.Health, f.HTTPS = netip.MustParseAddrPort(freeAddress(t)), netip.MustParseAddrPort(freeAddress(t)), netip.AddrPort{}
		f.HTTPSPublicPort, f.Proxies.Networks = 443, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		targets = append(targets, &target{http: f.HTTP.String(), health: f.Health.String()})
	}
	w.clients.http = targets[0].http
	w.marathon.deploy(app("/a", "a.test", 2, "HAPROXY_GROUP", "external,second", "HAPROXY_0_REDIRECT_TO_HTTPS", "true"))
	b, address := startBalancer(t, w.certs, []string{"a.test"}, targets...)
	w.clients.https = address
	w.start()
	other := envoytest.Start(t, envoytest.Options{XDS: []string{w.relay.config.XDS.Address}, Fleet: "second"})
	eventually(t, "both Envoys are up", func() error {
		if slices.ContainsFunc(targets, func(t *target) bool { return !t.up.Load() }) {
			return errors.New("not yet")
		}
		return nil
	})
	// Nobody's TLS has ended before this request.
	a := w.clients.expect("http://a.test/x", http.StatusMovedPermanently, "")
	if location := a.header.Get("Location"); location != "https://a.test/x" {
		t.Errorf("redirected to %q", location)
	}
	w.clients.expect("https://a.test/", http.StatusOK, "/a")
	load := w.clients.load(200, ok, "https://a.test/")
	takeOut(w, targets[0])
	w.clients.noFailure(load, 200)
	if text := b.failed.Load(); text != nil {
		t.Errorf("the balancer failed: %s", *text)
	}
	other.Kill()
}

// takeOut stops Envoy as docs/edge.md says.
func takeOut(w *world, target *target) {
	w.t.Helper()
	eventually(w.t, "Envoy gets requests", func() error {
		if n := w.envoy.stat(`^http\.http\.downstream_rq_total$`); n < 50 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	resp, err := http.Post("http://"+w.envoy.Admin+"/healthcheck/fail", "", strings.NewReader(""))
	if err != nil {
		w.t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	_ = resp.Body.Close()
	eventually(w.t, "the balancer has noticed, and all requests are answered", func() error {
		if target.up.Load() || target.unanswered.Load() > 0 {
			return errors.New("not yet")
		}
		if n := w.envoy.stat(`^http\.http\.downstream_rq_active$`); n > 0 {
			return fmt.Errorf("%d are not", n)
		}
		return nil
	})
	w.envoy.Stop()
}
