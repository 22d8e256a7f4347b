package discover

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"relay/admin/api"
	"relay/internal/failure"
	"relay/probe"
)

// A Relay that is away keeps what it said last, and is told of once; one that hangs keeps no other waiting for ever.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		said := api.ProbeTargets{Fleets: []api.ProbeFleet{external(envoy("edge-1", "10.0.0.1"))}, Domains: []api.ProbeDomain{domain("shop.test", "/")}}
		var mu sync.Mutex // of all that follows
		var away bool
		var asked []Query
		var got []probe.Target
		var log strings.Builder
		registry := prometheus.NewRegistry()
		s := settings(t, "sample: {domains: 7, change: 16m}")
		d := New(Options{
			Settings: s, Set: func(all []probe.Target) { mu.Lock(); got = all; mu.Unlock() }, Log: slog.New(slog.NewTextHandler(&log, nil)), Registerer: registry,
			Relays: []Relay{
				{"one", func(_ context.Context, q Query) (api.ProbeTargets, error) {
					mu.Lock()
					defer mu.Unlock()
					if asked = append(asked, q); away {
						return api.ProbeTargets{}, errors.New("no route")
					}
					return said, nil
				}},
				{"hangs", func(ctx context.Context, _ Query) (api.ProbeTargets, error) {
					<-ctx.Done()
					return api.ProbeTargets{}, ctx.Err()
				}},
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error)
		go func() { served <- d.Serve(ctx) }()
		time.Sleep(11 * time.Second)
		synctest.Wait()
		mu.Lock()
		wantTargets(t, got, "external/edge-1/shop.test http 10.0.0.1:443 tls:shop.test")
		away, got = true, nil
		mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		mu.Lock()
		wantTargets(t, got, "external/edge-1/shop.test http 10.0.0.1:443 tls:shop.test")
		var up dto.Metric
		if err := d.up.WithLabelValues("one").Write(&up); err != nil || up.GetGauge().GetValue() != 0 {
			t.Errorf("relay_probe_relay_up is %v, %v", &up, err)
		}
		away, said.Domains = false, nil
		mu.Unlock()
		time.Sleep(time.Minute)
		cancel()
		<-served
		wantTargets(t, got)
		if n := strings.Count(log.String(), "relay=one"); n != 2 || strings.Count(log.String(), "relay=hangs") != 1 {
			t.Errorf("it is logged %d times:\n%s", n, log.String())
		}
		if first, last := asked[0], asked[len(asked)-1]; first.Sample != 7 || last.Epoch != first.Epoch+2 {
			t.Errorf("asked %+v, in the end %+v", first, last)
		}
	})
}

// What begins to fail as an app that is away does has Relays read again soon, but not all the time.
func TestReadSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int64
		d := New(Options{Settings: settings(t, ""), Set: func([]probe.Target) {}, Relays: []Relay{
			{"one", func(context.Context, Query) (api.ProbeTargets, error) { reads.Add(1); return api.ProbeTargets{}, nil }},
		}})
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error)
		go func() { served <- d.Serve(ctx) }()
		saw := func(code string, failing time.Duration) {
			d.Saw(probe.State{Result: probe.Result{Time: time.Now(), Code: code}, Asked: true, Since: time.Now().Add(-failing)})
		}
		read := func(after time.Duration, want int64) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if n := reads.Load(); n != want {
				t.Errorf("it was read %d times, want %d", n, want)
			}
		}
		read(6*time.Second, 1)
		saw(failure.Crashed, 0)
		saw(failure.Offline, time.Minute)
		read(0, 1)
		saw(failure.Offline, 0)
		saw(failure.NoSuchDomain, 0)
		read(0, 2)
		saw(failure.Offline, 0)
		read(4*time.Second, 2)
		read(time.Second, 3)
		cancel()
		<-served
	})
}

// Once, what cannot be read is an error.
func TestRefresh(t *testing.T) {
	t.Parallel()
	d := New(Options{Settings: settings(t, ""), Set: func([]probe.Target) {}, Relays: []Relay{
		{"one", func(context.Context, Query) (api.ProbeTargets, error) {
			return api.ProbeTargets{}, errors.New("no route")
		}},
	}})
	if err := d.Refresh(t.Context()); err == nil || err.Error() != "one: no route" {
		t.Errorf("the error is %v", err)
	}
}

// A Relay that was started anew knows nothing of an Envoy that was down before, and for a while not of all apps: what it said
// before is asked, so that no alert ends.
func TestRelayStartedAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		said := api.ProbeTargets{Fleets: []api.ProbeFleet{external(envoy("e1", "10.0.0.1"), envoy("e2", "10.0.0.2"))}, Domains: []api.ProbeDomain{domain("shop.test", "/")}}
		var got []probe.Target
		d := New(Options{Settings: settings(t, ""), Set: func(all []probe.Target) { got = all }, Relays: []Relay{
			{"one", func(context.Context, Query) (api.ProbeTargets, error) { return said, nil }},
		}})
		read := func(t *testing.T) {
			if err := d.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		read(t)
		both := []string{"external/e1/shop.test http 10.0.0.1:443 tls:shop.test", "external/e2/shop.test http 10.0.0.2:443 tls:shop.test"}
		wantTargets(t, got, both...)
		plain := domain("shop.test", "/")
		plain.HTTPS = false // certificates have not been read
		said = api.ProbeTargets{Reading: true, Fleets: []api.ProbeFleet{external()}}
		for _, domains := range [][]api.ProbeDomain{nil, {plain}, {plain}} {
			said.Domains = domains
			read(t)
			wantTargets(t, got, both...)
		}
		if n := len(d.last[0].answer.Domains); n != 1 {
			t.Errorf("it keeps %d domains", n)
		}
		said = api.ProbeTargets{Fleets: []api.ProbeFleet{external(envoy("e1", "10.0.0.9"))}, Domains: []api.ProbeDomain{domain("shop.test", "/")}}
		for range 3 {
			time.Sleep(29 * time.Minute / 3)
			read(t)
			wantTargets(t, got, "external/e1/shop.test http 10.0.0.9:443 tls:shop.test", both[1])
		}
		said.Domains = nil
		read(t)
		wantTargets(t, got)
		said.Domains = []api.ProbeDomain{domain("shop.test", "/")}
		time.Sleep(32 * time.Minute)
		read(t)
		wantTargets(t, got, "external/e1/shop.test http 10.0.0.9:443 tls:shop.test")
	})
}
