package autoscale

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// Whatever is observed, the bounds hold, a step at most doubles, and what sleeps is left alone. In
// panic, and while the load is not known, nothing is taken away within the bounds.
func TestBoundsHold(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := Config{Min: 1 + r.IntN(3), Target: []float64{0.5, 1, 10, 100}[r.IntN(4)], DownAfter: time.Duration(r.IntN(400)) * time.Second}
		c.Max = c.Min + r.IntN(50)
		var s State
		wanted, now := c.Min+r.IntN(c.Max-c.Min+1), start
		for range 2000 {
			o := Observation{
				InProgress: r.ExpFloat64() * c.Target * float64(r.IntN(c.Max+1)), Known: r.IntN(10) > 0,
				Ready: r.IntN(wanted + 1), Wanted: wanted,
			}
			var d Decision
			s, d = Decide(c, s, o, now)
			switch {
			case wanted == 0 && d.Wanted != 0:
				t.Fatalf("seed %d: what has no instances was started", seed)
			case wanted != 0 && (d.Wanted < c.Min || d.Wanted > c.Max):
				t.Fatalf("seed %d: %d instances, not of %d..%d", seed, d.Wanted, c.Min, c.Max)
			case d.Wanted > max(2*wanted, c.Min):
				t.Fatalf("seed %d: from %d to %d at once", seed, wanted, d.Wanted)
			case d.Wanted < min(wanted, c.Max) && (d.Panic || !o.Known):
				t.Fatalf("seed %d: from %d to %d: %+v", seed, wanted, d.Wanted, d)
			case d.Reason == "" || strings.Contains(d.Reason, "NaN"):
				t.Fatalf("seed %d: reason %q", seed, d.Reason)
			}
			wanted = d.Wanted
			if r.IntN(100) == 0 {
				wanted = r.IntN(c.Max + 5) // by people
			}
			now = now.Add(time.Duration(r.IntN(2000)) * time.Millisecond)
		}
	}
}

// Fewer instances come only after less was needed for DownAfter, whatever people and reports do.
func TestFewerOnlyAfterAWhile(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 2))
		c := Config{Min: 1, Max: 100, Target: 1, DownAfter: time.Duration(10+r.IntN(200)) * time.Second}
		var s State
		wanted, now, raised := 10, start, start
		for range 3000 {
			var d Decision
			s, d = Decide(c, s, Observation{InProgress: float64(r.IntN(wanted + 2)), Known: r.IntN(50) > 0, Ready: wanted, Wanted: wanted}, now)
			if d.Wanted > wanted {
				raised = now
			}
			if d.Wanted < wanted && now.Sub(raised) < c.DownAfter {
				t.Fatalf("seed %d: from %d to %d %v after there were more, not %v", seed, wanted, d.Wanted, now.Sub(raised), c.DownAfter)
			}
			wanted = d.Wanted
			if r.IntN(300) == 0 {
				wanted, raised = wanted+1+r.IntN(10), now // by people: not taken back at once
			}
			now = now.Add(Tick)
		}
	}
}

// With the same past, more to do never means fewer instances.
func TestMoreLoadNeverMeansFewer(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 3))
		a := newApp(Config{Min: 1, Max: 1000, Target: 10, DownAfter: time.Minute}, 5, 0)
		for range 600 {
			a.load = r.ExpFloat64() * 50
			more := *a
			more.load *= 1 + r.Float64()
			a.run(Tick)
			if more.run(Tick); more.wanted < a.wanted {
				t.Fatalf("seed %d: %d instances for %g, %d for %g", seed, a.wanted, a.load, more.wanted, more.load)
			}
		}
	}
}

// Relays that look in turns at the same app come to the same number, and double once a second
// together, not once each.
func TestRelaysAgree(t *testing.T) {
	t.Parallel()
	c := Config{Min: 1, Max: 100, Target: 10}
	for relays := 1; relays <= 4; relays++ {
		states := make([]State, relays)
		wanted, load, changes := 1, 10.0, 0
		history := []int{wanted}
		for tick := range 1200 {
			if tick == 60 {
				load = 500
			}
			if tick == 600 {
				load = 100
			}
			for i := range states {
				now := start.Add(time.Duration(tick)*Tick + time.Duration(i)*Tick/time.Duration(relays))
				var d Decision
				states[i], d = Decide(c, states[i], Observation{InProgress: load, Known: true, Ready: wanted, Wanted: wanted}, now)
				if d.Wanted < wanted && tick < 900 {
					t.Fatalf("%d Relays: from %d to %d in tick %d", relays, wanted, d.Wanted, tick)
				}
				if d.Wanted != wanted {
					changes++
				}
				wanted = d.Wanted
			}
			history = append(history, wanted)
			if before := history[len(history)-2]; wanted > 2*before {
				t.Fatalf("%d Relays: from %d to %d in one second", relays, before, wanted)
			}
		}
		if wanted != 11 {
			t.Errorf("%d Relays: %d instances in the end, want 11", relays, wanted)
		}
		if changes > 12 {
			t.Errorf("%d Relays: %d changes, want at most 12", relays, changes)
		}
	}
}

// A change that is not made is asked for again, and does not run ahead.
func TestNothingRunsAheadOfWhatIsWanted(t *testing.T) {
	t.Parallel()
	a := newApp(Config{Min: 1, Max: 1000, Target: 1}, 3, 500)
	for range 60 {
		a.run(Tick)
		a.wanted, a.ready = 3, 3 // Marathon said no
	}
	a.run(Tick)
	if a.wanted != 6 {
		t.Errorf("%d instances, want 6: %s", a.wanted, a.last.Reason)
	}
}

// After a silence of any length, or a clock that goes back, nothing is taken away at once.
func TestSilence(t *testing.T) {
	t.Parallel()
	for _, silence := range []time.Duration{11 * time.Second, time.Minute, time.Hour, 30 * 24 * time.Hour, -time.Hour} {
		for _, downAfter := range []time.Duration{time.Second, time.Minute, 0} {
			a := newApp(Config{Min: 1, Max: 100, Target: 10, DownAfter: downAfter}, 10, 95)
			a.run(10 * time.Minute)
			a.load, a.now = 0, a.now.Add(silence)
			want := max(downAfter, 2*time.Second)
			if downAfter == 0 {
				want = DefaultDownAfter
			}
			if changes := a.run(want - time.Second); len(changes) > 0 {
				t.Errorf("after %v, with %v: %v within %v", silence, downAfter, changes, want)
			}
		}
	}
}

// What is remembered is small, since there may be many apps.
func TestStateIsSmall(t *testing.T) {
	t.Parallel()
	if size := unsafe.Sizeof(State{}); size > 512 {
		t.Errorf("%d bytes an app, want at most 512", size)
	}
}
