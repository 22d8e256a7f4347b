package routing_test

import (
	"testing"

	"relay/collator/routing"
)

func TestHasServerName(t *testing.T) {
	t.Parallel()
	f := routing.Fleet{ServerNames: []string{"a.test", "*.zone.test"}}
	for name, want := range map[string]bool{
		"a.test": true, "b.test": false, "x.a.test": false, "*.a.test": false, "zone.test": false, "*.test": false,
		"x.zone.test": true, "x.y.zone.test": true, "*.zone.test": true, "*.y.zone.test": true, "notzone.test": false,
	} {
		if f.HasServerName(name) != want || !new(routing.Fleet).HasServerName(name) {
			t.Errorf("%s: %v, want %v; without names: %v", name, !want, want, new(routing.Fleet).HasServerName(name))
		}
	}
}
