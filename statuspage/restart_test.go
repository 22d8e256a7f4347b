package statuspage

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A restart is no news to the public: the state of before stays until something is found. If nothing is, it is unknown after a
// while, however often Relay is started; and that time counts as not known.
func TestRestartIsNoNews(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		place := newFakePlace("a.test")
		cfg := Config{Settings: parsed(t, oneService), Dir: dir}
		m, stop := monitored(t, cfg, place)
		until(t, m, "up", 15*time.Second)
		place.find("a.test", false)
		until(t, m, "down", 2*place.interval+3*lookEvery)
		since := m.View().Services[0].Since
		time.Sleep(time.Minute)
		stop()

		time.Sleep(20 * time.Second)
		began := time.Now()
		blank := func() *Monitor {
			m, ended := New(Config{Settings: cfg.Settings, Dir: dir, Log: quiet}), make(chan struct{})
			m.addPlace("1", func(context.Context) (answer, error) { return answer{}, errors.New("not begun") })
			m.Load()
			if first := m.View(); time.Since(began) < 30*time.Second && (first.State != Down || !first.Services[0].Since.Equal(since)) {
				t.Errorf("after the restart it is %s since %s, before it was down since %s", first.State, first.Services[0].Since, since)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
			defer cancel()
			go func() { _ = m.Serve(ctx); close(ended) }()
			<-ended
			return m
		}
		known := *blank().View().Services[0].Uptime
		for range 4 {
			m = blank()
		}
		if got := m.View().Services[0]; got.State != Unknown || *got.Uptime != known {
			t.Errorf("after %s in which nothing was found it is %s, uptime %v, before %v", time.Since(began), got.State, *got.Uptime, known)
		}
	})
}

// A service of which all domains were chosen by chance is asked seldom. Its state does not come and go meanwhile.
func TestSampledService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := newFakePlace("a.test")
		place.interval = 10 * time.Minute
		place.probes["a.test"].Sampled = true
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go place.run(ctx)
		read := func(ctx context.Context) (answer, error) {
			a, err := place.read(ctx)
			a.interval, a.sampleInterval = 30*time.Second, place.interval
			return a, err
		}
		m := New(Config{Settings: parsed(t, oneService), Log: quiet})
		m.addPlace("1", read)
		go func() { _ = m.Serve(ctx) }()
		until(t, m, "up", 30*time.Second)
		for range 3600 {
			if time.Sleep(time.Second); states(m) != "up" {
				t.Fatal(states(m))
			}
		}
		place.find("a.test", false)
		until(t, m, "down", 2*place.interval+3*lookEvery)
		place.find("a.test", true)
		until(t, m, "up", place.interval+settle+3*lookEvery)
		// Fresh results count alone.
		o := observation{at: noon, interval: 30 * time.Second, sampleInterval: 10 * time.Minute, probes: []seenProbe{
			{Domain: "a.test", Sampled: true, Time: noon.Add(-9 * time.Minute), Since: noon.Add(-time.Hour)},
			{Domain: "a.test", Sampled: true, Time: noon, Since: noon.Add(-time.Hour), Success: true},
		}}
		v := look(o, m.cfg.Settings.Services, m.selectors)
		if v.tallies[0] != (tally{ok: 1}) || v.asked != 1 || v.failed != 0 || v.older != 1 {
			t.Errorf("%+v", v)
		}
		o.at = noon.Add(20 * time.Minute)
		if v := look(o, m.cfg.Settings.Services, m.selectors); v.tallies[0] != (tally{}) {
			t.Errorf("results of long ago count: %+v", v)
		}
		cancel()
		synctest.Wait()
	})
}

// Places that are started anew have nothing to say for a while. A place that is blind does not decide alone meanwhile, neither if
// it was known to be blind, nor if who carries the page is started anew, too.
func TestBlindPlaceWhileOthersBegin(t *testing.T) {
	dir := t.TempDir()
	for _, all := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			places := []*fakePlace{newFakePlace("a.test"), newFakePlace("a.test"), newFakePlace("a.test")}
			places[0].find("a.test", false)
			cfg := Config{Settings: parsed(t, oneService), Dir: dir}
			m, stop := monitored(t, cfg, places...)
			until(t, m, "up", 2*time.Minute)
			time.Sleep(10 * time.Minute)
			if all {
				stop()
			}
			for _, p := range places[1:] {
				p.begin(40 * time.Second)
			}
			if all {
				m, _ = monitored(t, cfg, places...)
				time.Sleep(time.Second)
			}
			for i := range 300 {
				if time.Sleep(time.Second); states(m) != "up" {
					t.Fatalf("who carries the page is started anew: %t: %s after %d s", all, states(m), i)
				}
			}
		})
	}
}

