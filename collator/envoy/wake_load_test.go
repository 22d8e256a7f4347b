package envoy_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relay/sources"
	"relay/xds"
	"relay/xds/envoytest"
)

// has waits until the Envoy has acknowledged what was published of a domain and a cluster.
func (e *realEnvoy) has(ctx context.Context, keys ...xds.Key) error {
	for {
		if err := e.c.Flush(ctx); err != nil {
			return err
		}
		for _, p := range e.server.Progress("external", keys) {
			all := true
			for _, r := range p.Resources {
				all = all && r.Progress == xds.Acknowledged
			}
			if all {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// Under load, an app falls asleep and wakes again and again, and no request fails: what leads to
// its cluster goes, and is acknowledged, before the cluster, and comes after it.
func TestSleepAndWakeUnderLoad(t *testing.T) {
	t.Parallel()
	const rounds, pause = 20, time.Second / 300
	e := startScaling(t, envoytest.Newest)
	app := webApp("/web", "web.test", "*.wild.test")
	instance := counted(t)
	awake := changed(app, func(p *sources.Port) { p.Endpoints = instance })
	scope := []xds.Key{{Type: xds.Scope, Name: "web.test"}, {Type: xds.Scope, Name: "*.wild.test"}}
	cluster := []xds.Key{{Type: xds.Cluster, Name: "/web_0"}, {Type: xds.Endpoint, Name: "/web_0"}}
	update := func(app *sources.App) { e.c.UpdateApps([]*sources.App{app}, nil) }
	// The app starts when the first request asks for it, and all are let through when Envoy has it.
	var waking sync.Mutex
	asleep := false
	e.waker.before = func(ctx context.Context) {
		waking.Lock()
		defer waking.Unlock()
		if !asleep {
			return
		}
		update(gated(app, instance...))
		if err := e.has(ctx, cluster...); err != nil {
			t.Error(err)
		}
		asleep = false
	}
	e.c.SyncApps([]*sources.App{awake})
	e.eventually(t, request{host: "web.test", path: "/"}, status(200))

	ctx, cancel := contextOf(t)
	defer cancel()
	loaded := make(chan string, 1)
	stop := make(chan struct{})
	var open atomic.Int64
	var sending sync.Mutex
	go func() { loaded <- e.steadily(ctx, &open, &sending, pause, stop, "web.test", "WEB.test", "a.wild.test") }()
	for range rounds {
		// It falls asleep. Nothing is let through meanwhile: Relay would not let it sleep then.
		waking.Lock()
		update(gated(app, instance...))
		if err := e.has(ctx, scope...); err != nil {
			t.Fatal(err)
		}
		// Nor is a request that was let through on its way still. Else one more is always on its way to Relay.
		sending.Lock()
		e.until(t, "all requests wait", func() bool { n := e.waker.waiting.Load(); return open.Load() == n })
		sending.Unlock()
		before := len(e.waker.asked())
		asleep = true
		update(gated(app)) // its tasks end
		if err := e.c.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		waking.Unlock()
		e.waker.await(t, before+20)
		e.until(t, "awake", func() bool { waking.Lock(); defer waking.Unlock(); return !asleep })
		update(awake)
		if err := e.has(ctx, scope...); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if failed := <-loaded; failed != "" {
		t.Error(failed)
	}
	if n := len(e.waker.asked()); n < rounds*20 {
		t.Errorf("Relay was asked %d times", n)
	}
}

// steadily sends requests at a pace until it is told to stop, and says what failed. Open is how
// many have no answer. Who has sending has it send no more.
func (e *realEnvoy) steadily(ctx context.Context, open *atomic.Int64, sending *sync.Mutex, pause time.Duration, stop <-chan struct{}, hosts ...string) string {
	transport := e.transport(request{})
	transport.DisableKeepAlives, transport.MaxIdleConnsPerHost = false, 1000
	defer transport.CloseIdleConnections()
	var wg sync.WaitGroup
	var mu sync.Mutex
	failed, sent := make(map[string]int), 0
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-stop:
			wg.Wait()
			if len(failed) == 0 {
				return ""
			}
			return fmt.Sprintf("of %d requests failed: %v", sent, failed)
		case <-tick.C:
		}
		sent++
		sending.Lock()
		open.Add(1)
		sending.Unlock()
		host := hosts[i%len(hosts)]
		wg.Go(func() {
			defer open.Add(-1)
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://envoy.invalid/", http.NoBody)
			req.Host = host
			resp, err := transport.RoundTrip(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			if err == nil && resp.StatusCode == http.StatusOK {
				return
			}
			what := fmt.Sprint(err)
			if err == nil {
				what = resp.Status + " " + resp.Header.Get("X-Relay-Error")
			}
			mu.Lock()
			failed[what]++
			mu.Unlock()
		})
	}
}
