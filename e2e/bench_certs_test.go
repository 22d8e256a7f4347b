package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/certs/vault"
	"relay/certs/vault/vaulttest"
	"relay/collator/routing"
	"relay/internal/relay"
	"relay/internal/secret"
)

// What is promised to marathon-acme's users, for 5000 certificates.
const (
	benchCertificates = 5000
	benchHooks        = 20
	// stormHooks come at once, each on a connection of its own. One address may have 100
	// connections on which no request has come yet.
	stormHooks = 90

	maxFirstLoad  = 10 * time.Second
	maxAtOnce     = 4
	maxHookBeyond = 100 * time.Millisecond // of what Vault takes
	maxStormReads = 3
)

// BenchmarkCertificates measures Relay, from the hook to what Envoys are sent,
// with 5000 certificates in a real Vault, and fails when it is slower than
// promised. Requests pass through a proxy that counts them and takes the time
// that Vault needs.
func BenchmarkCertificates(b *testing.B) {
	v := newBenchVault(b, benchCertificates)
	b.Run("first load", func(b *testing.B) {
		for b.Loop() {
			v.take()
			began := time.Now()
			_, stop := v.serve(b)
			took := time.Since(began)
			stop()
			got := v.take()
			b.ReportMetric(took.Seconds(), "s/load")
			b.ReportMetric(float64(got.count("certificates/")), "certificates-read")
			b.ReportMetric(float64(got.atOnce), "requests-at-once")
			if took > maxFirstLoad || got.atOnce > maxAtOnce || got.count("certificates/") != benchCertificates {
				b.Errorf("%s, %d requests at once, %d certificates read", took, got.atOnce, got.count("certificates/"))
			}
		}
	})
	r, stop := v.serve(b)
	defer stop()
	b.Run("hook, one changed", func(b *testing.B) {
		for b.Loop() {
			v.hooks(b, r, func(i int) { v.renew(b, fmt.Sprintf("n%d.test", i)) }, 1)
		}
	})
	b.Run("hook, nothing changed", func(b *testing.B) {
		for b.Loop() {
			v.hooks(b, r, func(int) {}, 0)
		}
	})
	b.Run("90 hooks at once", func(b *testing.B) {
		for b.Loop() {
			v.storm(b, r)
		}
	})
}

// hooks calls the hook again and again; each call reads "live" once, and as
// many certificates as changed.
func (v *benchVault) hooks(b *testing.B, r *relay.Relay, change func(int), changed int) {
	b.Helper()
	var total, beyond []time.Duration
	for i := range benchHooks {
		change(i)
		v.take()
		began := time.Now()
		v.hook(b, r)
		took := time.Since(began)
		got := v.take()
		total, beyond = append(total, took), append(beyond, took-got.time)
		if got.count("live") != 1 || len(got.paths) != 1+changed {
			b.Errorf("hook %d made these requests: %q", i, got.paths)
		}
	}
	slices.Sort(total)
	slices.Sort(beyond)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(total[benchHooks/2]), "ms-median")
	b.ReportMetric(ms(total[benchHooks-1]), "ms-max")
	b.ReportMetric(ms(beyond[benchHooks/2]), "ms-beyond-vault-median")
	b.ReportMetric(ms(beyond[benchHooks-1]), "ms-beyond-vault-max")
	// The median: single calls also measure what else the machine does.
	if beyond[benchHooks/2] > maxHookBeyond {
		b.Errorf("half of the hooks took %s longer than Vault, or more", beyond[benchHooks/2])
	}
}

// storm is marathon-acme's first run with as many certificates.
func (v *benchVault) storm(b *testing.B, r *relay.Relay) {
	b.Helper()
	v.renew(b, "n4999.test")
	v.take()
	began := time.Now()
	var group sync.WaitGroup
	for range stormHooks {
		group.Go(func() { v.hook(b, r) })
	}
	group.Wait()
	took, reads := time.Since(began), v.take().count("live")
	b.ReportMetric(float64(took.Milliseconds()), "ms-until-all-answered")
	b.ReportMetric(float64(reads), "reloads")
	if reads > maxStormReads {
		b.Errorf("%d reloads", reads)
	}
}

// benchVault is a Vault full of certificates behind a proxy.
type benchVault struct {
	certificates int
	config       relay.Config
	fleet        *relay.Fleet // of config
	ca           *certstest.CA
	mount        *vaulttest.Mount
	key          *certstest.Issued // its key is that of all
	client       *http.Client

	mu       sync.Mutex
	inFlight int
	seen     traffic
}

