package statuspage

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestDaysAreInUTC(t *testing.T) {
	t.Parallel()
	var r record
	west := time.FixedZone("west", -8*3600)
	from := time.Date(2026, 11, 30, 15, 59, 0, 0, west) // 23:59 UTC
	r.add(Down, from, from.Add(3*time.Minute))
	r.add(Up, from.Add(3*time.Minute), from.Add(4*time.Minute))
	r.add(Unknown, from, from.Add(time.Hour))
	r.add(Up, from, from.Add(-time.Hour))
	if got, want := r.Days["2026-11-30"], (day{0, 0, 60_000}); got != want {
		t.Errorf("the first day is %v, want %v", got, want)
	}
	if got, want := r.Days["2026-12-01"], (day{60_000, 0, 120_000}); got != want || len(r.Days) != 2 {
		t.Errorf("the second day is %v of %v, want %v", got, r.Days, want)
	}
	days, uptime := r.days(from.Add(5 * time.Minute))
	if len(days) != shownDays || days[88].Date != "2026-11-30" || days[88].State != Down || days[88].Down != 60 || days[87].State != Unknown {
		t.Errorf("days %+v", days[87:])
	}
	if uptime == nil || *uptime != 0.25 {
		t.Errorf("uptime %v, want a quarter", uptime)
	}
	if _, uptime := new(record).days(noon); uptime != nil {
		t.Errorf("nothing is known, and the uptime is %v", *uptime)
	}
}

func TestStateOfADay(t *testing.T) {
	t.Parallel()
	const s = 1000
	for want, all := range map[State][]day{
		Unknown:  {{}},
		Up:       {{1, 0, 0}, {0, 0, 59 * s}, {0, 30 * s, 29 * s}, {86_400 * s, 0, 0}},
		Degraded: {{0, 60 * s, 0}, {0, 30 * s, 30 * s}, {0, 80_000 * s, 59 * s}},
		Down:     {{80_000 * s, 0, 60 * s}},
	} {
		for _, d := range all {
			if got := d.state(); got != want {
				t.Errorf("%v is %s, want %s", d, got, want)
			}
		}
	}
}

// A clock that is wrong for a while costs no history, and what it repeats makes no day longer than a day.
func TestWrongClock(t *testing.T) {
	t.Parallel()
	r := record{State: Up}
	for i := range 95 {
		at := noon.AddDate(0, 0, i-95)
		r.add(Up, at, at.Add(time.Hour))
	}
	for range 30 { // set back again and again
		r.add(Down, noon, noon.Add(time.Hour))
	}
	if d := r.Days["2026-11-30"]; d.known() > dayLength {
		t.Errorf("the day is %v", d)
	}
	for i := range 20 { // far ahead, and far back
		r.add(Down, noon.AddDate(10, 0, i), noon.AddDate(10, 0, i).Add(time.Hour))
		r.add(Down, noon.AddDate(-50, 0, i), noon.AddDate(-50, 0, i).Add(time.Hour))
	}
	now := noon.Add(2 * time.Hour)
	r.add(Up, now, now.Add(time.Second))
	if len(r.Days) > keptDays || r.sound("") != nil {
		t.Errorf("%d days, %v", len(r.Days), r.sound(""))
	}
	days, _ := r.days(now)
	for _, d := range days[:80] {
		if d.State == Unknown {
			t.Fatalf("%s is forgotten", d.Date)
		}
	}
}

// 90 days of a service that changes at each look need no more than 90 days of one that never does.
func TestFlappingStaysSmall(t *testing.T) {
	t.Parallel()
	var r record
	states, at := []State{Up, Down, Degraded, Unknown}, noon.AddDate(0, 0, -120)
	for i := 0; at.Before(noon); i++ {
		r.add(states[i%4], at, at.Add(lookEvery))
		at = at.Add(lookEvery)
	}
	text, err := json.Marshal(r)
	if err != nil || len(r.Days) != keptDays || len(text) > 5000 {
		t.Errorf("%d days in %d bytes, %v", len(r.Days), len(text), err)
	}
}

// A Relay that was off does not know how the services were. What it knew before, it knows again.
func TestOffForDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(23 * time.Hour) // from midnight
		place := newFakePlace("a.test")
		cfg := Config{Settings: parsed(t, oneService), Dir: t.TempDir()}
		m, stop := monitored(t, cfg, place)
		until(t, m, "up", 15*time.Second)
		time.Sleep(2 * time.Hour)
		since := m.View().Services[0].Since
		stop()

		place.find("a.test", true)
		unserved := cfg
		unserved.Log = quiet
		if v := New(unserved).View(); v.State != Unknown || len(v.Services[0].Days) != shownDays {
			t.Errorf("before the first look: %s", v.State)
		}
		m, stop = monitored(t, cfg, place)
		until(t, m, "up", 15*time.Second)
		if got := m.View().Services[0].Since; !got.Equal(since) {
			t.Errorf("after a restart it is so since %s, want %s", got, since)
		}
		stop()

		time.Sleep(72 * time.Hour)
		m, _ = monitored(t, cfg, place)
		until(t, m, "up", 15*time.Second)
		time.Sleep(time.Minute)
		var got []string
		for _, d := range m.View().Services[0].Days[shownDays-6:] {
			got = append(got, string(d.State))
		}
		if want := "unknown up up unknown unknown up"; strings.Join(got, " ") != want {
			t.Errorf("days %v, want %s", got, want)
		}
		if got := m.View().Services[0]; time.Since(got.Since) > 2*time.Minute || *got.Uptime != 1 {
			t.Errorf("up since %s, uptime %v", got.Since, *got.Uptime)
		}
	})
}

// While a process stands still nobody knows anything.
func TestStandsStill(t *testing.T) {
	t.Parallel()
	m := New(Config{Settings: parsed(t, oneService), Log: quiet})
	m.addPlace("1", nil)
	look := func(at time.Time) {
		o := said("1", "a+")
		m.places[0].last, m.places[0].lastAt = answer{at: o.at, interval: o.interval, probes: o.probes}, at
		m.look(at)
	}
	at := noon.Add(-time.Minute)
	for range 7 {
		look(at)
		at = at.Add(lookEvery)
	}
	look(at.Add(time.Hour))
	look(at.Add(time.Hour + lookEvery))
	if got := m.records["a"].Days["2026-11-30"]; got != (day{70_000}) {
		t.Errorf("%v, want 70 s", got)
	}
}
