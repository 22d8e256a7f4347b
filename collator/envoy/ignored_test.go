package envoy_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/internal/ignored"
	"relay/sources"
	"relay/xds/envoytest"
)

// ignores has a fleet whose apps may sleep ignore clients.
func ignores(t testing.TB, clients ...string) func(*routing.Fleet, *certstest.CA) {
	t.Helper()
	parsed, err := ignored.Parse(clients)
	if err != nil {
		t.Fatal(err)
	}
	return func(f *routing.Fleet, _ *certstest.CA) { f.Scaling, f.IgnoredClients = true, parsed }
}

// maySleep returns the app as it is with RELAY_IDLE_AFTER.
func maySleep(app *sources.App) *sources.App {
	changed := *app
	changed.Scaling = &sources.Scaling{IdleAfter: time.Hour}
	return &changed
}

var clusterRequests = regexp.MustCompile(`^cluster\.(/.*)\.upstream_rq_total$`)

// requestsOf returns how many requests went to each cluster.
func (e *realEnvoy) requestsOf(t *testing.T) map[string]int64 {
	t.Helper()
	stats, err := e.envoy.Stats(t.Context(), clusterRequests)
	if err != nil {
		t.Fatal(err)
	}
	requests := make(map[string]int64)
	for name, n := range stats {
		requests[clusterRequests.FindStringSubmatch(name)[1]] = n
	}
	return requests
}

// goesTo sends a request, and looks which cluster it goes to.
func (e *realEnvoy) goesTo(t *testing.T, r request, cluster string) {
	t.Helper()
	before := e.requestsOf(t)
	if a, err := e.send(t.Context(), r); err != nil || a.status != 200 {
		t.Errorf("%+v: got %+v, %v", r, a, err)
	}
	for name, n := range e.requestsOf(t) {
		if got := n - before[name]; got != 0 != (name == cluster) {
			t.Errorf("%+v: %d requests to %s, want one to %s", r, got, name, cluster)
		}
	}
}

// Requests of clients that do not count go to the same instances by a cluster of their own, if the
// app may sleep. Others notice nothing.
func TestIgnoredClients(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version, ignores(t, "UptimeRobot", "kube-probe/", "127.0.0.2", "2001:db8::/32"))
		e.c.SyncCertificates("vault", nil, nil)
		web, always := e.app("/web", "web.test", "*.wild.test"), e.app("/always", "always.test")
		e.c.SyncApps([]*sources.App{maySleep(web), always})
		e.eventually(t, request{host: "web.test", path: "/"}, fromApp("/web"))
		e.eventually(t, request{host: "always.test", path: "/"}, fromApp("/always"))
		agent := func(name string) http.Header { return http.Header{"User-Agent": {name}} }
		if version != envoytest.Newest {
			e.goesTo(t, request{host: "web.test", path: "/", from: "127.0.0.2"}, "/web_0")
			return
		}
		for _, host := range []string{"web.test", "WEB.test", "a.wild.test"} {
			e.goesTo(t, request{host: host, path: "/"}, "/web_0")
			e.goesTo(t, request{host: host, path: "/", header: agent("Mozilla/5.0 (compatible; uptimerobot/2.0)")}, "/web_0~ignored")
			e.goesTo(t, request{host: host, path: "/", header: agent("kube-probe")}, "/web_0")
			e.goesTo(t, request{host: host, path: "/", from: "127.0.0.2"}, "/web_0~ignored")
			// Nobody is believed about another's address.
			e.goesTo(t, request{host: host, path: "/", header: http.Header{"X-Forwarded-For": {"127.0.0.2"}}}, "/web_0")
		}
		e.goesTo(t, request{host: "always.test", path: "/", header: agent("UptimeRobot")}, "/always_0")

		// They need the password as others do.
		closed := maySleep(changed(e.app("/closed", "closed.test"), func(p *sources.Port) {
			p.HTTP = &sources.HTTP{BasicAuth: &sources.BasicAuth{Realm: "r", User: "u", Hash: "{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M="}}
		}))
		e.c.UpdateApps([]*sources.App{closed}, nil)
		e.eventually(t, request{host: "closed.test", path: "/"}, status(401))
		basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("u:test"))
		for _, r := range []request{{from: "127.0.0.2"}, {header: agent("UptimeRobot")}} {
			r.host, r.path = "closed.test", "/"
			if a, err := e.send(t.Context(), r); err != nil || a.status != 401 {
				t.Errorf("%+v: got %+v, %v", r, a, err)
			}
			r.header = r.header.Clone()
			if r.header == nil {
				r.header = make(http.Header)
			}
			r.header.Set("Authorization", basic)
			e.goesTo(t, r, "/closed_0~ignored")
		}

		// Another instance is one for both.
		other := maySleep(changed(web, func(p *sources.Port) { p.Endpoints = endpoints(e.backend("other")) }))
		e.c.UpdateApps([]*sources.App{other}, nil)
		e.eventually(t, request{host: "web.test", path: "/"}, fromApp("other"))
		e.eventually(t, request{host: "web.test", path: "/", from: "127.0.0.2"}, fromApp("other"))
	})
}