// traffic is what went through the proxy.
type traffic struct {
	paths  []string
	atOnce int
	time   time.Duration
}

func (t traffic) count(path string) int {
	n := 0
	for _, p := range t.paths {
		if strings.HasPrefix(strings.TrimPrefix(p, "/v1/secret/data/"), path) {
			n++
		}
	}
	return n
}

func newBenchVault(b *testing.B, certificates int) *benchVault {
	b.Helper()
	v := &benchVault{certificates: certificates, ca: certstest.TestCA(b), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: stormHooks}}}
	b.Cleanup(v.client.CloseIdleConnections)
	v.key = v.ca.TestIssue(b, []string{"key.test"}, certstest.Options{})
	server := vaulttest.Start(b)
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	var err error
	if v.mount, err = server.Mount(ctx, "secret"); err != nil {
		b.Fatal(err)
	}
	all := make(map[string]*certstest.Issued)
	for i := range certificates {
		name := fmt.Sprintf("n%d.test", i)
		all[name] = v.issue(b, name)
	}
	if err := v.mount.PublishAll(ctx, all); err != nil {
		b.Fatal(err)
	}
	token, err := v.mount.ReaderToken(ctx, time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	apps := filepath.Join(b.TempDir(), "apps.yaml")
	if err := os.WriteFile(apps, []byte("apps: []\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	v.config = relay.Config{
		Apps: relay.Apps{File: apps, ACME: "/marathon-acme"},
		Fleets: []relay.Fleet{{Fleet: routing.Fleet{
			Name: "external", HTTP: netip.MustParseAddrPort("127.0.0.1:1"), HTTPS: netip.MustParseAddrPort("127.0.0.1:2"),
			Options: routing.Options{ConnectTimeout: time.Second},
		}}},
		Certificates: relay.Certificates{Grace: time.Hour, Vault: vault.Config{
			Addresses: []string{v.proxy(b, server.Addr)}, Mount: "secret", Token: secret.String(token), PollInterval: time.Hour,
		}},
		XDS: relay.XDSPort{Address: "127.0.0.1:0"}, Admin: relay.AdminPort{Address: "127.0.0.1:0"},
	}
	v.fleet = &v.config.Fleets[0]
	return v
}

func (v *benchVault) issue(b *testing.B, name string) *certstest.Issued {
	return v.ca.TestIssue(b, []string{name}, certstest.Options{Key: v.key.Signer})
}

func (v *benchVault) renew(b *testing.B, name string) {
	b.Helper()
	if _, err := v.mount.Publish(b.Context(), name, v.issue(b, name)); err != nil {
		b.Fatal(err)
	}
}

func (v *benchVault) proxy(b *testing.B, to string) string {
	target, err := url.Parse(to)
	if err != nil {
		b.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	transport := &http.Transport{MaxIdleConnsPerHost: 2 * maxAtOnce}
	b.Cleanup(transport.CloseIdleConnections)
	forward.Transport = transport
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		v.mu.Lock()
		v.inFlight++
		v.seen.atOnce = max(v.seen.atOnce, v.inFlight)
		v.seen.paths = append(v.seen.paths, request.URL.Path)
		v.mu.Unlock()
		began := time.Now()
		forward.ServeHTTP(w, request)
		v.mu.Lock()
		defer v.mu.Unlock()
		v.inFlight--
		v.seen.time += time.Since(began)
	}))
	b.Cleanup(server.Close)
	return server.URL
}

// take returns the traffic since the last call.
func (v *benchVault) take() traffic {
	v.mu.Lock()
	defer v.mu.Unlock()
	defer func() { v.seen = traffic{} }()
	return v.seen
}

// serve runs Relay; it returns when all is loaded.
func (v *benchVault) serve(b *testing.B) (r *relay.Relay, stop func()) {
	b.Helper()
	r, err := relay.New(v.config, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	stop = serve(b, r)
	asks := newAdminClient(b)
	asks.use(r.AdminURL(), v.config.Admin)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		reason := asks.notReady()
		if reason == "" {
			break
		}
		if time.Now().After(deadline) {
			b.Fatalf("Relay is not ready: %s", reason)
		}
	}
	if n := len(asks.certificates()); n != v.certificates {
		b.Fatalf("%d certificates", n)
	}
	return r, stop
}

func (v *benchVault) hook(b *testing.B, r *relay.Relay) {
	resp, err := v.client.Post(r.AdminURL()+"/_mlb_signal/usr1", "", nil)
	if err != nil {
		b.Error(err)
		return
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		b.Errorf("the hook answered %d", resp.StatusCode)
	}
}
