package envoy_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"relay/certs"
	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/probe"
	"relay/probe/blackbox"
	"relay/sources"
	"relay/xds/envoytest"
)

// probed asks an Envoy as probes do.
type probed struct {
	*realEnvoy
	probers map[probe.Kind]probe.Prober
	proxied bool
	// within is how long a probe may take; patience if it is 0.
	within time.Duration
}

func (e *realEnvoy) probed(t testing.TB) *probed {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, e.ca.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := probe.Parse([]byte("place: here\nca-file: " + file + "\nmodules: {any: {prober: http}, text: {prober: http, http: {fail_if_body_not_matches_regexp: ['^app /well']}}, line: {prober: tcp, tcp: {query_response: [{expect: '^hello'}]}}}"))
	if err != nil {
		t.Fatal(err)
	}
	probers, err := blackbox.Probers(s)
	if err != nil {
		t.Fatal(err)
	}
	return &probed{realEnvoy: e, probers: probers}
}

// ask asks for a domain, by HTTPS if it begins so.
func (p *probed) ask(t *testing.T, domain string, ask probe.Ask) probe.Result {
	t.Helper()
	target := probe.Target{Kind: probe.HTTP, Fleet: "external", Envoy: "e", Address: p.fleet.HTTP.String(), ProxyProtocol: p.proxied, Ask: ask}
	if domain, target.TLS = strings.CutPrefix(domain, "https://"); target.TLS {
		target.Address, target.ServerName = p.fleet.HTTPS.String(), domain
	}
	target.Domain = domain
	ctx, cancel := context.WithTimeout(t.Context(), cmp.Or(p.within, patience))
	defer cancel()
	return p.probers[probe.HTTP].Probe(ctx, target)
}

// probedApps are an app that answers as its path says, and apps that do not.
func (e *realEnvoy) probedApps(t *testing.T) []*sources.App {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			time.Sleep(100 * time.Millisecond)
		case "/500":
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = io.WriteString(w, "hello "+r.UserAgent())
	}))
	t.Cleanup(s.Close)
	answers := changed(webApp("/answers", "answers.test", "nocert.test", "expired.test", "untrusted.test"), func(p *sources.Port) { p.Endpoints = endpoints(s.Listener.Addr().String()) })
	offline := changed(webApp("/offline", "offline.test"), func(p *sources.Port) { p.Endpoints = nil })
	refuses := changed(webApp("/refuses", "refuses.test"), func(p *sources.Port) {
		p.Endpoints = endpoints(fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t)))
	})
	closed := changed(webApp("/closed", "closed.test"), func(p *sources.Port) { p.HTTP = &sources.HTTP{Closed: true} })
	kept := e.app("/kept", "kept.test")
	kept.Maintenance = true
	return []*sources.App{e.app("/well", "well.test"), answers, offline, refuses, closed, kept}
}

// What probes say of a real Envoy, in each way in which it can fail.
func TestProbes(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version)
		untrusted := &realEnvoy{t: t, ca: certstest.TestCA(t)}
		past := time.Now().AddDate(0, 0, -2)
		e.c.SyncCertificates("vault", []*certs.Certificate{
			e.certificate("all", "well.test", "answers.test", "offline.test"), untrusted.certificate("untrusted", "untrusted.test"),
			e.issue("expired", certstest.Options{NotBefore: past.AddDate(0, -1, 0), NotAfter: past}, "expired.test"),
		}, nil)
		e.c.SyncApps(e.probedApps(t))
		e.eventually(t, request{host: "well.test", path: "/"}, fromApp("/well"))
		e.eventually(t, request{host: "well.test", path: "/", tls: true, sni: "well.test"}, fromApp("/well"))
		e.eventually(t, request{host: "kept.test", path: "/"}, status(503))
		p := e.probed(t)
		for _, tt := range probedCases(past) {
			t.Run(tt.domain+" "+tt.reason, func(t *testing.T) { tt.check(t, p.ask(t, tt.domain, tt.ask)) })
		}
		t.Run("an Envoy that hangs, and one that is stopped", p.testAway)
	})
}

// probedCase is what is asked, and what is to be found: skipped or answered, and why.
type probedCase struct {
	domain   string
	ask      probe.Ask
	reason   string
	answered bool
	skipped  bool
}

