package statuspage

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// modelPlace is a place of the model: honest ones find the truth, unless they are blind or away; liars say anything.
type modelPlace struct {
	liar, blind, away bool
	failing           map[string]time.Time // since when
}

// observe is what the place would say at a moment at which some services are down.
func (p *modelPlace) observe(r *rand.Rand, name string, down map[string]bool, now time.Time) observation {
	o := observation{place: name, at: now, interval: 30 * time.Second, away: p.away}
	if p.away {
		return o
	}
	for _, s := range []string{"a", "b", "c"} {
		bad := down[s] || p.blind
		if p.liar {
			bad = r.IntN(2) == 0
		}
		probe := seenProbe{ID: s, Domain: s + ".test", Success: !bad, Time: now, Since: now.Add(-time.Hour)}
		if !bad {
			delete(p.failing, s)
		} else if since, ok := p.failing[s]; ok {
			probe.Since = since
		} else {
			p.failing[s], probe.Since = now, now
		}
		o.probes = append(o.probes, probe)
	}
	return o
}

// TestModel plays random times with 1 to 5 places that lie, lose their network, go away and come back. Whatever they do:
// when most of those that answer are honest and see, the truth is found in time; no state gets better within settle after it
// got worse; and what nobody sees is unknown.
func TestModel(t *testing.T) {
	t.Parallel()
	settings := parsed(t, threeServices)
	var selectors []selector
	for _, s := range settings.Services {
		selectors = append(selectors, newSelector(s))
	}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		places := make([]*modelPlace, 1+r.IntN(5))
		liars := r.IntN((len(places)+1)/2 + 1) // sometimes too many: then nothing is sure but the form
		for i := range places {
			places[i] = &modelPlace{liar: i < liars, failing: make(map[string]time.Time)}
		}
		tracks := make([]track, len(settings.Services))
		down := make(map[string]bool)
		now, quietSince, worsened := noon, noon, make([]time.Time, len(tracks))
		for i := range tracks {
			tracks[i].state = Unknown
		}
		for step := range 400 {
			now = now.Add(lookEvery)
			if r.IntN(20) == 0 {
				quietSince = now
				shake(r, places, down)
			}
			var views []placeView
			for i, p := range places {
				at := now
				if step%3 != 0 { // between two rounds of the probes nothing is new
					at = now.Add(-time.Duration(step%3) * lookEvery)
				}
				views = append(views, look(p.observe(r, fmt.Sprint(i), down, at), settings.Services, selectors))
			}
			found := judge(views, settings.Services, make([]bool, len(views)))
			for i, s := range settings.Services {
				before := tracks[i].state
				tracks[i].next(found.services[i], now)
				after := tracks[i].state
				known := before != Unknown && after != Unknown
				if known && rank[after] > rank[before] {
					worsened[i] = now
				}
				if known && rank[after] < rank[before] && now.Sub(worsened[i]) < settle {
					t.Fatalf("seed %d, step %d: from %s to %s, %s after it got worse", seed, step, before, after, now.Sub(worsened[i]))
				}
				checkModel(t, fmt.Sprintf("seed %d, step %d, service %s", seed, step, s.Name), places, down[s.Name], after, now.Sub(quietSince))
			}
		}
	}
}

// shake changes something.
func shake(r *rand.Rand, places []*modelPlace, down map[string]bool) {
	p := places[r.IntN(len(places))]
	switch r.IntN(4) {
	case 0:
		p.away = !p.away
	case 1:
		p.blind = !p.blind
	case 2:
		s := string(rune('a' + r.IntN(3)))
		down[s] = !down[s]
	case 3:
		all := r.IntN(2) == 0
		for _, s := range []string{"a", "b", "c"} {
			down[s] = all
		}
	}
}

// checkModel compares a state with the truth, once nothing has changed for long enough.
func checkModel(t *testing.T, what string, places []*modelPlace, down bool, got State, quiet time.Duration) {
	t.Helper()
	if quiet < 2*time.Minute {
		return
	}
	seeing, answering := 0, 0
	for _, p := range places {
		if p.away {
			continue
		}
		answering++
		if !p.liar && !p.blind {
			seeing++
		}
	}
	switch {
	case answering == 0 && got != Unknown:
		t.Fatalf("%s: nobody answers, and it is %s", what, got)
	case seeing*2 > answering && down && got != Down, seeing*2 > answering && !down && got != Up:
		t.Fatalf("%s: %d of %d see it, it is down: %t, and it is said to be %s", what, seeing, answering, down, got)
	}
}
