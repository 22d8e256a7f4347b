package statuspage

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/admin/api"
)

const oneService = "services: [{name: a, domains: [a.test]}]"

// A service that is down is said to be down once it was found so twice, and up again a minute after it came back.
func TestDownAndUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := newFakePlace("a.test")
		log, lines := newLog()
		m, _ := monitored(t, Config{Settings: parsed(t, oneService), Log: log}, place)
		until(t, m, "up", 15*time.Second)
		time.Sleep(10 * time.Minute)
		place.find("a.test", false)
		broke := time.Now()
		until(t, m, "down", 2*place.interval+3*lookEvery)
		if time.Since(broke) < place.interval {
			t.Errorf("down after %s: one failure may be chance", time.Since(broke))
		}
		since := m.View().Services[0].Since
		if m.View().State != Down || since.IsZero() || time.Since(since) > time.Second {
			t.Errorf("down since %s, all %s", since, m.View().State)
		}
		time.Sleep(10 * time.Minute)
		place.find("a.test", true)
		back := time.Now()
		until(t, m, "up", place.interval+settle+3*lookEvery)
		if time.Since(back) < settle {
			t.Errorf("up after %s: it may be gone again", time.Since(back))
		}
		d := m.View().Services[0].Days[shownDays-1]
		if d.State != Down || d.Down < 600 || d.Down > 800 {
			t.Errorf("the day is %+v, want about 11 minutes down", d)
		}
		if got := lines.Lines("event=service_state"); len(got) != 3 || !strings.Contains(got[1], "to=down") || !strings.Contains(got[1], "1 of 1 failed") {
			t.Errorf("logged %q", got)
		}
	})
}

// until waits for states, at most for a while.
func until(t *testing.T, m *Monitor, want string, most time.Duration) {
	t.Helper()
	for deadline := time.Now().Add(most); states(m) != want; time.Sleep(time.Second) {
		if !time.Now().Before(deadline) {
			t.Fatalf("%s after %s, want %s", states(m), most, want)
		}
	}
}

// A probe that fails each second time, and one that fails for two looks, are no reason to change the page all the time.
func TestNoFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := newFakePlace("a.test")
		m, _ := monitored(t, Config{Settings: parsed(t, oneService)}, place)
		until(t, m, "up", 15*time.Second)
		for range 100 { // each failure is alone
			place.find("a.test", false)
			time.Sleep(place.interval)
			place.find("a.test", true)
			time.Sleep(place.interval)
			if states(m) != "up" {
				t.Fatalf("%s", states(m))
			}
		}
		changes, before := 0, states(m)
		begin := time.Now()
		for i := range 2000 { // failures of two to four rounds, then one that is well
			place.find("a.test", i%4 == 0)
			time.Sleep(place.interval)
			if now := states(m); now != before {
				changes, before = changes+1, now
			}
		}
		if changes != 1 || states(m) != "down" {
			t.Errorf("%d changes within %s, now %s; want that it is down once, and stays", changes, time.Since(begin), states(m))
		}
	})
}

// A place that goes away is left out after a while, and then nothing is known if it was the only one.
func TestPlacesGoAndComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newFakePlace("a.test"), newFakePlace("a.test")
		log, lines := newLog()
		registry := prometheus.NewRegistry()
		m := New(Config{Settings: parsed(t, oneService), Log: log, Registerer: registry})
		m.addPlace("one", one.read)
		m.addPlace("two", two.read)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go one.run(ctx)
		go two.run(ctx)
		go func() { _ = m.Serve(ctx) }()
		until(t, m, "up", 15*time.Second)
		one.leave(true)
		time.Sleep(2 * time.Minute)
		if states(m) != "up" || len(lines.Lines("event=place_away")) != 1 || !strings.Contains(lines.String(), "no route to host") {
			t.Errorf("%s with one place: %s", states(m), lines)
		}
		two.leave(true)
		until(t, m, "unknown", awayAfter+settle+3*lookEvery)
		if got := gauges(t, registry); got["relay_status_place_away one"] != 1 || got["relay_status_place_away two"] != 1 || got["relay_status_service a unknown"] != 1 || got["relay_status_service a up"] != 0 {
			t.Errorf("%v", got)
		}
		if m.View().State != Unknown {
			t.Errorf("all is %s", m.View().State)
		}
		known := m.View().Services[0].Uptime
		time.Sleep(time.Hour)
		if d := m.View().Services[0]; *d.Uptime != *known || d.Days[shownDays-1].Down != 0 {
			t.Errorf("what nobody saw counts: %+v", d.Days[shownDays-1])
		}
		one.leave(false)
		until(t, m, "up", 30*time.Second)
		if len(lines.Lines("event=place_back")) != 1 {
			t.Errorf("%s", lines)
		}
		cancel()
		synctest.Wait()
	})
}