func probedCases(past time.Time) []probedCase {
	return []probedCase{
		{"well.test", probe.Ask{Status: []int{200}, Contains: "app /well"}, "", true, false},
		{"https://well.test", probe.Ask{Status: []int{200}, Contains: "User-Agent: Relay-Probe/1"}, "", true, false},
		{"https://well.test", probe.Ask{Contains: "X-Relay-Probe: here"}, "", true, false},
		{"https://well.test", probe.Ask{Module: "text"}, "", true, false},
		{"https://answers.test", probe.Ask{Module: "text"}, "Body did not match regular expression", true, false},
		{"answers.test", probe.Ask{Method: "HEAD", Path: "/500"}, "", true, false},
		{"https://answers.test", probe.Ask{Path: "/500", StatusClass: 2}, "answer: the status is 500, expected 2xx", true, false},
		{"https://answers.test", probe.Ask{Contains: "goodbye"}, `body: the text "goodbye" is not in the 19 bytes of the answer 200`, true, false},
		{"answers.test", probe.Ask{Path: "/slow", Within: 50 * time.Millisecond}, "it took ", true, false},
		{"offline.test", probe.Ask{}, "answer: the Envoy answers offline (503): The application is offline", true, false},
		{"https://offline.test", probe.Ask{StatusClass: 5}, "answer: the Envoy answers offline (503)", true, false},
		{"refuses.test", probe.Ask{}, "answer: the Envoy answers unreachable (502)", true, false},
		{"closed.test", probe.Ask{}, "answer: the Envoy answers forbidden (403)", true, false},
		{"closed.test", probe.Ask{Status: []int{403}}, "", true, false},
		{"kept.test", probe.Ask{}, "the app is in maintenance", true, true},
		{"unknown.test", probe.Ask{}, "answer: the Envoy answers no-such-domain (404)", false, false},
		{"https://nocert.test", probe.Ask{}, "tls: the connection was ", false, false},
		{"https://expired.test", probe.Ask{}, "tls: certificate for expired.test, expired " + past.UTC().Format(time.DateTime) + " UTC", true, false},
		{"https://untrusted.test", probe.Ask{}, "tls: certificate for untrusted.test, expires ", true, false},
	}
}

func (c probedCase) check(t *testing.T, r probe.Result) {
	t.Helper()
	reason := r.Reason
	if c.skipped {
		reason = r.Skipped
	}
	if r.OK != (c.reason == "") || !strings.HasPrefix(reason, c.reason) || (r.Answered || r.OK) != c.answered || (r.Skipped != "") != c.skipped {
		t.Errorf("got %+v", r)
	}
	if r.Code != "" && r.RequestID == "" {
		t.Errorf("there is no ID of the request: %+v", r)
	}
}

// testAway stops the process, so that the kernel still takes connections, and then ends it.
func (p *probed) testAway(t *testing.T) {
	if err := syscall.Kill(p.envoy.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	p.until(t, "the process is stopped", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.envoy.Pid()))
		return err == nil && strings.Contains(string(stat), ") T ")
	})
	p.within = 5 * time.Second // so that it ends; till then it has connected, however slow the machine is
	for domain, reason := range map[string]string{"well.test": "answer: no answer in time", "https://well.test": "tls: no TLS in time"} {
		probedCase{domain: domain, reason: reason}.check(t, p.ask(t, domain, probe.Ask{}))
	}
	p.within = 0
	if err := syscall.Kill(p.envoy.Pid(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	probedCase{domain: "well.test", answered: true}.check(t, p.ask(t, "well.test", probe.Ask{}))
	p.envoy.Stop()
	for _, domain := range []string{"well.test", "https://well.test"} {
		probedCase{domain: domain, reason: "connect: the connection was refused"}.check(t, p.ask(t, domain, probe.Ask{}))
	}
}

// Where the Envoys expect a header of the PROXY protocol, probes send one, and what they ask works as elsewhere.
func TestProbesByProxyProtocol(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version, func(f *routing.Fleet, _ *certstest.CA) {
			f.Proxies.Protocol, f.Proxies.Networks = routing.ProxyProtocolRequired, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		})
		port := envoytest.FreePort(t)
		service := func(id string, port uint16, change func(*sources.Port)) *sources.App {
			return changed(serviceApp(id, sources.TCP{Port: port, Address: netip.MustParseAddr("127.0.0.1"), AcceptProxy: true}), change)
		}
		greets := service("/greets", port, func(p *sources.Port) { p.Endpoints = endpoints(greeter(t)) })
		nobody := envoytest.FreePort(t)
		e.c.SyncCertificates("vault", []*certs.Certificate{e.certificate("all", "well.test")}, nil)
		e.c.SyncApps([]*sources.App{e.app("/well", "well.test"), greets, service("/nobody", nobody, func(p *sources.Port) { p.Endpoints = nil })})
		e.eventually(t, request{host: "well.test", path: "/", first: proxyLocal}, fromApp("/well"))
		e.eventually(t, request{host: "well.test", path: "/", tls: true, sni: "well.test", first: proxyLocal}, fromApp("/well"))
		p := e.probed(t)
		for _, domain := range []string{"well.test", "https://well.test"} {
			if r := p.ask(t, domain, probe.Ask{}); r.OK {
				t.Errorf("%s is reached without the header: %+v", domain, r)
			}
			p.proxied = true
			for _, ask := range []probe.Ask{{Contains: "app /well"}, {Module: "text"}} {
				probedCase{domain: domain, answered: true}.check(t, p.ask(t, domain, ask))
			}
			p.proxied = false
		}
		ask := func(port uint16, ask probe.Ask) probe.Result {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			return p.probers[probe.TCP].Probe(ctx, probe.Target{Kind: probe.TCP, Envoy: "e", Address: fmt.Sprintf("127.0.0.1:%d", port), ProxyProtocol: true, Ask: ask})
		}
		e.until(t, "the service is there", func() bool { return ask(port, probe.Ask{}).OK })
		probedCase{answered: true}.check(t, ask(port, probe.Ask{Module: "line"}))
		// A connection that is open after 300 ms counts as one that stays: an Envoy with much to do needs longer to close it.
		var closed probe.Result
		e.until(t, "the Envoy closes a connection soon", func() bool { closed = ask(nobody, probe.Ask{}); return closed.Answered })
		probedCase{reason: "stays open: the connection was ", answered: true}.check(t, closed)
	})
}
