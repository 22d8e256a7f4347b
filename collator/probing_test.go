package collator

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"relay/collator/routing"
	"relay/sources"
)

func askedNames(domains []AskedDomain) (all []string) {
	for _, d := range domains {
		all = append(all, d.Name)
	}
	return all
}

// Apps say how they are asked, and are asked for each exact domain of the port once.
func TestAsked(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{})
	web := set(t, webApp("/shop/web", "shop.test", "*.shop.test", "www.shop.test"), "PROBE=/health 200")
	web.Owner = "team-shop"
	blue, green := set(t, member("/web-blue", 0, "10.0.0.1:1"), "PROBE=/"), set(t, member("/web-green", 1, "10.0.0.2:1"), "PROBE=/")
	sleepy := set(t, webApp("/sleepy", "sleepy.test"), "PROBE=grpc")
	sleepy.Scaling = &sources.Scaling{IdleAfter: 1}
	devices := set(t, webApp("/devices"), "MODE=tcp", "PORT=8883")
	devices.Scaling = &sources.Scaling{IdleAfter: 1}
	syncApps(c, web, blue, green, sleepy, devices, set(t, webApp("/awake"), "MODE=tcp", "PORT=8884"),
		set(t, webApp("/off", "off.test"), "PROBE=off"), webApp("/silent", "silent.test"),
		set(t, webApp("/db"), "MODE=tcp", "PORT=5432", "PROBE=tcp within 1s"),
		changed(set(t, webApp("/elsewhere", "elsewhere.test"), "PROBE=/"), func(p *sources.Port) { p.Groups = []string{"other"} }))
	domains, services := c.Asked()
	if got := askedNames(domains); !slices.Equal(got, []string{"shop.test", "sleepy.test", "web.test", "www.shop.test"}) {
		t.Errorf("asked are %q", got)
	}
	if d := domains[0]; d.App != "/shop/web" || d.Owner != "team-shop" || d.Probe != "/health 200" || d.Sleeps || !slices.Equal(d.Fleets, []string{"external"}) {
		t.Errorf("%+v", d)
	}
	if !domains[1].Sleeps {
		t.Error("an app that may sleep is asked as if it did not")
	}
	if len(services) != 2 || services[0].App != "/db" || services[0].Port.TCP.Port != 5432 || services[0].State != StateServed || services[0].Probe != "tcp within 1s" {
		t.Errorf("services are %+v", services)
	}
	if s := services[1]; s.App != "/devices" || !s.Sleeps || s.Probe != "" {
		t.Errorf("a service that no virtual device may wake is %+v", s)
	}

	// A label that changes is known at once, and one that is gone is not.
	c.UpdateApps([]*sources.App{set(t, webApp("/shop/web", "shop.test"), "PROBE=/ready")}, []string{"/web-blue", "/web-green", "/sleepy"})
	c.round()
	if domains, _ = c.Asked(); len(domains) != 1 || domains[0].Probe != "/ready" || domains[0].Owner != "" {
		t.Errorf("then %+v", domains)
	}
	c.UpdateApps([]*sources.App{webApp("/shop/web", "shop.test")}, nil)
	c.round()
	if domains, _ = c.Asked(); len(domains) > 0 {
		t.Errorf("without the label %+v", domains)
	}
}

// A label says nothing to Envoys: they are sent nothing when it changes.
func TestProbeLabelIsNotSent(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{})
	syncApps(c, webApp("/shop/web", "shop.test"))
	before := fmt.Sprint(r)
	changed := set(t, webApp("/shop/web", "shop.test"), "PROBE=/health 200")
	changed.Owner = "team-shop"
	c.UpdateApps([]*sources.App{changed}, nil)
	c.round()
	if after := fmt.Sprint(r); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// Those that nobody can ask without more are left out of a sample.
