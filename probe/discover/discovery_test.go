package discover

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"relay/admin/api"
	"relay/probe"
)

// Who hurries has Relays read soon, and not more often than each two seconds however many do.
func TestHurry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		read := 0
		d := New(Options{Settings: settings(t, ""), Set: func([]probe.Target) {}, Relays: []Relay{{"one", func(context.Context, Query) (api.ProbeTargets, error) {
			read++
			return api.ProbeTargets{}, nil
		}}}})
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error)
		go func() { served <- d.Serve(ctx) }()
		time.Sleep(3 * time.Second)
		d.Hurry()
		time.Sleep(3 * time.Second)
		if read != 2 {
			t.Errorf("read %d times, want 2", read)
		}
		for range 100 {
			d.Hurry()
			time.Sleep(100 * time.Millisecond)
		}
		if read < 6 || read > 8 {
			t.Errorf("read %d times after ten seconds of hurry", read)
		}
		cancel()
		<-served
	})
}

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
