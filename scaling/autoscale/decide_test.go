package autoscale

import (
	"testing"
	"time"
)

var start = time.Unix(1_800_000_000, 0)

// app plays an app of which Marathon does what is wanted at once, second by second.
type app struct {
	config        Config
	state         State
	wanted, ready int
	load          float64
	unknown       bool
	now           time.Time
	last          Decision
}

func newApp(c Config, wanted int, load float64) *app {
	return &app{config: c, wanted: wanted, ready: wanted, load: load, now: start}
}

// run lets some time pass, and returns the numbers that were wanted one after the other.
func (a *app) run(d time.Duration) (changes []int) {
	for end := a.now.Add(d); a.now.Before(end); a.now = a.now.Add(Tick) {
		a.state, a.last = Decide(a.config, a.state, Observation{InProgress: a.load, Known: !a.unknown, Ready: a.ready, Wanted: a.wanted}, a.now)
		if a.last.Wanted != a.wanted {
			changes = append(changes, a.last.Wanted)
		}
		a.wanted, a.ready = a.last.Wanted, a.last.Wanted
	}
	return changes
}

// until lets time pass until another number is wanted, or d has passed.
func (a *app) until(d time.Duration) {
	for end := a.now.Add(d); a.now.Before(end) && len(a.run(Tick)) == 0; {
	}
}

func (a *app) check(t *testing.T, wanted int, reason string) {
	t.Helper()
	if a.wanted != wanted || a.last.Reason != reason {
		t.Errorf("after %v: %d instances, want %d\n%q, want\n%q", a.now.Sub(start), a.wanted, wanted, a.last.Reason, reason)
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	bounds := Config{Min: 2, Max: 20, Target: 10}
	// It takes half a minute until the load is known, and a thirtieth more.
	const down = 30*time.Second + 5*time.Minute + 10*time.Second
	for _, tt := range []struct {
		name   string
		wanted int
		load   float64
		then   func(*app)
		want   int
		reason string
	}{
		{"nothing to do", 3, 28, func(a *app) { a.run(time.Minute) }, 3,
			"28 requests in progress over the last 60 s, 10 are meant for each instance: 3 instances"},
		{"little is known", 3, 100, func(a *app) { a.run(2 * time.Second) }, 3,
			"how many requests are in progress is not known for long enough; the 3 of now stay"},
		{"more", 3, 42, func(a *app) { a.run(30 * time.Second) }, 5,
			"42 requests in progress over the last 60 s, 10 are meant for each instance: 5 instances"},
		{"panic", 4, 120, func(a *app) { a.run(3 * time.Second) }, 8,
			"120 requests in progress over the last 6 s, 10 are meant for each instance: 12 instances, at most double the 4 of now: 8"},
		{"the most", 16, 500, func(a *app) { a.run(3 * time.Second) }, 20,
			"500 requests in progress over the last 6 s, 10 are meant for each instance: 50 instances, at most double the 16 of now: 32, at most 20"},
		{"no room in fewer", 4, 29, func(a *app) { a.run(time.Hour) }, 4,
			"29 requests in progress over the last 60 s, 10 are meant for each instance: 3 instances; the 4 of now stay, for fewer have no room for a tenth more"},
		{"not yet", 5, 1, func(a *app) { a.run(2 * time.Minute) }, 5,
			"1 request in progress over the last 60 s, 10 are meant for each instance: 1 instance; the 5 of now stay, for fewer have been enough for 1 min 29 s, and it takes 5 min"},
		{"fewer", 5, 25, func(a *app) { a.until(down) }, 3,
			"25 requests in progress over the last 60 s, 10 are meant for each instance: 3 instances; 3 have had room for a tenth more for 5 min"},
		{"fewer than Min", 5, 0.5, func(a *app) { a.until(down) }, 2,
			"0.5 requests in progress over the last 60 s, 10 are meant for each instance: 1 instance; 1 have had room for a tenth more for 5 min, at least 2"},
		{"reports are missing", 5, 25, func(a *app) { a.run(4 * time.Minute); a.unknown = true; a.run(5 * time.Second) }, 5,
			"at least 25 requests in progress over the last 60 s, 10 are meant for each instance: 3 instances; the 5 of now stay, for an Envoy does not report, or a Relay cannot be asked"},
		{"more than is known", 4, 120, func(a *app) { a.unknown = true; a.until(time.Minute) }, 8,
			"at least 120 requests in progress over the last 6 s, 10 are meant for each instance: 12 instances, at most double the 4 of now: 8"},
		{"asleep", 0, 50, func(a *app) { a.run(time.Minute) }, 0,
			"no instances are wanted: people, or the first request to an app that sleeps, change that"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := newApp(bounds, tt.wanted, tt.load)
			tt.then(a)
			a.check(t, tt.want, tt.reason)
		})
	}
}

// Panic begins when twice the instances that are ready are needed, and ends a minute after that was so.
func TestPanic(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		load float64
		want bool
	}{{30, false}, {39, false}, {41, false}, {70, false}, {71, true}, {80, true}} {
		a := newApp(Config{Min: 4, Max: 4, Target: 10}, 4, tt.load)
		if a.run(10 * time.Second); a.last.Panic != tt.want {
			t.Errorf("%g in progress at 4 instances: panic %t, want %t", tt.load, a.last.Panic, tt.want)
		}
		a.load = 30
		if a.run(58 * time.Second); tt.want && !a.last.Panic {
			t.Errorf("%g in progress at 4 instances: panic ends at once", tt.load)
		}
		if a.run(12 * time.Second); a.last.Panic {
			t.Errorf("%g in progress at 4 instances: panic does not end", tt.load)
		}
	}
}

// A report that is missing delays that there are fewer instances. If reports are missing for long, the
// time in which fewer have been enough begins anew.
func TestMissingReports(t *testing.T) {
	t.Parallel()
	for missing, again := range map[time.Duration]bool{9 * time.Second: false, 12 * time.Second: true, 20 * time.Second: true} {
		a := newApp(Config{Min: 1, Max: 20, Target: 10}, 10, 50)
		a.run(5*time.Minute + 29*time.Second)
		a.unknown = true
		if changes := a.run(missing); len(changes) > 0 {
			t.Errorf("%v after reports are missing: %v", missing, changes)
		}
		a.unknown = false
		changes := a.run(4*time.Minute + 50*time.Second)
		if again != (len(changes) == 0) {
			t.Errorf("%v without reports: %v", missing, changes)
		}
	}
}

// A report that is missing looks like less to do, and must not.
func TestMissingReportsAreNoIdleness(t *testing.T) {
	t.Parallel()
	a := newApp(Config{Min: 1, Max: 20, Target: 10, DownAfter: 2 * time.Second}, 10, 95)
	a.run(2 * time.Minute)
	for range 10 {
		a.unknown, a.load = true, 0
		changes := a.run(9 * time.Second)
		a.unknown, a.load = false, 95
		if changes = append(changes, a.run(2*time.Second)...); len(changes) > 0 {
			t.Fatalf("%v: %s", changes, a.last.Reason)
		}
	}
	a.unknown, a.load = true, 0
	a.run(5 * time.Minute)
	a.unknown, a.load = false, 95
	if changes := a.run(2 * time.Minute); len(changes) > 0 {
		t.Errorf("after a long time without reports: %v: %s", changes, a.last.Reason)
	}
}
