package peers

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeSlots are the slots that a Relay gives.
type fakeSlots struct {
	began time.Time
	mu    sync.Mutex
	ports []SlotPort
	// apart are apps of which it does not know the instances that others know.
	apart []string
	taken []string // names of apps, each time
}

// Began implements Slots.
func (f *fakeSlots) Began() time.Time { return f.began }

// Digests implements Slots.
func (f *fakeSlots) Digests() []uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ports) == 0 {
		return nil
	}
	digests := make([]uint64, SlotParts)
	for _, p := range f.ports {
		for i, c := range fmt.Sprint(p) {
			digests[5] += uint64(c) << (i % 50)
		}
	}
	return digests
}

// Known implements Slots.
func (f *fakeSlots) Known(digests []uint64) (parts []int, ports []SlotPort) {
	if slices.Equal(f.Digests(), digests) {
		return nil, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return []int{5}, slices.Clone(f.ports)
}

// Compare implements Slots.
func (f *fakeSlots) Compare(_ []int, ports []SlotPort, counts func(app string, port int, comparable bool) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range ports {
		apart := slices.Contains(f.apart, p.App)
		if counts(p.App, p.Port, !apart) && !apart && !reflect.DeepEqual(f.ports, []SlotPort{p}) { // two peers may say the same at once
			f.ports, f.taken = []SlotPort{p}, append(f.taken, p.App)
		}
	}
}

// given returns its slots, and how often it took over some.
func (f *fakeSlots) given() (ports []SlotPort, times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ports), len(f.taken)
}

// portWith is a port whose one instance has a slot.
func portWith(slot int) []SlotPort {
	return []SlotPort{{App: "/shop", Port: 1, Seen: "x", Slots: map[string]int{"shop.1": slot}}}
}

// A Relay that starts hears the slots of the one that runs longest and has given some, and none of itself.
func TestSlotsAtStart(t *testing.T) {
	t.Parallel()
	w := newWorld("a", "b", "c")
	a, b, c := w.relays["a"], w.relays["b"], w.relays["c"]
	has := func(want []SlotPort) {
		t.Helper()
		if got := a.SlotsAtStart(t.Context()); !reflect.DeepEqual(got, want) {
			t.Errorf("it hears %v, want %v", got, want)
		}
	}
	a.Slots = &fakeSlots{began: time.Unix(1, 0), ports: portWith(1)}
	has(nil)
	b.Slots = &fakeSlots{ports: portWith(9)} // its source was never read
	has(nil)
	c.Slots = &fakeSlots{began: time.Unix(20, 0), ports: portWith(2)}
	has(portWith(2))
	b.Slots = &fakeSlots{began: time.Unix(10, 0), ports: portWith(3)}
	has(portWith(3))
	b.Slots = &fakeSlots{began: time.Unix(10, 0)}
	has(portWith(2))
	b.breakBy(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })
	has(portWith(2))
	b.breakBy(func(r *http.Request) (*http.Response, error) { // an older Relay
		if r.URL.Query().Has("slots") {
			t.Error("a Relay that gives no slots was asked for them")
		}
		return answered(200, `{"version":1,"instance":"b"}`), nil
	})
	has(portWith(2))

	many := make(map[string]int)
	for i := range maxSlots / 2 {
		many[fmt.Sprint("task.", i)] = 1
	}
	c.Slots = &fakeSlots{began: time.Unix(20, 0), ports: []SlotPort{{App: "/0", Slots: many}, {App: "/1", Kept: many}, {App: "/2", Slots: many}}}
	if got := a.SlotsAtStart(t.Context()); len(got) != 2 {
		t.Errorf("it hears %d ports", len(got))
	}
}

