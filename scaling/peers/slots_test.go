package peers

import (
	"errors"
	"net/http"
	"reflect"
	"testing"
)

// A Relay that starts hears the slots of one that has given some, and none of itself.
func TestSlots(t *testing.T) {
	t.Parallel()
	w := newWorld("a", "b", "c")
	own, given := []Slot{{App: "/own", Instance: "x", Slot: 1}}, []Slot{{App: "/shop", Port: 1, Instance: "shop.1", Slot: 2, Takes: true}}
	w.relays["a"].slots = own
	if got := w.relays["a"].Peers.Slots(t.Context()); got != nil {
		t.Errorf("nobody has given slots, and it hears %v", got)
	}
	w.relays["c"].slots = given
	if got := w.relays["a"].Peers.Slots(t.Context()); !reflect.DeepEqual(got, given) {
		t.Errorf("it hears %v, want %v", got, given)
	}
	w.relays["b"].breakBy(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })
	if got := w.relays["a"].Peers.Slots(t.Context()); !reflect.DeepEqual(got, given) {
		t.Errorf("with one away, it hears %v, want %v", got, given)
	}
	w.relays["c"].slots = make([]Slot, 2*maxSlots)
	if got := w.relays["a"].Peers.Slots(t.Context()); len(got) != maxSlots {
		t.Errorf("it hears %d slots", len(got))
	}
}
