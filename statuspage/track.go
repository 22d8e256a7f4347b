package statuspage

import "time"

// A state that is worse is taken at the second look in a row that finds one. A state that is better is taken when
// nothing worse was found for settle: so a service that comes and goes is said to be away, and does not flap. That nothing
// is known is taken after settle, too: a restart of who asks is no news to the public.
const (
	worseLooks = 2
	settle     = time.Minute
)

// track follows the state of a service from look to look.
type track struct {
	state State
	// worse counts the looks in a row that found a worse state.
	worse int
	// better is the worst state that was found since betterSince, when it began to be better than the present one.
	better      State
	betterSince time.Time
	// unknownSince is since when nothing is known, though state is still the one before.
	unknownSince time.Time
}

// rank orders states; that of Unknown is no place in the order.
var rank = map[State]int{Up: 0, Degraded: 1, Down: 2}

// next takes in what a look found, and reports whether that changes the state. Unknown is left at once: it says nothing of
// the service.
func (t *track) next(found verdict, now time.Time) bool {
	v := found.state
	if found.keep {
		return false
	}
	if v == Unknown && t.state != Unknown {
		if t.unknownSince.IsZero() {
			t.unknownSince = now
		}
		return now.Sub(t.unknownSince) >= settle && t.take(Unknown)
	}
	t.unknownSince = time.Time{}
	if v == t.state {
		t.worse, t.better = 0, ""
		return false
	}
	if t.state == Unknown {
		return t.take(v)
	}
	if rank[v] > rank[t.state] {
		t.better = ""
		if t.worse++; t.worse >= worseLooks {
			return t.take(v)
		}
		return false
	}
	t.worse = 0
	switch {
	case t.better == "":
		t.better, t.betterSince = v, now
	case rank[v] > rank[t.better]:
		t.better = v
	}
	if now.Sub(t.betterSince) >= settle {
		return t.take(t.better)
	}
	return false
}

func (t *track) take(s State) bool {
	*t = track{state: s}
	return true
}
