package envoy_test

import (
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"relay/certs/certstest"
	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/sources"
	"relay/xds"
	"relay/xds/envoytest"
)

// publishFilter replaces the filter by one with these chains of it, each with a new name.
func (e *realEnvoy) publishFilter(t *testing.T, chains map[string]string) {
	t.Helper()
	msg, err := envoy.ScalingFilter(&e.fleet)
	if err != nil {
		t.Fatal(err)
	}
	var config compositev3.Composite
	if err := msg.TypedConfig.UnmarshalTo(&config); err != nil {
		t.Fatal(err)
	}
	renamed := &compositev3.Composite{NamedFilterChains: make(map[string]*compositev3.FilterChainConfiguration)}
	for from, to := range chains {
		renamed.NamedFilterChains[to] = config.NamedFilterChains[from]
	}
	packed, err := anypb.New(renamed)
	if err != nil {
		t.Fatal(err)
	}
	key := xds.Key{Type: xds.ExtensionConfig, Name: routing.ScalingFilter}
	resource, err := envoy.Resource(key, &corev3.TypedExtensionConfig{Name: routing.ScalingFilter, TypedConfig: packed})
	if err != nil {
		t.Fatal(err)
	}
	e.store.Apply(xds.Change{Set: []xds.Resource{resource}})
	e.settled(t)
}

// settled waits until Envoy has acknowledged everything.
func (e *realEnvoy) settled(t *testing.T) {
	t.Helper()
	e.until(t, "Envoy has everything", func() bool {
		streams := e.server.Streams()
		for _, s := range streams {
			for _, typ := range s.Types {
				if typ.InFlight || typ.Behind > 0 {
					return false
				}
			}
		}
		return len(streams) == 1
	})
}

// Another chain in the filter closes nothing, and ends no wait.
func TestAnotherChainClosesNothing(t *testing.T) {
	t.Parallel()
	e := startScaling(t, envoytest.Newest)
	running := changed(webApp("/running", "running.test"), func(p *sources.Port) { p.Endpoints = counted(t) })
	instance := counted(t)
	release := e.waker.hold()
	e.c.SyncApps([]*sources.App{running, gated(webApp("/web", "web.test"), instance...)})
	e.eventually(t, request{host: "running.test", path: "/"}, status(200))
	ws := e.dial(t, request{host: "running.test"})
	ctx, cancel := contextOf(t)
	defer cancel()
	waits := e.post(ctx, "web.test", make([]byte, 1<<20))
	e.waker.await(t, 1)
	taken := e.listenersTaken(t)
	e.publishFilter(t, map[string]string{"wake": "wake", "another": "another"})
	ping(t, "running.test", ws)
	release()
	if got := <-waits; !strings.HasPrefix(got, "200 POST web.test of 1048576 bytes") {
		t.Errorf("the request that waited: %s", got)
	}
	if e.listenersTaken(t) != taken {
		t.Error("a listener was taken in")
	}
	if got := <-e.post(ctx, "web.test", nil); !strings.HasPrefix(got, "200") || len(e.waker.asked()) != 2 {
		t.Errorf("%s after %d checks", got, len(e.waker.asked()))
	}
}

// Envoy leaves out a chain that it does not know, and lets the request go on. So what keeps
// requests out never is such a chain: a password is asked for all the same, and before Relay is
// asked: who is not let in wakes nothing.
func TestUnknownChainFailsOpen(t *testing.T) {
	t.Parallel()
	e := startScaling(t, envoytest.Newest)
	const password = "AUTH=r:u:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="
	private := set(t, webApp("/private", "private.test"), password)
	networks := set(t, webApp("/networks", "networks.test"), "BACKEND_NETWORK_ALLOWED_ACL=192.0.2.1")
	instance := counted(t)
	e.c.SyncApps([]*sources.App{gated(webApp("/web", "web.test"), instance...), gated(private, instance...), gated(networks, instance...)})
	restricted := func() {
		t.Helper()
		asked := len(e.waker.asked())
		for _, host := range []string{"private.test", "Private.TEST"} {
			e.eventually(t, request{host: host, path: "/"}, status(401))
		}
		e.eventually(t, request{host: "networks.test", path: "/"}, status(403))
		if n := len(e.waker.asked()); n != asked {
			t.Errorf("%d checks of clients that are not let in", n-asked)
		}
	}
	e.eventually(t, request{host: "web.test", path: "/"}, status(200))
	restricted()
	asked := len(e.waker.asked())
	e.publishFilter(t, map[string]string{"wake": "other"})
	e.eventually(t, request{host: "web.test", path: "/"}, status(200))
	if n := len(e.waker.asked()); n != asked {
		t.Errorf("%d checks by a chain that is not there", n-asked)
	}
	restricted()
}

