package wake

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relay/internal/failure"
)

// A crawler that asks for thousands of apps delays nobody else's, and wakes no more than it may.
func TestTurnsAreFair(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{WaitingPerApp: 10, WaitingInAll: 20_000, Rate: 20})
		type wake struct {
			app string
			at  time.Duration
		}
		start := time.Now()
		var mu sync.Mutex
		var all []wake
		w.apps.onWake = func(app string) {
			mu.Lock()
			all = append(all, wake{app, time.Since(start)})
			mu.Unlock()
			w.apps.set(app, State{Phase: Waking})
		}
		woken := func() []wake {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(all)
		}
		var held []*asked
		for i := range 1000 {
			app := fmt.Sprintf("/crawled/%d", i)
			w.apps.set(app, State{Phase: Asleep, Timeout: time.Hour})
			held = append(held, w.ask(from(app, fmt.Sprintf("192.0.2.%d", i%250))))
		}
		for _, app := range []string{"/visited", "/both"} {
			w.apps.set(app, State{Phase: Asleep, Timeout: time.Hour})
		}
		stop := w.run()
		if got := woken(); len(got) != 20 || got[19].app != "/crawled/19" {
			t.Fatalf("at once: %v", got)
		}
		held = append(held, w.ask(from("/visited", "2001:db8:1::1")), w.ask(from("/both", "2001:db8:1:00ff::1")),
			w.ask(from("/both", "192.0.2.3")), w.ask(from("/crawled/999", "198.51.100.1")))
		time.Sleep(time.Second)
		var first []string
		for _, w := range woken()[20:26] {
			first = append(first, w.app)
		}
		if want := []string{"/crawled/20", "/visited", "/crawled/999", "/crawled/21", "/both", "/crawled/22"}; !slices.Equal(first, want) {
			t.Errorf("woken next: %v, want %v", first, want)
		}
		time.Sleep(time.Minute)
		got := woken()
		if last := got[len(got)-1]; len(got) != 1002 || last.at != 49100*time.Millisecond {
			t.Errorf("%d were woken, the last %v", len(got), last)
		}
		for _, a := range held {
			a.cancel()
		}
		w.empty()
		stop()
	})
}

// Nothing is woken for those who left, and a page counts for a moment only.
func TestTurnsOfThoseWhoLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{WaitingPerApp: 10, WaitingInAll: 100, Rate: 20})
		browser := func(app, client string) request {
			r := from(app, client)
			r.browser = true
			return r
		}
		for _, app := range []string{"/left", "/stays", "/shown", "/forgotten"} {
			w.apps.set(app, State{Phase: Asleep, Page: app == "/shown" || app == "/forgotten", Timeout: time.Hour})
		}
		gone, stays := w.ask(get("/left")), w.ask(get("/stays"))
		w.want(w.ask(browser("/forgotten", "192.0.2.9")), failure.StatusAsleep)
		time.Sleep(shownFor)
		w.want(w.ask(browser("/shown", "192.0.2.9")), failure.StatusAsleep)
		gone.cancel()
		synctest.Wait()
		for _, wait := range w.Waiting() {
			if requests := map[string]int{"/stays": 1}[wait.App]; wait.App == "/left" || wait.Requests != requests || wait.Why == "" {
				t.Errorf("waiting: %+v", wait)
			}
		}
		stop := w.run()
		synctest.Wait()
		if got := w.apps.wokenApps(); !slices.Equal(got, []string{"/stays", "/shown"}) {
			t.Errorf("woken: %v", got)
		}
		stays.cancel()
		w.empty()
		stop()
	})
}

// Pages are bounded as held requests are.
func TestPagesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{WaitingPerApp: 10, WaitingInAll: 100, Rate: 1})
		for i := range 1000 {
			r := from(fmt.Sprintf("/%d", i), fmt.Sprintf("192.0.%d.1", i/200))
			r.browser = true
			w.apps.set(r.app, State{Phase: Asleep, Page: true})
			w.want(w.ask(r), failure.StatusAsleep)
		}
		if got := len(w.Waiting()); got != 100 {
			t.Errorf("%d apps wait", got)
		}
		stop := w.run()
		time.Sleep(time.Minute)
		w.empty()
		stop()
		if got := w.apps.wokenApps(); len(got) > 12 {
			t.Errorf("%d were woken for pages that nobody looks at", len(got))
		}
	})
}
