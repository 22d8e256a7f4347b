package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relay/admin/api"
	"relay/internal/ignored"
)

// A checker that is ignored asks all the time: the app falls asleep all the same, and stays so. It
// is told that the app sleeps. Others wake the app.
func TestIgnoredClientsKeepNothingAwake(t *testing.T) {
	w := newScalingWorld(t)
	clients, err := ignored.Parse([]string{"UptimeRobot"})
	if err != nil {
		t.Fatal(err)
	}
	w.relay.config.Scaling.Ignored = clients
	w.start()
	loads := w.relay.running.Loads()
	loads.Pace("external", time.Second)
	w.eventually("Envoy has reported for longer than the app may be idle", func() error {
		if u := loads.Use("external", "/sleepy_0"); u.Until.Sub(u.Since) < 2*time.Second {
			return fmt.Errorf("it has for %s", u.Until.Sub(u.Since))
		}
		return nil
	})
	w.marathon.deploy(sleepyApp("/sleepy", "sleepy.test", 1, nil))
	w.clients.expect("http://sleepy.test/", http.StatusOK, "/sleepy")
	var served, asleep, other atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			switch a := <-w.ask(http.MethodGet, nil, "User-Agent", "Mozilla/5.0 (compatible; uptimerobot/2.0)"); {
			case a.status == http.StatusOK:
				served.Add(1)
			case a.header.Get("X-Relay-Error") == "asleep":
				asleep.Add(1)
			default:
				other.Add(1)
			}
		}
	}()
	w.eventually("the checker is served", func() error {
		if served.Load() == 0 {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	w.marathon.deploy(sleepyApp("/sleepy", "sleepy.test", 1, map[string]string{"RELAY_IDLE_AFTER": "1s"}))
	// Relay looks again half a minute after it was in doubt.
	for deadline := time.Now().Add(2 * patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if s := w.scaling("/sleepy"); s != nil && s.Phase == api.PhaseAsleep {
			break
		}
	}
	w.phase("/sleepy", api.PhaseAsleep)
	first := asleep.Load()
	w.eventually("the checker is told that the app sleeps", func() error {
		if asleep.Load() < first+20 {
			return fmt.Errorf("%d times", asleep.Load())
		}
		return nil
	})
	if s := w.scaling("/sleepy"); s.Phase != api.PhaseAsleep {
		t.Errorf("it is %+v", s)
	}
	stop()
	<-done
	if n := other.Load(); n > 0 {
		t.Errorf("%d other answers", n)
	}
	(<-w.ask(http.MethodGet, nil)).is(t, "a visitor", http.StatusOK, "")
	w.envoy.nothingRejected()
}

// The label RELAY_MAINTENANCE has an app's requests answered with a page, which may be one of the
// operator's, at once and until it is gone. It needs no scaling.
func TestMaintenance(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	for name, html := range map[string]string{"maintenance.html": "<p>{{domain}} is back soon, 100 %: {{code}}", "offline.html": "{{nothing}}"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(html), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range w.relay.config.Fleets {
		w.relay.config.Fleets[i].ErrorPagesDir = dir
	}
	definition := func(labels map[string]string) string { return sleepyApp("/shop", "shop.test", 1, labels) }
	w.marathon.deploy(definition(nil))
	w.start()
	w.clients.expect("http://shop.test/", http.StatusOK, "/shop")

	w.marathon.deploy(definition(map[string]string{"RELAY_MAINTENANCE": "true"}))
	w.eventually("the page is there", func() error {
		a := w.clients.do("http://shop.test/")
		if want := "<p>shop.test is back soon, 100 %: maintenance"; a.status != http.StatusServiceUnavailable || a.body != want {
			return fmt.Errorf("status %d: %s", a.status, a.body)
		}
		return nil
	})
	var all api.Problems
	w.eventually("people are told of the page that cannot be used", func() error {
		w.admin.read("/api/v1/problems", &all)
		for _, p := range all.Problems {
			if strings.Contains(p.Reason, `"offline.html" cannot be used: there is no placeholder {{nothing}}`) {
				return nil
			}
		}
		return fmt.Errorf("problems: %+v", all.Problems)
	})
	w.marathon.deploy(definition(nil))
	w.clients.expect("http://shop.test/", http.StatusOK, "/shop")
	w.envoy.nothingRejected()
}