// Of a rule that apps share, the share of the one that sleeps waits, and that of the other does not.
func TestOnlyTheShareThatSleepsWaits(t *testing.T) {
	t.Parallel()
	e := startScaling(t, envoytest.Newest)
	share := func(id, weight string) *sources.App {
		return set(t, webApp(id, "web.test"), "CLUSTER_WEIGHT="+weight)
	}
	awake := changed(share("/a", "3"), func(p *sources.Port) { p.Endpoints = counted(t) })
	asleep := gated(share("/b", "1"))
	also := changed(share("/c", "4"), func(p *sources.Port) { p.Endpoints = counted(t) })
	e.waker.refuseAs(503)
	e.c.SyncApps([]*sources.App{awake, asleep, also})
	e.eventually(t, request{host: "web.test", path: "/"}, status(200))
	before := len(e.waker.asked())
	const n = 400
	statuses := make(map[int]int)
	for range n {
		a, err := e.send(t.Context(), request{host: "web.test", path: "/"})
		if err != nil {
			t.Fatal(err)
		}
		statuses[a.status]++
	}
	// An eighth of them is 50; 5 standard deviations are 33.
	if asked := len(e.waker.asked()) - before; asked < 17 || asked > 83 || statuses[200] != n-asked {
		t.Errorf("Relay was asked %d times of %d; answers %v", asked, n, statuses)
	}
	for _, c := range e.waker.asked() {
		if c.app != "/b" {
			t.Fatalf("Relay was asked about %s", c.app)
		}
	}
}

// Redirects to https, those of the root, and ACME challenges need no instance: they wake nothing.
func TestWhatNeedsNoInstanceWakesNothing(t *testing.T) {
	t.Parallel()
	e := startVersion(t, envoytest.Newest, scaling)
	e.certificates("web.test")
	app := set(t, webApp("/web", "web.test"), "HTTP_BACKEND_REDIR=/home")
	app = gated(changed(app, func(p *sources.Port) { p.RedirectToHTTPS, p.ACMEDomains = true, []string{"web.test"} }))
	e.c.SyncApps([]*sources.App{app, e.app("/marathon-acme")})
	e.eventually(t, request{host: "web.test", path: "/"}, status(301))
	e.eventually(t, request{host: "web.test", path: envoy.ACMEPrefix + "token"}, fromApp("/marathon-acme"))
	e.eventually(t, request{host: "web.test", path: "/", tls: true, sni: "web.test"}, status(301))
	if asked := e.waker.asked(); len(asked) > 0 {
		t.Errorf("Relay was asked: %+v", asked)
	}
	e.waker.refuseAs(503)
	e.eventually(t, request{host: "web.test", path: "/page", tls: true, sni: "web.test"}, status(503))
	if asked := e.waker.asked(); len(asked) == 0 {
		t.Error("Relay was not asked about a page")
	}
}

// Envoys that know no chains by name are sent scopes without, in which nothing waits.
func TestOlderEnvoysDoNotWait(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1.38", "1.37", "1.36"} {
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			e := startScaling(t, version)
			e.c.SyncApps([]*sources.App{gated(webApp("/asleep", "asleep.test")), gated(webApp("/awake", "awake.test"), counted(t)...)})
			e.eventually(t, request{host: "awake.test", path: "/"}, status(200))
			e.eventually(t, request{host: "AWAKE.test", path: "/"}, status(200))
			e.eventually(t, request{host: "asleep.test", path: "/"}, status(503))
			if asked := e.waker.asked(); len(asked) > 0 {
				t.Errorf("Relay was asked: %+v", asked)
			}
			for _, s := range e.server.Streams() {
				for _, typ := range s.Types {
					if typ.Rejections > 0 {
						t.Errorf("%s were rejected: %+v", typ.Type, typ.Rejected)
					}
				}
			}
		})
	}
}

// With clusters on demand, a request that waited goes on to a cluster that Envoy loads then.
func TestRequestsWaitWithClustersOnDemand(t *testing.T) {
	t.Parallel()
	e := startEnvoyWith(t, envoytest.Options{ClustersOnDemand: true}, scaling, func(f *routing.Fleet, _ *certstest.CA) { f.ClustersOnDemand = true })
	e.c.SyncCertificates("vault", nil, nil)
	app := webApp("/web", "web.test")
	instance := counted(t)
	ctx, cancel := contextOf(t)
	defer cancel()
	e.c.SyncApps([]*sources.App{gated(app)})
	e.eventually(t, request{host: "other.test", path: "/"}, status(404))
	for range 3 {
		release := e.waker.hold()
		n := len(e.waker.asked())
		waits := e.post(ctx, "web.test", nil)
		e.waker.await(t, n+1)
		e.c.UpdateApps([]*sources.App{gated(app, instance...)}, nil)
		e.c.Flush(ctx)
		e.settled(t)
		release()
		if got := <-waits; !strings.HasPrefix(got, "200") {
			t.Fatalf("the request that waited: %s", got)
		}
		e.c.UpdateApps([]*sources.App{changed(app, func(p *sources.Port) { p.Endpoints = instance })}, nil)
		e.c.Flush(ctx)
		e.settled(t)
		if got := <-e.post(ctx, "web.test", nil); !strings.HasPrefix(got, "200") {
			t.Fatalf("awake: %s", got)
		}
		e.c.UpdateApps([]*sources.App{gated(app)}, nil)
		e.c.Flush(ctx)
		e.settled(t)
	}
}
