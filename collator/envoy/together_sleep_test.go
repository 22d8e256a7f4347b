package envoy_test

import (
	"testing"

	"relay/sources"
	"relay/xds/envoytest"
)

// Of apps that serve something together, one that sleeps is not woken while others have instances. Once none has, the
// first that sleeps is.
func TestWhoServesTogetherSleeps(t *testing.T) {
	t.Parallel()
	e := startScaling(t, envoytest.Newest)
	weight := uint32(1)
	app := func(id string, endpoints []sources.Endpoint) *sources.App {
		return changed(webApp(id, "web.test"), func(p *sources.Port) {
			p.HTTP, p.Endpoints = &sources.HTTP{Service: "web", ClusterWeight: &weight}, endpoints
		})
	}
	asleep, awake := gated(app("/a", nil)), app("/b", counted(t))
	e.waker.refuseAs(503)
	e.c.SyncApps([]*sources.App{asleep, awake})
	e.eventually(t, request{host: "web.test", path: "/"}, status(200))
	before := len(e.waker.asked())
	for range 100 {
		if a, err := e.send(t.Context(), request{host: "web.test", path: "/"}); err != nil || a.status != 200 {
			t.Fatalf("answer %+v, %v", a, err)
		}
	}
	if asked := len(e.waker.asked()); asked != before {
		t.Errorf("Relay was asked %d times", asked-before)
	}
	e.c.UpdateApps([]*sources.App{gated(app("/b", nil))}, nil)
	e.until(t, "Relay is asked about the first one", func() bool {
		_, _ = e.send(t.Context(), request{host: "web.test", path: "/"})
		asked := e.waker.asked()
		return len(asked) > before && asked[len(asked)-1].app == "/a"
	})
}
