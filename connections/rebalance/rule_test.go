package rebalance

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"relay/sources"
)

// at is the input of a moment at which instances have so many connections.
func at(seconds int, open ...float64) *input {
	in := &input{now: time.Unix(1_800_000_000, 0).Add(time.Duration(seconds) * time.Second), rate: 60, from: "a", envoys: 1}
	for i, n := range open {
		in.instances = append(in.instances, instance{address: simAddress(i), open: n, takes: true})
	}
	return in
}

func TestPhases(t *testing.T) {
	t.Parallel()
	draining := at(0, 100, 100, 0)
	draining.instances[1].takes, draining.instances[2].takes = false, false
	unknown := at(0, 100, 0)
	unknown.doubt = "nobody has told"
	for _, tt := range []struct {
		name string
		in   *input
		want Phase
		text string
	}{
		{"no instance", at(0), Even, "fewer than two"},
		{"one", at(0, 100), Even, "fewer than two"},
		{"none open", at(0, 0, 0), Even, "2 instances have 0 connections each"},
		{"even", at(0, 100, 100, 100), Even, "3 instances have 100 connections each, so none ends"},
		{"about even", at(0, 104, 96, 100), Even, "96 to 104"},
		{"one more than share of few", at(0, 2, 1, 0), Even, ""},
		{"uneven", at(0, 110, 90, 100), Waiting, "would have 100 each"},
		{"one of many is new", at(0, append(make([]float64, 1), repeated(100, 30)...)...), Waiting, ""},
		{"others drain", draining, Even, "fewer than two"},
		{"unknown", unknown, Unknown, "nobody has told"},
	} {
		s := next(state{}, tt.in)
		if s.phase != tt.want || !strings.Contains(s.text, tt.text) || s.sheds() != nil {
			t.Errorf("%s: %s, %s, sheds %v; want %s", tt.name, s.phase, s.text, s.sheds(), tt.want)
		}
	}
}

func repeated(n float64, times int) (all []float64) {
	for range times {
		all = append(all, n)
	}
	return all
}

// Only what has more than its share sheds, not more than its share of it, and a share that only grows while
// the moment stays.
func TestShares(t *testing.T) {
	t.Parallel()
	var s state
	last := make(map[netip.AddrPort]sources.Shed)
	for i := range 30 {
		in := at(i*10, 200, 150, 100, 50)
		s = next(s, in)
		sheds := s.sheds()
		if i*10 < int(patience.Seconds()) && len(sheds) > 0 {
			t.Fatalf("connections end after %d s", i*10)
		}
		for address, shed := range sheds {
			if address != simAddress(0) && address != simAddress(1) {
				t.Errorf("%s has no more than its share, and sheds %+v", address, shed)
			}
			if was := last[address]; was.Before == shed.Before && was.Percent > shed.Percent {
				t.Errorf("the share of %s goes back: %+v, %+v", address, was, shed)
			}
			last[address] = shed
		}
		if t.Failed() {
			return
		}
	}
	if len(last) != 2 {
		t.Errorf("shed: %v", last)
	}
}

// When what counts changes, everything begins anew, and nothing ends at once.
func TestBeginsAnew(t *testing.T) {
	t.Parallel()
	ending := func() state {
		var s state
		for i := range 6 {
			s = next(s, at(i*10, 200, 100, 0))
		}
		if s.phase != Ending || len(s.sheds()) == 0 {
			t.Fatalf("%s: %s", s.phase, s.text)
		}
		return s
	}
	otherEnvoy := at(60, 200, 100, 0)
	otherEnvoy.from = "a b"
	for name, in := range map[string]*input{
		"another Envoy": otherEnvoy, "another instance": at(60, 200, 100, 0, 0), "one instance fewer": at(60, 200, 100),
	} {
		s := next(ending(), in)
		if s.phase != Waiting || name == "another Envoy" && s.sheds() != nil {
			t.Errorf("%s: %s, %v", name, s.phase, s.sheds())
		}
	}
	if s := next(ending(), at(60, 100, 100, 100)); s.phase != Even || s.sheds() != nil {
		t.Errorf("even: %s, %v", s.phase, s.sheds())
	}
	if s := next(ending(), at(60, 100)); s.sheds() != nil {
		t.Errorf("one instance: %v", s.sheds())
	}
}
