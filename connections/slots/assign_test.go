package slots

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// port plays what assign sees of a port.
type port struct {
	known places
	slots map[string]int
}

// see shows instances to a port: "a b (c) -d" has two that take ids, one that drains, and one that is away.
// It returns those with a slot, as "a1 b2 (c3)".
func (p *port) see(text string, limit int) string {
	var now []instance
	var away []string
	for name := range strings.FieldsSeq(text) {
		switch bare := strings.Trim(name, "()-"); name[0] {
		case '-':
			away = append(away, bare)
		case '(':
			now = append(now, instance{bare, false})
		default:
			now = append(now, instance{bare, true})
		}
	}
	slots := assign(now, away, p.known, limit)
	p.known = after(now, slots, away, p.known)
	p.slots = make(map[string]int)
	var shown []string
	for i, in := range now {
		text := fmt.Sprint(in.name, slots[i])
		if !in.takes {
			text = "(" + text + ")"
		} else if slots[i] > 0 {
			p.slots[in.name] = slots[i]
		}
		shown = append(shown, text)
	}
	return strings.Join(shown, " ")
}

func TestAssign(t *testing.T) {
	t.Parallel()
	type step struct{ see, want string }
	for name, tt := range map[string]struct {
		limit int
		steps []step
	}{
		"in the order given":           {0, []step{{"a b c", "a1 b2 c3"}}},
		"kept, whatever the order":     {0, []step{{"a b c", "a1 b2 c3"}, {"c a b", "c3 a1 b2"}}},
		"one more":                     {0, []step{{"b c", "b1 c2"}, {"a b c", "a3 b1 c2"}}},
		"one less":                     {0, []step{{"a b c", "a1 b2 c3"}, {"a c", "a1 c3"}, {"a c", "a1 c3"}}},
		"replaced":                     {0, []step{{"a b c", "a1 b2 c3"}, {"a c d", "a1 c3 d2"}}},
		"replaced later":               {0, []step{{"a b c", "a1 b2 c3"}, {"a c", "a1 c3"}, {"a c d", "a1 c3 d2"}}},
		"left last, taken first":       {0, []step{{"a b c d", "a1 b2 c3 d4"}, {"a c d", "a1 c3 d4"}, {"a c", "a1 c3"}, {"a c e", "a1 c3 e4"}, {"a c e f g", "a1 c3 e4 f2 g5"}}},
		"two replaced":                 {0, []step{{"a b c", "a1 b2 c3"}, {"b e d", "b2 e1 d3"}}},
		"a drained one is replaced":    {0, []step{{"a b c", "a1 b2 c3"}, {"a (b) c", "a1 (b2) c3"}, {"a (b) c d", "a1 (b2) c3 d2"}, {"a c d", "a1 c3 d2"}}},
		"drained and replaced at once": {0, []step{{"a b", "a1 b2"}, {"(a) b c", "(a1) b2 c1"}}},
		"drained for a while":          {0, []step{{"a b", "a1 b2"}, {"(a) b", "(a1) b2"}, {"a b", "a1 b2"}}},
		"back, and its slot is taken":  {0, []step{{"a b", "a1 b2"}, {"(a) b c", "(a1) b2 c1"}, {"a b c", "a3 b2 c1"}}},
		"rolled back":                  {0, []step{{"a b", "a1 b2"}, {"(a) b c", "(a1) b2 c1"}, {"a b (c)", "a1 b2 (c1)"}, {"a b", "a1 b2"}}},
		"two away come back in turn":   {0, []step{{"a b c", "a1 b2 c3"}, {"a -b -c", "a1"}, {"a -b c", "a1 c3"}, {"a b c", "a1 b2 c3"}}},
		"one more while one is away":   {0, []step{{"a b", "a1 b2"}, {"-a b", "b2"}, {"-a b d", "b2 d1"}}},
		"more while one is away":       {0, []step{{"a b c", "a1 b2 c3"}, {"a b -c", "a1 b2"}, {"a b -c d e", "a1 b2 d4 e3"}}},
		"away before it had a slot":    {0, []step{{"-a b", "b1"}, {"a b", "a2 b1"}}},
		"drained from the start":       {0, []step{{"(a) b", "(a0) b1"}, {"a b", "a2 b1"}}},
		"all drain":                    {0, []step{{"a b", "a1 b2"}, {"(a) (b)", "(a1) (b2)"}}},
		"none, and again":              {0, []step{{"a b", "a1 b2"}, {"", ""}, {"d c", "d1 c2"}}},
		"new ones wait":                {2, []step{{"a b", "a1 b2"}, {"a b c d", "a1 b2 c0 d0"}, {"(a) b c d", "(a1) b2 c1 d0"}, {"b c d", "b2 c1 d0"}, {"c d", "c1 d2"}}},
		"one that waited, and another": {2, []step{{"a b", "a1 b2"}, {"a b d", "a1 b2 d0"}, {"b d", "b2 d1"}, {"b c d", "b2 c0 d1"}}},
		"fewer wanted":                 {1, []step{{"a b", "a1 b0"}}},
		"back when there are enough":   {2, []step{{"a b", "a1 b2"}, {"-a b", "b2"}, {"-a b c", "b2 c1"}, {"a b c", "a0 b2 c1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			var p port
			for _, s := range tt.steps {
				if got := p.see(s.see, tt.limit); got != s.want {
					t.Errorf("%q has %q, want %q", s.see, got, s.want)
				}
			}
		})
	}
}

// While an app is deployed anew, with old and new instances side by side, each slot changes hands once, and in the end
// the slots are the first again, in whatever order Marathon stops the old ones.
func TestSlotsOfADeployment(t *testing.T) {
	t.Parallel()
	const n = 10
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 0))
		var p port
		var old, fresh []string
		for i := range n {
			old = append(old, fmt.Sprint("old", i))
		}
		p.see(strings.Join(old, " "), n)
		owner, changes := make(map[int]string), make(map[int]int)
		look := func() {
			p.see(strings.Join(slices.Sorted(slices.Values(slices.Concat(old, fresh))), " "), n)
			now := make(map[int]string)
			for name, slot := range p.slots {
				if now[slot] != "" {
					t.Fatalf("seed %d: %s and %s have slot %d", seed, name, now[slot], slot)
				}
				now[slot] = name
			}
			for slot, name := range now {
				if owner[slot] != "" && owner[slot] != name {
					changes[slot]++
				}
				owner[slot] = name
			}
		}
		look()
		names := r.Perm(n)
		for len(fresh) < n || len(old) > 0 {
			if len(fresh) < n && (len(old) == 0 || r.IntN(2) == 0) {
				fresh = append(fresh, fmt.Sprint("new", names[len(fresh)]))
			} else if i := r.IntN(len(old)); strings.HasPrefix(old[i], "(") {
				old = slices.Delete(old, i, i+1)
			} else if len(fresh) > n-len(old) { // Marathon stops one for each that is there
				old[i] = "(" + old[i] + ")"
			} else {
				continue
			}
			look()
		}
		if len(p.slots) != n || len(changes) != n {
			t.Errorf("seed %d: slots %v, changes %v", seed, p.slots, changes)
		}
		for slot, times := range changes {
			if slot > n || times != 1 {
				t.Errorf("seed %d: slot %d changed hands %d times", seed, slot, times)
			}
		}
	}
}