// Whatever Relays there are, all that know a port alike take the slots of the same one.
func TestWhoseSlotsCount(t *testing.T) {
	t.Parallel()
	v := func(began int64, instance string, silent bool) precedence {
		one := precedence{instance: instance, silent: map[slotKey]bool{{"/a", 0}: silent}}
		if began > 0 {
			one.began = time.Unix(began, 0)
		}
		return one
	}
	for name, tt := range map[string]struct {
		own, from precedence
		others    []precedence
		want      bool
	}{
		"runs longer":                {v(2, "a", false), v(1, "b", false), nil, true},
		"runs less long":             {v(1, "a", false), v(2, "b", false), nil, false},
		"as long, the id decides":    {v(1, "b", false), v(1, "a", false), nil, true},
		"as long, the other id":      {v(1, "a", false), v(1, "b", false), nil, false},
		"it has not read its source": {v(1, "b", false), v(0, "a", false), nil, false},
		"own source was not read":    {v(0, "b", false), v(1, "a", false), nil, false},
		"neither was read":           {v(0, "b", false), v(0, "a", false), nil, false},
		"a third runs longer":        {v(3, "c", false), v(2, "b", false), []precedence{v(1, "a", false)}, false},
		"but knows others":           {v(3, "c", false), v(2, "b", false), []precedence{v(1, "a", true)}, true},
		"a third has read nothing":   {v(3, "c", false), v(2, "b", false), []precedence{v(0, "a", false)}, true},
		"the third is between":       {v(3, "c", false), v(1, "a", false), []precedence{v(2, "b", false)}, true},
	} {
		if got := counts(tt.own, tt.from, tt.others, slotKey{"/a", 0}); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// serve runs the Relays of a world, and begin runs when all are asked now and then.
func (w *world) serve(t *testing.T, begin func()) {
	var all sync.WaitGroup
	for _, r := range w.relays {
		all.Go(func() { _ = r.Serve(t.Context()) })
	}
	time.Sleep(time.Millisecond)
	begin()
}

// Three Relays give the slots of the one that runs longest within a second or two of a difference, though all the time before nobody
// asked but now and then, and then nobody asks for anything more.
func TestSlotsBecomeEqual(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("a", "b", "c")
		slots := make(map[string]*fakeSlots)
		for i, name := range []string{"a", "b", "c"} {
			slots[name] = &fakeSlots{began: time.Unix(int64(i+1), 0)}
			w.relays[name].Slots = slots[name]
		}
		give := func(name string, slot int) {
			slots[name].mu.Lock()
			defer slots[name].mu.Unlock()
			slots[name].ports = portWith(slot)
		}
		equal := func(want int, taken string) {
			t.Helper()
			synctest.Wait()
			var all []string
			for _, name := range []string{"a", "b", "c"} {
				ports, times := slots[name].given()
				if !reflect.DeepEqual(ports, portWith(want)) {
					t.Errorf("%s gives %v", name, ports)
				}
				all = append(all, fmt.Sprint(times))
			}
			if got := strings.Join(all, " "); got != taken {
				t.Errorf("slots were taken over %s times, want %s", got, taken)
			}
		}
		w.serve(t, func() {
			time.Sleep(33 * time.Second)
			if n := w.asked("a"); n > 12 {
				t.Errorf("without hashed ports there are %d questions", n)
			}
			give("a", 1)
			give("b", 2)
			give("c", 3)
			time.Sleep(often + 100*time.Millisecond)
			equal(1, "0 1 1")
			before := w.asked("c")
			time.Sleep(time.Minute)
			equal(1, "0 1 1")
			if n := w.asked("c") - before; n > 18 {
				t.Errorf("the one that has run for the shortest time was asked %d times", n)
			}

			// One that is away changes nothing at once, and later the next one counts.
			w.relays["a"].breakBy(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })
			give("b", 4)
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if ports, times := slots["c"].given(); times != 1 {
				t.Errorf("while one is away, slots go from one to the other: %v", ports)
			}
			time.Sleep(gone)
			give("a", 4)
			equal(4, "0 1 2")
			w.relays["a"].breakBy(nil)
			give("a", 5)
			time.Sleep(2*often + 100*time.Millisecond)
			equal(5, "0 2 3")

			// Of a port that the others do not know alike, nothing is taken over.
			for _, name := range []string{"b", "c"} {
				slots[name].mu.Lock()
				slots[name].ports = []SlotPort{{App: "/shop", Slots: map[string]int{name: 7}}}
				slots[name].mu.Unlock()
			}
			w.relays["a"].breakBy(func(*http.Request) (*http.Response, error) {
				text, err := json.Marshal(Answer{Version: 1, Instance: "a2", Began: time.Unix(1, 0), SlotParts: []int{5}, Slots: []SlotPort{{App: "/shop", Seen: "other"}}})
				return answered(200, string(text)), err
			})
			for _, name := range []string{"b", "c"} {
				slots[name].mu.Lock()
				slots[name].apart = []string{"/shop"}
				slots[name].mu.Unlock()
			}
			time.Sleep(2 * often)
			synctest.Wait()
			_, second := slots["b"].given()
			if _, third := slots["c"].given(); second != 2 || third != 3 {
				t.Error("slots of other instances were taken over")
			}
		})
	})
}

func TestDigests(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"1", strings.Repeat("0", 16*SlotParts-1), strings.Repeat("g", 16*SlotParts), strings.Repeat("0", 16*SlotParts+16), strings.Repeat("+", 16*SlotParts)} {
		if _, err := splitDigests(text); err == nil {
			t.Errorf("%.20s is taken for digests", text)
		}
	}
	for _, text := range []string{
		`"slotParts":[` + many(SlotParts+1, "1") + "]",
		`"slots":[` + many(2*maxSlots+1, "{}") + "]",
		`"slots":[{"app":"` + strings.Repeat("a", maxName+1) + `"}]`,
	} {
		if _, err := decode([]byte(`{"version":1,"instance":"x",` + text + "}")); err == nil {
			t.Errorf("%.40s is taken for an answer", text)
		}
	}
}