// A service that no probe is of, as its patterns are wrong, is told to operators once, and never said to be up.
func TestUnwatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := newFakePlace("a.test")
		log, lines := newLog()
		settings := parsed(t, "services: [{name: a, domains: [a.test]}, {name: typo, domains: [aa.test]}]")
		m, _ := monitored(t, Config{Settings: settings, Log: log, Registerer: prometheus.NewRegistry()}, place)
		until(t, m, "up unknown", 15*time.Second)
		time.Sleep(unwatchedAfter - time.Minute)
		if got := m.Unwatched(); len(got) != 0 {
			t.Errorf("at once: %q", got)
		}
		time.Sleep(time.Hour)
		if got := lines.Lines("event=service_unwatched"); len(got) != 1 || !strings.Contains(got[0], "service=typo") || strings.Join(m.Unwatched(), " ") != "typo" || states(m) != "up unknown" {
			t.Errorf("%s: logged %q, told %q", states(m), got, m.Unwatched())
		}
		place.leave(true) // then it is the place that is missed
		time.Sleep(time.Hour)
		if got := m.Unwatched(); len(got) != 0 {
			t.Errorf("without places: %q", got)
		}
	})
}

// Two Relays ask through one Envoy each, and one Envoy is down: no Relay is blind, and the service is degraded. A third place
// that asks through both changes nothing.
func TestEnvoyOfItsOwn(t *testing.T) {
	t.Parallel()
	s := parsed(t, oneService).Services
	selectors := []selector{newSelector(s[0])}
	seen := func(envoy string, ok bool) seenProbe {
		return seenProbe{Fleet: "f", Envoy: envoy, Domain: "a.test", Success: ok, Time: noon, Since: noon.Add(-time.Hour)}
	}
	at := func(name string, probes ...seenProbe) placeView {
		return look(observation{place: name, at: noon, interval: 30 * time.Second, probes: probes}, s, selectors)
	}
	views := []placeView{at("one", seen("1", false)), at("two", seen("2", true))}
	j := judge(views, s, make([]bool, 3))
	if j.blind[0] || j.services[0].state != Degraded {
		t.Errorf("%+v", j)
	}
	if j := judge(append(views, at("far", seen("1", false), seen("2", true))), s, make([]bool, 3)); j.services[0].state != Degraded {
		t.Errorf("with a third place: %+v", j)
	}
	if j := judge([]placeView{at("one", seen("1", false)), at("two", seen("1", true))}, s, make([]bool, 3)); !j.blind[0] || j.services[0].state != Up {
		t.Errorf("through one Envoy: %+v", j)
	}
}

// A disk that hangs costs what a restart would forget, and not what the public is told.
func TestHangingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := newFakePlace("a.test", "b.test", "c.test")
		m, stop := monitored(t, Config{Settings: parsed(t, threeServices), Dir: t.TempDir()}, place)
		hangs, saves := make(chan struct{}), 0
		m.saving.Lock()
		m.toDisk = func() error {
			if saves++; saves > 1 { // the first one reads what is there
				<-hangs
			}
			return nil
		}
		m.saving.Unlock()
		time.Sleep(3 * time.Minute)
		if got := states(m); got != "up up up" {
			t.Errorf("at first: %s", got)
		}
		place.find("a.test", false)
		time.Sleep(2 * time.Minute)
		if got := states(m); got != "down up up" {
			t.Errorf("while the disk hangs: %s", got)
		}
		if checked := time.Since(m.View().Time); checked > lookEvery {
			t.Errorf("it was looked %s ago", checked)
		}
		close(hangs)
		stop()
		if saves < 2 {
			t.Errorf("it was saved %d times", saves)
		}
	})
}
