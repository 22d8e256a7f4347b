package envoy_test

import (
	"testing"

	"relay/sources"
	"relay/xds"
)

// Requests to an app that sleeps and has a queue wait for both, one after the other.
func TestWaitsForTheAppAndThenForAnInstance(t *testing.T) {
	t.Parallel()
	for _, version := range namedChains {
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			e := startScaling(t, version)
			queued := changed(webApp("/web", "web.test", "*.wild.test"), func(p *sources.Port) {
				p.Endpoints, p.Queue = counted(t), &sources.Queue{Concurrency: 1, Length: 1}
			})
			asks := func(host string, wake, queue int) {
				t.Helper()
				checks, processed := len(e.waker.asked()), e.askedForInstance.Load()
				a, err := e.send(t.Context(), request{host: host, path: "/"})
				checks, processed = len(e.waker.asked())-checks, e.askedForInstance.Load()-processed
				if err != nil || a.status != 200 || checks != wake || int(processed) != queue {
					t.Errorf("%s: %+v, %v; asked %d times to wake, %d times for an instance", host, a, err, checks, processed)
				}
			}
			e.c.SyncApps([]*sources.App{queued})
			e.eventually(t, request{host: "web.test", path: "/"}, status(200))
			e.eventually(t, request{host: "x.wild.test", path: "/"}, status(200))
			for _, host := range []string{"web.test", "WEB.test", "a.wild.test"} {
				asks(host, 0, 1)
			}
			e.c.SyncApps([]*sources.App{gated(queued, queued.Ports[0].Endpoints...)})
			if err := e.has(t.Context(), xds.Key{Type: xds.Scope, Name: "web.test"}, xds.Key{Type: xds.Scope, Name: "*.wild.test"}); err != nil {
				t.Fatal(err)
			}
			for _, host := range []string{"web.test", "WEB.test", "a.wild.test"} {
				asks(host, 1, 1)
			}
		})
	}
}