// Whatever happens, no two instances that take ids have the same slot, no slot is above their number, and an instance
// that goes on taking ids keeps its slot.
func FuzzAssign(f *testing.F) {
	f.Add([]byte{1, 2, 3, 200, 17, 4}, uint8(0))
	f.Add([]byte{255, 254, 9, 0, 91}, uint8(3))
	f.Fuzz(func(t *testing.T, steps []byte, limit uint8) {
		var p port
		states := make([]int, 8)
		most := 0
		for _, step := range steps[:min(len(steps), 200)] {
			states[step%8] = int(step / 8 % 4)
			var names []string
			for i, state := range states {
				if form := []string{"", "%c", "(%c)", "-%c"}[state]; form != "" {
					names = append(names, fmt.Sprintf(form, 'a'+i))
				}
			}
			before := p.slots
			text := strings.Join(names, " ")
			p.see(text, int(limit%9))
			seen, takers := make(map[int]bool), 0
			for _, name := range names {
				if len(name) > 1 {
					continue
				}
				takers++
				slot := p.slots[name]
				if had := before[name]; had > 0 && slot != had {
					t.Fatalf("%q: %s had slot %d and has %d", text, name, had, slot)
				}
				if slot > 0 && seen[slot] || limit%9 == 0 && slot == 0 {
					t.Fatalf("%q: slots %v", text, p.slots)
				}
				seen[slot] = true
			}
			most = max(most, takers)
			for name, slot := range p.slots {
				if slot > most {
					t.Fatalf("%q: %s has slot %d of %d", text, name, slot, most)
				}
			}
		}
	})
}