// A place that loses its network is blind: at no moment is anything else said of the services.
func TestBlindPlace(t *testing.T) {
	for _, places := range []int{2, 3, 5} {
		synctest.Test(t, func(t *testing.T) {
			var all []*fakePlace
			for range places {
				all = append(all, newFakePlace("a.test", "b.test", "c.test"))
			}
			log, lines := newLog()
			m, _ := monitored(t, Config{Settings: parsed(t, threeServices), Log: log}, all...)
			until(t, m, "up up up", 15*time.Second)
			all[0].findAll(false)
			for range 600 {
				time.Sleep(time.Second)
				if states(m) != "up up up" {
					t.Fatalf("%d places, and one lost its network: %s", places, states(m))
				}
			}
			all[0].findAll(true)
			time.Sleep(2 * time.Minute)
			if len(lines.Lines("event=place_blind")) != 1 || len(lines.Lines("event=place_sees")) != 1 {
				t.Errorf("%s", lines)
			}
		})
	}
}

// The probes of this process are a place. One that is in the settings too counts once, and one that cannot be asked not at all.
func TestOwnProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var works atomic.Bool
		own := func(context.Context) (api.Probes, error) {
			if !works.Load() {
				return api.Probes{}, errors.New("not begun")
			}
			probe := api.Probe{ID: "x", Name: "a.test", Domain: "a.test", Time: time.Now(), Since: time.Now().Add(-time.Hour), Success: false, Reason: "10.0.0.7: secret"}
			return api.Probes{Place: "edge", Time: time.Now(), Interval: 30, Probes: []api.Probe{probe}}, nil
		}
		log, lines := newLog()
		m := New(Config{Settings: parsed(t, oneService), Own: own, Log: log})
		same := newFakePlace("a.test")
		m.addPlace("again", func(ctx context.Context) (answer, error) {
			a, err := same.read(ctx)
			a.name = "edge"
			return a, err
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go same.run(ctx)
		go func() { _ = m.Serve(ctx) }()
		until(t, m, "up", 15*time.Second) // by the other, while the own one says nothing
		works.Store(true)
		until(t, m, "down", 3*lookEvery)
		if got := lines.Lines("event=place_twice"); len(got) != 1 || strings.Contains(lines.String(), "secret") {
			t.Errorf("%s", lines)
		}
		cancel()
		synctest.Wait()
	})
}

// Changed tells of each change, and not of each look.
func TestChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := newFakePlace("a.test")
		m, _ := monitored(t, Config{Settings: parsed(t, oneService)}, place)
		until(t, m, "up", 15*time.Second)
		time.Sleep(3 * lookEvery)
		changed := m.Changed()
		time.Sleep(10 * time.Minute)
		select {
		case <-changed:
			t.Error("it changed while all was as it was")
		default:
		}
		view := m.View()
		if _, err := m.Open(Draft{Title: "Slow logins", Text: "We look into it."}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
		default:
			t.Error("an incident is no change")
		}
		if len(view.Incidents) != 0 || len(m.View().Incidents) != 1 {
			t.Error("a View that was handed out has changed, or the new one has no incident")
		}
	})
}

// A place that panics or hangs costs itself.
func TestPlaceThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := newFakePlace("a.test")
		m := New(Config{Settings: parsed(t, oneService), Log: quiet})
		m.addPlace("bug", func(context.Context) (answer, error) { panic("a bug") })
		m.addPlace("hangs", func(ctx context.Context) (answer, error) { <-ctx.Done(); return answer{}, ctx.Err() })
		m.addPlace("well", place.read)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go place.run(ctx)
		go func() { _ = m.Serve(ctx) }()
		until(t, m, "up", 30*time.Second)
		cancel()
		synctest.Wait()
	})
}

// gauges are the values of all metrics, by their names and the values of their labels.
func gauges(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			name := f.GetName()
			for _, label := range metric.GetLabel() {
				name += " " + label.GetValue()
			}
			all[name] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	return all
}

// A place that starts together with the page has found nothing at first: the page knows how things are soon after it does.
func TestKnownSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := newFakePlace("a.test")
		place.leave(true)
		m, _ := monitored(t, Config{Settings: parsed(t, oneService)}, place)
		time.Sleep(3 * time.Second)
		place.leave(false)
		until(t, m, "up", 5*time.Second)
	})
}