func TestSampleLeavesOut(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{})
	maintained := webApp("/maintained", "maintained.test")
	maintained.Maintenance = true
	syncApps(c, webApp("/a", "a.test", "*.a.test", "192.0.2.1"), maintained,
		changed(webApp("/redirected", "redirected.test"), func(p *sources.Port) { p.RedirectToHTTPS = true }), // and has no certificate
		set(t, webApp("/api", "api.test"), "PATH=/v1 /v2"),
		set(t, webApp("/labelled", "labelled.test"), "PROBE=/"), set(t, webApp("/off", "off.test"), "PROBE=off"),
		set(t, webApp("/secret", "secret.test"), "AUTH=r:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="), set(t, webApp("/closed", "closed.test"), "AUTH=x"),
		set(t, webApp("/inside", "inside.test"), "BACKEND_NETWORK_ALLOWED_ACL=10.0.0.0/8"), set(t, webApp("/none", "none.test"), "PATH=x"),
		set(t, webApp("/db", "db.test"), "MODE=tcp", "PORT=5432", "TLS_PASSTHROUGH=true"),
		changed(webApp("/empty", "empty.test"), func(p *sources.Port) { p.Endpoints = nil }))
	got := c.Sample(100, 1, "")
	if !slices.Equal(askedNames(got), []string{"a.test", "api.test"}) {
		t.Errorf("the sample is %q", askedNames(got))
	}
	if got[1].Path != "/v1" || got[0].Path != "" {
		t.Errorf("paths: %+v", got)
	}
	if got := c.Sample(100, 1, "other"); len(got) > 0 {
		t.Errorf("of a fleet that is not there: %q", askedNames(got))
	}
}

// sampledCollators are two that read the same, in another order.
func sampledCollators(t *testing.T, count int) [2]*Collator {
	var both [2]*Collator
	for i := range both {
		c, _ := newTest(t, Config{Fleets: []routing.Fleet{testFleet(), internalFleet()}})
		var apps []*sources.App
		for n := range count {
			app := webApp(fmt.Sprint("/app-", n), fmt.Sprintf("app-%d.test", n))
			if n%10 == 0 {
				app = changed(app, func(p *sources.Port) { p.Groups = []string{"external", "internal"} })
			}
			apps = append(apps, app)
		}
		if i == 1 {
			slices.Reverse(apps)
		}
		syncApps(c, apps...)
		both[i] = c
	}
	return both
}

func internalFleet() routing.Fleet {
	f := testFleet()
	f.Name = "internal"
	return f
}

// All places choose the same domains; others come over time, a few at once, and after some time all have been there.
func TestSample(t *testing.T) {
	t.Parallel()
	both := sampledCollators(t, 1000)
	count := func(domains []AskedDomain, fleet string) (n int) {
		for _, d := range domains {
			if slices.Contains(d.Fleets, fleet) {
				n++
			}
		}
		return n
	}
	seen := make(map[string]bool)
	var before []AskedDomain
	for epoch := range uint64(600) {
		sample := both[0].Sample(50, epoch, "")
		if epoch < 20 && fmt.Sprint(sample) != fmt.Sprint(both[1].Sample(50, epoch, "")) {
			t.Fatalf("in epoch %d the places differ", epoch)
		}
		if e, i := count(sample, "external"), count(sample, "internal"); e != 50 || i != 50 {
			t.Fatalf("in epoch %d: %d and %d domains", epoch, e, i)
		}
		came := 0
		for _, d := range sample {
			seen[d.Name] = true
			if epoch > 0 && !slices.Contains(askedNames(before), d.Name) {
				came++
			}
		}
		if came > 40 {
			t.Errorf("in epoch %d %d of %d are new", epoch, came, len(sample))
		}
		before = sample
	}
	if len(seen) < 850 {
		t.Errorf("only %d domains have been there", len(seen))
	}
	if one := both[0].Sample(50, 3, "internal"); count(one, "internal") != 50 || count(one, "external") != 0 || len(one) != 50 {
		t.Errorf("of one fleet: %d", len(one))
	}
	if few := both[0].Sample(0, 3, ""); len(few) > 0 {
		t.Errorf("none asked for: %d", len(few))
	}
}

// BenchmarkSample chooses 500 of 50 000 domains.
func BenchmarkSample(b *testing.B) {
	c, _ := covered(b)
	var epoch uint64
	for b.Loop() {
		epoch++
		if got := c.Sample(500, epoch, ""); len(got) != 500 || strings.HasPrefix(got[0].Name, "*") {
			b.Fatal(len(got))
		}
	}
}