// The client is the one that trusted proxies name.
func TestIgnoredClientsBehindProxies(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t, ignores(t, "192.0.2.0/24"), func(f *routing.Fleet, _ *certstest.CA) {
		f.Proxies.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	e.c.SyncCertificates("vault", nil, nil)
	e.c.SyncApps([]*sources.App{maySleep(e.app("/web", "web.test"))})
	e.eventually(t, request{host: "web.test", path: "/"}, fromApp("/web"))
	for address, cluster := range map[string]string{"192.0.2.7": "/web_0~ignored", "198.51.100.1": "/web_0", "192.0.2.7, 198.51.100.1": "/web_0", "198.51.100.1, 192.0.2.7": "/web_0~ignored"} {
		e.goesTo(t, request{host: "web.test", path: "/", header: http.Header{"X-Forwarded-For": {address}}}, cluster)
	}
	e.goesTo(t, request{host: "web.test", path: "/", from: "127.0.0.2", header: http.Header{"X-Forwarded-For": {"192.0.2.7"}}}, "/web_0")
}

// Of apps that share requests by weight, only those that may sleep have a second cluster, and no
// request fails while apps begin and cease to.
func TestIgnoredClientsOfSharedRequests(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t, ignores(t, "127.0.0.2"))
	e.c.SyncCertificates("vault", nil, nil)
	app := func(id string, weight uint32) *sources.App {
		return changed(e.app(id, "shared.test"), func(p *sources.Port) { p.HTTP = &sources.HTTP{ClusterWeight: &weight} })
	}
	a, b := app("/a", 1), app("/b", 1)
	e.c.SyncApps([]*sources.App{a, b})
	e.eventually(t, request{host: "shared.test", path: "/"}, status(200))
	all := func(want map[string]bool) {
		t.Helper()
		before := e.requestsOf(t)
		for i := range 80 {
			r := request{host: "shared.test", path: fmt.Sprintf("/%d", i), from: fmt.Sprintf("127.0.0.%d", 1+i%2)}
			if got, err := e.send(t.Context(), r); err != nil || got.status != 200 {
				t.Fatalf("got %+v, %v", got, err)
			}
		}
		for name, n := range e.requestsOf(t) {
			if got := n > before[name]; got != want[name] {
				t.Errorf("requests to %s: %d, want %v", name, n-before[name], want[name])
			}
		}
	}
	all(map[string]bool{"/a_0": true, "/b_0": true})
	for _, sleeps := range []bool{true, false, true, false} {
		one := a
		if sleeps {
			one = maySleep(a)
		}
		e.c.UpdateApps([]*sources.App{one}, nil)
		// The route changes only when its clusters are there.
		e.until(t, "the second cluster comes, or goes", func() bool {
			got, err := e.send(t.Context(), request{host: "shared.test", path: "/", from: "127.0.0.2"})
			if err != nil || got.status != 200 {
				t.Fatalf("got %+v, %v", got, err)
			}
			clusters, err := e.envoy.Get(t.Context(), "/clusters")
			return err == nil && regexp.MustCompile(`/a_0~ignored::`).MatchString(string(clusters)) == sleeps
		})
		if sleeps {
			e.until(t, "the route names it", func() bool {
				before := e.requestsOf(t)["/a_0~ignored"]
				_, _ = e.send(t.Context(), request{host: "shared.test", path: "/", from: "127.0.0.2"})
				return e.requestsOf(t)["/a_0~ignored"] > before
			})
			all(map[string]bool{"/a_0": true, "/b_0": true, "/a_0~ignored": true})
		}
	}
}
